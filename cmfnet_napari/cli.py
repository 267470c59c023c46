"""The ``cmfnet`` command: one small function a command.

Exit status: 0 done; 2 wrong use; 1 bad data, with one clear line on stderr. With ``--json`` the
last line on stdout is one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmfnet_napari.cli_pacs import pacs
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.privacy import printable

if TYPE_CHECKING:
    import numpy as np

    from cmfnet_napari.core.fit.config import Config
    from cmfnet_napari.core.images.study import Study

DEBUG_VARIABLE = "CMFNET_DEBUG"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(pacs, name="pacs")

Ct = Annotated[Path, typer.Argument(help="CT: NIfTI, NRRD, MHA/MHD or a DICOM series folder")]
Mr = Annotated[Path | None, typer.Option(help="MR of the same patient, registered to the CT")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change one setting of the preset; repeat"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object last")]


def main() -> None:
    """Run the command line; an error becomes one line and exit status 1."""
    sys.stdout.reconfigure(errors="replace")  # a plain ASCII locale must not stop a table
    try:
        app()
    except UserError as error:
        print(f"cmfnet: {printable(str(error))}", file=sys.stderr)
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        print(
            f"cmfnet: unexpected {type(error).__name__}: {printable(str(error))} "
            f"(set {DEBUG_VARIABLE}=1 and run again to see where).",
            file=sys.stderr,
        )
    sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"cmfnet {version('cmfnet-napari')}")
        raise typer.Exit


@app.callback()
def options(
    version_: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it and exit"),
    ] = False,
) -> None:
    """From a few scribbles on a patient's CT and MR to a 3D tumour contour."""


@app.command()
def demo(
    headless: Annotated[bool, typer.Option(help="Without a window; write files instead")] = False,
    out: Annotated[Path, typer.Option(help="Folder for what is written")] = Path("cmfnet-demo"),
    as_json: Json = False,
) -> None:
    """The main job on the built-in synthetic patient, end to end."""
    from cmfnet_napari.demo import has_display, run_demo, show_demo

    if not headless and has_display():
        from cmfnet_napari.gui.app import open_window

        open_window(demo=True)
        return
    from cmfnet_napari.progress import fit_progress

    with fit_progress() as progress:
        result = run_demo(out, progress)
    if as_json:
        _show(result, True)
    else:
        show_demo(result)


@app.command("open")
def open_(
    ct: Annotated[
        Path | None, typer.Argument(help="CT file or DICOM series folder; else an empty window")
    ] = None,
    mr: Mr = None,
    scribbles: Annotated[Path | None, typer.Option(help="Scribbles drawn before")] = None,
) -> None:
    """The window on a study, or the empty window."""
    if ct is None and (mr is not None or scribbles is not None):
        raise typer.BadParameter("an MR or scribbles are opened together with their CT: name it")
    from cmfnet_napari.gui.app import open_window

    open_window(ct, mr, scribbles)


@app.command()
def fit(
    ct: Ct,
    scribbles: Annotated[Path, typer.Option(help="0 unlabelled, 1 background, 2… classes")],
    out: Annotated[Path, typer.Option(help="New folder for the run, or one that was broken off")],
    mr: Mr = None,
    preset: Annotated[str, typer.Option(help="quick, standard or paper")] = "quick",
    base: Annotated[Path | None, typer.Option(help="Model to start from")] = None,
    minutes: Annotated[float | None, typer.Option(help="Train this long at most")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same result")] = 0,
    settings: Settings = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train CmFNet on a patient's scribbles and predict the contour. Ctrl-C keeps the best."""
    from cmfnet_napari.core.files import new_folder
    from cmfnet_napari.core.fit.model_card import read_card, start_config
    from cmfnet_napari.core.fit.runs import STATE_FILE
    from cmfnet_napari.core.images.study import load_labels, open_study
    from cmfnet_napari.core.strokes.scribbles import check_codes
    from cmfnet_napari.learning.fit.callbacks import Hooks
    from cmfnet_napari.learning.fit.start import fit as run_fit
    from cmfnet_napari.progress import fit_progress

    changes: dict[str, Any] = {"seed": seed} | ({"minutes": minutes} if minutes else {})
    card = None if base is None else read_card(base)
    config = start_config(preset, card, **changes, **read_settings(settings))
    study = open_study(ct, mr)
    strokes = check_codes(load_labels(scribbles, study.grid), scribbles.name)
    run = out if (out / STATE_FILE).exists() else new_folder(out)
    _warn(study, strokes, config, device)
    with fit_progress() as progress:
        hooks = Hooks(emit=progress.show, request=progress.request)
        finished = run_fit(study, strokes, run, config, device=device, base=base, hooks=hooks)
    if finished is None:
        raise UserError("Training was broken off. The same command goes on with it.")
    _show({"run": str(run), **_with_folder(finished.model_dump(exclude={"event"}), run)}, as_json)


@app.command()
def train(
    cohort: Annotated[Path, typer.Argument(help="CSV: case, ct, mr, scribbles or mask, split")],
    out: Annotated[Path, typer.Option(help="Folder for the models; the same one to go on")],
    preset: Annotated[str, typer.Option(help="quick, standard or paper")] = "paper",
    folds: Annotated[int, typer.Option(min=0, help="Cross-validation by patient")] = 0,
    seed: Annotated[int, typer.Option(help="Same seed, same result")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of each model")] = None,
    minutes: Annotated[float | None, typer.Option(help="Each model this long at most")] = None,
    settings: Settings = None,
    device: Device = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Devices of each node")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes, as torchrun or SLURM start them")] = 1,
    as_json: Json = False,
) -> None:
    """Train base models on a cohort. Stopped or killed, the same command goes on."""
    from cmfnet_napari.core.fit.config import cohort_config
    from cmfnet_napari.learning.cohort.train import train as run_training
    from cmfnet_napari.progress import training_progress

    given = {"seed": seed, "steps": steps, "minutes": minutes}
    changes = {name: value for name, value in given.items() if value is not None}
    config = cohort_config(preset, **{**changes, **read_settings(settings)})
    with training_progress() as hooks:
        result = run_training(
            cohort,
            out,
            config,
            folds=folds,
            device=device,
            devices=devices,
            nodes=nodes,
            hooks=hooks,
        )
    if result is not None:
        _show(result, as_json)
    elif hooks.stop():
        raise UserError(f"Stopped; {out} keeps the state. Give the same command to go on.")


@app.command()
def describe(
    model: Annotated[Path | None, typer.Argument(help="Run folder or model file")] = None,
    architecture: Annotated[
        str | None, typer.Option(help="CT3 to CT6, MR3 to MR6, or CmFNet: its parameters")
    ] = None,
    as_json: Json = False,
) -> None:
    """The card of a model, or the parameter table of an architecture."""
    from cmfnet_napari.learning.model.describe import architecture_table, describe_model, show

    if (model is None) == (architecture is None):
        raise typer.BadParameter("give either a model or --architecture")
    result = architecture_table(architecture) if model is None else describe_model(model)
    if as_json:
        _show(result, True)
    else:
        show(result)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Run folder or model file")],
    ct: Ct,
    out: Annotated[Path, typer.Option(help="Labels to write, on the CT's grid")],
    mr: Mr = None,
    scribbles: Annotated[
        Path | None,
        typer.Option(help="Strokes on this patient, for a model that reads them; else the run's"),
    ] = None,
    probabilities: Annotated[Path | None, typer.Option(help="Probability to write")] = None,
    disagreement: Annotated[
        Path | None, typer.Option(help="How far CT and MR branch are apart, percent, to write")
    ] = None,
    memory_gib: Annotated[
        float | None, typer.Option(min=0.01, help="Memory it may use; else a share of the free")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Contour a study with a trained model."""
    from cmfnet_napari.core.contours.components import volumes_ml
    from cmfnet_napari.core.contours.doubt import to_percent
    from cmfnet_napari.core.images.study import load_labels, open_study, save_labels
    from cmfnet_napari.core.strokes.scribbles import check_codes
    from cmfnet_napari.learning.engine.device import pick_device
    from cmfnet_napari.learning.fit.run_folder import run_scribbles
    from cmfnet_napari.learning.model.checkpoint import load_model
    from cmfnet_napari.learning.predict.predictor import predict_study

    network, card = load_model(model, pick_device(device))
    study = open_study(ct, mr)
    memory = None if memory_gib is None else memory_gib * 2**30
    file = scribbles or run_scribbles(model, card, study)
    strokes = None if file is None else check_codes(load_labels(file, study.grid), file.name)
    asked = disagreement is not None
    prediction = predict_study(network, card, study, memory, strokes, branches=asked)
    save_labels(prediction.labels, study, out)
    result = {"prediction": str(out), "volumes_ml": volumes_ml(prediction.labels, study.grid)}
    if probabilities is not None:
        save_labels(prediction.probability, study, probabilities)
        result["probabilities"] = str(probabilities)
    if disagreement is not None:
        save_labels(to_percent(prediction.disagreement), study, disagreement)
        result["disagreement"] = str(disagreement)
    _show(result, as_json)


@app.command()
def evaluate(
    prediction: Annotated[Path, typer.Argument(help="Labels to judge")],
    reference: Annotated[Path, typer.Argument(help="Labels to judge by, on the same grid")],
    tolerance_mm: Annotated[float, typer.Option(help="Of the surface DSC")] = 2.0,
    as_json: Json = False,
) -> None:
    """DSC, ASD, HD95, surface DSC and volumes, per class and mean, in millimetres."""
    from cmfnet_napari.core.contours.metrics import evaluate as judge
    from cmfnet_napari.core.images.volume import from_image, read_image

    ours, theirs = (from_image(read_image(path)) for path in (prediction, reference))
    if not ours.grid.same_place(theirs.grid):
        raise UserError(
            f"{prediction.name} ({ours.grid}) and {reference.name} ({theirs.grid}) are on "
            "different grids. Export both on the CT."
        )
    result = judge(ours.array, theirs.array, ours.grid, tolerance_mm=tolerance_mm)
    if as_json:
        _show(result.as_dict(), True)
    else:
        _show_metrics(result.as_dict())


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run that is complete")],
    ct: Ct,
    out: Annotated[Path, typer.Option(help="PDF to write")],
    mr: Mr = None,
    reference: Annotated[Path | None, typer.Option(help="Contour to compare with")] = None,
    as_json: Json = False,
) -> None:
    """One page of PDF: pictures, volumes, agreement, what was looked at."""
    from cmfnet_napari.core.images.study import open_study
    from cmfnet_napari.core.report.from_run import report_run

    _show({"report": str(report_run(run, open_study(ct, mr), out, reference))}, as_json)


@app.command()
def scribble(
    mask: Annotated[Path, typer.Argument(help="0 background, 1, 2… classes")],
    out: Annotated[Path, typer.Option(help="Scribbles to write, on the mask's grid")],
    ct: Annotated[Path | None, typer.Option(help="Keeps background inside the body")] = None,
    margin_mm: Annotated[float, typer.Option(help="Kept free around the masks")] = 10.0,
    coverage: Annotated[float, typer.Option(help="Background, percent of all voxels")] = 0.06,
    classes: Annotated[
        str, typer.Option(help="Classes that get strokes too: all, or numbers such as 1,3")
    ] = "",
    class_margin_mm: Annotated[float, typer.Option(help="Kept free inside the masks")] = 2.0,
    class_coverage: Annotated[float, typer.Option(help="A class, percent of all voxels")] = 0.04,
    whole: Annotated[bool, typer.Option(help="The whole eroded region, not strokes")] = False,
    seed: Annotated[int, typer.Option(help="Same seed, same strokes")] = 0,
    as_json: Json = False,
) -> None:
    """Erode masks into automatic background (and optional class) scribbles."""
    from cmfnet_napari.core.strokes.from_masks import Erosion, scribble_masks

    background = Erosion(margin_mm, coverage / 100, whole, seed)
    foreground = Erosion(class_margin_mm, class_coverage / 100, whole, seed)
    _show(scribble_masks(mask, out, ct, _numbers(classes), background, foreground), as_json)


@app.command("import")
def import_(
    paths: Annotated[
        list[Path], typer.Argument(help="DICOM folders or files; or a CT file and an MR file")
    ],
    case: Annotated[Path, typer.Option(help="New case folder")],
    ct: Annotated[str | None, typer.Option(help="UID of the CT series; else proposed")] = None,
    mr: Annotated[str | None, typer.Option(help="UID of the MR series, or none")] = None,
    structures: Annotated[
        bool, typer.Option("--structures", help="Load structure sets and segmentations too")
    ] = False,
    register: Annotated[
        bool, typer.Option("--register", help="Register the MR to the CT, rigidly")
    ] = False,
    any_frame: Annotated[
        bool,
        typer.Option("--any-frame", help="Place contours of another frame of reference as written"),
    ] = False,
    as_json: Json = False,
) -> None:
    """A case folder from a patient's DICOM: CT, MR, registration, structures."""
    from cmfnet_napari.core.dicom.importing.import_case import import_patient, read_patient
    from cmfnet_napari.progress import step_progress

    with step_progress() as progress:
        loaded, series = read_patient(paths, ct, mr, structures, register, any_frame, progress)
    result = {"series": series, **import_patient(loaded, case)}
    for warning in result.get("registration", {}).get("warnings", []):
        print(f"cmfnet: warning: {warning}", file=sys.stderr)
    _show(result, as_json)


@app.command()
def export(
    segmentation: Annotated[Path, typer.Argument(help="0 background, 1, 2… classes")],
    reference: Annotated[Path, typer.Option(help="Folder with the DICOM series it was drawn on")],
    out: Annotated[Path, typer.Option(help="File to write: .dcm, or .nii.gz for nifti")],
    kind: Annotated[str, typer.Option("--format", help="rtstruct, seg or nifti")] = "rtstruct",
    add_to: Annotated[
        Path | None, typer.Option(help="Structure set to take over; that file stays as it is")
    ] = None,
    name: Annotated[list[str] | None, typer.Option(help="Structure's name; one a class")] = None,
    type_: Annotated[
        list[str] | None, typer.Option("--type", help="GTV, CTV, PTV, ORGAN, AVOIDANCE, EXTERNAL")
    ] = None,
    model: Annotated[str, typer.Option(help="Name of the model that made it")] = "CmFNet",
    series: Annotated[str, typer.Option(help="Series Instance UID, if there are several")] = "",
    overwrite: Annotated[bool, typer.Option(help="Replace the file if it is there")] = False,
    as_json: Json = False,
) -> None:
    """Write contours as a structure set or DICOM SEG, once they read back as they should."""
    from cmfnet_napari.core.dicom.export.checked_export import classes_in
    from cmfnet_napari.core.dicom.export.checked_export import export as run_export
    from cmfnet_napari.core.dicom.export.provenance import Maker
    from cmfnet_napari.core.dicom.export.reference import read_reference
    from cmfnet_napari.core.dicom.export.roi import make_rois
    from cmfnet_napari.core.images.volume import read_image

    labels = read_image(segmentation)
    rois = make_rois(classes_in(labels), name or (), type_ or ())
    receipt = run_export(
        labels,
        read_reference(reference, series, labels),
        rois,
        kind,
        out,
        Maker(model),
        add_to=add_to,
        overwrite=overwrite,
    )
    _show({"written": str(out), **receipt.as_dict()}, as_json)


@app.command()
def worker(case: Annotated[Path, typer.Argument(help="Case folder")]) -> None:
    """The background worker: JSON lines in, JSON lines out."""
    from cmfnet_napari.learning.worker import serve

    raise typer.Exit(serve(case))


@app.command()
def doctor(as_json: Json = False) -> None:
    """What this machine can do: GPU, memory, Qt, OpenGL, versions."""
    from cmfnet_napari.doctor import examine, report

    if as_json:
        _show(examine(), True)
    else:
        report()


def _warn(study: Study, scribbles: np.ndarray, config: Config, device: str) -> None:
    """Print what speaks against a fit that can begin; if it cannot, it says so itself."""
    from cmfnet_napari.core.fit.cost_estimate import expect
    from cmfnet_napari.core.fit.preflight_checks import preflight
    from cmfnet_napari.learning.engine.device import pick_device

    on_processor = pick_device(device).type == "cpu"
    expected = expect(config, study.grid) if on_processor else None
    findings = preflight(study, scribbles, expected=expected)
    if all(finding.severity == "warning" for finding in findings):
        for finding in findings:
            print(f"cmfnet: warning: {finding.text}", file=sys.stderr)


def read_settings(settings: list[str] | None) -> dict[str, Any]:
    """``["width=8", "fusion=none"]`` → {"width": 8, "fusion": "none"}; values are JSON or text.

    Raises
    ------
    typer.BadParameter
        A text without an equals sign.
    """
    changes: dict[str, Any] = {}
    for text in settings or []:
        field, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"{text!r} is not FIELD=VALUE, such as width=8")
        try:
            changes[field.strip()] = json.loads(value)
        except ValueError:
            changes[field.strip()] = value
    return changes


def _numbers(text: str) -> list[int] | None:
    """``all`` → None, ``""`` → [], ``1,3`` → [1, 3]."""
    if text.strip() == "all":
        return None
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither 'all' nor numbers such as 1,3") from None


def _with_folder(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Event of a run with its files named from here."""
    for key in ("model", "labels", "probabilities", "disagreement"):
        values[key] = str(folder / values[key]) if values[key] else ""
    values["prediction"] = values.pop("labels")
    return values


def _show(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None)
    for key, value in result.items():
        text = json.dumps(value) if isinstance(value, dict | list) else str(value)
        table.add_row(key.replace("_", " "), text)
    Console(markup=False, highlight=False).print(table)


def _show_metrics(values: dict[str, Any]) -> None:
    """One row a class, and their mean."""
    from rich.console import Console
    from rich.table import Table

    rows = {**values["classes"], "mean": values["mean"]}
    names = list(values["mean"])
    table = Table("class", *(name.replace("_", " ") for name in names), box=None)
    for row, numbers in rows.items():
        cells = ("–" if numbers[n] is None else f"{numbers[n]:.3f}" for n in names)
        table.add_row(row, *cells)
    Console(markup=False, highlight=False).print(table)
    print(f"Surface DSC at {values['tolerance_mm']:g} mm.")
