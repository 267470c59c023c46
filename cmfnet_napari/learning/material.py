"""What a fit learns from: one study's images and strokes, on the working grid."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from cmfnet_napari.core.config import Config
from cmfnet_napari.core.scribbles import UNLABELLED
from cmfnet_napari.core.study import Study
from cmfnet_napari.learning.losses import Batch
from cmfnet_napari.learning.prepare import Inputs, make_frame, make_inputs
from cmfnet_napari.learning.volumes import Surroundings


class Material:
    """Images and strokes of a fit; strokes may change.

    Parameters
    ----------
    study : Study
        CT, or CT and MR.
    scribbles : uint8 array (z, y, x) on the Study's Grid
        Scribble codes.
    config : Config
        Region, spacing, windows, guide and maps.

    Attributes
    ----------
    inputs : Inputs
        The images on the working grid.
    """

    def __init__(self, study: Study, scribbles: np.ndarray, config: Config) -> None:
        self.study, self._config = study, config
        self.draw(scribbles)

    def draw(self, scribbles: np.ndarray) -> None:
        """Learn from these strokes from now on; images are prepared anew if the region moved."""
        self.scribbles = scribbles
        frame = make_frame(self.study.grid, scribbles, self._config)
        if getattr(self, "inputs", None) is None or self.inputs.frame != frame:
            self.inputs: Inputs = make_inputs(self.study, frame, self._config)
            self._around = Surroundings(self.study, self.inputs, self._config)

    def volumes(self, classes: int) -> list[Batch]:
        """Images, strokes of the first classes, and what lies between them."""
        targets = self._targets(classes)
        return self._around.volumes(targets, targets, classes)

    def seen(self, classes: int) -> Inputs:
        """What the network sees to predict: images, and maps of the strokes if it reads them."""
        return self._around.with_maps(self._targets(classes), classes)

    def _targets(self, classes: int) -> Tensor:
        known = np.where(self.scribbles > classes, UNLABELLED, self.scribbles)
        return self.inputs.targets(known)
