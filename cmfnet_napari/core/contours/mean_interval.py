"""The 95 % interval of a mean over patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from cmfnet_napari.core.arrays import Doubles

_UPPER = 0.975


class MeanInterval(NamedTuple):
    """A mean over patients, its 95 % interval, and how many they are."""

    mean: float
    low: float
    high: float
    patients: int


def mean_interval(
    values: Sequence[float] | Doubles, least: float = -np.inf, most: float = np.inf
) -> MeanInterval:
    """Mean and the interval of Student's t; at least one value, of one all the same.

    A percentile bootstrap is too narrow for few patients: of 5 it holds the mean in 83 of 100
    cases, of 12 in 90.

    Parameters
    ----------
    values : sequence of float
        One a patient.
    least, most : float
        What a mean can be at all, as 0 and 1 of a DSC: the interval ends there.
    """
    known = np.asarray(values, dtype=float)
    mean, count = float(known.mean()), len(known)
    if count == 1:
        return MeanInterval(mean, mean, mean, 1)
    half = float(stdtrit(count - 1, _UPPER) * known.std(ddof=1) / np.sqrt(count))
    return MeanInterval(mean, max(mean - half, least), min(mean + half, most), count)


def score_interval(measure: str, values: Sequence[float] | Doubles) -> MeanInterval:
    """As `mean_interval` of a score, by its name: lengths and volumes have no upper end."""
    endless = measure.endswith(("_mm", "_ml", "_cm"))
    return mean_interval(values, 0.0, np.inf if endless else 1.0)
