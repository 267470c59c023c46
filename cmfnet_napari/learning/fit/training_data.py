"""What a fit learns from: one study's images and strokes, on the working grid."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.clues.chances import Clues
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.strokes.held_out import deal_strokes
from cmfnet_napari.core.strokes.scribbles import UNLABELLED
from cmfnet_napari.learning.data.prepare import Inputs, make_frame, make_inputs
from cmfnet_napari.learning.data.volumes import Surroundings
from cmfnet_napari.learning.fit.rounds import GROUPS
from cmfnet_napari.learning.model.losses import Batch


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
    groups : uint8 array (z, y, x), optional
        Those that the strokes were dealt into before the fit was broken off.

    Attributes
    ----------
    inputs : Inputs
        The images on the working grid.
    groups : uint8 array (z, y, x)
        Where a stroke is held out in its turn: the group, 1 … `GROUPS`; 0 elsewhere.
    """

    def __init__(
        self, study: Study, scribbles: Codes, config: Config, groups: Codes | None = None
    ) -> None:
        self.study, self._config = study, config
        self._held = 0
        if groups is None:
            groups = deal_strokes(scribbles, study.grid.spacing, GROUPS, config.seed)
        self.scribbles, self.groups = scribbles, groups
        self._prepare()

    def draw(self, scribbles: Codes) -> None:
        """Learn from these strokes from now on; images are prepared anew if the region moved.

        Those that are new are never held out: they count at once.
        """
        self.groups = np.where(scribbles == self.scribbles, self.groups, 0)
        self.scribbles = scribbles
        self._prepare()

    def _prepare(self) -> None:
        frame = make_frame(self.study.grid, self.scribbles, self._config)
        if getattr(self, "inputs", None) is None or self.inputs.frame != frame:
            self.inputs: Inputs = make_inputs(self.study, frame, self._config)
            self._around = Surroundings(self.study, self.inputs, self._config)

    def hold_out(self, group: int) -> bool:
        """Learn nothing from a group of strokes, 1 … `GROUPS`; 0: from all. Whether it is new."""
        changed, self._held = group != self._held, group
        return changed

    @property
    def held_out(self) -> Codes:
        """The strokes that are held out, uint8 (z, y, x) on the Study's Grid."""
        return np.where((self.groups == self._held) & (self._held > 0), self.scribbles, UNLABELLED)

    def volumes(self, classes: int) -> list[Batch]:
        """Images, strokes of the first classes but those held out, and what lies between them.

        Maps leave out the next group too: the network is to find strokes that it does not see.
        """
        learnt = self._targets(classes, self._held)
        shown = learnt
        if self._held:
            shown = self._targets(classes, self._held, self._held % GROUPS + 1)
            for code in set(learnt.unique().tolist()) - set(shown.unique().tolist()):
                shown = torch.where(learnt == code, learnt, shown)  # no code is ever without
        return self._around.volumes(learnt, classes, self._around.guide(learnt, classes), [shown])

    def clues(self, classes: int) -> Clues:
        """What all strokes tell, on the working grid."""
        return self._around.clues(self._targets(classes), classes)

    def seen(self, classes: int, learnt: bool = False) -> Inputs:
        """What the network sees to predict: images, and maps of the strokes if it reads them.

        With `learnt`, the maps do not tell of the strokes that are held out.
        """
        targets = self._targets(classes, *([self._held] if learnt else []))
        return self._around.with_maps(targets, classes)

    def _targets(self, classes: int, *without: int) -> Tensor:
        """Strokes of the first classes, without some groups, on the working grid."""
        left_out = np.isin(self.groups, [group for group in without if group])
        known = (self.scribbles <= classes) & ~left_out
        return self.inputs.targets(np.where(known, self.scribbles, UNLABELLED))
