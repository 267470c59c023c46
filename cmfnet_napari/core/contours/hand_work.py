"""What the hand has changed on a model's contour: millilitres, slices, path, time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from cmfnet_napari.core.arrays import Labels, Mask
from cmfnet_napari.core.contours.components import volumes_ml
from cmfnet_napari.core.geometry.boxes import bounding_box
from cmfnet_napari.core.images.grid import Grid

PAUSE_S = 60.0  # who edits nothing for so long does something else


@dataclass(frozen=True)
class HandWork:
    """What the hand has changed.

    Attributes
    ----------
    added_ml, removed_ml : dict of str to float
        By class: in the contour of record and not in the model's, and the other way round, ml.
    slices : int
        Axial slices on which the two differ.
    path_mm : float
        Added path length: length of the contour of record on axial slices that is not the model's
        contour, mm.
    seconds : float
        Time spent editing, s.
    """

    added_ml: dict[str, float] = field(default_factory=dict)
    removed_ml: dict[str, float] = field(default_factory=dict)
    slices: int = 0
    path_mm: float = 0.0
    seconds: float = 0.0

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
    names = names or [f"class {code}" for code in range(1, int(max(model.max(), record.max())) + 1)]
    return HandWork(
        added_ml=volumes_ml(np.where(differs, ours, 0), grid, names),
        removed_ml=volumes_ml(np.where(differs, theirs, 0), grid, names),
        slices=int(np.count_nonzero(differs.any(axis=(1, 2)))),
        path_mm=added_path_mm(model, record, grid),
        seconds=seconds,
    )


def added_path_mm(model: Labels, record: Labels, grid: Grid) -> float:
    """Added path length (Vaassen et al., Phys Imaging Radiat Oncol 13, 2020), mm.

    Voxels of the record's border on axial slices that are no border of the model's contour, each
    as long as a voxel is wide on the mean of both sides. Arrays as in `hand_work`.
    """
    slices = np.flatnonzero((model != record).any(axis=(1, 2)))
    added = 0
    for code in range(1, int(max(model.max(), record.max())) + 1):
        for z in slices:
            new = _border(record[z] == code) & ~_border(model[z] == code)
            added += int(np.count_nonzero(new))
    return float(added * (grid.spacing[1] + grid.spacing[2]) / 2)


def time_spent(times: Iterable[float], pause: float = PAUSE_S) -> float:
    """Seconds between moments that follow each other within a pause; the first counts none."""
    moments = np.array(sorted(times))
    gaps = np.diff(moments)
    return float(gaps[gaps <= pause].sum())


def _border(mask: Mask) -> Mask:
    """Voxels of a slice's mask with a neighbour at a side that is not in it."""
    inner: Mask = ndimage.binary_erosion(mask)
    return mask & ~inner
