"""DSC of the race and of a preset on real patients, from the same simulated strokes.

    python benchmarks/real_patients.py [--preset quick] [--seed 0] STS_015 STS_042 …

Data: CMFNET_TEST_DATA, or ../shared/data.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from strokes import careful

from cmfnet_napari.core.body import body_mask
from cmfnet_napari.core.config import make_config
from cmfnet_napari.core.metrics import evaluate
from cmfnet_napari.core.study import Study, load_labels, open_study
from cmfnet_napari.learning.fit import fit
from cmfnet_napari.learning.guide import make_guide
from cmfnet_napari.learning.prepare import make_frame, make_inputs

DATA = Path(os.environ.get("CMFNET_TEST_DATA", "../shared/data"))


def main(
    cases: list[str],
    preset: Annotated[str, typer.Option()] = "quick",
    seed: Annotated[int, typer.Option(help="Of the strokes")] = 0,
) -> None:
    """One row a patient: strokes, race, preset."""
    print("case      strokes bg, tumour %   race DSC   DSC   ASD mm  HD95 mm  steps  seconds")
    for case in cases:
        folder = DATA / "sts" / "cases" / case
        study = open_study(folder / "ct.nii.gz", folder / "mr.nii.gz")
        truth = load_labels(folder / "gtv.nii.gz", study.grid) > 0
        scribbles = careful(truth, study.grid, seed)
        shares = [100 * float((scribbles == code).mean()) for code in (1, 2)]
        race = evaluate(race_contour(study, scribbles, preset), truth, study.grid).mean.dsc
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as run:
            done = fit(study, scribbles, Path(run), make_config(preset))
            labels = load_labels(Path(run) / done.labels, study.grid)
        seconds = time.monotonic() - began
        ours = evaluate(labels > 0, truth, study.grid).mean
        print(
            f"{case}   {shares[0]:.3f} {shares[1]:.3f}            {race:.3f}      {ours.dsc:.3f} "
            f"{ours.asd_mm:6.1f} {ours.hd95_mm:7.1f} {done.steps:7d} {seconds:8.0f}",
            flush=True,
        )


def race_contour(study: Study, scribbles: np.ndarray, preset: str) -> np.ndarray:
    """What the guide alone says, with air as background, on the Study's Grid."""
    config = make_config(preset)
    frame = make_frame(study.grid, scribbles, config)
    inputs = make_inputs(study, frame, config)
    body, spacing = frame.coarsen(body_mask(study.ct)), frame.spacing(study.grid)
    targets = inputs.targets(scribbles)
    guide = make_guide(inputs, targets, body, 2, spacing, config.guide_softness)
    return frame.paste((frame.refine(guide)[1] > 0.5).numpy())


if __name__ == "__main__":
    typer.run(main)
