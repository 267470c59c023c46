"""What a fit learns from: one study's images and strokes, on the working grid."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from cmfnet_napari.core.body import body_mask
from cmfnet_napari.core.config import Config
from cmfnet_napari.core.scribbles import UNLABELLED
from cmfnet_napari.core.study import Study
from cmfnet_napari.learning.guide import make_guide
from cmfnet_napari.learning.losses import Batch
from cmfnet_napari.learning.prepare import Inputs, make_frame, make_inputs


class Material:
    """Images and strokes of a fit; strokes may change.

    Parameters
    ----------
    study : Study
        CT, or CT and MR.
    scribbles : uint8 array (z, y, x) on the Study's Grid
        Scribble codes.
    config : Config
        Region, spacing, windows and guide.

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

    def volume(self, classes: int) -> Batch:
        """Images, targets at strokes of the first classes, and the guide between them."""
        known = np.where(self.scribbles > classes, UNLABELLED, self.scribbles)
        inputs, config = self.inputs, self._config
        targets = inputs.targets(known)
        if config.guide <= 0:
            return Batch(inputs.ct, inputs.mr, inputs.fov, targets, inputs.ct[:, :0])
        frame, softness = inputs.frame, config.guide_softness
        body, spacing = frame.coarsen(self._body), frame.spacing(self.study.grid)
        guide = make_guide(inputs, targets, body, classes, spacing, softness)
        return Batch(inputs.ct, inputs.mr, inputs.fov, targets, guide)

    @cached_property
    def _body(self) -> np.ndarray:
        """The patient without the air around, bool (z, y, x)."""
        return body_mask(self.study.ct)
