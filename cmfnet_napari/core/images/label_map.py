"""What counts as a label map, in every command alike: whole numbers from 0 on."""

from __future__ import annotations

import numpy as np

from cmfnet_napari.core.arrays import Codes, Wholes
from cmfnet_napari.core.errors import UserError, say_of

MOST_LABELS = 254
_MASK = 255  # alone, what a drawing program writes for "inside"; beside others, for "unknown"
_ROUNDED = 1e-3  # what resampling and scaling leave of a whole number


def whole_numbers(values: np.ndarray, name: str) -> np.ndarray:
    """Values that are labels or codes as integers, or bool.

    Parameters
    ----------
    values : array of any numbers, any shape
        Farther than 0.001 from a whole number there must be none; nearer ones are rounded, which
        is said.
    name : str
        What messages call it.

    Raises
    ------
    UserError
        NaN, infinity, a fraction, or less than 0.
    """
    if values.dtype == bool or not values.size:
        return values
    if not np.issubdtype(values.dtype, np.integer):
        values = _rounded(values, name)
    if values.min() < 0:
        raise _no_code(f"The value {values.min():g} in {name}")
    return values


def to_labels(values: np.ndarray, name: str) -> Codes:
    """Labels of a contour: 0 background, 1, 2, … the classes.

    A mask of 0 and 255 alone is one of 0 and 1, which is said.

    Parameters
    ----------
    values : array of any numbers, any shape
        See `whole_numbers`.
    name : str
        What messages call it.

    Returns
    -------
    uint8 array of the same shape

    Raises
    ------
    UserError
        As `whole_numbers`, or a label above `MOST_LABELS`.
    """
    values = whole_numbers(values, name)
    highest = int(values.max()) if values.size else 0
    if highest == _MASK and not ((values != 0) & (values != _MASK)).any():
        say_of(name, "holds 0 and 255, and nothing else: 255 is taken for class 1.")
        values = values != 0
    elif highest > MOST_LABELS:
        raise UserError(
            f"The value {highest} in {name} is no code: 0 is background, 1 to {MOST_LABELS} the "
            "classes."
        )
    labels: Codes = values.astype(np.uint8)
    return labels


def _rounded(values: np.ndarray, name: str) -> Wholes:
    if np.iscomplexobj(values):
        raise _no_code(f"A complex number in {name}")
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise _no_code(f"NaN or infinity, in {bad} of {values.size} voxels of {name},")
    nearest = np.rint(values)
    apart = np.abs(values - nearest)
    if apart.max() > _ROUNDED:
        fraction = values.flat[int(apart.argmax())]
        raise _no_code(f"The value {fraction:g} in {name}")
    if apart.any():
        fraction = values.flat[int(apart.argmax())]
        say_of(name, f"has values such as {fraction:.9g}, which are rounded.")
    whole: Wholes = np.clip(nearest, -1, 1e9).astype(np.int64)
    return whole


def _no_code(what: str) -> UserError:
    return UserError(
        f"{what} is no code: a label map holds whole numbers, 0, 1, 2 and so on. Save it as labels."
    )
