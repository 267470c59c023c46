"""The curves of a training as CSV and TensorBoard, continued where it is continued."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from cmfnet_napari.core.files import write_safely

LOSSES_FILE, SCORES_FILE = "losses.csv", "scores.csv"


class Logs:
    """Writes one row a step.

    Parameters
    ----------
    folder : Path
        Takes losses.csv, scores.csv and the folder ``tensorboard``.
    steps : int
        Steps done so far: what was logged after them belongs to a run that was broken off.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        self._folder = folder
        for name in (LOSSES_FILE, SCORES_FILE):
            _cut(folder / name, steps)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=steps + 1)

    def losses(self, step: int, values: Mapping[str, float]) -> None:
        """Log the terms of a step."""
        self._write(LOSSES_FILE, "loss", step, values)

    def scores(self, step: int, values: Mapping[str, float]) -> None:
        """Log the mean scores of the patients held out, in place of those of the same step."""
        _cut(self._folder / SCORES_FILE, step - 1)
        self._write(SCORES_FILE, "held-out", step, values)

    def close(self) -> None:
        """Write what is still in memory."""
        self._board.close()

    def _write(self, name: str, group: str, step: int, values: Mapping[str, float]) -> None:
        path = self._folder / name
        new = not path.exists()
        with open(path, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", *values])
            writer.writerow([step, *values.values()])
        _show(self._board, group, step, values)


def draw_board(folder: Path) -> None:
    """Make the folder ``tensorboard`` of losses.csv and scores.csv, which are complete."""
    board = SummaryWriter(str(folder / "tensorboard"))
    try:
        for name, group in ((LOSSES_FILE, "loss"), (SCORES_FILE, "held-out")):
            curves = read_curve(folder / name)
            steps = curves.pop("step", [])
            for key, values in curves.items():
                for step, value in zip(steps, values, strict=True):
                    _show(board, group, int(step), {key: value})
    finally:
        board.close()


def read_curve(path: Path) -> dict[str, list[float]]:
    """Columns of losses.csv or scores.csv, NaN where undefined; empty when there is none."""
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else {})}


def _show(board: SummaryWriter, group: str, step: int, values: Mapping[str, float]) -> None:
    for key, value in values.items():
        if math.isfinite(value):
            board.add_scalar(f"{group}/{key}", value, step)


def _cut(path: Path, steps: int) -> None:
    """Drop the rows after a step, and a last row that was cut off by a crash."""
    if not path.exists():
        return
    *whole, _cut_off = path.read_text(encoding="utf-8").split("\n")
    if not whole:  # not even the header was written
        path.unlink()
        return
    header, *rows = whole
    kept = [row for row in rows if int(row.split(",", 1)[0]) <= steps]
    text = "\n".join([header, *kept]) + "\n"
    write_safely(path, ".csv", lambda part: part.write_text(text, encoding="utf-8"))
