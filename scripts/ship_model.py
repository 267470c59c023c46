"""Put a trained base model, with its card, among those of the package, at half precision.

    python scripts/ship_model.py TRAINING/model.safetensors limb-sarcoma 0.75

Its weights take half the room as float16; a fit from it computes in float32 or bfloat16 as ever.
The number is the confidence that benchmarks/calibration.py found on patients held out.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch

from cmfnet_napari.core.fit.card_sections import sections_file
from cmfnet_napari.core.fit.model_card import BUILT_IN, ENDING
from cmfnet_napari.learning.model.checkpoint import load_model, save_model

MOST_BYTES = 20 * 10**6


def main(model: str, name: str, confidence: str = "1") -> None:
    """Write the model; refuse one that is too large for the repository."""
    network, card = load_model(model, torch.device("cpu"))
    config = card.config.model_copy(update={"confidence": float(confidence)})
    card = card.model_copy(update={"config": config})
    BUILT_IN.mkdir(exist_ok=True)
    path = save_model(network.half(), card, BUILT_IN / f"{name}{ENDING}")
    if (written := sections_file(model)).is_file():
        shutil.copyfile(written, sections_file(path))
    size = path.stat().st_size
    if size > MOST_BYTES:
        path.unlink()
        raise SystemExit(f"{name} has {size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f}")
    print(f"{path.relative_to(Path.cwd())}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
