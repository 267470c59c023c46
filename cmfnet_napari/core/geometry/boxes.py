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
