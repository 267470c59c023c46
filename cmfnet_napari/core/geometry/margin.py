"""Masks grown and shrunk by millimetres, by as many in each direction as one likes.

A voxel belongs to the grown mask when its offset from a voxel of the mask lies in an ellipsoid
whose half axes are the margins of the sides that the offset points to. Where all margins are the
same that is a ball. The offset's square, with the margins as units, is a sum over the axes, so its
smallest value is found one axis after the other (Felzenszwalb and Huttenlocher, Theory of
Computing 8, 2012), exactly, also where the two sides of an axis differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cmfnet_napari.core.arrays import Mask, Reals, three
from cmfnet_napari.core.geometry.boxes import bounding_box, grow
from cmfnet_napari.core.images.grid import Triple

Sides = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
"""mm to the low and to the high end of the array axes z, y, x."""
_TOUCHES = 1e-5  # of the margin, squared: what lies on the ellipsoid is in it


def all_round(mm: float) -> Sides:
    """The same margin in every direction."""
    return three((mm, mm) for _ in range(3))


def grown(mask: Mask, spacing: Triple, margins: Sides) -> Mask:
    """A mask with all that lies within a margin of it.

    Parameters
    ----------
    mask : bool array (z, y, x)
        What is grown; it does not grow beyond the image.
    spacing : tuple of float
        mm along (z, y, x).
    margins : Sides
        mm, 0 or more.

    Returns
    -------
    bool array (z, y, x)

    Raises
    ------
    ValueError
        A margin is below 0.
    """
    if min(mm for pair in margins for mm in pair) < 0:
        raise ValueError(f"margins are 0 mm or more, not {margins}")
    found = bounding_box(mask)
    larger = np.zeros_like(mask)
    if found is None:
        return larger
    reach = tuple(int(max(pair) / mm) + 1 for pair, mm in zip(margins, spacing, strict=True))
    box = grow(found, reach, mask.shape)
    away: Reals = np.where(mask[box], np.float32(0), np.float32(np.inf))
    for axis in range(3):
        away = _spread(away, axis, spacing[axis], margins[axis])
    larger[box] = away <= 1 + _TOUCHES
    return larger


def shrunk(mask: Mask, spacing: Triple, margins: Sides) -> Mask:
    """A mask without all that lies within a margin of its border, measured inwards.

    Parameters and errors are as in `grown`; a margin moves the border of the side that it names.
    Where the mask reaches the end of the image, it is taken to go on, and keeps its border there.

    Returns
    -------
    bool array (z, y, x)
    """
    found = bounding_box(mask)
    if found is None:
        return mask.copy()
    box = grow(found, (1, 1, 1), mask.shape)
    inwards: Sides = three((high, low) for low, high in margins)
    smaller = np.zeros_like(mask)
    smaller[box] = mask[box] & ~grown(~mask[box], spacing, inwards)
    return smaller


def _spread(away: Reals, axis: int, spacing: float, margins: Sequence[float]) -> Reals:
    """The smallest squared offset, in margins, once steps along an axis are allowed, too."""
    nearest = away.copy()
    old, new = np.moveaxis(away, axis, 0), np.moveaxis(nearest, axis, 0)
    for mm, upwards in zip(margins, (False, True), strict=True):
        for step in range(1, min(int(mm / spacing + _TOUCHES), len(old) - 1) + 1):
            source, target = (old[:-step], new[step:]) if upwards else (old[step:], new[:-step])
            np.minimum(target, source + np.float32((step * spacing / mm) ** 2), out=target)
    return nearest
