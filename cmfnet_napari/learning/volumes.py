"""Whole volumes to draw patches from: images, labels, and what the strokes say between them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cmfnet_napari.core.body import body_mask
from cmfnet_napari.core.config import Config
from cmfnet_napari.core.fewer import fewer_strokes
from cmfnet_napari.core.study import Study
from cmfnet_napari.learning.guide import Clues, find_clues, make_guide, make_maps
from cmfnet_napari.learning.losses import Batch
from cmfnet_napari.learning.prepare import Inputs

_REMEMBERED = 2  # clues: of all strokes, and of those that are not held out
USERS = 7  # what a network that reads maps sees of one patient: all strokes, and parts of them


class Surroundings:
    """What lies around the strokes of one study.

    Parameters
    ----------
    study : Study
        CT, or CT and MR.
    inputs : Inputs
        Its images on the working grid.
    config : Config
        Guide and maps.
    """

    def __init__(self, study: Study, inputs: Inputs, config: Config) -> None:
        self._inputs, self._config = inputs, config
        self._spacing = inputs.frame.spacing(study.grid)
        self._body = inputs.frame.coarsen(body_mask(study.ct))
        self._last: list[tuple[Tensor, int, Clues]] = []

    def clues(self, strokes: Tensor, classes: int) -> Clues:
        """What strokes (1, z, y, x) tell, for so many outputs; the last few are remembered."""
        for known, count, clues in self._last:
            if count == classes and torch.equal(known, strokes):
                return clues
        found = find_clues(self._inputs, strokes, self._body, classes, self._spacing)
        self._last = [(strokes, classes, found), *self._last[: _REMEMBERED - 1]]
        return found

    def with_maps(self, strokes: Tensor, classes: int) -> Inputs:
        """The images, with maps of all strokes where the network sees them: for a prediction."""
        if not self._config.stroke_maps:
            return self._inputs
        return replace(self._inputs, maps=make_maps(self.clues(strokes, classes)))

    def volumes(
        self,
        strokes: Tensor,
        targets: Tensor,
        classes: int,
        *,
        guided: bool = True,
        users: int = USERS,
    ) -> list[Batch]:
        """Volumes to learn from: one, or with maps one for each of some users.

        Parameters
        ----------
        strokes : tensor (1, z, y, x), int64
            What guide and maps come from.
        targets : tensor (1, z, y, x)
            What is taught.
        classes : int
            Outputs, background included.
        guided : bool
            Whether there is a guide; where not, and others have one, all classes are alike.
        users : int
            How many.
        """
        inputs, config = self._inputs, self._config
        images = (inputs.ct, inputs.mr, inputs.fov, targets)
        nothing = inputs.ct[:, :0]
        guide = nothing
        if config.guide > 0:
            guide = torch.full((1, classes, *inputs.ct.shape[2:]), 1 / classes)
            if guided:
                guide = make_guide(self.clues(strokes, classes), config.guide_softness)
        if not config.stroke_maps:
            return [Batch(*images, guide, nothing)]
        parts = (self.part_of(strokes, user) for user in range(users))
        return [
            Batch(*images, guide, make_maps(self.clues(part, classes)).half()) for part in parts
        ]

    def part_of(self, strokes: Tensor, user: int) -> Tensor:
        """All strokes (1, z, y, x) for the first user, fewer for the others."""
        if user == 0:
            return strokes
        rng = np.random.default_rng([self._config.seed, user])
        return torch.from_numpy(fewer_strokes(strokes[0].numpy(), self._spacing, rng))[None]
