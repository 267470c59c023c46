"""Voxels that a brush covers: a disc in a plane, or a ball, whose size is in millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from skimage.draw import polygon

from cmfnet_napari.core.arrays import Doubles, Floats, Mask, Wholes, three
from cmfnet_napari.core.images.grid import Triple

Index = tuple[Wholes, Wholes, Wholes]  # z, y, x of voxels


@dataclass(frozen=True, eq=False)
class ValueRange:
    """Where an image has a value within a range, so that a brush can be kept to it.

    Attributes
    ----------
    image : array (z, y, x)
        CT in HU, or MR.
    low, high : float
        The range, its ends included.
    known : bool array (z, y, x) or None
        Where the image has data; None: everywhere.
    """

    image: np.ndarray
    low: float
    high: float
    known: Mask | None = None

    def holds(self, index: Index) -> Mask:
        """Whether voxels are in the range, one by one."""
        values = self.image[index]
        inside: Mask = (values >= self.low) & (values <= self.high)
        return inside if self.known is None else inside & self.known[index]


def swept(
    start: Floats,
    end: Floats,
    size_mm: float,
    spacing: Triple,
    shape: tuple[int, int, int],
    axes: Sequence[int],
) -> Index:
    """Voxels that a round brush covers on a straight way, ends included.

    A voxel is covered when its centre is within half the size of the way. The voxels that the
    way itself goes through always are, so that a brush thinner than a voxel leaves no gaps.

    Parameters
    ----------
    start, end : float arrays (3,)
        Voxel coordinates z, y, x; 0 is the centre of the first voxel.
    size_mm : float
        Diameter of the brush.
    spacing : tuple of float
        mm along (z, y, x).
    shape : tuple of int
        Of the scribbles (z, y, x); what lies outside is left out.
    axes : sequence of int
        Array axes the brush is round in: two for a plane, three for a ball. Along another axis
        only the slice of `start` is covered.

    Returns
    -------
    tuple of int arrays
        z, y, x; some voxels may come twice.
    """
    painted = np.isin(range(3), axes)
    start, end = np.where(painted, (start, end), np.round(start))
    covered = _near_segment(start, end, size_mm / 2, np.array(spacing), shape, painted)
    points = np.linspace(start, end, 2 * int(np.ceil(np.abs(end - start).max())) + 1)
    way = np.round(points).astype(int)
    way = way[((way >= 0) & (way < shape)).all(axis=1)]
    return three(np.concatenate(pair) for pair in zip(covered, way.T, strict=True))


def enclosed(outline: Floats, shape: tuple[int, int, int], axes: Sequence[int]) -> Index:
    """Voxels of one slice whose centre lies inside a closed outline, or on it.

    Parameters
    ----------
    outline : float array (n, 3)
        Corners in order, voxel coordinates z, y, x; the last is joined to the first.
    shape : tuple of int
        Of the scribbles (z, y, x).
    axes : sequence of int
        The two array axes of the slice's plane.
    """
    first, second = sorted(axes)
    across = ({0, 1, 2} - {first, second}).pop()
    at = round(float(outline[0, across]))
    rows, columns = polygon(outline[:, first], outline[:, second], (shape[first], shape[second]))
    if not 0 <= at < shape[across]:
        rows = columns = rows[:0]
    index = {first: rows, second: columns, across: np.full(rows.shape, at)}
    return index[0], index[1], index[2]


def _near_segment(
    start: Floats,
    end: Floats,
    radius_mm: float,
    spacing: Doubles,
    shape: tuple[int, int, int],
    painted: Mask,
) -> Index:
    """Voxels with a centre not further than a radius from a segment."""
    reach = np.where(painted, radius_mm / spacing, 0)
    low = np.maximum(np.ceil(np.minimum(start, end) - reach), 0).astype(int)
    high = np.minimum(np.floor(np.maximum(start, end) + reach) + 1, shape).astype(int)
    grids = np.ogrid[tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))]
    offsets = [(g - s) * mm for g, s, mm in zip(grids, start, spacing, strict=True)]
    way = (end - start) * spacing
    length = float(way @ way)
    along = sum(o * w for o, w in zip(offsets, way, strict=True)) / (length or 1.0)
    along = np.clip(along, 0, 1)
    distance = sum((o - along * w) ** 2 for o, w in zip(offsets, way, strict=True))
    inside = np.nonzero(distance <= radius_mm**2)
    return three(axis + first for axis, first in zip(inside, low, strict=True))
