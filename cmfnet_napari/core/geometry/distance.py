"""Distance in the patient's millimetres to a mask."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.arrays import Mask, Reals, three
from cmfnet_napari.core.geometry.boxes import Box, bounding_box, grow
from cmfnet_napari.core.images.grid import Grid


def distance_to(mask: Mask, grid: Grid, reach_mm: float = np.inf) -> tuple[Box, Reals]:
    """Distance of voxel centres to the nearest voxel of a mask, where it matters.

    Parameters
    ----------
    mask : bool array (z, y, x)
        What to measure to.
    grid : Grid
        Its spacing counts.
    reach_mm : float
        Distances above this are not needed; the smaller it is, the smaller the box.

    Returns
    -------
    box : tuple of slices (z, y, x)
        Outside of it every voxel is further than `reach_mm`.
    distance : float32 array (z, y, x) of the box
        mm; 0 inside the mask, infinite everywhere when the mask is empty.
    """
    found = bounding_box(mask)
    if found is None:
        return three(slice(0, n) for n in mask.shape), np.full(mask.shape, np.inf, np.float32)
    voxels = tuple(int(min(reach_mm / s + 1, max(mask.shape))) for s in grid.spacing)
    box = grow(found, voxels, mask.shape)
    image = sitk.GetImageFromArray(mask[box].astype(np.uint8))
    image.SetSpacing(grid.spacing[::-1])
    signed = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    distance: Reals = sitk.GetArrayFromImage(signed)
    return box, np.maximum(distance, 0)
