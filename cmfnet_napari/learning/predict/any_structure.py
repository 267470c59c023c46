"""Contours by a network that reads strokes on voxels that follow what is drawn.

One pass for each class, its strokes against all others, on working voxels of which about
`Config.drawn_voxels` lie along the class; then the classes are joined, so that they neither
overlap nor leave a gap where they touch.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cmfnet_napari.core.arrays import Codes, Mask, Reals, three
from cmfnet_napari.core.clues.provisional_contour import provisional_contour
from cmfnet_napari.core.contours.components import drop_unmarked
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.geometry.boxes import Box, bounding_box, box_around, grow
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import Study, unit_pair
from cmfnet_napari.core.strokes.scribbles import (
    FIRST_CLASS,
    IGNORE,
    UNLABELLED,
    check_trainable,
    to_targets,
)
from cmfnet_napari.learning.engine.device import pick_precision
from cmfnet_napari.learning.model.cmfnet import CmFNet
from cmfnet_napari.learning.model.nearness import Strokes
from cmfnet_napari.learning.predict.prediction import Prediction

_MARGIN = 11  # working voxels around what was drawn and first found
_AGAIN = 1.3  # a contour so many times larger or smaller than expected is found anew, at its size
_TIMES = 3
_MOST_VOXELS = 1_000_000  # about; a spinal cord of 40 cm has fewer
_FINEST_MM, _COARSEST_MM = 0.3, 12.0


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
        found: Mask = functional.interpolate(part, self.size, mode="nearest")[0, 0].numpy() > 0
        return found

    def refine(self, values: Tensor) -> Reals:
        """(1, 1, z', y', x') → (z, y, x) of the region, linear between working voxels."""
        size = tuple(s.stop - s.start for s in self.region)
        fine = functional.interpolate(values, size, mode="trilinear", align_corners=False)
        result: Reals = fine[0, 0].numpy()
        return result

    def _coarser(self, part: Tensor) -> tuple[int, int, int]:
        return three(min(a, b) for a, b in zip(self.size, part.shape[2:], strict=True))


@dataclass(frozen=True, eq=False)
class Pair:
    """Both images of a study in [0, 1], on its Grid; without an MR the CT twice."""

    first: Reals
    second: Reals
    seen: Mask

    @classmethod
    def of(cls, study: Study, config: Config) -> Pair:
        """Normalise a study."""
        return cls(*unit_pair(study, config.ct_window, config.mr_percentiles))


@torch.inference_mode()
def read_strokes(
    model: CmFNet,
    config: Config,
    study: Study,
    scribbles: Codes,
    newest: Mask | None = None,
    *,
    pair: Pair | None = None,
    branches: bool = False,
) -> Prediction:
    """Contour every class that has strokes.

    Parameters
    ----------
    model : CmFNet
        With two outputs, on its device.
    config : Config
        How it was trained.
    study : Study
        CT, or CT and MR.
    scribbles : uint8 array (z, y, x) on the Study's Grid
        Scribble codes.
    newest : bool array (z, y, x), optional
        What was drawn since the last contour.
    pair : Pair, optional
        The study's images, where they are at hand.
    branches : bool
        Say how far the branches are apart, too.

    Returns
    -------
    Prediction
        Every stroke is labelled as drawn, and every part holds a stroke of its class.

    Raises
    ------
    UserError
        As `check_trainable`.
    """
    classes = check_trainable(scribbles)
    model.eval()
    pair = pair or Pair.of(study, config)
    newest = np.zeros(scribbles.shape, dtype=bool) if newest is None else newest
    first = provisional_contour(study, scribbles)
    outside: Reals = np.ones(scribbles.shape, dtype=np.float32)  # chance that it is no class
    best: Reals = np.full(scribbles.shape, 0.0, dtype=np.float32)
    apart: Reals = np.zeros(scribbles.shape, dtype=np.float32)
    labels: Codes = np.zeros(scribbles.shape, dtype=np.uint8)
    for code in range(1, classes):
        begun = np.zeros(scribbles.shape, dtype=bool)
        if first is not None:
            begun[first.region] = first.labels == code
        region, chance, away = _one_class(
            model, config, study.grid, pair, scribbles, newest, code, begun, branches
        )
        likelier = chance > best[region]
        labels[region][likelier] = code
        np.maximum(best[region], chance, out=best[region])
        np.maximum(apart[region], away, out=apart[region])
        outside[region] *= 1 - chance
    labels[outside >= best] = 0
    drawn = scribbles != UNLABELLED
    labels[drawn] = to_targets(scribbles[drawn])
    labels = drop_unmarked(labels, scribbles)
    return Prediction(labels, 1 - outside, apart if branches else None)


def _one_class(
    model: CmFNet,
    config: Config,
    grid: Grid,
    pair: Pair,
    scribbles: Codes,
    newest: Mask,
    code: int,
    begun: Mask,
    branches: bool,
) -> tuple[Box, Reals, Reals]:
    """Chance of a class and disagreement of the branches, in a region of the Study's Grid.

    Of several attempts the one is kept whose contour ends within its region and is nearest to
    the size that its voxels were made for.
    """
    own = scribbles == code + FIRST_CLASS - 1
    others = (scribbles != UNLABELLED) & ~own
    contour, attempts = begun | own, []
    for _ in range(_TIMES):
        voxel = _voxel(contour, grid, config)
        scale = _scale(contour, others, grid, voxel)
        answers = _ask(model, config, pair, scribbles, newest, own, scale, branches)
        chance, away = (scale.refine(part) for part in answers)
        found = np.zeros_like(own)
        found[scale.region] = chance > 0.5
        strokes = np.where(own, FIRST_CLASS, 0).astype(np.uint8)
        found = (drop_unmarked(found.astype(np.uint8), strokes) > 0) | own
        change = abs(np.log(_voxel(found, grid, config) / voxel))
        fault = not _within(found, scale, grid, voxel), change
        attempts.append((fault, (scale.region, chance, away)))
        if fault < (False, np.log(_AGAIN)):
            break
        contour = found
    return min(attempts, key=itemgetter(0))[1]


def _voxel(contour: Mask, grid: Grid, config: Config) -> float:
    """Side of the working voxels that a contour asks for, mm."""
    sides = [s.stop - s.start for s in box_around(contour)]
    mm = np.prod([n * s for n, s in zip(sides, grid.spacing, strict=True)]) ** (1 / 3)
    return float(np.clip(mm / (config.drawn_voxels or 1), _FINEST_MM, _COARSEST_MM))


def _scale(contour: Mask, others: Mask, grid: Grid, voxel: float) -> Scale:
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


def _within(found: Mask, scale: Scale, grid: Grid, voxel: float) -> bool:
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


def _ask(
    model: CmFNet,
    config: Config,
    pair: Pair,
    scribbles: Codes,
    newest: Mask,
    own: Mask,
    scale: Scale,
    branches: bool,
) -> tuple[Tensor, Tensor]:
    """Chance of a class, and disagreement, (1, 1, z', y', x') each."""
    seen = scale.coarsen(pair.seen)
    known = seen >= 0.5
    first = scale.coarsen(pair.first)
    second = np.where(known, scale.coarsen(pair.second) / np.maximum(seen, 0.5), 0)
    codes = np.full(scale.size, IGNORE, dtype=np.uint8)
    codes[scale.touched((scribbles != UNLABELLED) & ~own)] = 0
    codes[scale.touched(own)] = 1
    drawn = Strokes.on(first, second, known, codes, scale.touched(newest))
    device = next(model.parameters()).device
    precision = pick_precision(config.precision, device)
    images = (torch.from_numpy(i.astype(np.float32))[None, None] for i in (first, second))
    maps = torch.from_numpy(drawn.maps())[None]
    inputs = [part.to(device) for part in (*images, maps)]
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        outputs = tuple(model(*inputs)) if branches else (model.fused(*inputs),)
    chances = [
        (config.confidence * scores.float()).softmax(dim=1)[:, 1:].cpu() for scores in outputs
    ]
    every = torch.cat(chances, dim=1)
    return chances[-1], every.amax(1, True) - every.amin(1, True)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))[None, None]
