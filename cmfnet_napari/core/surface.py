"""The surface of a contour, to look at in three dimensions."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.measure import marching_cubes

from cmfnet_napari.core.boxes import bounding_box
from cmfnet_napari.core.grid import Grid

_MANY_VOXELS = 4_000_000  # of the box around it; beyond, every second voxel is enough to look at
_ROUND_VOXELS = 0.7


def surfaces(labels: np.ndarray, grid: Grid) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Triangles around every class of a segmentation (marching cubes, Lewiner 2003).

    Slightly rounded, since voxels are blocks and patients are not.

    Parameters
    ----------
    labels : integer array (z, y, x)
        On the Grid; 0 is background.
    grid : Grid
        Where the voxels lie.

    Returns
    -------
    dict
        By class: vertices, float32 (n, 3), in mm along the array's own axes (z, y, x), as napari
        places layers; faces, int (m, 3), whose outer side is seen once napari has turned the
        axes to (x, y, z).
    """
    box = bounding_box(labels != 0)
    if box is None:
        return {}
    inside = np.pad(labels[box], 2)
    corner = np.array([part.start for part in box]) - 2
    step = 1 if inside.size < _MANY_VOXELS else 2
    found = {}
    for label in (int(value) for value in np.unique(inside) if value):
        vertices, faces, _, _ = marching_cubes(_rounded(inside == label), 0.5, step_size=step)
        placed = (vertices + corner) * np.array(grid.spacing) + np.array(grid.translate)
        found[label] = placed.astype(np.float32), faces[:, ::-1]
    return found


def _rounded(mask: np.ndarray) -> np.ndarray:
    smooth = ndimage.gaussian_filter(mask.astype(np.float32), _ROUND_VOXELS)
    return smooth if smooth.max() > 0.5 else mask.astype(np.float32)  # a voxel or two stay
