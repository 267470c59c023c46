"""Stored values: which bits of a word count, and which values are padding and no tissue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, UncompressedTransferSyntaxes
from scipy import ndimage

from cmfnet_napari.core.arrays import Mask, Wholes
from cmfnet_napari.core.images.series.headers import Slice

_TISSUE_HU = (-900.0, 3000.0)
_AIR_HU = (-1024, -1000)


def odd_bits(slices: Sequence[Slice]) -> bool:
    """Whether values do not lie in the lowest bits of their words, which GDCM takes for granted."""
    return any(one.high_bit + 1 != one.bits for one in slices)


def shiftable(slices: Sequence[Slice]) -> bool:
    """Whether the bits of a word can be had as they are stored."""
    whole = all(one.bits <= one.high_bit + 1 <= 8 * one.sample_bytes for one in slices)
    return whole and all(one.syntax in UncompressedTransferSyntaxes for one in slices)


def stored_values(one: Slice, data: Dataset) -> Wholes:
    """Values of a slice by its bits: shifted down, others masked, the sign extended (PS3.5 8.1.1).

    Parameters
    ----------
    one : Slice
        Of a series that is `shiftable`.
    data : Dataset
        Its file.

    Returns
    -------
    int64 array (rows, columns)
    """
    big = one.syntax == ExplicitVRBigEndian
    kind = np.dtype(f"{'>' if big else '<'}u{one.sample_bytes}")
    count = one.size[0] * one.size[1]
    start = max(0, one.frame - 1) * count * one.sample_bytes
    words = np.frombuffer(data.PixelData, kind, count, start).astype(np.int64).reshape(one.size)
    return _signed(words >> (one.high_bit + 1 - one.bits), one)


def fill_padding(array: np.ndarray, slices: Sequence[Slice], modality: str) -> np.ndarray:
    """Make air of padding (Pixel Padding Value and Range Limit, PS3.3 C.7.5.1.1.2).

    In a CT, padding that has a value of tissue counts where it hangs together with the slice's
    border only: files that say 0 and mean nothing by it would lose water.

    Parameters
    ----------
    array : array (slices, rows, columns)
        Rescaled values.
    slices : sequence of Slice
        Their headers.
    modality : str
        As of `read_stack`.

    Returns
    -------
    array
        The same where nothing is padding.
    """
    if not any(one.padding for one in slices):
        return array
    padding = np.stack([_padded(p, one, modality) for p, one in zip(array, slices, strict=True)])
    if padding.all() or not padding.any():
        return array
    lowest = array[~padding].min()
    if modality == "CT" and lowest < 0:
        lowest = np.clip(lowest, *_AIR_HU)
    return np.where(padding, lowest, array)


def _padded(plane: np.ndarray, one: Slice, modality: str) -> Mask:
    if one.padding is None:
        return np.zeros(plane.shape, dtype=bool)
    slope, intercept = one.rescale
    ends = _signed(np.array(one.padding), one) * slope + intercept
    half = abs(slope) / 2
    found: Mask = (plane >= ends.min() - half) & (plane <= ends.max() + half)
    low, high = _TISSUE_HU
    if modality == "CT" and ends.max() > low and ends.min() < high:
        parts, _ = ndimage.label(found)
        edges = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
        found &= np.isin(parts, edges[edges > 0])
    return found


def _signed(words: Wholes, one: Slice) -> Wholes:
    """The lowest bits of words, with their sign where they have one."""
    values: Wholes = words & ((1 << one.bits) - 1)
    if one.signed:
        values = values - ((values >> (one.bits - 1)) << one.bits)
    return values
