"""What the hand has changed on a model's contour: millilitres, slices, path, time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from cmfnet_napari.core.arrays import Labels
from cmfnet_napari.core.contours.added_path import added_path
from cmfnet_napari.core.contours.components import class_name, volumes_ml
from cmfnet_napari.core.geometry.boxes import bounding_box
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.strokes.time_spent import time_spent


@dataclass(frozen=True)
class HandWork:
    """What the hand has changed.

    Attributes
    ----------
    added_ml, removed_ml : dict of str to float
        By class: in the contour of record and not in the model's, and the other way round, ml.
    slices : int
        Axial slices on which the two differ.
    paths_mm : dict of str to float
        By class, added path length: length of the contour of record on axial slices that is not
        the model's contour, mm.
    seconds : float
        Time spent editing, s.
    """

    added_ml: dict[str, float] = field(default_factory=dict)
    removed_ml: dict[str, float] = field(default_factory=dict)
    slices: int = 0
    paths_mm: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def path_mm(self) -> float:
        """Added path length of all classes, mm."""
        return sum(self.paths_mm.values())

    def __bool__(self) -> bool:
        return bool(self.slices)

    @property
    def sentence(self) -> str:
        """The same in words; empty when nothing differs."""
        if not self:
            return ""
        parts = [
            f"{name} +{self.added_ml[name]:.2f} −{self.removed_ml[name]:.2f} ml"
            for name in self.added_ml
            if self.added_ml[name] or self.removed_ml[name]
        ]
        slices = "1 axial slice" if self.slices == 1 else f"{self.slices} axial slices"
        minutes, seconds = divmod(round(self.seconds), 60)
        spent = f" in {minutes}:{seconds:02d} min" if minutes or seconds else ""
        length = f"{self.path_mm / 10:.1f} cm of contour drawn{spent}"
        return f"{', '.join(parts)} on {slices}; {length}"


def hand_work(
    model: Labels,
    record: Labels,
    grid: Grid,
    names: Sequence[str] | None = None,
    times: Iterable[float] = (),
) -> HandWork:
    """Compare the contour of record with the model's own.

    Parameters
    ----------
    model, record : integer array (z, y, x)
        Segmentation codes.
    grid : Grid
        Where they lie.
    names : sequence of str, optional
        Of the classes 1, 2, ….
    times : iterable of float
        When the corrections that stand were made, s, rising.
    """
    seconds = time_spent(times)
    box = bounding_box(model != record)
    if box is None:
        return HandWork(seconds=seconds)
    theirs, ours = model[box], record[box]
    differs = theirs != ours
    names = [class_name(code, names) for code in range(1, class_count(model, record, names) + 1)]
    return HandWork(
        added_ml=volumes_ml(np.where(differs, ours, 0), grid, names),
        removed_ml=volumes_ml(np.where(differs, theirs, 0), grid, names),
        slices=int(np.count_nonzero(differs.any(axis=(1, 2)))),
        paths_mm=_paths_mm(model[box[0]], record[box[0]], grid, names),
        seconds=seconds,
    )


def class_count(one: Labels, other: Labels, names: Sequence[str] | None) -> int:
    """How many classes two contours have; those that nobody named are numbered."""
    return max(len(names or ()), int(max(one.max(), other.max())))


def _paths_mm(model: Labels, record: Labels, grid: Grid, names: Sequence[str]) -> dict[str, float]:
    """Added path length of every class, on the slices where the two differ."""
    differs = (model != record).any(axis=(1, 2))
    before, after = model[differs], record[differs]
    return {
        name: added_path(before == code, after == code, grid.spacing).added
        for code, name in enumerate(names, start=1)
    }
