"""Intensities the network sees: both modalities in [0, 1]."""

from __future__ import annotations

import numpy as np

from cmfnet_napari.core.arrays import Mask, Reals
from cmfnet_napari.core.errors import UserError


def ct_to_unit(array: np.ndarray, window: tuple[float, float]) -> Reals:
    """Map a window of HU to [0, 1], float32; values outside are clipped."""
    low, high = window
    unit: Reals = np.clip((array.astype(np.float32) - low) / (high - low), 0, 1)
    return unit


def mr_to_unit(
    array: np.ndarray, fov: Mask, percentiles: tuple[float, float] = (1.0, 99.0)
) -> Reals:
    """Map MR values between two percentiles inside the field of view to [0, 1], float32.

    Parameters
    ----------
    array : array (z, y, x)
        MR, arbitrary units.
    fov : bool array (z, y, x)
        Where the MR has data; 0 elsewhere in the result.
    percentiles : tuple of float
        Low and high, percent.

    Raises
    ------
    UserError
        Both percentiles have one value: the MR shows nothing.
    """
    low, high = np.percentile(array[fov], percentiles)
    if high <= low:
        raise UserError(
            f"The MR is {low:g} from its {percentiles[0]:g}th to its {percentiles[1]:g}th "
            "percentile: there is nothing to see in it."
        )
    unit = np.clip((array.astype(np.float32) - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.where(fov, unit, np.float32(0))
