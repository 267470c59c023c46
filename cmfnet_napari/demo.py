"""The main job on the built-in synthetic patient, without a window."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from cmfnet_napari.core.case import case_for, write_json
from cmfnet_napari.core.config import make_config
from cmfnet_napari.core.curves import save_losses
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.figures import save_contours
from cmfnet_napari.core.journal import difference
from cmfnet_napari.core.metrics import evaluate
from cmfnet_napari.core.phantom import write_phantom
from cmfnet_napari.core.study import load_labels, open_study, save_labels
from cmfnet_napari.learning.fit import fit
from cmfnet_napari.learning.hooks import Hooks
from cmfnet_napari.progress import FitProgress


def has_display() -> bool:
    """Whether a window can be expected to open here."""
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def run_demo(out: Path, progress: FitProgress) -> dict[str, Any]:
    """Open, scribble, train, predict, evaluate; as the window does it, on a case folder.

    Parameters
    ----------
    out : Path
        Takes the patient's files, the case, prediction.nii.gz, metrics.json, contours.png and
        losses.png.
    progress : FitProgress
        Shows the fit.

    Returns
    -------
    dict
        ``dsc`` and the other metrics of the tumour, times, and the paths written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {out} cannot be made ({error.strerror}).") from error
    files = write_phantom(out)
    study = open_study(files["ct"], files["mr"])
    case = case_for(study, out / "case")
    drawn = load_labels(files["scribbles"], study.grid)
    if stroke := difference(case.scribbles(), drawn, "import"):
        case.journal.append(stroke)
    config = make_config("quick")
    hooks = Hooks(emit=progress.show, request=progress.request)
    finished = fit(
        study, case.scribbles(), case.new_run("quick"), config, hooks=hooks, root=case.folder
    )
    labels = load_labels(case.folder / finished.labels, study.grid)
    case.close()

    truth = load_labels(files["truth"], study.grid)
    metrics = evaluate(labels, truth, study.grid, ["Tumour"]).as_dict()
    prediction = save_labels(labels, study, out / "prediction.nii.gz")
    save_contours(study, labels, out / "contours.png", reference=truth, scribbles=drawn)
    save_losses(progress.steps, out / "losses.png")
    result = {
        "dsc": metrics["mean"]["dsc"],
        "metrics": metrics,
        "steps": finished.steps,
        "seconds": finished.seconds,
        "prediction": str(prediction),
        "contours": str(out / "contours.png"),
        "losses": str(out / "losses.png"),
    }
    write_json(out / "metrics.json", result)
    return result
