"""What a training on a cohort wrote elsewhere, checked before it counts: whoever reads it can."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject

_RESULTS = ["case", "split", "class"]


def check_plan(plan: JsonObject, patients: Collection[str]) -> None:
    """Check that a plan is about patients of ours; UserError when it is not."""
    rows = plan.get("data")
    if not isinstance(rows, list) or not isinstance(plan.get("config"), dict):
        raise UserError("a plan without settings or data")
    for row in rows:
        if not isinstance(row, list) or len(row) != 3 or not all(isinstance(c, str) for c in row):
            raise UserError("a plan whose data are none")
        _check_patient(row[0], patients)


def check_results(path: Path, patients: Collection[str]) -> None:
    """Check that a table is one of scores of patients of ours.

    Raises
    ------
    UserError, ValueError
        It is not; a score that is no number.
    """
    header, rows = _read(path)
    if header[:3] != _RESULTS:
        raise UserError("a table of something else")
    for row in rows:
        _check_patient(row[0], patients)
        int(row[2])
        for value in filter(None, row[3:]):
            float(value)


def check_curve(path: Path) -> None:
    """Check that a table is one of numbers by their step.

    Raises
    ------
    UserError, ValueError
        It is not; something in it is no number.
    """
    header, rows = _read(path)
    if header[:1] != ["step"] or len(set(header)) != len(header):
        raise UserError("a table of something else")
    for row in rows:
        int(row[0])
        for value in row[1:]:
            float(value)


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table whose rows are as long as its header."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    return (rows[0], rows[1:]) if rows else ([], [])


def _check_patient(code: str, patients: Collection[str]) -> None:
    if code not in patients:
        raise UserError("a patient that is none of ours")
