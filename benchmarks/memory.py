"""Peak memory of training on the CPU, against what the preflight expects.

``python benchmarks/memory.py [PRESET …]``: two steps of every variant in a process of its own, on
random images. No more than a few minutes; other programs do not disturb it.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import psutil
from report import run_alone

from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.fit.cost_estimate import training_memory
from cmfnet_napari.core.images.grid import Grid

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "quick": [
        {},
        {"width": 4},
        {"width": 16},
        {"batch": 2, "width": 12},
        {"patch": (16, 48, 48)},
        {"patch": (32, 96, 96)},
        {"precision": "float32"},
    ],
    "standard": [
        {},
        {"checkpointing": True},
        {"batch": 1},
        {"batch": 1, "precision": "float32"},
    ],
    "paper": [  # two patches a step: more go through the network one pair after the other
        {"batch": 2},
        {"batch": 1},
        {"batch": 2, "checkpointing": True},
        {"batch": 2, "precision": "float32"},
    ],
}
_MIB = 2**20


def main() -> None:
    """Print measured and expected MiB as a table."""
    print("| preset, changed | measured, MiB | expected, MiB | expected / measured |")
    print("|---|---|---|---|")
    for preset in sys.argv[1:] or VARIANTS:
        for changes in VARIANTS[preset]:
            before, above = run_alone(train, preset, changes)
            measured = before / _MIB + above
            images = Grid((1, 1, 1))
            expected = training_memory(make_config(preset, **changes), images) / _MIB
            words = ", ".join(f"{key} {value}" for key, value in changes.items())
            ratio = expected / measured
            print(f"| {preset} {words} | {measured:.0f} | {expected:.0f} | {ratio:.2f} |")


def train(preset: str, changes: dict[str, Any]) -> int:
    """Take two steps on random patches; return the bytes the program held before."""
    held = psutil.Process().memory_info().rss
    import torch

    import cmfnet_napari.learning.worker  # noqa: F401  all that the program imports
    from cmfnet_napari.learning.engine.device import make_fabric, pick_precision
    from cmfnet_napari.learning.engine.trainer import Trainer
    from cmfnet_napari.learning.model.cmfnet import build
    from cmfnet_napari.learning.model.guide import map_count
    from cmfnet_napari.learning.model.losses import Batch

    config, device = make_config(preset, **changes), torch.device("cpu")
    fabric = partial(make_fabric, device, pick_precision(config.precision, device))
    trainer = Trainer(build(config, 2), 2, config, device, fabric)
    size = (config.batch, 1, *config.patch)
    ct, mr, fov = torch.rand(size), torch.rand(size), torch.ones(size)
    guide = torch.rand(config.batch, 2 if config.guide else 0, *config.patch)
    targets = torch.randint(0, 2, (config.batch, *config.patch))
    maps = torch.rand(config.batch, map_count(2) if config.stroke_maps else 0, *config.patch)
    batch = Batch(ct, mr, fov, targets, guide, maps)
    for progress in (0.6, 0.7):
        trainer.step(batch, progress)
    return held


if __name__ == "__main__":
    main()
