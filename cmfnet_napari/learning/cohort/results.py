"""Scores of the patients held out, as a table on disk and as means."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cmfnet_napari.core.arrays import Floats
from cmfnet_napari.core.contours.mean_interval import score_interval
from cmfnet_napari.core.fit.card_sections import Performance
from cmfnet_napari.core.tables import write_table
from cmfnet_napari.core.words import cell, from_cell
from cmfnet_napari.learning.cohort.patients import METRICS

RESULTS_FILE = "results.csv"
RESULT_COLUMNS: list[object] = ["case", "split", "class", *METRICS]
_ON_CARDS = ("dsc", "surface_dsc", "hd95_mm")


@dataclass(frozen=True)
class Result:
    """Scores of one class of one patient; `values` in the order of `METRICS`, NaN undefined."""

    case: str
    split: str
    label: int
    values: tuple[float, ...]


def tabulate(table: Floats, names: Sequence[str], split: str) -> list[Result]:
    """Name the rows of `patients.judge` (patients, classes, metrics)."""
    return [
        Result(name, split, label, tuple(float(v) for v in values))
        for name, classes in zip(names, table, strict=True)
        for label, values in enumerate(classes, start=1)
    ]


def means(table: Floats) -> dict[str, float]:
    """Mean of every metric that somebody has, as `curve_point` has them."""
    return {name: value for name, value in curve_point(table).items() if np.isfinite(value)}


def curve_point(table: Floats) -> dict[str, float]:
    """Mean of every metric over patients and classes that have one, else NaN; no volumes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a metric that nobody has stays NaN
        values = np.nanmean(table.reshape(-1, len(METRICS)), axis=0)
    scores = zip(METRICS, values, strict=True)
    return {name: float(v) for name, v in scores if not name.endswith("_ml")}


def performance(results: Sequence[Result]) -> list[Performance]:
    """Means over patients held out, with intervals, for a model's card; none where nobody was."""
    rows = []
    for measure in _ON_CARDS:
        place = METRICS.index(measure)
        by_case: dict[str, list[float]] = {}
        for result in results:
            if np.isfinite(result.values[place]):
                by_case.setdefault(result.case, []).append(result.values[place])
        if by_case:
            found = score_interval(measure, [float(np.mean(v)) for v in by_case.values()])
            rows.append(Performance(group="patients held out", measure=measure, **found._asdict()))
    return rows


def write_results(path: Path, results: Sequence[Result]) -> None:
    """Write one row a patient and class; an empty cell is a score that is not defined."""
    write_table(path, [RESULT_COLUMNS, *map(result_row, results)])


def result_row(result: Result) -> list[object]:
    """A result's cells, below `RESULT_COLUMNS`."""
    values = ("" if np.isnan(value) else f"{value:.4f}" for value in result.values)
    return [cell(result.case), cell(result.split), result.label, *values]


def read_results(path: Path) -> list[Result]:
    """Read what `write_results` wrote."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        Result(
            from_cell(row["case"]),
            from_cell(row["split"]),
            int(row["class"]),
            tuple(float(row.get(name) or "nan") for name in METRICS),  # earlier ones had fewer
        )
        for row in rows
    ]
