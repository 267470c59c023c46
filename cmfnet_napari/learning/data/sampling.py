"""Patches around strokes, with augmentation.

Every patch comes from chance of its own, seeded by its place in the training: a fit that goes
on from any step, or is shared by several processes, sees the patches it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cmfnet_napari.core.arrays import three
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.model.losses import Batch

PREFERRED_SHARE = 0.75  # of the patches, when some voxels are preferred; the rest keep the past


class Sampler:
    """Draws patches whose middle lies near a labelled voxel of a class drawn at random.

    Parameters
    ----------
    cases : sequence of Batch
        Whole volumes, one a batch of one; `targets` may be uint8. They may differ in size.
    config : Config
        Seed, patch, batch and augmentation.
    """

    def __init__(self, cases: Sequence[Batch], config: Config) -> None:
        self._config = config
        self._preferred, self._until = torch.empty(0, 3, dtype=torch.int64), 0
        self.use(cases)

    def use(self, cases: Sequence[Batch]) -> None:
        """Draw from other images or strokes from now on."""
        self._cases = list(cases)
        self._labelled = [_voxels_of_each_class(case.targets[0]) for case in self._cases]

    def prefer(self, voxels: Tensor, until: int) -> None:
        """Draw most patches around some voxels for a while, such as strokes just drawn.

        Parameters
        ----------
        voxels : bool tensor (z, y, x)
            On the grid of the volumes in use. None true: nothing is preferred.
        until : int
            The first step that prefers nothing any more.
        """
        self._preferred, self._until = voxels.nonzero(), until

    def draw(self, step: int, items: Iterable[int] | None = None) -> Batch:
        """Draw the patches of one step.

        Parameters
        ----------
        step : int
            Number of the step, from 0.
        items : iterable of int, optional
            Which of the step's patches 0 … batch − 1; all when not given.
        """
        items = range(self._config.batch) if items is None else items
        size = self._size_at(step)
        patches = [self._draw_one(step, item, size) for item in items]
        return Batch(*(torch.cat(parts) for parts in zip(*patches, strict=True)))

    def _draw_one(self, step: int, item: int, patch: tuple[int, int, int]) -> Batch:
        rng = np.random.default_rng([self._config.seed, step, item])
        number = self._case_of(step * self._config.batch + item)
        case = self._cases[number]
        size = case.ct.shape[2:]
        index = []
        middle = self._middle(step, number, size, rng)
        for at, p, n in zip(middle, patch, size, strict=True):
            start = at - int(rng.integers(p))  # the stroke may lie anywhere in the patch
            start = min(max(start, 0), max(n - p, 0))
            index.append(slice(start, start + p))
        z, y, x = index
        cut = _at_least(Batch(*(part[..., z, y, x] for part in case)), patch)
        cut = replace(cut, targets=cut.targets.long(), maps=cut.maps.float())
        return _augment(cut, rng) if self._config.augment else cut

    def _size_at(self, step: int) -> tuple[int, int, int]:
        """Size (z, y, x) of a step's patches: that of the largest, so that they can be stacked.

        No larger: a network with instance normalisation, or one that sees whole images, would
        else be taught on images with a border that they do not have when it predicts them.
        """
        first = step * self._config.batch
        numbers = range(first, first + self._config.batch)
        sizes = [self._cases[self._case_of(number)].ct.shape[2:] for number in numbers]
        sides = zip(self._config.patch, np.max(sizes, axis=0), strict=True)
        return three(min(p, int(n)) for p, n in sides)

    def _middle(
        self, step: int, number: int, size: Sequence[int], rng: np.random.Generator
    ) -> tuple[int, int, int]:
        """Where (z, y, x) a patch of a case is to be: at a labelled voxel."""
        here = self._preferred
        if step < self._until and len(here) and rng.random() < PREFERRED_SHARE:
            return three(int(at) for at in here[rng.integers(len(here))])
        labelled = self._labelled[number]
        voxels = labelled[rng.integers(len(labelled))]
        place = np.unravel_index(int(voxels[rng.integers(len(voxels))]), size)
        return three(int(at) for at in place)

    def _case_of(self, number: int) -> int:
        """Case of the patch of this number: every case once before any comes again."""
        epoch, place = divmod(number, len(self._cases))
        order = np.random.default_rng([self._config.seed, epoch]).permutation(len(self._cases))
        return int(order[place])


def _voxels_of_each_class(targets: Tensor) -> list[Tensor]:
    """Flat indices (int32) of the labelled voxels of every class that occurs."""
    flat = targets.flatten()
    codes = [int(code) for code in flat.unique() if code != IGNORE]
    return [(flat == code).nonzero()[:, 0].int() for code in codes]


def _at_least(case: Batch, size: tuple[int, ...]) -> Batch:
    """Pad a patch of a small case: images repeat their border, nothing outside teaches anything."""
    missing = [max(0, p - n) for p, n in zip(size, case.ct.shape[2:], strict=True)]
    if not any(missing):
        return case
    z, y, x = missing
    far = (0, x, 0, y, 0, z)
    classes = max(case.guide.shape[1], 1)
    return Batch(
        ct=functional.pad(case.ct, far, mode="replicate"),
        mr=functional.pad(case.mr, far, mode="replicate"),
        fov=functional.pad(case.fov, far),
        targets=functional.pad(case.targets, far, value=IGNORE),
        guide=functional.pad(case.guide, far, value=1 / classes),
        maps=functional.pad(case.maps, far),
    )


def _augment(patch: Batch, rng: np.random.Generator) -> Batch:
    flips = [axis for axis in (-3, -2, -1) if rng.integers(2)]
    ct, mr, fov, targets, guide, maps = (part.flip(flips) for part in patch)
    return Batch(_shade(ct, rng), _shade(mr, rng) * fov, fov, targets, guide, maps)


def _shade(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Change contrast by up to 10 %, brightness by up to 0.05 of the window."""
    contrast, brightness = rng.uniform(-1, 1, 2).tolist()
    shaded: Tensor = image * (1 + 0.1 * contrast) + 0.05 * brightness
    return shaded
