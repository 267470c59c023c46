"""Gated CRF, forward and backward: this project's sweep against the published unfolding.

python benchmarks/crf.py
"""

from __future__ import annotations

import math
import time

import psutil
import torch
from report import Row, run_alone, table
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from cmfnet_napari.learning.model.crf import Kernel, gated_crf

RADIUS = 5
SECTION = "CRF loss"
_VIEWS = ((2, 3, 4), (4, 2, 3), (3, 2, 4))  # slices along z, x, y of (B, C, z, y, x)
_PAPER = (16, 2, 16, 96, 96)
_SIZES = ((1, 2, 16, 48, 48), (1, 2, 16, 64, 64), (1, 2, 32, 48, 48), (1, 2, 16, 96, 96))
_CLASSES = ((2, 4, 16, 64, 64), (2, 8, 16, 64, 64))


def unfolded_crf(y: Tensor, kernels: list[Kernel], radius: int) -> Tensor:
    """Eq. 5 and 6 as published for slices, in three views: every neighbour in memory at once."""
    loss = y.new_zeros(())
    for view in _VIEWS:
        slices = _slices(y, view)
        weights = sum((_unfolded_kernel(k, view, radius) for k in kernels), start=y.new_zeros(()))
        pull = (weights * _unfold(slices, radius)).flatten(2, 3).sum(dim=2)
        loss = loss + (weights.sum() - (pull * slices).sum()) / len(_VIEWS)
    return loss


def _unfolded_kernel(kernel: Kernel, view: tuple[int, int, int], radius: int) -> Tensor:
    """K of all neighbours, (slices, 1, 2r + 1, 2r + 1, rows, columns)."""
    image = _slices(kernel.image, view)
    mask = torch.ones_like(kernel.image) if kernel.mask is None else kernel.mask
    inside = _slices(mask, view)
    features = torch.cat([_places(image) / kernel.sigma_xy, image / kernel.sigma_intensity], dim=1)
    k = _unfold(features, radius)
    k = k - k[:, :, radius, radius, None, None].clone()
    k = (-0.5 * k**2).sum(dim=1, keepdim=True).exp()
    k[:, :, radius, radius] = 0
    k = k * _unfold(inside, radius) * inside[:, :, None, None]
    return k * (kernel.weight / mask.sum())


def _slices(volume: Tensor, view: tuple[int, int, int]) -> Tensor:
    """(B, C, z, y, x) → (B · slices, C, rows, columns)."""
    along, rows, columns = view
    return volume.permute(0, along, 1, rows, columns).flatten(0, 1)


def _places(slices: Tensor) -> Tensor:
    """Row and column of every pixel, (slices, 2, rows, columns)."""
    rows, columns = (torch.arange(n, dtype=slices.dtype) for n in slices.shape[2:])
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(len(slices), -1, -1, -1)


def _unfold(slices: Tensor, radius: int) -> Tensor:
    """(n, C, rows, columns) → (n, C, 2r + 1, 2r + 1, rows, columns), zeros outside."""
    window = 2 * radius + 1
    patches = functional.unfold(slices, window, padding=radius)
    return patches.view(*slices.shape[:2], window, window, *slices.shape[2:])


METHODS = {"ours": gated_crf, "theirs": unfolded_crf}


def make_case(shape: tuple[int, ...]) -> tuple[Tensor, list[Kernel]]:
    """Random probabilities (B, C, z, y, x), a CT and an MR that covers most of it."""
    chance = torch.Generator().manual_seed(0)
    y = torch.randn(shape, generator=chance).softmax(dim=1).requires_grad_()
    ct, mr = (torch.rand(shape[0], 1, *shape[2:], generator=chance) for _ in range(2))
    fov = torch.ones_like(mr)
    fov[..., : shape[4] // 8] = 0
    return y, [Kernel(ct, 0.2), Kernel(mr, 0.2, fov)]


def gradient(method: str, shape: tuple[int, ...]) -> tuple[float, Tensor]:
    """Loss and gradient."""
    y, kernels = make_case(shape)
    loss = METHODS[method](y, kernels, RADIUS)
    loss.backward()
    return loss.item(), torch.as_tensor(y.grad)


def check(shape: tuple[int, ...] = (2, 3, 7, 12, 15)) -> float:
    """Largest difference of the two gradients, of the largest gradient; also of the losses."""
    (ours, our_slope), (theirs, their_slope) = (gradient(m, shape) for m in METHODS)
    apart = ((our_slope - their_slope).abs().max() / their_slope.abs().max()).item()
    return max(apart, abs(ours - theirs) / abs(theirs))


def seconds(method: str, shape: tuple[int, ...], repeats: int) -> float:
    """Best time of one forward and backward pass."""
    y, kernels = make_case(shape)
    times = []
    for _ in range(repeats):
        y.grad = None
        began = time.perf_counter()
        METHODS[method](y, kernels, RADIUS).backward()
        times.append(time.perf_counter() - began)
    return min(times)


def compare(shape: tuple[int, ...], repeats: int, goals: tuple[str, str] = ("", "")) -> list[Row]:
    """Time and memory of both at one size; memory above the inputs."""
    parts = 1 if _fits(shape) else shape[0]
    few = (shape[0] // parts, *shape[1:])
    ours, our_peak = run_alone(seconds, "ours", shape, repeats)
    theirs, their_peak = run_alone(seconds, "theirs", few, max(1, repeats // 2))
    batch, classes, *size = shape
    what = f"batch {batch}, {'×'.join(map(str, size))}, {classes} classes"
    if parts > 1:
        what += f" (theirs: {few[0]} patch, times {parts})"
    memory = our_peak - _inputs(shape), parts * (their_peak - _inputs(few))
    return [
        Row(SECTION, f"time, {what}", ours, parts * theirs, "s", goals[0]),
        Row(SECTION, f"memory, {what}", *memory, "MiB", goals[1]),
    ]


def _fits(shape: tuple[int, ...]) -> bool:
    """Whether the unfolding fits the free memory: it took 6 window-sized arrays a class."""
    needed = 6 * 4 * (2 * RADIUS + 1) ** 2 * math.prod(shape)
    return needed < psutil.virtual_memory().available


def _inputs(shape: tuple[int, ...]) -> float:
    """MiB of probabilities, CT, MR and mask."""
    return 4 * math.prod(shape) * (1 + 3 / shape[1]) / 2**20


def measure() -> list[Row]:
    """Paper's batch; growth with the size of a patch and with the number of classes."""
    apart = check()
    if apart > 1e-5:
        raise RuntimeError(f"The two CRFs differ by {apart:.1e} of the largest gradient.")
    rows = compare(_PAPER, 2, ("≥ 25 times faster", "≤ 200 MiB"))
    for shape in (*_SIZES, *_CLASSES):
        rows += compare(shape, 4)
    return rows


if __name__ == "__main__":
    Console().print(table(measure()))
