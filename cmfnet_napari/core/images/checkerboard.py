"""Two images in turn, square by square, made when a slice of them is asked for."""

from __future__ import annotations

from typing import SupportsIndex

import numpy as np
from numpy.typing import DTypeLike

from cmfnet_napari.core.arrays import Reals

_LARGEST_MM, _FEWEST = 25.0, 4  # squares: large enough to compare, and some in every direction


_Step = SupportsIndex | slice


class Checkerboard:
    """An image with holes through which the one below it is seen, as napari reads arrays.

    Nothing is computed or kept but the slices that are shown.

    Parameters
    ----------
    image : array (z, y, x)
        The upper image.
    spacing : tuple of float
        Distance of voxel centres along (z, y, x), mm: squares are as large in every plane.
    """

    dtype = np.dtype(np.float32)
    ndim = 3

    def __init__(self, image: np.ndarray, spacing: tuple[float, float, float]) -> None:
        self.image = image
        self.shape, self.size = image.shape, image.size
        extent = np.array(image.shape) * np.array(spacing)
        square = min(_LARGEST_MM, float(extent.min()) / _FEWEST)
        self._odd = [
            (np.arange(n) * step // square % 2).astype(bool)
            for n, step in zip(image.shape, spacing, strict=True)
        ]

    def __getitem__(self, key: _Step | tuple[_Step, ...]) -> Reals:
        """As the image's own, float32; NaN, which is seen through, in every second square."""
        part: Reals = np.array(self.image[key], dtype=np.float32)
        kept = key if isinstance(key, tuple) else (key,)
        kept = (*kept, *[slice(None)] * (self.ndim - len(kept)))
        odd = np.zeros((), bool)
        for along, at in zip(self._odd, kept, strict=True):
            here = along[at]
            odd = np.logical_xor(odd[..., None] if here.ndim else odd, here)
        part[~np.broadcast_to(odd, part.shape)] = np.nan
        return part

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """The whole of it."""
        return np.asarray(self[:], dtype=dtype)
