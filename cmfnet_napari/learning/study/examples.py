"""Slices of some patients with the contours of all methods of a study, as in Fig. 3 to 5."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.images.study import unit_pair
from cmfnet_napari.core.report.method_pictures import (
    Example,
    make_example,
    save_method_pictures,
)
from cmfnet_napari.learning.cohort.cohort_file import Row, read_cohort
from cmfnet_napari.learning.cohort.loaded_cases import load_case
from cmfnet_napari.learning.cohort.split import prediction_path
from cmfnet_napari.learning.study.study_tables import Scored

_SHOWN = 3  # patients


def draw_examples(
    cohort: Path, scored: Sequence[Scored], out: Path, folder: Path | None = None
) -> None:
    """Write examples.png and examples.pdf: the first patients that all methods were judged by.

    `out` is the study's folder; the figures go into `folder`, if that is given.
    """
    examples: list[Example] = []
    shown: set[str] = set()
    for row in read_cohort(cohort):
        found = dict(_found(row, scored, out))
        if row.case in shown or len(found) < len({one.job.method for one in scored}):
            continue
        shown.add(row.case)
        case = load_case(row)
        if case.reference is None:
            continue
        config = scored[0].job.config
        image, _, _ = unit_pair(case.study, config.ct_window, config.mr_percentiles)
        grid = case.study.grid
        examples.append(make_example(row.case, image, grid.spacing, case.reference, found))
        if len(examples) == _SHOWN:
            break
    if examples:
        for ending in ("png", "pdf"):
            save_method_pictures(examples, (folder or out) / f"examples.{ending}")


def _found(row: Row, scored: Sequence[Scored], out: Path) -> Iterator[tuple[str, Codes]]:
    """What the first seed of every method found on a row."""
    known: set[str] = set()
    for job, _ in scored:
        if job.method in known:
            continue
        for path in sorted((out / job.folder).rglob(prediction_path(Path(), row.line).name)):
            with np.load(path, allow_pickle=False) as file:
                yield job.method, file["labels"]
            known.add(job.method)
