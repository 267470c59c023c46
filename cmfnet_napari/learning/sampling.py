"""Patches around scribbles, with augmentation."""

from __future__ import annotations

import torch
from torch import Tensor

from cmfnet_napari.core.config import Config
from cmfnet_napari.core.scribbles import IGNORE
from cmfnet_napari.learning.losses import Batch
from cmfnet_napari.learning.prepare import Inputs


class Sampler:
    """Draws patches whose middle lies near a stroke of a class drawn at random.

    Parameters
    ----------
    inputs : Inputs
        The study.
    targets : tensor (1, z, y, x), int64
        Its strokes.
    guide : tensor (1, C, z, y, x)
        Its geodesic guide; C = 0 for none.
    config : Config
        Patch, batch and augmentation.
    generator : torch.Generator
        Source of all chance, on the CPU.
    """

    def __init__(
        self,
        inputs: Inputs,
        targets: Tensor,
        guide: Tensor,
        config: Config,
        generator: torch.Generator,
    ) -> None:
        self._config = config
        self._generator = generator
        self.use(inputs, targets, guide)

    def use(self, inputs: Inputs, targets: Tensor, guide: Tensor) -> None:
        """Draw from other images or strokes from now on, with the same source of chance."""
        self._images = (inputs.ct, inputs.mr, inputs.fov)
        self._targets, self._guide_map = targets, guide
        codes = [int(c) for c in targets.unique() if c != IGNORE]
        self._strokes = [(targets[0] == code).nonzero() for code in codes]

    def draw(self) -> Batch:
        """Draw the patches of one step."""
        patches = [self._patch() for _ in range(self._config.batch)]
        return Batch(*(torch.cat(parts) for parts in zip(*patches, strict=True)))

    def _patch(self) -> tuple[Tensor, ...]:
        size = self._targets.shape[1:]
        patch = [min(p, n) for p, n in zip(self._config.patch, size, strict=True)]
        strokes = self._strokes[self._whole(len(self._strokes))]
        middle = strokes[self._whole(len(strokes))].tolist()
        index = []
        for at, p, n in zip(middle, patch, size, strict=True):
            start = at - self._whole(p)  # the stroke may lie anywhere in the patch
            start = min(max(start, 0), n - p)
            index.append(slice(start, start + p))
        z, y, x = index
        whole = (*self._images, self._targets, self._guide_map)
        parts = tuple(part[..., z, y, x] for part in whole)
        return self._augment(*parts) if self._config.augment else parts

    def _augment(
        self, ct: Tensor, mr: Tensor, fov: Tensor, targets: Tensor, guide: Tensor
    ) -> tuple[Tensor, ...]:
        flips = [axis for axis in (-3, -2, -1) if self._whole(2)]
        ct, mr, fov, targets, guide = (p.flip(flips) for p in (ct, mr, fov, targets, guide))
        return self._shade(ct), self._shade(mr) * fov, fov, targets, guide

    def _shade(self, image: Tensor) -> Tensor:
        """Change contrast by up to 10 %, brightness by up to 0.05 of the window."""
        contrast, brightness = (torch.rand(2, generator=self._generator) * 2 - 1).tolist()
        return image * (1 + 0.1 * contrast) + 0.05 * brightness

    def _whole(self, below: int) -> int:
        return int(torch.randint(below, (1,), generator=self._generator))
