"""Rounds of a fit: in each, other strokes are held out, and tell at its end how far it is.

A fit that is judged by the strokes it learns from always looks well. So it is divided into
rounds; in a round one group of strokes (`core.strokes.held_out`) teaches nothing, neither by
itself nor through guide and maps, and at its end the prediction is compared with that group.
When every group had its turn, the mean of the latest of each is an agreement with all strokes,
each judged while it was not learnt from. The weights of the best round are kept.

A network that knows something before it learns is judged by every group at first, and what
training makes of it counts only where it agrees better. Not before the end: half way, with steps
still large, it often agrees worse than at last.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.learning.engine.state import State

GROUPS = 5
_ROUNDS = 2 * GROUPS  # of a fit that does all its steps: every group twice
_LEAST_STEPS = 10  # of a round
_WORSE = 0.01  # agreement lost before weights of an earlier round are preferred to the latest
_ROUNDING = 1e-9  # of shares

Kept = tuple[float, dict[str, Tensor]]  # weights, and how far they agree


class Rounds:
    """Which strokes are held out at a step, and what that told so far.

    Parameters
    ----------
    config : Config
        Its steps, and whether strokes are held out at all.
    """

    def __init__(self, config: Config) -> None:
        self._on = config.hold_out and config.steps > 0
        self._count = min(_ROUNDS, max(1, config.steps // _LEAST_STEPS))
        self._done, self._end = 0, 1 / self._count
        self._agreed: list[float] = []
        self._best: Kept | None = None
        self._first: Kept | None = None

    @property
    def group(self) -> int:
        """Group that is held out now; 0: none is."""
        return 1 + self._done % GROUPS if self._on else 0

    @property
    def comparable(self) -> bool:
        """Whether every group has its turn in a whole fit, to be compared with the beginning."""
        return self._on and self._count >= GROUPS

    def over(self, progress: float) -> bool:
        """Whether a round is over, and not yet recorded, at a share of the fit (0 … 1)."""
        return self._on and progress >= self._end - _ROUNDING

    def begin(self, agreed: Sequence[float], weights: dict[str, Tensor]) -> None:
        """Take what the network agrees to before it learns, with each group while it is held out.

        NaN: a group is empty.
        """
        if not np.isnan(agreed).all():
            self._first = float(np.nanmean(agreed)), copy.deepcopy(weights)

    def record(self, agreed: float, weights: dict[str, Tensor], progress: float) -> None:
        """Take the agreement with the group of the round that is over (NaN: it was empty).

        The next one ends with the next of equal parts of the fit, however long this one was.
        """
        self._done += 1
        self._end = (1 + int((progress + _ROUNDING) * self._count)) / self._count
        self._agreed.append(agreed)
        mean = self.agreement
        if mean is not None and (self._best is None or mean >= self._best[0]):
            self._best = (mean, copy.deepcopy(weights))

    @property
    def agreement(self) -> float | None:
        """Mean over the latest round of every group; None before each had its turn."""
        latest = np.array(self._agreed[-GROUPS:])
        if len(latest) < GROUPS or np.isnan(latest).all():
            return None
        return float(np.nanmean(latest))

    @property
    def in_vain(self) -> bool:
        """Whether no round, when each group had its turn, agreed better than before training."""
        if self._first is None or self._best is None:
            return False
        return self._best[0] <= self._first[0] + _ROUNDING

    @property
    def better(self) -> Kept | None:
        """What agrees better than the latest weights: those before training, or of a round."""
        if self._best is None or self.agreement is None:
            return None
        if self.in_vain:
            return self._first
        least = self._best[0] - _WORSE
        if self._first is not None:
            least = max(least, self._first[0] + _ROUNDING)
        return self._best if self.agreement < least else None

    def forget(self) -> None:
        """Begin anew: other strokes were drawn."""
        self._agreed.clear()
        self._best = self._first = None

    def state(self) -> State:
        """All of it, to go on from."""
        return {
            "done": self._done,
            "end": self._end,
            "agreed": list(self._agreed),
            "best": self._best,
            "first": self._first,
        }

    def restore(self, state: State) -> None:
        """Go on from a `state`; those of earlier versions know of no beginning."""
        self._done = int(state["done"])
        self._end = float(state.get("end", (self._done + 1) / self._count))
        self._agreed = [float(value) for value in state["agreed"]]
        self._best, self._first = _kept(state["best"]), _kept(state.get("first"))


def _kept(stored: Sequence[Any] | None) -> Kept | None:
    if stored is None:
        return None
    agreed, weights = stored
    return agreed, weights
