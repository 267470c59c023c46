"""Contour a patient from Python, without a window.

    python examples/fit_a_patient.py OUT                     the built-in synthetic patient
    python examples/fit_a_patient.py OUT CT MR SCRIBBLES     a patient of yours

OUT is a new folder. Scribbles: 0 unlabelled, 1 background, 2, 3, … the classes, on the CT's grid.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cmfnet_napari as cmfnet


def main(out: Path, files: list[Path]) -> None:
    """Open, read the scribbles, train, save."""
    made = {} if files else cmfnet.sample_patient(out)
    ct, mr, scribbles = files or (made["ct"], made["mr"], made["scribbles"])

    study = cmfnet.open_study(ct, mr)  # both on the CT's grid
    strokes = cmfnet.load_scribbles(scribbles, study)  # uint8 (z, y, x)
    config = cmfnet.make_config("quick", minutes=1.0)  # any number of a fit can be changed
    done = cmfnet.fit(study, strokes, out / "run", config, on_event=say)

    labels = cmfnet.load_labels(done.prediction, study)  # 0 background, 1, 2, … (z, y, x)
    path = cmfnet.save_labels(labels, study, out / "contour.nrrd")  # as the CT lies on disk
    print(f"\n{path}: {done.volumes_ml} ml after {done.steps} steps")
    if made:  # the synthetic patient's true contour is known
        print(f"DSC {cmfnet.evaluate(labels, made['truth'], study).mean.dsc:.3f}")


def say(event: Any) -> None:
    """Show how far the fit is."""
    if event.event == "step":
        print(f"\r{event.progress:4.0%}  loss {event.losses['total']:.3f}", end="", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:5]])
