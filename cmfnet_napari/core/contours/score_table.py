"""Volumes and scores of a contour as rows to read, and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from cmfnet_napari.core.contours.hand_work import HandWork
from cmfnet_napari.core.contours.metrics import MEASURES, Evaluation, Scores
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
    return names, {
        measure.title.format(tolerance_mm=evaluation.tolerance_mm): [
            _figure(getattr(scores, measure.name), measure.digits) for scores in columns
        ]
        for measure in MEASURES
    }


def write_scores(
    path: str | Path,
    volumes_ml: Mapping[str, float],
    evaluation: Evaluation | None,
    hand: HandWork | None = None,
) -> Path:
    """Write a CSV: one row a class and, with several, their mean; an undefined value is empty.

    Columns are ``class`` and the fields of `metrics.Scores`, or ``volume_ml`` alone where nothing
    was compared; and where the hand has changed the contour, ``added_by_hand_ml``,
    ``removed_by_hand_ml`` and, of all classes, ``slices_by_hand``, ``path_by_hand_mm`` and
    ``seconds_by_hand``.

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
            [name, *(getattr(one, m) for m in measures), evaluation.tolerance_mm]
            for name, one in scores.items()
        ]

    if hand:
        header = [*header, *_HAND]
        rows = [[*row, *_by_hand(str(row[0]), hand)] for row in rows]

    def write(part: Path) -> None:
        with open(part, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *([cell(str(row[0])), *row[1:]] for row in rows)])

    return write_safely(Path(path), ".csv", write)


def _by_hand(name: str, hand: HandWork) -> list[float | str]:
    whole = (hand.slices, hand.path_mm, hand.seconds)
    return [hand.added_ml.get(name, ""), hand.removed_ml.get(name, ""), *whole]


def _figure(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
