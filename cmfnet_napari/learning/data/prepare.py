"""From a study and its scribbles to the tensors the network trains on, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cmfnet_napari.core.arrays import Codes, Mask, Wholes, three
from cmfnet_napari.core.fit.config import AROUND_STROKES_MM, Config
from cmfnet_napari.core.geometry.boxes import Box, bounding_box, box_around, grow
from cmfnet_napari.core.images.grid import Grid, Triple
from cmfnet_napari.core.images.study import Study, unit_pair
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, FIRST_CLASS, IGNORE, to_targets

_AIR_MM = 10.0


@dataclass(frozen=True)
class Frame:
    """Which part of the Study's Grid is worked on, and how coarsely.

    Attributes
    ----------
    shape : tuple of int
        Shape (z, y, x) of the Study's Grid.
    region : tuple of slice
        The part of it.
    factors : tuple of int
        How many voxels (z, y, x) make one working voxel.
    """

    shape: tuple[int, int, int]
    region: Box
    factors: tuple[int, int, int]

    def spacing(self, grid: Grid) -> Triple:
        """Working voxel (z, y, x), mm."""
        return three(s * f for s, f in zip(grid.spacing, self.factors, strict=True))

    def coarsen(self, array: np.ndarray) -> Tensor:
        """(z, y, x) on the Study's Grid → block means, float32 (1, 1, z', y', x')."""
        cut = torch.from_numpy(np.ascontiguousarray(array[self.region], dtype=np.float32))
        return functional.avg_pool3d(cut[None, None], self.factors, ceil_mode=True)

    def refine(self, values: Tensor) -> Tensor:
        """(1, C, z', y', x') → (C, z, y, x) of the region, linear between block centres."""
        size = tuple(s.stop - s.start for s in self.region)
        if any(f > 1 for f in self.factors):
            values = functional.interpolate(
                values, scale_factor=self.factors, mode="trilinear", align_corners=False
            )
        z, y, x = size
        return values[0, :, :z, :y, :x]

    def paste(self, values: np.ndarray, outside: float = 0) -> np.ndarray:
        """Put an array of the region into one of the whole Grid, filled with `outside`."""
        whole = np.full(self.shape, outside, dtype=values.dtype)
        whole[self.region] = values
        return whole


@dataclass(frozen=True)
class Inputs:
    """Images of one study on its working grid.

    Attributes
    ----------
    ct, mr, fov : tensor (1, 1, z', y', x'), float32
        CT and MR in [0, 1]; 1 where the MR has data.
    frame : Frame
        Where they come from.
    maps : tensor (1, M, z', y', x') or None
        Maps of the strokes, for a network that sees them.
    """

    ct: Tensor
    mr: Tensor
    fov: Tensor
    frame: Frame
    maps: Tensor | None = None

    def targets(self, scribbles: Codes) -> Tensor:
        """Scribbles of the Study's Grid → int64 (1, z', y', x').

        Where one working voxel holds strokes of several classes, the rarest code (the highest)
        wins, so that a thin tumour stroke is never lost.
        """
        cut = to_targets(scribbles[self.frame.region]).astype(np.int16)
        cut[cut == IGNORE] = -1
        pooled = functional.max_pool3d(
            torch.from_numpy(cut).float()[None, None],
            self.frame.factors,
            ceil_mode=True,
        )[0].long()
        return torch.where(pooled < 0, IGNORE, pooled)

    def touched(self, voxels: Mask) -> Tensor:
        """Voxels (bool) of the Study's Grid → working voxels they touch, bool (z', y', x')."""
        return self.frame.coarsen(voxels)[0, 0] > 0

    def dense_targets(self, mask: Wholes) -> Tensor:
        """Segmentation of the Study's Grid → int64 (1, z', y', x').

        Each working voxel gets the class that fills most of it, so that nothing grows.
        """
        shares = [self.frame.coarsen(mask == code) for code in range(int(mask.max()) + 1)]
        return torch.cat(shares, dim=1).argmax(dim=1)


def make_frame(grid: Grid, scribbles: Codes | None, config: Config) -> Frame:
    """Box around the class strokes (or everything) and working voxel size of a fit."""
    region = _region(grid, scribbles, config.region_margin)
    factors = (1, 1, 1)
    if config.spacing is not None:
        factors = three(max(1, round(config.spacing / s)) for s in grid.spacing)
    return Frame(grid.shape, region, factors)


def card_frame(
    config: Config,
    study: Study,
    fitted_to: str,
    region: list[list[int]],
    scribbles: Codes | None = None,
) -> Frame:
    """Frame of a model on a study: its own region on the study it was fitted to.

    On another study it is the box around the patient's body: no class is in the air. With
    scribbles (uint8, Study's Grid) it is only what lies around the strokes of the classes.
    """
    frame = make_frame(study.grid, None, config)
    if fitted_to == study.content_hash:
        return replace(frame, region=three(slice(start, stop) for start, stop in region))
    box = _body_box(study)
    if scribbles is not None:
        near = _region(study.grid, scribbles, AROUND_STROKES_MM)
        box = three(
            slice(max(a.start, b.start), min(a.stop, b.stop))
            for a, b in zip(box, near, strict=True)
        )
        if any(part.stop <= part.start for part in box):  # strokes in the air alone
            box = near
    return replace(frame, region=box)


def make_inputs(study: Study, frame: Frame, config: Config) -> Inputs:
    """Normalise a study and bring it to a working grid.

    A study without MR gives its CT to both branches, as the paper does for CT alone.
    """
    first, second, seen = unit_pair(study, config.ct_window, config.mr_percentiles)
    ct = frame.coarsen(first)
    if second is first:
        return Inputs(ct, ct, torch.ones_like(ct), frame)
    share = frame.coarsen(seen)
    fov = (share >= 0.5).float()
    mr = torch.where(fov > 0, frame.coarsen(second) / share.clamp(min=0.5), 0.0)
    return Inputs(ct, mr, fov, frame)


def _body_box(study: Study) -> Box:
    """Around the body, with some of the air that the network saw around it in training."""
    box = bounding_box(study.body)
    if box is None:
        return three(slice(0, n) for n in study.grid.shape)
    voxels = tuple(int(np.ceil(_AIR_MM / s)) for s in study.grid.spacing)
    return grow(box, voxels, study.grid.shape)


def _region(grid: Grid, scribbles: Codes | None, margin: float | None) -> Box:
    """Around the strokes of classes, as far out as background is drawn at all."""
    if margin is None or scribbles is None:
        return three(slice(0, n) for n in grid.shape)
    marked = box_around(scribbles >= FIRST_CLASS)
    while True:
        steps = tuple(int(np.ceil(margin / s)) for s in grid.spacing)
        region = grow(marked, steps, grid.shape)
        cut = scribbles[region]
        if (cut == BACKGROUND).any() or cut.shape == scribbles.shape:
            return region
        margin *= 2
