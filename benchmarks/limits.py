"""How near to the machine's own limits the slow parts come; each limit is taken in the same run.

    OMP_NUM_THREADS=1 python benchmarks/limits.py

Memory bandwidth is that of a copy of 512×512×200 int16 (bytes read and written). Against it stand
what reads and writes at least so many bytes: slices through that volume in three directions, a
second image brought to the voxels of the first, and labels compared. The processor's peak is the
faster of a matrix product and a convolution; against it stands a training step of `quick`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import SimpleITK as sitk
import torch
import typer
from graphics_card import CPU, Sizes, peak, step
from report import Row, machine, table
from rich.console import Console

from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.core.strokes.changes import changed_slices
from cmfnet_napari.learning.engine.device import pick_precision

SHAPE = (200, 512, 512)  # z, y, x
REPEATS = 5
SIZES = Sizes(2048, None, None, (1,), SHAPE, (), 3)


def main() -> None:
    """Measure, and print one table; nothing else should run meanwhile."""
    torch.set_num_threads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    console = Console()
    console.print(machine())
    console.print(table([*memory(), *convolutions()]))


def memory() -> list[Row]:
    """What moves voxels, in GB/s, and its share of what a copy moves."""
    ct = np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)
    labels, target = (ct > 900).astype(np.uint8), np.empty_like(ct)
    best = 2 * ct.nbytes / seconds(lambda: np.copyto(target, ct))
    rows = [Row("memory", "a copy", best / 1e9, None, "GB/s")]
    for axis, name in enumerate(("axial", "coronal", "sagittal")):
        slices = np.moveaxis(ct, axis, 0)
        taken = seconds(partial(_read, slices)) / len(slices)
        rows += _share(f"a slice, {name}", 2 * slices[0].nbytes, taken, best)
    same = labels.copy()
    taken = seconds(lambda: changed_slices(labels, same))
    rows += _share("labels compared", 2 * labels.nbytes, taken, best)
    first = _image(ct, (0.98, 0.98, 3.0))
    second = _image(ct[:100, ::2, ::2].astype(np.float32), (1.9, 1.9, 6.1))
    taken = seconds(partial(study_from_images, first, second, modalities=("CT", "MR")), repeats=2)
    moved = ct.nbytes + ct[:100, ::2, ::2].size * 4 + ct.size * 4
    rows += _share("CT and MR on one grid, percentiles and all", moved, taken, best)
    return rows


def convolutions() -> list[Row]:
    """A step of `quick`, and its share of the processor's peak."""
    precisions = {torch.float32, pick_precision("auto", CPU)}
    peaks = {kind: peak(CPU, kind, SIZES) for kind in precisions}
    rows = [
        Row("processor", f"peak, {str(kind).removeprefix('torch.')}", max(both) / 1e9, None,
            "GFLOP/s")
        for kind, both in peaks.items()
    ]  # fmt: skip
    return rows + step("processor", CPU, "quick", 1, SIZES, peaks)


def seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median time of a call, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def _read(slices: np.ndarray) -> None:
    """All slices one after another, so that none is in the processor's cache already."""
    for plane in slices:
        plane.copy()


def _share(name: str, moved: float, taken: float, best: float) -> list[Row]:
    return [
        Row("memory", name, 1e3 * taken, None, "ms"),
        Row("memory", f"{name}: of a copy's", 100 * moved / taken / best, None, "%"),
    ]


def _image(array: np.ndarray, spacing: tuple[float, float, float]) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    return image


if __name__ == "__main__":
    typer.run(main)
