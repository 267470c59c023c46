"""Time and memory of a training step, against the plain float32 step of the same network."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from report import Row, run_alone

from cmfnet_napari.core.fit.config import Config, make_config
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.engine.device import make_fabric, pick_device, pick_precision
from cmfnet_napari.learning.engine.trainer import Trainer
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.model.crf import Kernel, gated_crf
from cmfnet_napari.learning.model.losses import Batch

REPEATS = 3
FULL = make_config("paper", batch=2)
NARROW = make_config("paper", batch=2, width=8, patch=(16, 64, 64))


def measure() -> list[Row]:
    """Steps at two sizes, memory of the paper's batch, growth with patch and classes."""
    rows = []
    for name, config, goal in (
        ("width 16, 2 × 16×96×96", FULL, "≤ 0.6 of theirs"),
        ("width 8, 2 × 16×64×64", NARROW, "≤ 0.35 of theirs"),
    ):
        ours, crf = seconds(config), crf_seconds(config)
        rows.append(
            Row("step", f"{name}, against float32", ours, seconds(plain(config)), "s", goal)
        )
        rows.append(Row("step", f"{name}, the CRF alone", crf, ours, "s", "≤ 10 % on a GPU"))
    rows += [_memory(2, False, "< 3 GiB"), _memory(1, False), _memory(2, True)]
    for side in (48, 64, 96):
        config = FULL.model_copy(update={"patch": (16, side, side)})
        rows.append(Row("step", f"width 16, 2 × 16×{side}×{side}", seconds(config), None, "s"))
    for classes in (2, 4, 8):
        rows.append(
            Row(
                "step",
                f"width 8, 2 × 16×64×64, {classes} classes",
                seconds(NARROW, classes),
                None,
                "s",
            )
        )
    return rows


def seconds(config: Config, classes: int = 2, repeats: int = REPEATS) -> float:
    """Median time of a step, after one to warm up."""
    device = pick_device("auto")
    fabric = partial(make_fabric, device, pick_precision(config.precision, device))
    trainer = Trainer(build(config, classes), classes, config, device, fabric)
    batch = _batch(config, classes)
    return _median(lambda: trainer.step(batch, 0.5), repeats)


def crf_seconds(config: Config) -> float:
    """Median time of the CRF's share of a step: forward and backward, part by part."""
    device = pick_device("auto")
    parts = [part.to(device) for part in _batch(config, 2).split(config.micro_batch)]

    def sweep() -> None:
        for part in parts:
            y = torch.rand(len(part), 2, *config.patch, device=device).requires_grad_()
            kernels = [
                Kernel(part.ct, config.lambda_ct),
                Kernel(part.mr, config.lambda_mr, part.fov),
            ]
            gated_crf(y, kernels, config.crf_radius).backward()

    return _median(sweep, REPEATS)


def plain(config: Config) -> Config:
    """Return the straightforward step: float32, the whole batch at once."""
    return config.model_copy(update={"precision": "float32", "micro_batch": config.batch})


def _memory(micro_batch: int, checkpointing: bool, goal: str = "") -> Row:
    """Peak memory of a step of the paper's 16 patches, weights and optimiser included."""
    config = make_config("paper", micro_batch=micro_batch, checkpointing=checkpointing)
    _, peak = run_alone(seconds, config, 2, 1)
    what = f"batch 16 in parts of {micro_batch}" + (", checkpointing" if checkpointing else "")
    return Row("step", f"{what}, peak", peak / 1024, None, "GiB", goal)


def _batch(config: Config, classes: int) -> Batch:
    """Random patches with a stroke of every class; the MR has data everywhere."""
    torch.manual_seed(0)
    images = torch.rand(2, config.batch, 1, *config.patch)
    targets = torch.full((config.batch, *config.patch), IGNORE)
    for code in range(classes):
        targets[:, 2, 4:40, 10 + code] = code
    nothing = images[0][:, :0]
    return Batch(images[0], images[1], torch.ones_like(images[0]), targets, nothing, nothing)


def _median(run: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])
