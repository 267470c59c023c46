"""Gated multi-view CRF (Eq. 5, 6): neighbours that look alike should be labelled alike.

For probabilities y and a symmetric kernel K the Potts energy is

    L = Σ_p Σ_q K(p, q) · (1 − y_p · y_q) = Σ_p (S_p − y_p · G_p),  G_p = Σ_q K(p, q) y_q,

with S_p = Σ_q K(p, q), and its gradient is −2 G. So one sweep over half of the offsets gives
value and gradient, without ever unfolding the (2r + 1)² neighbours.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

Offset = tuple[int, int, int]
_PLANES = ((1, 2), (0, 1), (0, 2))  # axial (y, x), sagittal (z, y), coronal (z, x)


@dataclass(frozen=True)
class Kernel:
    """One image that says which neighbours look alike.

    Attributes
    ----------
    image : tensor (B, 1, z, y, x)
        In [0, 1].
    weight : float
        λ of Eq. 7; 0 switches the kernel off.
    mask : tensor (B, 1, z, y, x) or None
        1 where the image has data; pairs with a voxel outside do not count.
    voxels : float or None
        What the energy is divided by: the voxels with data in the whole batch, when this is
        one micro-batch of it. None: those of this mask.
    sigma_xy : float
        Standard deviation of the distance term, voxels.
    sigma_intensity : float
        Standard deviation of the intensity term.
    """

    image: Tensor
    weight: float
    mask: Tensor | None = None
    voxels: float | None = None
    sigma_xy: float = 6.0
    sigma_intensity: float = 0.1


def gated_crf(y: Tensor, kernels: Sequence[Kernel], radius: int = 5) -> Tensor:
    """Energy a voxel, mean of the axial, sagittal and coronal views, summed over kernels.

    Parameters
    ----------
    y : tensor (B, C, z, y, x), float32 or float64
        Probabilities.
    kernels : sequence of Kernel
        Any number.
    radius : int
        Half width of the window in each view, voxels.

    Returns
    -------
    scalar tensor
        Differentiable in `y` only.
    """
    kernels = [kernel for kernel in kernels if kernel.weight > 0]
    if not kernels:
        return y.new_zeros(())
    return _GatedCRF.apply(y, kernels, radius)


class _GatedCRF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, kernels: list[Kernel], radius: int) -> Tensor:  # type: ignore[override]
        pull, total = _sweep(y, kernels, radius)
        ctx.save_for_backward(pull)
        return total - (y * pull).sum()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (pull,) = ctx.saved_tensors
        return -2.0 * upstream * pull, None, None


@lru_cache(maxsize=16)
def _half_offsets(radius: int) -> tuple[tuple[Offset, int], ...]:
    """One of each pair ±offset, with the number of views it lies in."""
    views: Counter[Offset] = Counter()
    span = range(-radius, radius + 1)
    for first, second in _PLANES:
        for a in span:
            for b in span:
                offset = [0, 0, 0]
                offset[first], offset[second] = a, b
                if tuple(offset) > (0, 0, 0):
                    views[tuple(offset)] += 1
    return tuple(views.items())


def _sweep(y: Tensor, kernels: list[Kernel], radius: int) -> tuple[Tensor, Tensor]:
    """G of the weighted sum of kernels (the shape of `y`), and the sum of S over all voxels."""
    pull = torch.zeros_like(y)
    total = y.new_zeros(())
    images = [k.image.to(y.dtype) / (math.sqrt(2) * k.sigma_intensity) for k in kernels]
    shares = [_share(kernel) for kernel in kernels]
    masks = [None if kernel.mask is None else kernel.mask.to(y.dtype) for kernel in kernels]
    for offset, views in _half_offsets(radius):
        if any(abs(d) >= n for d, n in zip(offset, y.shape[2:], strict=True)):
            continue
        here, there = _overlap(offset)
        alike = None
        for kernel, image, share, mask in zip(kernels, images, shares, masks, strict=True):
            far = sum(d * d for d in offset) / (2 * kernel.sigma_xy**2)
            weight = share * views / len(_PLANES) * math.exp(-far)
            k = (image[here] - image[there]).square_().neg_().exp_().mul_(weight)
            if mask is not None:
                k.mul_(mask[here]).mul_(mask[there])
            alike = k if alike is None else alike.add_(k)
        total += 2 * alike.sum()
        pull[here].addcmul_(alike, y[there])
        pull[there].addcmul_(alike, y[here])
    return pull, total


def _share(kernel: Kernel) -> float:
    """λ divided by the number of voxels that count."""
    voxels = kernel.voxels
    if voxels is None:
        voxels = kernel.image.numel() if kernel.mask is None else float(kernel.mask.sum())
    return kernel.weight / max(voxels, 1.0)


def _overlap(offset: Offset) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Index of p and of p + offset in (B, C, z, y, x), where both are inside."""
    here, there = [slice(None)] * 2, [slice(None)] * 2
    for d in offset:
        here.append(slice(max(0, -d), None if d <= 0 else -d))
        there.append(slice(max(0, d), None if d >= 0 else d))
    return tuple(here), tuple(there)
