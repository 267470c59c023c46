"""Contour a patient from Python, without a window.

    python examples/fit_a_patient.py OUT                     the built-in synthetic patient
    python examples/fit_a_patient.py OUT CT MR SCRIBBLES     a patient of yours

OUT is a new folder. Scribbles: 0 unlabelled, 1 background, 2, 3, … the classes, on the CT's grid.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.fit.events import Event, Step
from cmfnet_napari.core.images.study import load_labels, open_study, save_labels
from cmfnet_napari.core.samples.phantom import write_phantom
from cmfnet_napari.core.strokes.scribbles import check_codes
from cmfnet_napari.learning.fit.callbacks import Hooks
from cmfnet_napari.learning.fit.start import fit


def main(out: Path, files: list[Path]) -> None:
    """Open, read the scribbles, train, save."""
    run = out / "run"
    run.mkdir(parents=True)
    if not files:
        made = write_phantom(out)
        files = [made["ct"], made["mr"], made["scribbles"]]
    ct, mr, scribbles = files

    study = open_study(ct, mr)  # both on the CT's grid
    strokes = check_codes(load_labels(scribbles, study.grid))  # uint8 (z, y, x)
    config = make_config("quick", minutes=1.0)  # any field of core/fit/config.py can be changed
    finished = fit(study, strokes, run, config, hooks=Hooks(emit=say))

    labels = load_labels(run / finished.labels, study.grid)  # 0 background, 1, 2, … (z, y, x)
    path = save_labels(labels, study, out / "contour.nrrd")  # on the CT's grid as it lies on disk
    print(f"\n{path}: {finished.volumes_ml} ml after {finished.steps} steps")


def say(event: Event) -> None:
    """Show how far the fit is."""
    if isinstance(event, Step):
        print(f"\r{event.progress:4.0%}  loss {event.losses['total']:.3f}", end="", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:5]])
