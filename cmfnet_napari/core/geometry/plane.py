"""Axial, coronal and sagittal planes of a study, turned the way they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cmfnet_napari.core.images.grid import Grid

View = Literal["axial", "coronal", "sagittal"]
VIEWS: tuple[View, View, View] = ("axial", "coronal", "sagittal")  # by the array axis that is cut


@dataclass(frozen=True)
class Plane:
    """One slice of arrays (z, y, x) whose axes run to the head, the back and the left.

    Axial planes are seen from the feet, the others have the head up.

    Attributes
    ----------
    axis : int
        The array axis that is cut.
    index : int
        Where.
    grid : Grid
        Where the voxels lie.
    """

    axis: int
    index: int
    grid: Grid

    @property
    def shown(self) -> tuple[int, int]:
        """The array axes that run down and across."""
        down, across = (a for a in range(3) if a != self.axis)
        return down, across

    def cut(self, array: np.ndarray) -> np.ndarray:
        """The slice, as it is drawn: head up."""
        plane: np.ndarray = np.take(array, self.index, self.axis)
        return plane if self.axis == 0 else plane[::-1]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top in mm: true aspect on any spacing."""
        down, across = (self.grid.shape[a] * self.grid.spacing[a] for a in self.shown)
        return 0.0, across, down, 0.0

    @property
    def letters(self) -> tuple[str, str, str, str]:
        """Patient letters at the left, right, top and bottom."""
        down, across = (self.grid.axis_letters[a] for a in self.shown)
        if self.axis != 0:
            down = down[::-1]
        return (*across, *down)


def place_text(grid: Grid, axis: int, mm: float) -> str:
    """A position along an array axis in a clinician's words, as ``S 12.5 mm``.

    Parameters
    ----------
    grid : Grid
        Whose patient letters are used.
    axis : int
        Array axis (0 z, 1 y, 2 x).
    mm : float
        Position along the array's own axis, mm (`Grid.translate`); of an axis-aligned grid that
        is the patient coordinate.
    """
    low, high = grid.axis_letters[axis]
    rounded = round(mm, 1)
    return f"{high if rounded >= 0 else low} {abs(rounded):.1f} mm"
