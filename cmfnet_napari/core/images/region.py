"""What an ellipse on a slice holds: area, and the values of the images in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cmfnet_napari.core.arrays import Doubles, Mask
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import Study


@dataclass(frozen=True)
class Values:
    """Mean, standard deviation (of all voxels, not of a sample), least and largest value."""

    mean: float
    deviation: float
    least: float
    largest: float


@dataclass(frozen=True)
class Region:
    """What an ellipse holds.

    Attributes
    ----------
    area : float
        Of its voxels, mm².
    first : Values
        Of the first image, in its units.
    second : Values or None
        None: there is no second image, or it has no data in the ellipse.
    """

    area: float
    first: Values
    second: Values | None


def ellipse(grid: Grid, axis: int, one: Doubles, other: Doubles) -> Mask:
    """Voxels whose centres lie in the ellipse between two corners.

    Parameters
    ----------
    grid : Grid
        The Study's.
    axis : int
        That the slice cuts.
    one, other : array (3,)
        Opposite corners of the box around it, mm along the study's own axes (z, y, x); the slice
        is that of the first.

    Returns
    -------
    bool array (z, y, x)
        Empty where the slice lies outside.
    """
    inside = np.zeros(grid.shape, dtype=bool)
    index = round((one[axis] - grid.translate[axis]) / grid.spacing[axis])
    if not 0 <= index < grid.shape[axis]:
        return inside
    across = [a for a in range(3) if a != axis]
    middle, half = (one + other) / 2, np.maximum(np.abs(one - other) / 2, 1e-6)
    parts = [
        (grid.translate[a] + np.arange(grid.shape[a]) * grid.spacing[a] - middle[a]) / half[a]
        for a in across
    ]
    plane = parts[0][:, None] ** 2 + parts[1][None, :] ** 2 <= 1
    inside[(*[slice(None)] * axis, index)] = plane
    return inside


def measure_region(study: Study, axis: int, one: Doubles, other: Doubles) -> Region | None:
    """Measure the `ellipse` between two corners; None when no voxel lies in it."""
    inside = ellipse(study.grid, axis, one, other)
    if not inside.any():
        return None
    sides = [study.grid.spacing[a] for a in range(3) if a != axis]
    second = None
    if study.second is not None and study.seen is not None and (inside & study.seen).any():
        second = _values(study.second.array[inside & study.seen])
    area = float(inside.sum() * sides[0] * sides[1])
    return Region(area, _values(study.first.array[inside]), second)


def _values(values: np.ndarray) -> Values:
    numbers = values.astype(np.float64)
    return Values(
        *(float(f) for f in (numbers.mean(), numbers.std(), numbers.min(), numbers.max()))
    )
