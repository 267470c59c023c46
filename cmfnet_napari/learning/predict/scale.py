"""Cubic working voxels that follow what is drawn: their side, and the part of a study they fill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from cmfnet_napari.core.arrays import Mask, Reals, three
from cmfnet_napari.core.geometry.boxes import Box, bounding_box, box_around, grow
from cmfnet_napari.core.images.grid import Grid

_MARGIN = 11  # working voxels around what was drawn and first found
_MOST_VOXELS = 1_000_000  # about; a spinal cord of 40 cm has fewer
_FINEST_MM, _COARSEST_MM = 0.3, 12.0
_ACROSS = 5  # working voxels through a wall, or along the radius of a ball
_FINER = 0.55  # for which they are made so much smaller at most


@dataclass(frozen=True)
class Scale:
    """A part of the study on cubic working voxels.

    Attributes
    ----------
    region : tuple of slice
        The part, on the Study's Grid.
    size : tuple of int
        Working voxels (z, y, x).
    """

    region: Box
    size: tuple[int, int, int]

    def coarsen(self, array: np.ndarray) -> Reals:
        """Means of (z, y, x) on the Study's Grid; linear where working voxels are finer."""
        part = _tensor(array[self.region])
        part = functional.adaptive_avg_pool3d(part, self._coarser(part))
        fine = functional.interpolate(part, self.size, mode="trilinear", align_corners=False)
        result: Reals = fine[0, 0].numpy()
        return result

    def touched(self, mask: Mask) -> Mask:
        """Working voxels that a mask of the Study's Grid touches."""
        part = _tensor(mask[self.region])
        part = functional.adaptive_max_pool3d(part, self._coarser(part))
        part = functional.interpolate(part, self.size, mode="nearest-exact")
        found: Mask = part[0, 0].numpy() > 0
        return found

    def refine(self, values: Tensor) -> Reals:
        """(1, 1, z', y', x') → (z, y, x) of the region, linear between working voxels."""
        size = tuple(s.stop - s.start for s in self.region)
        fine = functional.interpolate(values, size, mode="trilinear", align_corners=False)
        result: Reals = fine[0, 0].numpy()
        return result

    def _coarser(self, part: Tensor) -> tuple[int, int, int]:
        return three(min(a, b) for a, b in zip(self.size, part.shape[2:], strict=True))


def voxel_for(contour: Mask, grid: Grid, along: float) -> float:
    """Side (mm) of the working voxels for a contour.

    So many are to lie along it, or, where it is thin, `_ACROSS` across its thickness.
    """
    box = box_around(contour)
    sides = [(s.stop - s.start) * mm for s, mm in zip(box, grid.spacing, strict=True)]
    side = float(np.prod(sides)) ** (1 / 3) / along
    across = _thickness(contour, box, sides, side) / _ACROSS
    return float(np.clip(max(_FINER * side, min(side, across)), _FINEST_MM, _COARSEST_MM))


def _thickness(contour: Mask, box: Box, sides: Sequence[float], side: float) -> float:
    """Of a contour in a box, mm: of a slab its thickness, of a ball its radius."""
    half = Scale(box, three(max(1, round(2 * mm / side)) for mm in sides))
    inside = np.pad(half.coarsen(contour) > 0.5, 1)
    if not inside.any():
        return 0.0
    deep = ndimage.distance_transform_edt(inside)[inside].mean() - 0.5
    return float(4 * deep * side / 2)


def scale_around(contour: Mask, others: Mask, grid: Grid, voxel: float) -> Scale:
    """The working voxels around a contour, as far out as others are drawn at all."""
    margin = _MARGIN * voxel
    while True:
        steps = tuple(int(np.ceil(margin / s)) for s in grid.spacing)
        region = grow(box_around(contour), steps, grid.shape)
        if others[region].any() or others[region].shape == others.shape:
            break
        margin *= 1.5
    sides = [(s.stop - s.start) * mm for s, mm in zip(region, grid.spacing, strict=True)]
    voxel = max(voxel, (np.prod(sides) / _MOST_VOXELS) ** (1 / 3))
    return Scale(region, three(max(4, round(mm / voxel)) for mm in sides))


def ends_within(found: Mask, scale: Scale, grid: Grid, voxel: float) -> bool:
    """Whether a contour ends before the region does, but where the study ends."""
    box = bounding_box(found)
    if box is None:
        return True
    return all(
        (part.start - side.start) * mm > 2 * voxel or side.start == 0
        for part, side, mm in zip(box, scale.region, grid.spacing, strict=True)
    ) and all(
        (side.stop - part.stop) * mm > 2 * voxel or side.stop == n
        for part, side, mm, n in zip(box, scale.region, grid.spacing, grid.shape, strict=True)
    )


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))[None, None]
