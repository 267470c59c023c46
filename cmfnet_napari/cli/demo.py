"""The main job on the built-in synthetic patient, without a window."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cmfnet_napari.api import sample_patient
from cmfnet_napari.cli.progress import FitProgress
from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.case.find_case import case_for
from cmfnet_napari.core.contours.metrics import evaluate
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, write_json
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.fit.preview_file import read_preview
from cmfnet_napari.core.images.study import load_labels, load_values, open_study, save_labels
from cmfnet_napari.core.report.curves import save_losses
from cmfnet_napari.core.report.figures import save_contours
from cmfnet_napari.core.strokes.entries import difference
from cmfnet_napari.learning.fit.callbacks import Hooks
from cmfnet_napari.learning.fit.start import fit

_SHOWN = (("dsc", 3), ("hd95_mm", 1), ("volume_ml", 1))


def has_display() -> bool:
    """Whether a window can be expected to open here."""
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def run_demo(out: Path, progress: FitProgress) -> JsonObject:
    """Open, scribble, train, predict, evaluate; as the window does it, on a case folder.

    Parameters
    ----------
    out : Path
        Takes the patient's files, the case, prediction.nii.gz, metrics.json, contours.png and
        losses.png; new, or of an earlier demo.
    progress : FitProgress
        Shows the fit.

    Returns
    -------
    dict
        ``dsc`` and the other ``metrics`` of the tumour; the same of the ``first`` contour, shown
        before any training; seconds and steps; a ``warning`` when few steps fitted into the time;
        the paths written.

    Raises
    ------
    UserError
        The folder holds other files or cannot be made, or the demo was ended.
    """
    began = time.monotonic()
    files = sample_patient(out)
    study = open_study(files["ct"], files["mr"])
    case = case_for(study, out / "case")
    drawn = load_values(files["scribbles"], study.grid)
    truth = load_labels(files["truth"], study.grid)
    pictures = out / "contours.png"
    if stroke := difference(case.scribbles(), drawn, "import"):
        case.journal.append(stroke)

    def judge(labels: Codes) -> JsonObject:
        """Draw a contour and score it."""
        save_contours(study, labels, pictures, reference=truth, scribbles=drawn)
        scores = evaluate(labels, truth, study.grid, ["Tumour"]).as_dict()
        return {"after_s": round(time.monotonic() - began, 1), "metrics": scores}

    first: JsonObject = {}

    def show(event: events.Event) -> None:
        progress.show(event)
        if isinstance(event, events.Preview) and not first:
            first.update(judge(read_preview(case.folder / event.labels, study.grid.shape)))
            text = f"The first contour, after {first['after_s']:.0f} s, is in {pictures}."
            progress.show(events.Notice(step=event.step, text=f"{text} Now it trains."))

    config = make_config("quick")
    finished = fit(
        study,
        case.scribbles(),
        case.new_run("quick"),
        config,
        hooks=Hooks(emit=show, request=progress.request),
        root=case.folder,
    )
    if finished is None:
        raise UserError("The demo was ended before its contour was complete.")
    labels = load_labels(case.folder / finished.labels, study.grid)
    case.close()
    trained = judge(labels)
    save_losses(progress.steps, out / "losses.png")
    result = {
        "dsc": trained["metrics"]["mean"]["dsc"],
        "metrics": trained["metrics"],
        "first": first,
        "after_s": trained["after_s"],
        "steps": finished.steps,
        "planned_steps": config.steps,
        "seconds": finished.seconds,
        "warning": finished.warning,
        "prediction": str(save_labels(labels, study, out / "prediction.nii.gz")),
        "contours": str(pictures),
        "losses": str(out / "losses.png"),
    }
    write_json(out / "metrics.json", result)
    return result


def show_demo(result: JsonObject) -> None:
    """Print what `run_demo` returned: a small table, and where the pictures are."""
    table = Table("", box=None)
    for heading in ("DSC", "HD95 mm", "volume ml", "after s"):
        table.add_column(heading, justify="right")
    for name, contour in (("first contour", result["first"]), ("trained", result)):
        if contour:
            scores = contour["metrics"]["classes"]["Tumour"]
            cells = (f"{scores[key]:.{digits}f}" for key, digits in _SHOWN)
            table.add_row(name, *cells, f"{contour['after_s']:.0f}")
    reference = result["metrics"]["classes"]["Tumour"]["reference_ml"]
    table.add_row("reference", "", "", f"{reference:.1f}", "")
    Console(markup=False, highlight=False).print(table)
    print(result["warning"] or f"{result['steps']} of {result['planned_steps']} steps.")
    print(f"Pictures: {result['contours']}, {result['losses']}")
    print(f"Contour: {result['prediction']}")
