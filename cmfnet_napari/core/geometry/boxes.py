"""Bounding boxes: work on the part of an array that matters."""

from __future__ import annotations

import numpy as np

from cmfnet_napari.core.arrays import Mask, three

Box = tuple[slice, slice, slice]


def bounding_box(mask: Mask) -> Box | None:
    """Smallest box of a 3D bool array that holds every true voxel; None when there is none."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        if not hits.size:
            return None
        box.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return three(box)


def box_around(mask: Mask) -> Box:
    """The same of a mask that holds something; ValueError when it does not."""
    box = bounding_box(mask)
    if box is None:
        raise ValueError("an empty mask has no box")
    return box


def grow(box: Box, voxels: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """The box with so many voxels more on each side of every axis, inside the array."""
    return three(
        slice(max(s.start - n, 0), min(s.stop + n, size))
        for s, n, size in zip(box, voxels, shape, strict=True)
    )


def reaches_side(mask: Mask, box: Box, shape: tuple[int, ...]) -> bool:
    """Whether a mask of a box's part goes on at a side of the box where the whole does not end.

    Parameters
    ----------
    mask : bool array (z, y, x) of the box
        What is asked about.
    box : tuple of slice
        The part.
    shape : tuple of int
        Of the whole.
    """
    return any(
        (part.start > 0 and mask.take(0, axis).any())
        or (part.stop < size and mask.take(-1, axis).any())
        for axis, (part, size) in enumerate(zip(box, shape, strict=True))
    )
