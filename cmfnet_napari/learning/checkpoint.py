"""Models on disk: weights and a card in one safetensors file, which cannot run code."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from cmfnet_napari.core.config import Config, parse_config
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.volume import write_safely
from cmfnet_napari.learning.cmfnet import CmFNet, build

FORMAT = "cmfnet-1"
MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class Card:
    """What a model is, without whose it is.

    Attributes
    ----------
    config : Config
        How it was trained.
    classes : int
        Outputs, background included.
    study : str
        Hash of the study it was fitted to; empty for several.
    region : list of [start, stop]
        Part of that study's Grid (z, y, x) it worked on.
    steps, seconds, agreement : numbers
        How long it trained and how far it agrees with the strokes (0 … 1).
    """

    config: Config
    classes: int
    study: str = ""
    region: list[list[int]] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    agreement: float = 0.0


def save_model(model: CmFNet, card: Card, path: Path) -> Path:
    """Write weights and card; a half-written file never replaces a good one."""
    values = {**vars(card), "config": card.config.model_dump(mode="json")}
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    data = save(tensors, {"format": FORMAT, "card": json.dumps(values)})
    return write_safely(path, path.suffix, lambda part: part.write_bytes(data))


def model_path(run_or_model: str | Path) -> Path:
    """The model file of a run folder, or the file itself.

    Raises
    ------
    UserError
        Neither is there.
    """
    path = Path(run_or_model)
    file = path / MODEL_FILE if path.is_dir() else path
    if not file.exists():
        raise UserError(
            f"{path} holds no model ({MODEL_FILE}). Choose a run folder or a model file."
        )
    return file


def load_model(run_or_model: str | Path, device: torch.device) -> tuple[CmFNet, Card]:
    """Read a model in evaluation mode.

    Raises
    ------
    UserError
        Missing, damaged, or not a CmFNet of this version.
    """
    path = model_path(run_or_model)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise UserError(f"{path.name} is no CmFNet model of this version ({FORMAT}).")
            card = _parse_card(json.loads(metadata["card"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        model = build(card.config, card.classes)
        model.load_state_dict(tensors)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"The model {path.name} is damaged. Train again or use a copy.") from error
    return model.to(device).eval(), card


def _parse_card(values: dict[str, Any]) -> Card:
    return Card(**{**values, "config": parse_config(values["config"])})
