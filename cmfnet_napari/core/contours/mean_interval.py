"""The 95 % interval of a mean over patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cmfnet_napari.core.arrays import Doubles

_RESAMPLED = 10_000  # times


class MeanInterval(NamedTuple):
    """A mean over patients, its 95 % interval, and how many they are."""

    mean: float
    low: float
    high: float
    patients: int


def mean_interval(values: Sequence[float] | Doubles) -> MeanInterval:
    """Mean and the interval of the percentile bootstrap; at least one value, of one all the same.

    The same values always give the same interval.
    """
    known = np.asarray(values, dtype=float)
    drawn = np.random.default_rng(0).integers(len(known), size=(_RESAMPLED, len(known)))
    low, high = np.percentile(known[drawn].mean(axis=1), [2.5, 97.5])
    return MeanInterval(float(known.mean()), float(low), float(high), len(known))
