"""Whether a CT has Hounsfield units, or the numbers from 0 on that some programs store instead."""

from __future__ import annotations

import numpy as np

from cmfnet_napari.core.errors import say

OFFSET = 1024  # what is added to store Hounsfield units without a sign
_EVERY = (slice(None, None, 2), slice(None, None, 3), slice(None, None, 3))
_AIR_HU = -400.0  # below: air, lung, foam
_TISSUE_HU = (-150.0, 150.0)  # fat to blood
_MOST_AIR, _LEAST_TISSUE = 0.001, 0.1  # shares of all voxels


def lacks_offset(array: np.ndarray) -> bool:
    """Whether the values of a CT are Hounsfield units with `OFFSET` added.

    Then none is as low as air, and most tissue lies near 1024, where Hounsfield units have dense
    bone, of which no patient has that much.

    Parameters
    ----------
    array : array (z, y, x)
        Values as they were read.
    """
    values = array[_EVERY].ravel()
    low, high = _TISSUE_HU
    moved = ((values > low + OFFSET) & (values < high + OFFSET)).mean()
    return bool((values < _AIR_HU).mean() < _MOST_AIR and moved > _LEAST_TISSUE)


def say_offset(array: np.ndarray) -> bool:
    """Warn of a CT without Hounsfield units, and say what to do; whether it is one."""
    lacks = lacks_offset(array)
    if lacks:
        say(
            f"The CT has no Hounsfield units: its tissue lies near {OFFSET}, where they have 0. "
            f"Open it with --subtract {OFFSET} (in the window: Open → Subtract {OFFSET}), or "
            "export it again: contours of it are worse as it is."
        )
    return lacks


def subtract(array: np.ndarray, offset: float) -> np.ndarray:
    """Values less an offset, of a type with a sign."""
    if np.issubdtype(array.dtype, np.integer) and float(offset).is_integer():
        moved: np.ndarray = array.astype(np.int64) - int(offset)
        small = np.iinfo(np.int16)
        fits = small.min <= moved.min() and moved.max() <= small.max
        return moved.astype(np.int16 if fits else np.int32)
    return (array - offset).astype(np.float32)
