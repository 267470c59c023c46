"""A volume through windows of one size that overlap, blended by how far from its middle each sees.

MONAI's `sliding_window_inference` does the same (a test holds them together), but to import it
takes longer than the first contour: 2 s of an idle processor, 6 to 12 s where the files are not
in the system's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor

from cmfnet_napari.core.arrays import three
from cmfnet_napari.core.geometry.boxes import Box

_SIGMA = 0.125  # of a window's side: standard deviation of its weights
_LEAST = 1e-3  # weight of a window's corner, next to 1 in its middle
Size = tuple[int, int, int]


def blended(
    ask: Callable[[Tensor], Tensor], images: Tensor, window: Size, overlap: float
) -> Tensor:
    """The answers to all windows, each voxel's the mean by weight of those that hold it.

    Parameters
    ----------
    ask : callable
        Takes a window (1, C, z, y, x) of the images, gives answers (1, A, z, y, x) on the CPU.
    images : tensor (1, C, z, y, x)
        No side shorter than the window's.
    window : tuple of int
        (z, y, x).
    overlap : float
        Share of a window that the next one sees too, 0 … 1.

    Returns
    -------
    tensor (1, A, z, y, x), float32
    """
    size = three(images.shape[2:])
    weights = _weights(window)
    total, sums = torch.zeros(1, 1, *size), torch.empty(0)
    for box in _boxes(size, window, overlap):
        answers = ask(images[(..., *box)])
        if not sums.numel():
            sums = torch.zeros(1, answers.shape[1], *size)
        sums[(..., *box)] += answers * weights
        total[(..., *box)] += weights
    return sums / total


def _boxes(size: Size, window: Size, overlap: float) -> Iterator[Box]:
    """Where windows lie: evenly, the last of each axis at its end."""
    starts = [
        [*range(0, whole - side, max(1, int(side * (1 - overlap)))), whole - side]
        for whole, side in zip(size, window, strict=True)
    ]
    for corner in product(*starts):
        yield three(slice(at, at + side) for at, side in zip(corner, window, strict=True))


def _weights(window: Size) -> Tensor:
    """A bell, (z, y, x)."""
    bell = torch.ones(1)
    for side in window:
        away = torch.arange(side) - (side - 1) / 2
        bell = bell.unsqueeze(-1) * torch.exp(away**2 / (-2 * (_SIGMA * side) ** 2))
    return bell[0].clamp(min=max(float(bell.min()), _LEAST))
