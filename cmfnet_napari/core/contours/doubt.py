"""How much a prediction is to be doubted, voxel by voxel: unsure, and branches that disagree."""

from __future__ import annotations

import numpy as np

from cmfnet_napari.core.arrays import Codes, Floats, Reals

_PERCENT = np.float32(100.0)


def uncertainty(probability: Floats) -> Reals:
    """How unsure the network is: 4 p (1 − p), which is 1 at p = 0.5 and 0 where it is sure.

    Four times the variance of a coin that falls with probability p. It ranks voxels as the
    entropy does, and is cheaper.

    Parameters
    ----------
    probability : float array (z, y, x)
        Calibrated probability of not being background, 0 … 1. Which class it is does not count.
    """
    p: Reals = np.clip(probability, 0.0, 1.0).astype(np.float32)
    return np.float32(4) * p * (np.float32(1) - p)


def to_percent(share: Floats) -> Codes:
    """Shares 0 … 1 as whole percent, uint8: one byte a voxel on disk."""
    percent: Floats = np.rint(_PERCENT * np.clip(share, 0.0, 1.0))
    return percent.astype(np.uint8)


def from_percent(percent: Codes) -> Reals:
    """Whole percent as shares 0 … 1, float32."""
    share: Reals = np.clip(percent.astype(np.float32) / _PERCENT, 0.0, 1.0)
    return share
