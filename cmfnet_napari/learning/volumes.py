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
from cmfnet_napari.learning.guide import make_guide, make_maps, stroke_costs
from cmfnet_napari.learning.losses import Batch
from cmfnet_napari.learning.prepare import Inputs

USERS = 6  # parts of the strokes of one patient that a network which reads maps is shown


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

    def costs(self, strokes: Tensor, classes: int) -> Tensor:
        """Cost from strokes (1, z, y, x) of so many outputs, see `guide.stroke_costs`."""
        return stroke_costs(self._inputs, strokes, self._body, classes, self._spacing)

    def with_maps(self, strokes: Tensor, classes: int) -> Inputs:
        """The images, with maps of all strokes where the network sees them: for a prediction."""
        if not self._config.stroke_maps:
            return self._inputs
        return replace(self._inputs, maps=make_maps(self.costs(strokes, classes)))

    def volumes(
        self, strokes: Tensor, targets: Tensor, classes: int, guided: bool = True
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
        """
        inputs, config = self._inputs, self._config
        images = (inputs.ct, inputs.mr, inputs.fov, targets)
        nothing = inputs.ct[:, :0]
        guide = nothing
        if config.guide > 0:
            guide = torch.full((1, classes, *inputs.ct.shape[2:]), 1 / classes)
            if guided:
                guide = make_guide(self.costs(strokes, classes), config.guide_softness)
        if not config.stroke_maps:
            return [Batch(*images, guide, nothing)]
        parts = (self._part_of(strokes, user) for user in range(USERS))
        return [
            Batch(*images, guide, make_maps(self.costs(part, classes)).half()) for part in parts
        ]

    def _part_of(self, strokes: Tensor, user: int) -> Tensor:
        rng = np.random.default_rng([self._config.seed, user])
        return torch.from_numpy(fewer_strokes(strokes[0].numpy(), self._spacing, rng))[None]
