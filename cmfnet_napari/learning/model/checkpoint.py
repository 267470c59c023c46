"""Models on disk: weights and a card in one safetensors file, which cannot run code."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import write_safely
from cmfnet_napari.core.fit.model_card import (
    FORMAT,
    Card,
    damaged,
    model_path,
    read_card,
)
from cmfnet_napari.learning.model.cmfnet import CmFNet, build


def save_model(model: CmFNet, card: Card, path: Path, *, half: bool = False) -> Path:
    """Write weights and card; a half-written file never replaces a good one.

    `half` writes float16, half as large: for models that are shipped.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    if half:
        tensors = {name: tensor.half() for name, tensor in tensors.items()}
    data = save(tensors, {"format": FORMAT, "card": card.model_dump_json()})
    return write_safely(path, path.suffix, lambda part: part.write_bytes(data))


def load_model(run_or_model: str | Path, device: torch.device) -> tuple[CmFNet, Card]:
    """Read a model in evaluation mode.

    Raises
    ------
    UserError
        Missing, damaged, not a CmFNet of this version, or weights of another architecture than
        its card says.
    """
    path = model_path(run_or_model)
    card = read_card(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged(path) from error
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise damaged(path)  # it would answer "no tumour" everywhere
    # On no device first: a card may ask for more than there is memory.
    with torch.device("meta"):
        wanted = build(card.config, card.classes).state_dict()
    if {name: t.shape for name, t in wanted.items()} != {n: t.shape for n, t in tensors.items()}:
        raise UserError(
            f"The weights in {path.name} were made with another architecture than its card says. "
            "Use the model with the version of cmfnet-napari that trained it, or train again."
        )
    model = build(card.config, card.classes)
    model.load_state_dict(tensors)
    return model.to(device).eval(), card
