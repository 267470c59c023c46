"""Commands about the network and one patient: fit, predict, describe, and the worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmfnet_napari import api
from cmfnet_napari.cli.options import (
    Device,
    Image,
    Json,
    Modality,
    Mr,
    On,
    Second,
    Settings,
    Subtract,
    Via,
    check_via,
    open_images,
    print_result,
    read_settings,
    warn,
)
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, check_outputs

if TYPE_CHECKING:
    from cmfnet_napari.core.arrays import Codes
    from cmfnet_napari.core.fit.config import Config
    from cmfnet_napari.core.images.study import Study


def fit(
    image: Image,
    scribbles: Annotated[Path, typer.Option(help="0 unlabelled, 1 background, 2… classes")],
    out: Annotated[Path, typer.Option(help="New folder for the run, or one that was broken off")],
    second: Second = None,
    mr: Mr = None,
    modality: Modality = "",
    subtract: Subtract = 0.0,
    preset: Annotated[str, typer.Option(help="quick, standard or paper")] = "quick",
    base: Annotated[Path | None, typer.Option(help="Model to start from")] = None,
    minutes: Annotated[float | None, typer.Option(help="Train this long at most")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same result")] = 0,
    settings: Settings = None,
    device: Device = "auto",
    on: On = None,
    via: Via = None,
    as_json: Json = False,
) -> None:
    """Train CmFNet on a patient's scribbles and predict the contour. Ctrl-C keeps the best."""
    from cmfnet_napari.cli.progress import fit_progress

    check_via(on, via)
    changes: JsonObject = {"seed": seed} | ({} if minutes is None else {"minutes": minutes})
    config = api.make_config(preset, base=base, **{**changes, **read_settings(settings)})
    study = open_images(image, second, mr, modality, subtract)
    strokes = api.load_scribbles(scribbles, study)
    run = out if on is not None else api.run_folder(out)
    if on is None:
        _warn_before(study, strokes, config, device)
    with fit_progress() as progress:
        result = api.fit(
            study,
            strokes,
            run,
            config,
            device=device,
            base=base,
            on_event=progress.show,
            request=progress.request,
            on=on,
            via=via,
        )
    if result is None:
        raise UserError("Training was broken off. The same command goes on with it.")
    print_result(result.as_dict(), as_json)


def describe(
    model: Annotated[Path | None, typer.Argument(help="Run folder or model file")] = None,
    architecture: Annotated[
        str | None, typer.Option(help="CT3 to CT6, MR3 to MR6, or CmFNet: its parameters")
    ] = None,
    card: Annotated[
        str,
        typer.Option(help="The model's card with its six sections: md, json, or pdf with --out"),
    ] = "",
    out: Annotated[Path | None, typer.Option(help="File to write the card to")] = None,
    as_json: Json = False,
) -> None:
    """The card of a model, or the parameter table of an architecture."""
    if card or out is not None:
        _write_card(model, card, out)
        return
    from cmfnet_napari.learning.model.describe import architecture_table, describe_model, show

    if model is not None and architecture is None:
        result = describe_model(model)
    elif architecture is not None and model is None:
        result = architecture_table(architecture)
    else:
        raise typer.BadParameter("give either a model or --architecture")
    if as_json:
        print_result(result, True)
    else:
        show(result)


def _write_card(model: Path | None, kind: str, out: Path | None) -> None:
    """Print the card, or write it where `out` says."""
    from cmfnet_napari.core.files import write_safely
    from cmfnet_napari.core.fit.card_sections import read_full_card
    from cmfnet_napari.core.report.card_page import save_card
    from cmfnet_napari.core.report.card_words import card_json, card_markdown

    if model is None or kind not in ("md", "json", "pdf"):
        raise typer.BadParameter("give a model and --card md, json or pdf")
    check_outputs([(out, (f".{kind}",))], [model, model.with_suffix(".card.json")])
    full = read_full_card(model)
    if full.gap:
        warn(full.gap)
    if kind == "pdf":
        save_card(full, out or Path(f"{full.name}.card.pdf"))
        return
    text = card_markdown(full) if kind == "md" else json.dumps(card_json(full), indent=1)
    if out is None:
        print(text)
    else:
        write_safely(out, f".{kind}", lambda part: part.write_text(text + "\n", encoding="utf-8"))


def predict(
    model: Annotated[Path, typer.Argument(help="Run folder or model file")],
    image: Image,
    out: Annotated[Path, typer.Option(help="Labels to write, on the first image's grid")],
    second: Second = None,
    mr: Mr = None,
    modality: Modality = "",
    subtract: Subtract = 0.0,
    scribbles: Annotated[
        Path | None,
        typer.Option(help="Strokes on this patient, for a model that reads them; else the run's"),
    ] = None,
    probabilities: Annotated[Path | None, typer.Option(help="Probability to write")] = None,
    disagreement: Annotated[
        Path | None,
        typer.Option(help="How far the branches of both images are apart, percent, to write"),
    ] = None,
    memory_gib: Annotated[
        float | None, typer.Option(min=0.01, help="Memory it may use; else a share of the free")
    ] = None,
    device: Device = "auto",
    on: On = None,
    via: Via = None,
    as_json: Json = False,
) -> None:
    """Contour a study with a trained model."""
    from cmfnet_napari.cli.progress import line_progress
    from cmfnet_napari.core.contours.components import volumes_ml
    from cmfnet_napari.core.contours.doubt import to_percent
    from cmfnet_napari.core.images.volume import WRITE_ENDINGS

    check_via(on, via)
    check_outputs(
        [(path, WRITE_ENDINGS) for path in (out, probabilities, disagreement)],
        [model, image, second, mr, scribbles],
    )
    study = open_images(image, second, mr, modality, subtract)
    with line_progress(on) as show:
        prediction = api.predict(
            model,
            study,
            scribbles,
            memory_gib=memory_gib,
            disagreement=disagreement is not None,
            device=device,
            on_event=show,
            on=on,
            via=via,
        )
    api.save_labels(prediction.labels, study, out)
    result = {"prediction": str(out), "volumes_ml": volumes_ml(prediction.labels, study.grid)}
    if probabilities is not None:
        api.save_labels(prediction.probability, study, probabilities)
        result["probabilities"] = str(probabilities)
    if disagreement is not None and prediction.disagreement is not None:
        api.save_labels(to_percent(prediction.disagreement), study, disagreement)
        result["disagreement"] = str(disagreement)
    print_result(result, as_json)


def worker(
    case: Annotated[Path, typer.Argument(help="Case folder")], on: On = None, via: Via = None
) -> None:
    """The background worker: JSON lines in, JSON lines out."""
    if on is not None:
        from cmfnet_napari.remote.hosts import host_called
        from cmfnet_napari.remote.serving import relay

        raise typer.Exit(relay(case, host_called(on, via)))
    from cmfnet_napari.learning.priority import step_back

    step_back()
    from cmfnet_napari.learning.worker import serve

    raise typer.Exit(serve(case))


def train_worker(folder: Path) -> None:
    """The worker of a cohort on another computer, which `remote-keep` starts."""
    from cmfnet_napari.learning.train_worker import serve_training

    raise typer.Exit(serve_training(folder))


def _warn_before(study: Study, scribbles: Codes, config: Config, device: str) -> None:
    """Print what speaks against a fit that can begin; if it cannot, it says so itself.

    Raises
    ------
    UserError
        It cannot, because a whole contour was given as scribbles.
    """
    from cmfnet_napari.core.fit.cost_estimate import expect
    from cmfnet_napari.core.fit.preflight_checks import preflight
    from cmfnet_napari.core.strokes.taken_for_strokes import look_whole
    from cmfnet_napari.learning.engine.device import pick_device

    on_processor = pick_device(device).type == "cpu"
    expected = expect(config, study.grid) if on_processor else None
    findings = preflight(study, scribbles, expected=expected)
    errors = [finding.text for finding in findings if finding.severity != "warning"]
    if errors and (cause := look_whole(scribbles, study)):
        raise UserError(f"{errors[0]} {cause}")
    for finding in findings if not errors else ():
        warn(finding.text)
