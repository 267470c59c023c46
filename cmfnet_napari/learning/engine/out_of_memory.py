"""What to give up when memory runs out, one thing after the other."""

from __future__ import annotations

import gc
from typing import Any

import torch

from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.learning.engine.device import pick_precision

SMALLEST_SIDE = 16  # voxels of a patch: four halvings


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: the GPU's, or the processor's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "not enough memory" in words or "allocate memory" in words or "alloc_failed" in words
    )


def lighter(config: Config, device: torch.device) -> tuple[Config, str] | None:
    """The next configuration that needs less memory, and what it gives up, in words.

    In this order: precision, patches through the network at once, stored features, patch size.
    None when there is nothing left.
    """
    precision = pick_precision(config.precision, device)
    if precision == torch.float32 and pick_precision("auto", device) != torch.float32:
        return _with(config, precision="bfloat16"), "in bfloat16"
    if config.micro_batch > 1 and config.batch > 1:
        parts = min(config.micro_batch, config.batch) // 2
        return _with(config, micro_batch=parts), f"{parts} patch{'es' * (parts > 1)} at a time"
    if not config.checkpointing:
        return _with(config, checkpointing=True), "computing features twice"
    patch = list(config.patch)
    largest = max(range(3), key=lambda axis: patch[axis])
    if patch[largest] <= SMALLEST_SIDE:
        return None
    patch[largest] = max(SMALLEST_SIDE, patch[largest] // 2 // 16 * 16)
    z, y, x = patch
    return _with(config, patch=(z, y, x)), f"with patches of {z}×{y}×{x} voxels"


def release_memory(device: torch.device) -> None:
    """Give back what a failed step held."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _with(config: Config, **changes: Any) -> Config:
    return config.model_copy(update=changes)
