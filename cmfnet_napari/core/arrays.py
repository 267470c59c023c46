"""What arrays hold, in names; where the kind of number is open it is plain `numpy.ndarray`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Codes = NDArray[np.uint8]  # scribbles, and segmentations as they are kept
Shorts = NDArray[np.int16]
Wholes = NDArray[np.integer[Any]]  # labels and counts of any integer type
Labels = Mask | Wholes  # a segmentation of any type, or one class of it
Reals = NDArray[np.float32]  # images as the network sees them, chances, distances
Doubles = NDArray[np.float64]  # places, directions and matrices
Floats = NDArray[np.floating[Any]]  # of either precision

T = TypeVar("T")


def three(values: Iterable[T]) -> tuple[T, T, T]:
    """The same values as a tuple of three, such as one value an axis (z, y, x)."""
    first, second, third = values
    return first, second, third
