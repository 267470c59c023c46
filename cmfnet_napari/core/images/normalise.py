"""Intensities the network sees: images of any modality in [0, 1]."""

from __future__ import annotations

import numpy as np

from cmfnet_napari.core.arrays import Mask, Reals
from cmfnet_napari.core.errors import UserError

PT_PERCENTILES = (0.0, 99.8)  # of a PET: what takes up most is what one looks for

Limits = tuple[float, float]


def to_unit(array: np.ndarray, limits: Limits, seen: Mask | None = None) -> Reals:
    """Map the values between two limits to [0, 1], float32; those beyond are clipped.

    Parameters
    ----------
    array : array (z, y, x)
        An image, in its own units.
    limits : tuple of float
        Values that become 0 and 1.
    seen : bool array (z, y, x), optional
        Where the image has data; 0 elsewhere in the result.
    """
    low, high = np.float32(limits[0]), np.float32(limits[1] - limits[0])
    unit: Reals = np.clip((array.astype(np.float32) - low) / high, 0, 1)
    return unit if seen is None else np.where(seen, unit, np.float32(0))


def usual_limits(
    array: np.ndarray,
    modality: str,
    ct_window: Limits,
    mr_percentiles: Limits,
    seen: Mask | None = None,
) -> Limits:
    """Values that become 0 and 1, and are shown black and white, by what kind of image it is.

    Parameters
    ----------
    array : array (z, y, x)
        An image, in its own units.
    modality : str
        A CT has a window of HU, an MR percentiles, a PET `PT_PERCENTILES`.
    ct_window : tuple of float
        HU.
    mr_percentiles : tuple of float
        Percent.
    seen : bool array (z, y, x), optional
        Where the image has data, which percentiles are of.

    Raises
    ------
    UserError
        Both percentiles have one value: the image shows nothing.
    """
    if modality == "CT":
        return ct_window
    percentiles = PT_PERCENTILES if modality == "PT" else mr_percentiles
    low, high = np.percentile(array if seen is None else array[seen], percentiles)
    if high <= low:
        raise UserError(
            f"The {modality} is {low:g} from its {percentiles[0]:g}th to its "
            f"{percentiles[1]:g}th percentile: there is nothing to see in it."
        )
    return float(low), float(high)
