"""Labels that a method makes itself while it trains: Scribble2Label's, and DMSPS's second stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log

import numpy as np
import torch
from torch import Tensor

from cmfnet_napari.core.contours.components import largest_part
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.model.losses import Batch
from cmfnet_napari.learning.rivals.regularisers import uncertainty
from cmfnet_napari.learning.rivals.settings import MethodConfig

Ask = Callable[[int], Tensor]  # number of a volume → probabilities (1, C, z, y, x), on the CPU


class OwnLabels:
    """The volumes that are learnt from, with what the network adds to their labels.

    Parameters
    ----------
    volumes : sequence of Batch
        Whole volumes, one a batch of one.
    config : Config
        Of a rival: what is added, and when. With any other nothing is.
    classes : int
        Outputs, background included.

    Attributes
    ----------
    volumes : list of Batch
        As they are now.
    """

    def __init__(self, volumes: Sequence[Batch], config: Config, classes: int) -> None:
        self._config = config if isinstance(config, MethodConfig) else MethodConfig()
        self._done = 0  # rounds of predictions
        self.volumes = list(volumes)
        if self._config.pseudo > 0:
            nothing = [torch.zeros(1, classes, *v.ct.shape[2:]).half() for v in volumes]
            self.volumes = self._with_guides(nothing)

    def renew(self, progress: float, ask: Ask) -> bool:
        """Whether the volumes changed: predictions were due at this share of the training."""
        due = self._due(progress)
        if due <= self._done:
            return False
        self._done = due
        if self._config.pseudo > 0:
            self.volumes = self._with_guides([self._averaged(n, ask) for n in self._numbers])
        else:
            self.volumes = [self._relabelled(n, ask) for n in self._numbers]
        return True

    def state(self) -> dict[str, object]:
        """All that later rounds depend on."""
        changed = [v.guide if self._config.pseudo > 0 else v.targets for v in self.volumes]
        return {"done": self._done, "volumes": changed if self._done else []}

    def restore(self, state: dict[str, object]) -> None:
        """Go on from a `state`."""
        done, changed = state["done"], state["volumes"]
        if not isinstance(done, int) or not isinstance(changed, list):
            raise ValueError("labels of a state that are none")
        self._done = done
        if not done:
            return
        if self._config.pseudo > 0:
            self.volumes = self._with_guides(changed)
        else:
            self.volumes = [
                replace(volume, targets=targets)
                for volume, targets in zip(self.volumes, changed, strict=True)
            ]

    @property
    def _numbers(self) -> range:
        return range(len(self.volumes))

    def _due(self, progress: float) -> int:
        """Rounds that are due by now."""
        config = self._config
        if config.pseudo > 0:
            return int(progress / config.pseudo_every + 1e-9)
        return int(progress >= config.relabel_at) if config.relabel_at < 1 else 0

    def _with_guides(self, guides: Sequence[Tensor]) -> list[Batch]:
        """The volumes with averaged predictions; at first they say nothing of any voxel."""
        return [replace(v, guide=g) for v, g in zip(self.volumes, guides, strict=True)]

    def _averaged(self, number: int, ask: Ask) -> Tensor:
        before, newest = self.volumes[number].guide.float(), ask(number)
        return torch.lerp(before, newest, self._config.pseudo_share).half()

    def _relabelled(self, number: int, ask: Ask) -> Batch:
        volume = self.volumes[number]
        targets = sure_labels(ask(number)[0], volume.targets[0], self._config.relabel_sure)
        return replace(volume, targets=targets[None])


def sure_labels(y: Tensor, targets: Tensor, most: float) -> Tensor:
    """Strokes, and around them what a network is sure of (DMSPS, second stage).

    A voxel gets its likeliest class where the entropy, as a share of the largest, is less than
    `most`; of every class but the background only the largest part counts. All others stay
    without a label, as the text says: public code makes them background.

    Parameters
    ----------
    y : tensor (C, z, y, x)
        Probabilities.
    targets : tensor (z, y, x)
        Strokes, `IGNORE` elsewhere; they stay as they are.
    most : float
        0 … 1.
    """
    sure = uncertainty(y[None])[0, 0] < most * log(len(y))
    label = torch.where(sure, y.argmax(dim=0), IGNORE).numpy()
    found = np.where(label == 0, 0, IGNORE)
    for code in range(1, len(y)):
        found[largest_part(label == code)] = code
    grown = torch.from_numpy(found).to(targets)
    return torch.where(targets == IGNORE, grown, targets)
