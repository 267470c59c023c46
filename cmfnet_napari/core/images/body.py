"""The patient's body: without the air around and, mostly, without the couch of a CT."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from cmfnet_napari.core.arrays import Mask
from cmfnet_napari.core.images.volume import Volume

BODY_HU = -300.0  # between air or foam and fat
AIR_HU = -1000.0
_MR_SHARE, _PT_SHARE = 0.08, 0.02  # of the brightest tissue
_EVERY = (slice(None, None, 2), slice(None, None, 2), slice(None, None, 2))
_COARSE_MM = 3.0  # voxels the shape is found on; fine enough for skin, coarse enough to be quick
_COUCH_MM = 4.0  # couch tops and sheets thinner than twice this are cut off


def body_mask(volume: Volume) -> Mask:
    """Find the patient.

    Everything above `air_level` (in a CT −300 HU), opened so that couch and skin come apart, the
    largest connected part, holes (lungs, bowel gas) filled in each axial slice. A body that
    reaches the border of the image is kept up to there. The shape is found on voxels of about
    3 mm, then cut to the threshold at the skin: a millimetre or two of skin may be missing, and of
    a couch that touches, what lies against the skin may remain.

    Parameters
    ----------
    volume : Volume
        CT in HU, MR or PET.

    Returns
    -------
    bool array (z, y, x)
    """
    level, grid = air_level(volume), volume.grid
    steps = tuple(
        min(n, max(1, round(_COARSE_MM / s))) for n, s in zip(grid.shape, grid.spacing, strict=True)
    )
    coarse = volume.array[tuple(slice(step // 2, None, step) for step in steps)] > level
    spacing = tuple(s * step for s, step in zip(grid.spacing, steps, strict=True))
    body = _largest(_open_in_plane(coarse, spacing))
    body = np.stack([ndimage.binary_fill_holes(plane) for plane in body])
    inner = ndimage.binary_erosion(body, np.ones((1, 3, 3)), border_value=True)
    body, inner = (_enlarge(mask, steps, volume.array.shape) for mask in (body, inner))
    return inner | (body & (volume.array > level))


def air_level(volume: Volume) -> float:
    """What is no higher is air: −300 HU in a CT, little of what tissue has in an MR or a PET.

    Found on MR whose CT says where the body is: docs/measurements.md.
    """
    if volume.modality == "CT":
        return BODY_HU
    lowest = float(volume.array.min())
    more = volume.array[_EVERY]
    more = more[more > lowest]
    if not more.size:
        return lowest
    share = _PT_SHARE if volume.modality == "PT" else _MR_SHARE
    return lowest + share * (float(np.percentile(more, 99)) - lowest)


def _enlarge(mask: Mask, steps: tuple[int, ...], shape: tuple[int, ...]) -> Mask:
    """A mask of every few voxels, on all voxels."""
    for axis, step in enumerate(steps):
        mask = np.repeat(mask, step, axis)
    missing = [(0, max(0, n - m)) for n, m in zip(shape, mask.shape, strict=True)]
    if any(after for _, after in missing):
        mask = np.pad(mask, missing, mode="edge")
    return mask[tuple(slice(n) for n in shape)]


def _open_in_plane(mask: Mask, spacing: tuple[float, ...]) -> Mask:
    """Opening with a disc; beyond the image it goes on as at its border."""
    radius = [max(1, round(_COUCH_MM / s)) for s in spacing[1:]]
    wide = np.pad(mask, ((0, 0), *((r, r) for r in radius)), mode="edge").astype(np.uint8)
    image = sitk.GetImageFromArray(wide)
    opened = sitk.GetArrayFromImage(
        sitk.BinaryMorphologicalOpening(image, (radius[1], radius[0], 0))
    )
    inner = opened[:, radius[0] : -radius[0], radius[1] : -radius[1]]
    return inner.astype(bool) if inner.any() else mask


def _largest(mask: Mask) -> Mask:
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    largest: Mask = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return largest
