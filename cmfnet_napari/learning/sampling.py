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
    config : Config
        Patch, batch and augmentation.
    generator : torch.Generator
        Source of all chance, on the CPU.
    """

    def __init__(
        self, inputs: Inputs, targets: Tensor, config: Config, generator: torch.Generator
    ) -> None:
        self._inputs = inputs
        self._config = config
        self._generator = generator
        self.set_targets(targets)

    def set_targets(self, targets: Tensor) -> None:
        """Use other strokes from the next draw on."""
        self._targets = targets
        codes = [int(c) for c in targets.unique() if c != IGNORE]
        self._strokes = [(targets[0] == code).nonzero() for code in codes]

    def on(self, inputs: Inputs, targets: Tensor) -> Sampler:
        """Return a sampler of other inputs that goes on with the same source of chance."""
        return Sampler(inputs, targets, self._config, self._generator)

    def draw(self) -> Batch:
        """Draw the patches of one step."""
        patches = [self._patch() for _ in range(self._config.batch)]
        ct, mr, fov, targets = (torch.cat(parts) for parts in zip(*patches, strict=True))
        return Batch(ct, mr, fov, targets)

    def _patch(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        size = self._inputs.ct.shape[2:]
        patch = [min(p, n) for p, n in zip(self._config.patch, size, strict=True)]
        strokes = self._strokes[self._whole(len(self._strokes))]
        middle = strokes[self._whole(len(strokes))].tolist()
        index = []
        for at, p, n in zip(middle, patch, size, strict=True):
            start = at - self._whole(p)  # the stroke may lie anywhere in the patch
            start = min(max(start, 0), n - p)
            index.append(slice(start, start + p))
        z, y, x = index
        inputs = self._inputs
        parts = [image[:, :, z, y, x] for image in (inputs.ct, inputs.mr, inputs.fov)]
        targets = self._targets[:, z, y, x]
        return self._augment(*parts, targets) if self._config.augment else (*parts, targets)

    def _augment(
        self, ct: Tensor, mr: Tensor, fov: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        flips = [axis for axis in (-3, -2, -1) if self._whole(2)]
        ct, mr, fov, targets = (part.flip(flips) for part in (ct, mr, fov, targets))
        return self._shade(ct), self._shade(mr) * fov, fov, targets

    def _shade(self, image: Tensor) -> Tensor:
        """Change contrast by up to 10 %, brightness by up to 0.05 of the window."""
        contrast, brightness = (torch.rand(2, generator=self._generator) * 2 - 1).tolist()
        return image * (1 + 0.1 * contrast) + 0.05 * brightness

    def _whole(self, below: int) -> int:
        return int(torch.randint(below, (1,), generator=self._generator))
