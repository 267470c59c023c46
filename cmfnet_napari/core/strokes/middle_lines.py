"""An edit of a contour as strokes: the middle lines of what was painted."""

from __future__ import annotations

import numpy as np
from skimage.morphology import skeletonize

from cmfnet_napari.core.arrays import Codes, Wholes


def middle_lines(voxels: Wholes, codes: Codes, shape: tuple[int, ...]) -> Wholes:
    """Middle lines of painted areas, on the slices across which an edit is thinnest.

    A model that reads strokes knows lines; an area says of many voxels what one line says.

    Parameters
    ----------
    voxels : int64 array (n,)
        Flat indices of one edit (C order of z, y, x).
    codes : uint8 array (n,)
        What was painted; each code has lines of its own.
    shape : tuple of int
        Of the Study's Grid (z, y, x).

    Returns
    -------
    int64 array (m,)
        Flat indices, rising; some of every area of every slice and code.
    """
    if not voxels.size:
        return voxels
    at = np.array(np.unravel_index(voxels, shape))
    start, end = at.min(axis=1), at.max(axis=1) + 1
    part = np.zeros(end - start, dtype=np.uint8)
    part[tuple(at - start[:, None])] = codes
    across = int(np.argmin(part.shape))
    lines = np.zeros(part.shape, dtype=bool)
    slices, drawn = np.moveaxis(part, across, 0), np.moveaxis(lines, across, 0)
    for code in np.unique(codes):
        for level in np.flatnonzero((slices == code).any(axis=(1, 2))):
            drawn[level] |= skeletonize(slices[level] == code)
    found = np.array(np.nonzero(lines)) + start[:, None]
    flat: Wholes = np.ravel_multi_index(tuple(found), shape)
    return flat
