"""What a graphics card does, in one command of less than eight minutes.

    python benchmarks/graphics_card.py [--small] [--json FILE]

Processor against card: losses, gradients and labels of the same weights and patches. Time of a
training step of every preset with 1, 2 and 16 patches, and its share of the peak, which is that of
the fastest of a matrix product and a convolution in the same run. Prediction of 512×512×104 within
8, 16 and 80 GiB. From a stroke to the contour. Without a card the same table comes from the
processor, and is headed so; --small takes sizes that take seconds there. No figure is a test.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import SimpleITK as sitk
import torch
import typer
from inference import patient
from report import Row, machine, table, write_json
from rich.console import Console
from torch import Tensor, nn

from cmfnet_napari.core.fit.config import Config, make_config
from cmfnet_napari.core.fit.presets import ROWS
from cmfnet_napari.core.images.study import ORIENTATION, study_from_images, turn
from cmfnet_napari.core.samples.phantom import make_phantom
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.engine.device import make_fabric, pick_device, pick_precision
from cmfnet_napari.learning.engine.out_of_memory import is_out_of_memory, release_memory
from cmfnet_napari.learning.engine.trainer import Trainer
from cmfnet_napari.learning.model.checkpoint import load_model
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.model.guide import map_count
from cmfnet_napari.learning.model.losses import Batch
from cmfnet_napari.learning.predict.predictor import predict, predict_study

CPU = torch.device("cpu")
LIMIT = 7.5 * 60  # seconds; what would begin later is left out, and said to be
NOTHING = "no CUDA device was there: these are the processor's figures"


@dataclass(frozen=True)
class Sizes:
    """How large a run is."""

    matrix: int
    patch: tuple[int, int, int] | None  # None: each preset's own
    width: int | None
    batches: tuple[int, ...]
    volume: tuple[int, int, int]
    budgets_gib: tuple[float, ...]
    repeats: int


FULL = Sizes(8192, None, None, (1, 2, 16), (104, 512, 512), (8, 16, 80), 5)
SMALL = Sizes(512, (16, 16, 16), 4, (1, 2), (16, 48, 48), (0.3, 0.5, 1), 1)


def main(
    small: Annotated[bool, typer.Option("--small", help="Sizes that take seconds")] = False,
    json: Annotated[Path | None, typer.Option(help="Write machine and figures here")] = None,
) -> None:
    """Compare, measure, and print one table."""
    console, began = Console(), time.monotonic()
    device, sizes = pick_device("auto"), SMALL if small else FULL
    console.print(machine())
    if device.type != "cuda":
        console.print(f"[bold]{NOTHING}[/bold]")
    section = "GPU" if device.type == "cuda" else "CPU"
    rows, left_out = [], []
    peaks = {t: peak(device, t, sizes) for t in {torch.float32, pick_precision("auto", device)}}
    for precision, (product, convolved) in peaks.items():
        name = str(precision).removeprefix("torch.")
        rows.append(Row(section, f"matrix product, {name}", product / 1e12, None, "TFLOP/s"))
        rows.append(Row(section, f"convolution, {name}", convolved / 1e12, None, "TFLOP/s"))
    parts: list[tuple[str, Callable[[], list[Row]]]] = [
        ("processor against card", lambda: against_processor(section, device)),
        ("stroke to contour", lambda: [stroke(section, device, sizes)]),
        *(
            (f"step of {name}, {batch}", lambda n=name, b=batch: step(section, device, n, b, sizes,
                                                                     peaks))
            for name in ROWS
            for batch in sizes.batches
        ),
        *(
            (f"prediction in {gib} GiB", lambda g=gib: prediction(section, device, g, sizes))
            for gib in sizes.budgets_gib
        ),
    ]  # fmt: skip
    for name, part in parts:
        if time.monotonic() - began > LIMIT:
            left_out.append(name)
            continue
        try:
            rows += part()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            left_out.append(f"{name} (not enough memory)")
        release_memory(device)
    console.print(table(rows))
    if left_out:
        console.print("Left out: " + ", ".join(left_out))
    if json is not None:
        write_json(rows, json)


def peak(device: torch.device, precision: torch.dtype, sizes: Sizes) -> tuple[float, float]:
    """FLOP/s of a matrix product, and of a 3×3×3 convolution of 64 channels."""
    n, side = sizes.matrix, max(8, sizes.matrix // 128)
    a = torch.rand(n, n, device=device, dtype=precision)
    product = 2 * n**3 / seconds(lambda: a @ a, device, sizes.repeats)
    layer = nn.Conv3d(64, 64, 3, padding=1).to(device, precision)
    image = torch.rand(2, 64, side, side, side, device=device, dtype=precision)
    with torch.inference_mode():
        taken = seconds(lambda: layer(image), device, sizes.repeats)
    return product, 2 * 27 * 64 * 64 * 2 * side**3 / taken


def against_processor(section: str, device: torch.device) -> list[Row]:
    """Largest relative differences of losses and gradients in float32, and other labels."""
    config = make_config("quick", precision="float32", patch=(16, 32, 32), width=4, average=0)
    here, there = (learnt(config, where) for where in (CPU, device))
    losses = max(abs(here[0][k] - there[0][k]) / max(abs(here[0][k]), 1e-6) for k in here[0])
    scale = max(float(g.abs().max()) for g in here[1])
    gradients = max(
        float((a - b.cpu()).abs().max()) / scale for a, b in zip(here[1], there[1], strict=True)
    )
    config = make_config("paper", width=4)
    torch.manual_seed(0)
    model, inputs = build(config, 2).eval(), patient((16, 96, 96))
    labels = [predict(model.to(where), inputs, config).labels for where in (CPU, device)]
    other = 100 * float((labels[0] != labels[1]).mean())
    name = "from the processor, float32"
    return [
        Row(section, f"losses, relative difference {name}", losses, None, "", "≤ 1e-4"),
        Row(section, f"gradients, relative difference {name}", gradients, None, "", "≤ 1e-3"),
        Row(section, f"labels other than {name}", other, None, "%", "≤ 0.1 %"),
    ]


def learnt(config: Config, device: torch.device) -> tuple[dict[str, float], list[Tensor]]:
    """Losses and gradients of a first step, whose weights are the same everywhere."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    trainer = make_trainer(config, device)
    losses = trainer.step(make_batch(config), 0.5)
    torch.backends.cudnn.allow_tf32 = True  # torch's default
    return losses, [p.grad for p in trainer.model.parameters() if p.grad is not None]


def step(
    section: str,
    device: torch.device,
    preset: str,
    batch: int,
    sizes: Sizes,
    peaks: dict[torch.dtype, tuple[float, float]],
) -> list[Row]:
    """Time of a step, and which share of the peak its convolutions come to."""
    changes: dict[str, Any] = {"batch": batch}
    if sizes.patch:
        changes |= {"patch": sizes.patch, "width": sizes.width}
    config = make_config(preset, **changes)
    trainer, patches = make_trainer(config, device), make_batch(config)
    taken = seconds(lambda: trainer.step(patches, 0.5), device, sizes.repeats)
    work = 3 * batch * convolutions(trainer.model, config)  # forward; of images and of weights
    best = max(peaks[pick_precision(config.precision, device)])
    name = f"a step of {preset}, {batch} × {'×'.join(map(str, config.patch))}"
    rows = [
        Row(section, name, taken, None, "s"),
        Row(section, f"{name}: of the peak", 100 * work / taken / best, None, "%"),
    ]
    if device.type == "cuda":
        gib = torch.cuda.max_memory_reserved(device) / 2**30
        rows.append(Row(section, f"{name}: memory", gib, None, "GiB"))
    return rows


def prediction(section: str, device: torch.device, gib: float, sizes: Sizes) -> list[Row]:
    """Time of the paper's network on a whole volume within so much memory."""
    config = make_config("paper", **({"width": sizes.width} if sizes.width else {}))
    model = build(config, 2).to(device).eval()
    inputs, precision = patient(sizes.volume), pick_precision("auto", device)
    name = f"{'×'.join(map(str, sizes.volume[::-1]))} in {gib:g} GiB"
    if device.type == "cuda" and gib * 2**30 > torch.cuda.mem_get_info(device)[1]:
        raise MemoryError
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    taken = seconds(lambda: predict(model, inputs, config, precision, None, gib * 2**30), device, 1)
    rows = [Row(section, f"{name}: time", taken, None, "s")]
    if device.type == "cuda":
        used = torch.cuda.max_memory_reserved(device) / 2**30
        rows.append(Row(section, f"{name}: memory", used, None, "GiB", f"≤ {gib:g}"))
    return rows


def stroke(section: str, device: torch.device, sizes: Sizes) -> Row:
    """From the strokes to the whole contour of the synthetic patient by `limb-sarcoma`, warm."""
    phantom = make_phantom()
    study = study_from_images(phantom.ct, phantom.mr)
    scribbles = sitk.GetArrayFromImage(turn(phantom.scribbles, ORIENTATION))
    model, card = load_model("limb-sarcoma", device)
    taken = seconds(
        lambda: predict_study(model, card, study, scribbles=scribbles), device, sizes.repeats
    )
    return Row(section, "strokes to contour, 128×112×48, limb-sarcoma", taken, None, "s", "≤ 1 s")


def make_trainer(config: Config, device: torch.device) -> Trainer[Any]:
    """With the same first weights everywhere."""
    torch.manual_seed(0)
    fabric = partial(make_fabric, device, pick_precision(config.precision, device))
    return Trainer(build(config, 2), 2, config, device, fabric)


def make_batch(config: Config) -> Batch:
    """Random patches with strokes of both classes, guide and maps as the configuration has them."""
    rng = torch.Generator().manual_seed(0)
    size = (config.batch, 1, *config.patch)
    targets = torch.full((config.batch, *config.patch), IGNORE)
    targets[:, 2, 2:12, 4], targets[:, 2, 2:12, 9] = 0, 1
    ct, mr = torch.rand(2, *size, generator=rng)
    guide = torch.rand(config.batch, 2 if config.guide else 0, *config.patch, generator=rng)
    count = map_count(2) if config.stroke_maps else 0
    maps = torch.rand(config.batch, count, *config.patch, generator=rng)
    guide = guide / guide.sum(1, keepdim=True)
    return Batch(ct, mr, torch.ones(size), targets, guide, maps)


def convolutions(model: nn.Module, config: Config) -> float:
    """FLOP of all convolutions of one patch on its way forward."""
    total = 0.0

    def count(module: nn.Module, given: tuple[Tensor, ...], found: Tensor) -> None:
        nonlocal total
        voxels = (given[0] if isinstance(module, nn.ConvTranspose3d) else found)[0, 0].numel()
        total += 2 * module.weight.numel() * voxels

    layers = [m for m in model.modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    patch = make_batch(config.model_copy(update={"batch": 1})).to(next(model.parameters()).device)
    with torch.no_grad():
        model(patch.ct, patch.mr, patch.maps)
    for hook in hooks:
        hook.remove()
    return total


def seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median time of a call, after one to warm up."""
    taken = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - began)
    return float(np.median(taken[1:]))


if __name__ == "__main__":
    typer.run(main)
