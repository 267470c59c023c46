"""Area of a contour on every slice, and how much of it another contour sees differently."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cmfnet_napari.core.arrays import Doubles, Labels, Wholes
from cmfnet_napari.core.images.grid import Grid

_MM2 = 100.0  # in a cm²


@dataclass(frozen=True)
class Areas:
    """Curves over the slices along one axis of the Study's Grid.

    Attributes
    ----------
    area, other, change : float64 array (slices,), cm²
        Of the contour; of the contour it is compared with; of what belongs to one of the two
        only, or to another class. The last two are None without another contour.
    """

    area: Doubles
    other: Doubles | None = None
    change: Doubles | None = None


def slice_areas(labels: Labels, grid: Grid, axis: int, other: Labels | None = None) -> Areas:
    """Areas on the slices across an axis.

    Parameters
    ----------
    labels : integer array (z, y, x)
        Segmentation codes; all classes count.
    grid : Grid
        Where they lie.
    axis : int
        0 axial, 1 coronal, 2 sagittal.
    other : integer array (z, y, x), optional
        Such as the previous run's contour, a reference or a second observer's.
    """
    across = [a for a in range(3) if a != axis]
    pixel = grid.spacing[across[0]] * grid.spacing[across[1]] / _MM2

    def area(mask: Labels) -> Doubles:
        counts: Wholes = np.count_nonzero(mask, axis=tuple(across))
        return counts.astype(np.float64) * pixel

    if other is None:
        return Areas(area(labels))
    return Areas(area(labels), area(other), area(labels != other))
