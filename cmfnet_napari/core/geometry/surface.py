"""The surface of a contour, to look at in three dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.measure import marching_cubes

from cmfnet_napari.core.arrays import Mask, Reals, Wholes
from cmfnet_napari.core.geometry.boxes import bounding_box
from cmfnet_napari.core.images.grid import Grid

_MANY_VOXELS = 4_000_000  # of the box around it; beyond, every second voxel is enough to look at
_ROUND_VOXELS = 0.7
_DARKEST = 0.25


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles around one class.

    Attributes
    ----------
    vertices : float32 array (n, 3)
        mm along the array's own axes (z, y, x), as napari places layers.
    faces : int array (m, 3)
        Vertices of the triangles; counter-clockwise in (x, y, z) when seen from outside.
    normals : float32 array (n, 3)
        Unit vectors (z, y, x) to the outside.
    """

    vertices: Reals
    faces: Wholes
    normals: Reals


def meshes(labels: Wholes, grid: Grid) -> dict[int, Mesh]:
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
        Mesh by class; empty when there is none.
    """
    box = bounding_box(labels != 0)
    if box is None:
        return {}
    inside = np.pad(labels[box], 2)
    corner = np.array([part.start for part in box]) - 2
    step = 1 if inside.size < _MANY_VOXELS else 2
    found = {}
    for label in (int(value) for value in np.unique(inside) if value):
        rounded = _rounded(inside == label)
        vertices, faces, normals, _ = marching_cubes(rounded, 0.5, step_size=step)
        found[label] = _placed(vertices, faces, normals, corner, grid)
    return found


def shade(mesh: Mesh, color: np.ndarray) -> Reals:
    """Colours (RGBA, n × 4) of the vertices in a soft light from the front, the top and the right.

    It is fixed in the patient, so that sides are told apart from wherever one looks.
    """
    toward = np.array([1.0, -1.5, -0.7])  # head, front, right: z, y, x of an array in LPS
    light = 0.5 + 0.5 * mesh.normals @ (toward / np.linalg.norm(toward))
    colors = np.tile(np.asarray(color, dtype=np.float32), (len(light), 1))
    colors[:, :3] *= (_DARKEST + (1 - _DARKEST) * light)[:, None]
    return colors


def _placed(vertices: Reals, faces: Wholes, normals: Reals, corner: Wholes, grid: Grid) -> Mesh:
    spacing = np.array(grid.spacing)
    placed = (vertices + corner) * spacing + np.array(grid.translate)
    steepest = normals / spacing  # a gradient, so it scales the other way round
    steepest /= np.maximum(np.linalg.norm(steepest, axis=1, keepdims=True), 1e-12)
    return Mesh(placed.astype(np.float32), faces, steepest.astype(np.float32))


def _rounded(mask: Mask) -> Reals:
    smooth: Reals = ndimage.gaussian_filter(mask.astype(np.float32), _ROUND_VOXELS)
    return smooth if smooth.max() > 0.5 else mask.astype(np.float32)  # a voxel or two stay
