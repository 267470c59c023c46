"""Contours by a network that reads strokes on voxels that follow what is drawn.

One pass for each class, its strokes against all others, on working voxels of which about
`Config.drawn_voxels` lie along the class; then the classes are joined, so that they neither
overlap nor leave a gap where they touch. After a contour, new strokes change it around them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import torch
from torch import Tensor

from cmfnet_napari.core.arrays import Codes, Mask, Reals
from cmfnet_napari.core.clues.provisional_contour import provisional_contour
from cmfnet_napari.core.contours.components import drop_unmarked
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.images.normalise import Limits
from cmfnet_napari.core.images.study import Study, limits_of, to_units
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
from cmfnet_napari.learning.predict.last_contour import Contoured, Drawn, Found, Last, blended
from cmfnet_napari.learning.predict.scale import Scale, ends_within, scale_around, voxel_for

_AGAIN = 1.3  # a contour so many times larger or smaller than expected is found anew, at its size
_TIMES = 3


@dataclass(frozen=True, eq=False)
class Pair:
    """Both images of a study in [0, 1], on its Grid; without an MR the CT twice.

    `limits` are the values of each image that became 0 and 1.
    """

    first: Reals
    second: Reals
    seen: Mask
    limits: tuple[Limits, ...]

    @classmethod
    def of(cls, study: Study, config: Config) -> Pair:
        """Normalise a study."""
        limits = limits_of(study, config.ct_window, config.mr_percentiles)
        return cls(*to_units(study, limits), limits)


@torch.inference_mode()
def read_strokes(
    model: CmFNet,
    config: Config,
    study: Study,
    scribbles: Codes,
    last: Last | None = None,
    *,
    pair: Pair | None = None,
    branches: bool = False,
) -> Contoured:
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
    last : Last, optional
        The contour before, which what was drawn since corrects.
    pair : Pair, optional
        The study's images, where they are at hand.
    branches : bool
        Say how far the branches are apart, too.

    Returns
    -------
    Contoured
        Every stroke is labelled as drawn, and every part holds a stroke of its class.

    Raises
    ------
    UserError
        As `check_trainable`.
    """
    classes = check_trainable(scribbles)
    model.eval()
    pair = pair or Pair.of(study, config)
    newest: Mask = np.zeros(scribbles.shape, bool) if last is None else scribbles != last.scribbles
    known = {} if last is None else last.classes
    reader = _Reader(model, config, study, pair, scribbles, newest, known, branches)
    outside: Reals = np.ones(scribbles.shape, dtype=np.float32)  # chance that it is no class
    best: Reals = np.full(scribbles.shape, 0.0, dtype=np.float32)
    apart: Reals = np.zeros(scribbles.shape, dtype=np.float32)
    labels: Codes = np.zeros(scribbles.shape, dtype=np.uint8)
    every = reader.read(classes)
    for code, found in every.items():
        region, chance = found.region, found.chance.astype(np.float32)
        likelier = chance > best[region]
        labels[region][likelier] = code
        np.maximum(best[region], chance, out=best[region])
        np.maximum(apart[region], found.apart, out=apart[region])
        outside[region] *= 1 - chance
    labels[outside >= best] = 0
    drawn = scribbles != UNLABELLED
    labels[drawn] = to_targets(scribbles[drawn])
    labels = drop_unmarked(labels, scribbles)
    kept = Last(scribbles.copy(), every)
    return Contoured(labels, 1 - outside, apart if branches else None, kept)


def drawn_on(scale: Scale, pair: Pair, own: Mask, others: Mask, newest: Mask) -> Strokes:
    """What the network is asked: strokes of a class, and of all others, on working voxels."""
    seen = scale.coarsen(pair.seen)
    known = seen >= 0.5
    first = scale.coarsen(pair.first)
    second = np.where(known, scale.coarsen(pair.second) / np.maximum(seen, 0.5), 0)
    codes = np.full(scale.size, IGNORE, dtype=np.uint8)
    codes[scale.touched(others)] = 0
    codes[scale.touched(own)] = 1
    return Strokes.on(first, second, known, codes, scale.touched(newest))


@dataclass(frozen=True, eq=False)
class _Reader:
    """Strokes of a study, and who reads them."""

    model: CmFNet
    config: Config
    study: Study
    pair: Pair
    scribbles: Codes
    newest: Mask  # drawn since the last contour, or erased
    known: Mapping[int, Found]  # of the last contour
    branches: bool

    def read(self, classes: int) -> dict[int, Found]:
        """Every class by its code."""
        begun: Codes | None = None  # which takes a while
        found = {}
        for code in range(1, classes):
            if code in self.known:
                found[code] = self._again(code, self.known[code])
                continue
            begun = self._begun() if begun is None else begun
            found[code] = self._anew(self._own(code), begun == code)
        return found

    def _begun(self) -> Codes:
        """The provisional contour."""
        labels = np.zeros_like(self.scribbles)
        first = provisional_contour(self.study, self.scribbles, self.pair.limits)
        if first is not None:
            labels[first.region] = first.labels
        return labels

    def _again(self, code: int, before: Found) -> Found:
        """A class that was there before, on the voxels it had: read anew near what is new."""
        own = self._own(code)
        if not (self.newest[before.region].any() or self.newest[own].any()):
            return before
        found = np.zeros_like(own)
        found[before.region] = before.chance > 0.5
        now = self._anew(own, _marked(found, own), before.voxel)
        erased, touched = self.scribbles == UNLABELLED, now.scale.touched
        kept = ~erased & ~self.newest
        more = Drawn(touched(self.newest & (own | erased)), touched(kept & own))
        less = Drawn(touched(self.newest & ~own), touched(kept))
        return blended(now, before, more, less)

    def _anew(self, own: Mask, contour: Mask, voxel: float | None = None) -> Found:
        """A class from a first contour, on voxels of that side or one that follows the contour.

        Of several attempts the one is kept whose contour ends within its region and is nearest to
        the size that its voxels were made for; at a side that is given, one that ends within it
        does.
        """
        grid, along = self.study.grid, self.config.drawn_voxels or 1
        others = self._others(own)
        attempts, contour = [], contour | own
        for _ in range(_TIMES):
            side = voxel or voxel_for(contour, grid, along)
            scale = scale_around(contour, others, grid, side)
            chance, apart = self._ask(own, scale)
            found = np.zeros_like(own)
            found[scale.region] = chance > 0.5
            found = _marked(found, own)
            change = abs(np.log(voxel_for(found, grid, along) / side))
            fault = not ends_within(found, scale, grid, side), change
            attempts.append((fault, Found(scale, side, chance, apart)))
            if fault < (False, np.log(_AGAIN) if voxel is None else np.inf):
                break
            contour, voxel = found, None
        return min(attempts, key=itemgetter(0))[1]

    def _own(self, code: int) -> Mask:
        own: Mask = self.scribbles == code + FIRST_CLASS - 1
        return own

    def _others(self, own: Mask) -> Mask:
        others: Mask = (self.scribbles != UNLABELLED) & ~own
        return others

    def _ask(self, own: Mask, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
        """Chance of a class, and how far the branches are apart, float16 in the scale's region."""
        drawn = drawn_on(scale, self.pair, own, self._others(own), self.newest)
        chances = self._chances(drawn)
        every = torch.cat(chances, dim=1)
        apart = every.amax(1, True) - every.amin(1, True)
        chance, away = (scale.refine(part).astype(np.float16) for part in (chances[-1], apart))
        return chance, away

    def _chances(self, drawn: Strokes) -> list[Tensor]:
        """Chance of the class (1, 1, z', y', x') by y_mm, after that by the branches if asked."""
        model, device = self.model, next(self.model.parameters()).device
        precision = pick_precision(self.config.precision, device)
        images = (
            torch.from_numpy(i.astype(np.float32))[None, None] for i in (drawn.first, drawn.second)
        )
        inputs = [part.to(device) for part in (*images, torch.from_numpy(drawn.maps())[None])]
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            outputs = tuple(model(*inputs)) if self.branches else (model.fused(*inputs),)
        return [
            (self.config.confidence * scores.float()).softmax(dim=1)[:, 1:].cpu()
            for scores in outputs
        ]


def _marked(found: Mask, own: Mask) -> Mask:
    """The parts that hold a stroke, and the strokes."""
    strokes = np.where(own, FIRST_CLASS, UNLABELLED).astype(np.uint8)
    kept: Mask = (drop_unmarked(found.astype(np.uint8), strokes) > 0) | own
    return kept
