"""Whole volumes to draw patches from: images, labels, and what the strokes say between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from cmfnet_napari.core.arrays import Mask
from cmfnet_napari.core.clues.chances import Clues, find_clues
from cmfnet_napari.core.clues.features import Scene
from cmfnet_napari.core.clues.race import grown
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.strokes.subsets import fewer_strokes
from cmfnet_napari.learning.data.prepare import Inputs
from cmfnet_napari.learning.model.guide import make_guide, make_maps
from cmfnet_napari.learning.model.losses import Batch

_REMEMBERED = 11  # clues: of all strokes, and two for every group that is held out
USERS = 7  # what a network that reads maps sees of one patient: all strokes, and parts of them


class Imaged(Protocol):
    """Who was imaged: a Study, or what was kept of one."""

    @property
    def grid(self) -> Grid:
        """Of the images."""

    @property
    def body(self) -> Mask:
        """The patient without the air around, bool (z, y, x)."""


class Surroundings:
    """What lies around the strokes of one study.

    Parameters
    ----------
    study : Imaged
        Whose images they are.
    inputs : Inputs
        Its images on the working grid.
    config : Config
        Guide and maps.
    """

    def __init__(self, study: Imaged, inputs: Inputs, config: Config) -> None:
        self._study, self._inputs, self._config = study, inputs, config
        self._spacing = inputs.frame.spacing(study.grid)
        self._last: list[tuple[Tensor, int, Clues]] = []

    def clues(self, strokes: Tensor, classes: int) -> Clues:
        """What strokes (1, z, y, x) tell, for so many outputs; the last few are remembered."""
        for known, count, clues in self._last:
            if count == classes and torch.equal(known, strokes):
                return clues
        images = [image[0, 0].numpy() for image in (self._inputs.ct, self._inputs.mr)]
        body = self._inputs.frame.coarsen(self._study.body)[0, 0].numpy() >= 0.5
        found = find_clues(Scene(images, strokes[0].numpy(), body, self._spacing), classes)
        self._last = [(strokes, classes, found), *self._last[: _REMEMBERED - 1]]
        return found

    def with_maps(self, strokes: Tensor, classes: int) -> Inputs:
        """The images, with maps of all strokes where the network sees them: for a prediction."""
        if not self._config.stroke_maps:
            return self._inputs
        return replace(self._inputs, maps=make_maps(self.clues(strokes, classes)))

    def guide(self, strokes: Tensor | None, classes: int) -> Tensor:
        """The guide (1, C, z, y, x) that strokes (1, z, y, x) give; C = 0 where there is none.

        None: it says nothing, all classes are alike.
        """
        if self._config.guide <= 0:
            return self._inputs.ct[:, :0]
        if strokes is None:
            return torch.full((1, classes, *self._inputs.ct.shape[2:]), 1 / classes)
        return make_guide(self.clues(strokes, classes))

    def volumes(
        self, targets: Tensor, classes: int, guide: Tensor, shown: Iterable[Tensor]
    ) -> list[Batch]:
        """Volumes to learn from: one, or with maps one for each set of strokes that is shown.

        Parameters
        ----------
        targets : tensor (1, z, y, x)
            What is taught; strokes grow first where the configuration says so.
        classes : int
            Outputs, background included.
        guide : tensor (1, C, z, y, x)
            As `guide` makes it.
        shown : iterable of tensor (1, z, y, x)
            Strokes that the maps are of; not looked at without maps.
        """
        inputs = self._inputs
        if self._config.seed_growth > 0:
            targets = self._grown(targets, classes)
        known = (inputs.ct, inputs.mr, inputs.fov, targets, guide)
        if not self._config.stroke_maps:
            return [Batch(*known, inputs.ct[:, :0])]
        maps = (make_maps(self.clues(strokes, classes)).half() for strokes in shown)
        return [Batch(*known, seen) for seen in maps]

    def _grown(self, targets: Tensor, classes: int) -> Tensor:
        """Strokes (1, z, y, x) of the classes, grown along the images."""
        images = [image[0, 0].numpy() for image in (self._inputs.ct, self._inputs.mr)]
        share = self._config.seed_growth
        found = grown(images, targets[0].numpy(), classes, self._spacing, share)
        return torch.from_numpy(found)[None].to(targets)

    def part_of(self, strokes: Tensor, user: int) -> Tensor:
        """All strokes (1, z, y, x) for the first user, fewer for the others."""
        if user == 0:
            return strokes
        rng = np.random.default_rng([self._config.seed, user])
        return torch.from_numpy(fewer_strokes(strokes[0].numpy(), self._spacing, rng))[None]
