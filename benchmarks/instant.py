"""The provisional contour: how long it takes, and how far it is from the race at full resolution.

    OMP_NUM_THREADS=1 python benchmarks/instant.py [--cases STS_006,STS_015,STS_030]
        [--styles careful,hasty]

For every patient and simulated user (`strokes.py`): processor seconds of the provisional contour
(`core/clues/provisional_contour.py`, one thread, its first call for a patient left out), of
the same race by `core/clues/race.py` on all voxels, DSC between the two, and DSC of each with
the reference contour.
Then seconds on made-up strokes in a study of 512×512×200. Data: CMFNET_TEST_DATA, or
../shared/data.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import SimpleITK as sitk
import typer
from rich.console import Console
from rich.table import Table

from cmfnet_napari.core.clues.appearance import appearance
from cmfnet_napari.core.clues.provisional_contour import MARGIN_MM, provisional_contour
from cmfnet_napari.core.clues.race import LOOKS_EDGE_MM, race
from cmfnet_napari.core.contours.components import drop_unmarked
from cmfnet_napari.core.contours.metrics import dice
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.geometry.boxes import bounding_box, grow
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import Study, limits_of, load_labels, open_study, unit_pair
from cmfnet_napari.core.images.volume import Volume
from cmfnet_napari.core.strokes.scribbles import FIRST_CLASS, IGNORE, to_targets
from cmfnet_napari.learning.material.user_styles import STYLES, draw

DATA = Path(os.environ.get("CMFNET_TEST_DATA", "../shared/data"))
CLINICAL = (200, 512, 512)
T = TypeVar("T")


def main(
    cases: Annotated[str, typer.Option(help="Separated by commas")] = "STS_006,STS_015,STS_030",
    styles: Annotated[str, typer.Option(help=", ".join(STYLES))] = "careful,hasty",
) -> None:
    """Measure and show a table."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    table = Table("patient", "strokes", "s", "s, all voxels", "DSC between", "DSC", "… all voxels")
    for case in cases.split(","):
        folder = DATA / "sts" / "cases" / case
        study = open_study(folder / "ct.nii.gz", folder / "mr.nii.gz")
        truth = load_labels(folder / "gtv.nii.gz", study.grid) > 0
        for style in styles.split(","):
            table.add_row(case, style, *_compare(study, truth, style))
    Console().print(table)
    for extent in (40, 80, 120):
        print(f"512×512×200, tumour strokes over {extent} mm: {_clinical(extent):.2f} s")


def _compare(study: Study, truth: np.ndarray, style: str) -> list[str]:
    scribbles = draw(truth, study, STYLES[style])
    config = Config()
    limits = limits_of(study, config.ct_window, config.mr_percentiles)
    provisional_contour(study, scribbles, limits)
    seconds, found = _timed(lambda: provisional_contour(study, scribbles, limits))
    quick = np.zeros(truth.shape, bool)
    quick[found.region] = found.labels > 0
    slow_seconds, slow = _timed(lambda: _all_voxels(study, scribbles))
    scores = (dice(quick, slow), dice(quick, truth), dice(slow, truth))
    return [f"{seconds:.2f}", f"{slow_seconds:.2f}", *(f"{score:.3f}" for score in scores)]


def _all_voxels(study: Study, scribbles: np.ndarray) -> np.ndarray:
    """The race of `core/clues/race.py` on the voxels of the CT, bool (z, y, x)."""
    grid, config = study.grid, Config()
    margin = tuple(round(MARGIN_MM / s) for s in grid.spacing)
    region = grow(bounding_box(scribbles >= FIRST_CLASS), margin, grid.shape)
    images = [
        unit[region] for unit in unit_pair(study, config.ct_window, config.mr_percentiles)[:2]
    ]
    targets = to_targets(scribbles[region])
    looks = appearance(images, targets, 2)
    starts = np.where(~study.body[region] & (targets == IGNORE), 0, targets)
    costs = race(images, starts, 2, grid.spacing, LOOKS_EDGE_MM, looks)
    labels = np.zeros(grid.shape, np.uint8)
    labels[region] = costs[1] < costs[0]
    return drop_unmarked(labels, scribbles) > 0


def _clinical(extent_mm: float) -> float:
    """Seconds on noise, two classes and background."""
    rng = np.random.default_rng(0)
    grid = Grid(CLINICAL, (3.0, 0.98, 0.98))
    ct = rng.normal(40, 20, CLINICAL).astype(np.int16)
    study = Study(
        Volume(ct, grid, "CT"),
        Volume(ct.astype(np.float32), grid, "MR"),
        np.ones(CLINICAL, bool),
        grid,
    )
    scribbles = np.zeros(CLINICAL, np.uint8)
    reach = [round(extent_mm / 2 / s) for s in grid.spacing]
    for code, end in ((2, -1), (3, 1)):
        z, y, x = (n // 2 + end * r for n, r in zip(CLINICAL, reach, strict=True))
        scribbles[z, y - 3 : y + 3, x - 20 : x + 20] = code
    scribbles[100, 240:270, 250:254] = 1
    provisional_contour(study, scribbles, (0.0, 100.0))
    return _timed(lambda: provisional_contour(study, scribbles, (0.0, 100.0)))[0]


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


if __name__ == "__main__":
    typer.run(main)
