"""Volumes and scores of a contour as rows to read, and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from cmfnet_napari.core.contours.hand_work import HandWork
from cmfnet_napari.core.contours.metrics import MEASURES, Evaluation, Measure, Scores
from cmfnet_napari.core.files import write_safely
from cmfnet_napari.core.words import cell

_MEAN = "Mean"
_HAND = (
    "added_by_hand_ml",
    "removed_by_hand_ml",
    "slices_by_hand",
    "path_by_hand_mm",
    "seconds_by_hand",
)


def score_rows(
    volumes_ml: Mapping[str, float], evaluation: Evaluation | None
) -> tuple[list[str], dict[str, list[str]]]:
    """Names of the columns, and for every measure its values.

    Parameters
    ----------
    volumes_ml : mapping
        By class.
    evaluation : Evaluation or None
        One column a class and, with several, their mean; None: volumes alone.
    """
    if evaluation is None:
        return list(volumes_ml), {"Volume, ml": [f"{ml:.1f}" for ml in volumes_ml.values()]}
    names, columns = list(evaluation.classes), list(evaluation.classes.values())
    if len(columns) > 1:
        names, columns = [*names, _MEAN], [*columns, evaluation.mean]
    own = evaluation.tolerances_mm
    rows = {
        _title(measure, evaluation): [
            _figure(getattr(scores, measure.name), measure.digits) for scores in columns
        ]
        for measure in MEASURES
    }
    if own:
        rows["Tolerance, mm"] = [
            "–" if scores is evaluation.mean else f"{evaluation.tolerance_of(name):g}"
            for name, scores in zip(names, columns, strict=True)
        ]
    return names, rows


def _title(measure: Measure, evaluation: Evaluation) -> str:
    """A measure with its tolerance; where classes have their own, these are a row."""
    if evaluation.tolerances_mm:
        return measure.title.removesuffix(" at {tolerance_mm:g} mm")
    return measure.title.format(tolerance_mm=evaluation.tolerance_mm)


def write_scores(
    path: str | Path,
    volumes_ml: Mapping[str, float],
    evaluation: Evaluation | None,
    hand: HandWork | None = None,
) -> Path:
    """Write a CSV: one row a class and, with several, their mean; an undefined value is empty.

    Columns are ``class`` and the fields of `metrics.Scores`, or ``volume_ml`` alone where nothing
    was compared; and where the hand has changed the contour, ``added_by_hand_ml``,
    ``removed_by_hand_ml``, ``path_by_hand_mm`` (the mean's row: of all classes) and, of all
    classes, ``slices_by_hand`` and ``seconds_by_hand``.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    if evaluation is None:
        header = ["class", "volume_ml"]
        rows = [[name, ml] for name, ml in volumes_ml.items()]
    else:
        measures = [field.name for field in fields(Scores)]
        header = ["class", *measures, "tolerance_mm"]
        scores = evaluation.classes | (
            {_MEAN: evaluation.mean} if len(evaluation.classes) > 1 else {}
        )
        rows = [
            [name, *(getattr(one, m) for m in measures), _tolerance(name, evaluation)]
            for name, one in scores.items()
        ]

    if hand:
        header = [*header, *_HAND]
        rows = [[*row, *_by_hand(str(row[0]), hand)] for row in rows]

    def write(part: Path) -> None:
        with open(part, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *([cell(str(row[0])), *row[1:]] for row in rows)])

    return write_safely(Path(path), ".csv", write)


def _tolerance(name: str, evaluation: Evaluation) -> float | str:
    """Of a row; a mean of several tolerances has none."""
    several = evaluation.tolerances_mm and name not in evaluation.classes
    return "" if several else evaluation.tolerance_of(name)


def _by_hand(name: str, hand: HandWork) -> list[float | str]:
    path = hand.path_mm if name == _MEAN else hand.paths_mm.get(name, 0.0)
    whole = (hand.slices, path, hand.seconds)
    return [hand.added_ml.get(name, ""), hand.removed_ml.get(name, ""), *whole]


def _figure(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
