"""The shape of a mask: smoothed by millimetres, its holes filled."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cmfnet_napari.core.arrays import Mask, Reals
from cmfnet_napari.core.geometry.boxes import bounding_box, grow
from cmfnet_napari.core.images.grid import Triple

_REACH = 4.0  # standard deviations; further out a Gaussian weighs nothing


def smoothed(mask: Mask, spacing: Triple, mm: float) -> Mask:
    """A mask without corners, spikes and notches that are small beside a length.

    The mask is averaged with a Gaussian and cut at one half. Flat borders stay where they are;
    round ones of radius r move inwards by about mm² / r, and what is thinner than the length goes.

    Parameters
    ----------
    mask : bool array (z, y, x)
        Beyond the image it goes on as at its border.
    spacing : tuple of float
        mm along (z, y, x).
    mm : float
        Standard deviation of the Gaussian.

    Returns
    -------
    bool array (z, y, x)
    """
    found = bounding_box(mask)
    if found is None or mm <= 0:
        return mask.copy()
    box = grow(found, tuple(int(_REACH * mm / side) + 1 for side in spacing), mask.shape)
    sigma = [mm / side for side in spacing]
    share: Reals = ndimage.gaussian_filter(
        mask[box].astype(np.float32), sigma, mode="nearest", truncate=_REACH
    )
    smooth = np.zeros_like(mask)
    smooth[box] = share >= 0.5
    return smooth


def filled(mask: Mask, axis: int) -> Mask:
    """A mask with what it encloses on every slice; cavities in 3D are among that.

    Parameters
    ----------
    mask : bool array (z, y, x)
        Voxels that touch at a corner alone enclose, too.
    axis : int
        Array axis that the slices follow each other on.

    Returns
    -------
    bool array (z, y, x)
    """
    whole, found = mask.copy(), bounding_box(mask)
    if found is not None:
        plane = np.moveaxis(np.zeros((3, 3, 3), bool), axis, 0)
        plane[1] = ndimage.generate_binary_structure(2, 1)
        whole[found] = ndimage.binary_fill_holes(mask[found], np.moveaxis(plane, 0, axis))
    return whole
