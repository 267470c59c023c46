"""Gated multi-view CRF (Eq. 5, 6): neighbours that look alike should be labelled alike.

For probabilities y and a symmetric kernel K the Potts energy is

    L = Σ_p Σ_q K(p, q) · (1 − y_p · y_q) = Σ_p (S_p − y_p · G_p),  G_p = Σ_q K(p, q) y_q,

with S_p = Σ_q K(p, q), and its gradient is −2 G. So one sweep over half of the offsets gives
value and gradient, without ever unfolding the (2r + 1)² neighbours.

What makes the sweep fast on a CPU: a patch is one padded line, so that an offset is one shift of
contiguous memory; voxels that must not count (padding, no data) hold values that look like nothing
else, so that no mask is multiplied; a patch fits the cache; and every thread takes whole patches,
because threads that meet after every small operation mostly wait, the more so on a busy machine.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.nn.functional import pad

Planes = tuple[tuple[int, int], ...]
AXIAL: Planes = ((1, 2),)
ALL_PLANES: Planes = ((1, 2), (0, 1), (0, 2))  # axial (y, x), sagittal (z, y), coronal (z, x)
_LOG2_E = math.log2(math.e)  # exp2 is several times faster than exp
_APART = 64.0  # 2 ** −64² is 0 in float64 too
_Job = tuple[slice, slice]  # which patches, which shifts


@dataclass(frozen=True)
class Kernel:
    """One image that says which neighbours look alike, or several that must agree on it.

    Attributes
    ----------
    image : tensor (B, M, z, y, x)
        In [0, 1]; M the same in all kernels of an energy.
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


def gated_crf(
    y: Tensor, kernels: Sequence[Kernel], radius: int = 5, planes: Planes = ALL_PLANES
) -> Tensor:
    """Energy a voxel, mean of the axial, sagittal and coronal views, summed over kernels.

    Parameters
    ----------
    y : tensor (B, C, z, y, x), float32 or float64
        Probabilities.
    kernels : sequence of Kernel
        Any number.
    radius : int
        Half width of the window in each view, voxels.
    planes : tuple of (int, int)
        The views, by their axes.

    Returns
    -------
    scalar tensor
        Differentiable in `y` only.
    """
    kernels = [kernel for kernel in kernels if kernel.weight > 0]
    if not kernels:
        return y.new_zeros(())
    energy: Tensor = _GatedCRF.apply(y, kernels, radius, planes)
    return energy


class _GatedCRF(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: BackwardCFunction, y: Tensor, kernels: list[Kernel], radius: int, planes: Planes
    ) -> Tensor:
        pull, total = _sweep(y, kernels, radius, planes)
        ctx.save_for_backward(pull)
        return total - (y * pull).sum()

    @staticmethod
    def backward(ctx: BackwardCFunction, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (pull,) = ctx.saved_tensors
        return -2.0 * upstream * pull, None, None, None


@dataclass(frozen=True)
class _Line:
    """A patch laid out as one line, and the shifts that lead to half of the neighbours.

    Attributes
    ----------
    padding : tuple of int
        Of x and y, after the last voxel, as `pad` takes it; whatever leaves a row lands there.
    planes : int
        Number of views.
    shifts : tuple of (int, int, int)
        Steps along the line, number of views the offset lies in, its squared length.
    period : int
        Divides no shift: voxels one shift apart differ in their place modulo the period.
    """

    padding: tuple[int, int, int, int]
    planes: int
    shifts: tuple[tuple[int, int, int], ...]
    period: int


def _half_offsets(reach: tuple[int, ...], planes: Planes) -> Counter[tuple[int, ...]]:
    """One of each pair ±offset, with the number of views it lies in."""
    views: Counter[tuple[int, ...]] = Counter()
    for plane in planes:
        spans = [range(-r, r + 1) if axis in plane else (0,) for axis, r in enumerate(reach)]
        views.update(offset for offset in itertools.product(*spans) if offset > (0, 0, 0))
    return views


@lru_cache(maxsize=16)
def _line(shape: tuple[int, int, int], radius: int, planes: Planes) -> _Line:
    """Layout for patches of one shape (z, y, x)."""
    views = _half_offsets(tuple(min(radius, n - 1) for n in shape), planes)
    _, below, right = (min(radius, n - 1) for n in shape)
    row = shape[2] + right
    plane = row * (shape[1] + below)
    shifts = tuple(
        (z * plane + y * row + x, count, z * z + y * y + x * x)
        for (z, y, x), count in views.items()
    )
    period = next(n for n in itertools.count(1) if all(s % n for s, _, _ in shifts))
    return _Line((0, right, 0, below), len(planes), shifts, period)


def _sweep(y: Tensor, kernels: list[Kernel], radius: int, planes: Planes) -> tuple[Tensor, Tensor]:
    """G of the weighted sum of kernels (the shape of `y`), and the sum of S over all voxels."""
    line = _line((y.shape[2], y.shape[3], y.shape[4]), radius, planes)
    weights = _log_weights(line, kernels).to(y)
    jobs = _jobs(y, torch.get_num_threads())

    @torch.no_grad()  # a thread starts with gradients on
    def work(job: _Job) -> tuple[Tensor, Tensor]:
        patches, part = job
        images = _images(kernels, patches, line, y.dtype)
        return _pull(y[patches], images, line, part, weights)

    pull, total = torch.zeros_like(y), y.new_zeros(())
    for (patches, _), (pulled, alike) in zip(jobs, _run(work, jobs), strict=True):
        pull[patches] += pulled
        total += alike
    return pull, 2 * total


def _jobs(y: Tensor, threads: int) -> list[_Job]:
    """Whole batch on a GPU, which wants few large kernels; else patches, or parts of them."""
    if y.device.type != "cpu":
        return [(slice(None), slice(None))]
    parts = math.ceil(threads / len(y))
    return [(slice(i, i + 1), slice(n, None, parts)) for i in range(len(y)) for n in range(parts)]


def _run(
    work: Callable[[_Job], tuple[Tensor, Tensor]], jobs: list[_Job]
) -> list[tuple[Tensor, Tensor]]:
    """Results in order; on a CPU each thread works alone, its operations undivided."""
    threads = torch.get_num_threads()
    if len(jobs) == 1 or threads == 1:
        return [work(job) for job in jobs]
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, jobs))
    finally:
        torch.set_num_threads(threads)  # threads that start later take the last number set


def _pull(
    y: Tensor, images: Tensor, line: _Line, part: slice, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """G and half the sum of S over some of the shifts, of patches (b, C, z, y, x)."""
    padded = pad(y, line.padding)
    labels = padded.flatten(2)
    pull, buffer = torch.zeros_like(labels), torch.empty_like(images)
    channels = images.shape[1] // weights.shape[1]
    total = y.new_zeros(())
    for (step, _, _), weight in zip(line.shifts[part], weights[part], strict=True):
        rest = labels.shape[2] - step
        k = buffer[..., :rest]
        torch.sub(images[..., step:], images[..., :rest], out=k)
        if channels == 1:
            torch.addcmul(weight, k, k, value=-1, out=k)
        else:
            k = weight - k.square().unflatten(1, (len(weight), channels)).sum(dim=2)
        k.exp2_()
        alike = k[:, :1]
        for other in range(1, k.shape[1]):
            alike += k[:, other : other + 1]
        total += alike.sum()
        pull[..., :rest].addcmul_(alike, labels[..., step:])
        pull[..., step:].addcmul_(alike, labels[..., :rest])
    return pull.view_as(padded)[..., : y.shape[3], : y.shape[4]], total


def _images(kernels: list[Kernel], patches: slice, line: _Line, dtype: torch.dtype) -> Tensor:
    """Lines (b, kernels × M, n) of the images, scaled so that K = 2 ** −(difference)².

    Padding and voxels without data are apart from all images and, one shift away, from each other.
    """
    lines = []
    for kernel in kernels:
        scale = math.sqrt(_LOG2_E / 2) / kernel.sigma_intensity
        image = kernel.image[patches].to(dtype) * scale
        if kernel.mask is not None:
            image = torch.where(kernel.mask[patches] > 0, image, math.nan)
        image = pad(image, line.padding, value=math.nan).flatten(2)
        places = torch.arange(image.shape[2], device=image.device) % line.period
        lines.append(torch.where(image.isnan(), scale + _APART * (1 + places.to(dtype)), image))
    return torch.cat(lines, dim=1)


def _log_weights(line: _Line, kernels: list[Kernel]) -> Tensor:
    """Log2 of share of the views × distance term × λ a voxel; float64 (shifts, kernels, 1)."""
    shares = [math.log2(kernel.weight / line.planes / _voxels(kernel)) for kernel in kernels]
    rows = [
        [
            share + math.log2(views) - squared / (2 * kernel.sigma_xy**2) * _LOG2_E
            for kernel, share in zip(kernels, shares, strict=True)
        ]
        for _, views, squared in line.shifts
    ]
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(kernels), 1)


def _voxels(kernel: Kernel) -> float:
    """Count the voxels to divide by."""
    if kernel.voxels is not None:
        return max(kernel.voxels, 1.0)
    image = kernel.image[:, :1]
    return max(image.numel() if kernel.mask is None else float(kernel.mask.sum()), 1.0)
