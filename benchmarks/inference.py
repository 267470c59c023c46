"""Whole volumes: the shipped prediction against a sliding window through all three heads.

python benchmarks/inference.py
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from monai.inferers import sliding_window_inference
from report import Row, run_alone, table, with_peak
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.images.study import ORIENTATION, study_from_images, turn
from cmfnet_napari.core.samples.phantom import make_phantom
from cmfnet_napari.learning.data.prepare import Frame, Inputs, make_frame, make_inputs
from cmfnet_napari.learning.engine.device import pick_device, pick_precision
from cmfnet_napari.learning.model.cmfnet import CmFNet, build
from cmfnet_napari.learning.predict.predictor import predict

SECTION = "inference"
CONFIG = make_config("paper")
SIZE = (64, 192, 192)  # z, y, x
WINDOW = (16, 96, 96)
SIZES = ((16, 96, 96), (32, 128, 128), (64, 256, 256))  # and SIZE
CLASSES = (2, 4, 8)
BUDGETS_GIB = (0.5, 1.0, 2.0)
TRAINING_STEPS = 100
GPU_SIZE, GPU_BUDGET_GIB = (100, 512, 512), 8


def measure() -> list[Row]:
    """Against the sliding window; growth with volume, classes; memory budgets."""
    with tempfile.TemporaryDirectory() as folder:
        weights = str(train(Path(folder) / "weights.pt"))
        exact, direct, _ = run_alone(direct_float32, weights, SIZE)[0]
        ours, seconds, peak = run_alone(shipped, weights, SIZE)[0]
        window, window_seconds, window_peak = run_alone(sliding, weights, SIZE)[0]
        name = _name(SIZE)
        rows = [
            Row(SECTION, f"{name}, sliding window", seconds, window_seconds, "s", "≥ 10 times"),
            Row(SECTION, f"{name}, direct float32", seconds, direct, "s"),
            Row(SECTION, f"{name}, peak, sliding window", peak, window_peak, "MiB"),
            Row(SECTION, f"{name}, other labels", *_differ(exact, ours, window), "%", "≤ 0.5 %"),
        ]
        for budget in BUDGETS_GIB:
            rows += within(weights, budget, exact)
    for size in sorted((*SIZES, SIZE)):
        rows += one(size, 2)
    for classes in CLASSES:
        rows += one(SIZES[1], classes)
    return rows


def within(weights: str, budget: float, exact: np.ndarray) -> list[Row]:
    """Time, peak and labels of a memory budget, GiB."""
    labels, seconds, peak = run_alone(shipped, weights, SIZE, 2, budget)[0]
    what = f"{_name(SIZE)} in {budget:g} GiB"
    return [
        Row(SECTION, f"{what}, time", seconds, None, "s"),
        Row(SECTION, f"{what}, peak", peak, None, "MiB", f"≤ {1024 * budget:.0f}"),
        Row(SECTION, f"{what}, other labels", *_differ(exact, labels), None, "%", "≤ 0.5 %"),
    ]


def one(size: tuple[int, int, int], classes: int) -> list[Row]:
    """Time and peak at one size, of random weights: they cost the same."""
    _, seconds, peak = run_alone(shipped, "", size, classes)[0]
    what = f"{_name(size)}, {classes} classes"
    return [
        Row(SECTION, f"{what}, time", seconds, None, "s"),
        Row(SECTION, f"{what}, peak", peak, None, "MiB"),
    ]


def measure_gpu() -> list[Row]:
    """512×512×100 on a CUDA device: time and peak memory, free and within a budget."""
    rows = []
    for budget, goal in ((None, "< 1 s"), (GPU_BUDGET_GIB, "< 3 s")):
        shipped("", GPU_SIZE, 2, budget)  # picks algorithms
        torch.cuda.reset_peak_memory_stats()
        _, seconds, _ = shipped("", GPU_SIZE, 2, budget)
        peak = torch.cuda.max_memory_reserved() / 2**30
        what = f"{_name(GPU_SIZE)}" + (f" in {budget} GiB" if budget else "")
        limit = f"≤ {budget}" if budget else ""
        rows.append(Row("GPU", f"{what}, time", seconds, None, "s", goal))
        rows.append(Row("GPU", f"{what}, peak", peak, None, "GiB", limit))
        torch.cuda.empty_cache()
    return rows


def shipped(
    weights: str, size: tuple[int, int, int], classes: int = 2, budget: float | None = None
) -> tuple[np.ndarray, float, float]:
    """Labels, seconds and peak MiB of `predict`; budget in GiB."""
    device = pick_device("auto")
    model, inputs = _model(weights, classes).to(device), patient(size)
    precision = pick_precision("auto", device)
    memory = None if budget is None else budget * 2**30
    result, seconds, peak = _timed(lambda: predict(model, inputs, CONFIG, precision, None, memory))
    return result.labels, seconds, peak


@torch.inference_mode()
def direct_float32(weights: str, size: tuple[int, int, int]) -> tuple[np.ndarray, float, float]:
    """The same of y_mm in float32, the whole volume at once."""
    model, inputs = _model(weights, 2), patient(size)
    scores, seconds, peak = _timed(lambda: model.fused(inputs.ct, inputs.mr))
    return _labels(scores), seconds, peak


@torch.inference_mode()
def sliding(weights: str, size: tuple[int, int, int]) -> tuple[np.ndarray, float, float]:
    """The same of a window through all three heads, overlap one half, four windows at once."""
    model, inputs = _model(weights, 2), patient(size)
    images = torch.cat([inputs.ct, inputs.mr], dim=1)

    def heads(pair: Tensor) -> tuple[Tensor, ...]:
        return tuple(model(pair[:, :1], pair[:, 1:]))

    outputs, seconds, peak = _timed(
        lambda: sliding_window_inference(images, WINDOW, 4, heads, overlap=0.5)
    )
    return _labels(outputs[-1]), seconds, peak


def patient(size: tuple[int, int, int]) -> Inputs:
    """The synthetic patient, cut or mirrored at its borders to a size (z, y, x)."""
    inputs, _ = _phantom()
    images = (_resize(image, size) for image in (inputs.ct, inputs.mr, inputs.fov))
    return Inputs(*images, Frame(size, tuple(slice(0, n) for n in size), (1, 1, 1)))


def train(path: Path) -> Path:
    """Train y_mm on the synthetic patient's truth for a minute, so that labels mean something."""
    inputs, truth = _phantom()
    torch.manual_seed(0)
    chance, model = np.random.default_rng(0), build(CONFIG, 2).train()
    optimiser = torch.optim.Adam(model.parameters(), 4e-4)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-4, TRAINING_STEPS)
    for step in range(TRAINING_STEPS):
        cut = _patch(truth, step % 2 == 0, chance)
        with torch.autocast("cpu", torch.bfloat16, pick_precision("auto", _CPU) == torch.bfloat16):
            scores = model.fused(inputs.ct[(..., *cut)], inputs.mr[(..., *cut)])
        weight = torch.tensor([1.0, 4.0])
        loss = functional.cross_entropy(scores.float(), truth[cut][None], weight)
        optimiser.zero_grad()
        loss.backward()
        if torch.isfinite(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)):
            optimiser.step()
        rate.step()
    torch.save(model.state_dict(), path)
    return path


_CPU = torch.device("cpu")


def _patch(truth: Tensor, tumour: bool, chance: np.random.Generator) -> tuple[slice, ...]:
    """A random box of 16×64×64, every other one around a voxel of the tumour."""
    patch, shape = np.array((16, 64, 64)), np.array(truth.shape)
    voxels = truth.nonzero().numpy()
    centre = voxels[chance.integers(len(voxels))] if tumour else chance.integers(0, shape)
    corner = np.clip(centre - patch // 2 + chance.integers(-8, 9, 3), 0, shape - patch)
    return tuple(slice(int(a), int(a + n)) for a, n in zip(corner, patch, strict=True))


def _phantom() -> tuple[Inputs, Tensor]:
    """Images and labels, int64 (z, y, x)."""
    phantom = make_phantom()
    study = study_from_images(phantom.ct, phantom.mr)
    truth = sitk.GetArrayFromImage(turn(phantom.truth, ORIENTATION)).astype(np.int64)
    return make_inputs(study, make_frame(study.grid, None, CONFIG), CONFIG), torch.from_numpy(truth)


def _resize(image: Tensor, size: tuple[int, int, int]) -> Tensor:
    array = image[0, 0].numpy()
    missing = [(0, max(0, n - m)) for n, m in zip(size, array.shape, strict=True)]
    wide = np.pad(array, missing, mode="symmetric")[tuple(slice(n) for n in size)]
    return torch.from_numpy(np.ascontiguousarray(wide))[None, None]


def _model(weights: str, classes: int) -> CmFNet:
    model = build(CONFIG, classes).eval()
    if weights:
        model.load_state_dict(torch.load(weights, weights_only=True))
    return model


def _timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    began = time.perf_counter()
    result, peak = with_peak(work)
    return result, time.perf_counter() - began, peak


def _labels(scores: Tensor) -> np.ndarray:
    return scores[0].argmax(dim=0).to(torch.uint8).numpy()


def _differ(exact: np.ndarray, *others: np.ndarray) -> tuple[float, ...]:
    """Share of voxels whose labels are others, %."""
    return tuple(100 * float((labels != exact).mean()) for labels in others)


def _name(size: tuple[int, int, int]) -> str:
    return "×".join(map(str, size[::-1]))


if __name__ == "__main__":
    Console().print(table(measure()))
