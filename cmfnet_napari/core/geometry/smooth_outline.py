"""Outlines of a mask in a plane, drawn as a hand would draw them and not along voxels."""

from __future__ import annotations

import numpy as np
from skimage.measure import find_contours

from cmfnet_napari.core.arrays import Mask, Reals
from cmfnet_napari.core.geometry.boxes import bounding_box

_ROUNDS = 4  # of averaging with both neighbours: steps of a voxel go, its place does not


def smooth_outlines(mask: Mask) -> list[Reals]:
    """Closed lines around a mask, also around its holes.

    They run between the voxels inside and outside (marching squares) and are then averaged along
    themselves; the mask stays what it is. A single voxel keeps an outline.

    Parameters
    ----------
    mask : bool array (rows, columns)
        A plane.

    Returns
    -------
    list of array (n, 2)
        Row and column of every point, in voxels; the first point is the last one, too.
    """
    found = bounding_box(mask[None])  # boxes have three sides
    if found is None:
        return []
    box = found[1:]
    corner = np.array([part.start - 1 for part in box])
    lines = find_contours(np.pad(mask[box], 1).astype(np.float32), 0.5)
    return [_rounded(line) + corner for line in lines]


def _rounded(line: Reals) -> Reals:
    ends = line[:-1]
    middles = (ends + np.roll(ends, -1, axis=0)) / 2
    points = np.stack([ends, middles], axis=1).reshape(-1, 2)  # a voxel's four corners are too few
    for _ in range(_ROUNDS):
        points = (np.roll(points, 1, axis=0) + 2 * points + np.roll(points, -1, axis=0)) / 4
    return np.concatenate([points, points[:1]])
