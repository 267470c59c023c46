"""Rounds of a fit: in each, other strokes are held out, and tell at its end how far it is.

A fit that is judged by the strokes it learns from always looks well. So its steps are divided
into rounds; in a round one group of strokes (`core.strokes.held_out`) teaches nothing, neither
by itself nor through guide and maps, and at its end the prediction is compared with that group.
When every group had its turn, the mean of the latest of each is an agreement with all strokes,
each judged while it was not learnt from. The weights of the best round are kept.
"""

from __future__ import annotations

import copy

import numpy as np
from torch import Tensor

from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.learning.engine.state import State

GROUPS = 5
_ROUNDS = 2 * GROUPS  # of a fit that does all its steps: every group twice
_LEAST_STEPS = 10  # of a round
_WORSE = 0.01  # agreement lost before weights of an earlier round are preferred to the latest


class Rounds:
    """Which strokes are held out at a step, and what that told so far.

    Parameters
    ----------
    config : Config
        Its steps, and whether strokes are held out at all.
    """

    def __init__(self, config: Config) -> None:
        self._on = config.hold_out and config.steps > 0
        self._length = max(_LEAST_STEPS, config.steps // _ROUNDS)
        self._done = 0
        self._agreed: list[float] = []
        self._best: tuple[float, dict[str, Tensor]] | None = None

    def group(self, step: int) -> int:
        """Group that is held out in a step, counted from 0; 0: none is."""
        return 1 + step // self._length % GROUPS if self._on else 0

    def over(self, steps: int) -> bool:
        """Whether after so many steps a round is over and not yet recorded."""
        return self._on and steps // self._length > self._done

    def record(self, agreed: float, weights: dict[str, Tensor]) -> None:
        """Take the agreement with the group of the round that is over (NaN: it was empty)."""
        self._done += 1
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
    def better(self) -> dict[str, Tensor] | None:
        """Weights of an earlier round that agreed clearly better than the latest, if any did."""
        if self._best is None or self.agreement is None:
            return None
        return self._best[1] if self.agreement < self._best[0] - _WORSE else None

    def forget(self) -> None:
        """Begin anew: other strokes were drawn."""
        self._agreed.clear()
        self._best = None

    def state(self) -> State:
        """All of it, to go on from."""
        return {"done": self._done, "agreed": list(self._agreed), "best": self._best}

    def restore(self, state: State) -> None:
        """Go on from a `state`."""
        self._done = int(state["done"])
        self._agreed = [float(value) for value in state["agreed"]]
        self._best = None
        if state["best"] is not None:
            agreed, weights = state["best"]
            self._best = agreed, weights
