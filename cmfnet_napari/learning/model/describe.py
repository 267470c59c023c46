"""What a network or a model is made of, in numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.fit.model_card import model_name
from cmfnet_napari.learning.model.checkpoint import load_model
from cmfnet_napari.learning.model.cmfnet import FUSED_STAGES, CmFNet, CrossModal
from cmfnet_napari.learning.model.vnet import (
    STAGES,
    Decoder,
    VNet,
    decoder_channels,
    stage_channels,
)

# The paper's, for Table IV: width of the first stage, classes with background.
_WIDTH, _CLASSES = 16, 2
_VNETS = {f"{modality}{stages}": stages for modality in ("CT", "MR") for stages in STAGES}
ARCHITECTURES = (*_VNETS, "CmFNet")


class _Part(NamedTuple):
    name: str
    module: nn.Module
    channels: int


def architecture_table(name: str) -> JsonObject:
    """Parameters of a network of the paper: 1 input channel, 2 classes, width 16 (Table IV).

    Parameters
    ----------
    name : str
        CT3 … CT6, MR3 … MR6, or CmFNet (CT3 and MR4).

    Returns
    -------
    dict
        ``architecture``, ``parameters``, and ``parts``: for each ``part`` its output ``channels``
        and ``parameters``.

    Raises
    ------
    UserError
        There is no such network.
    """
    if name not in ARCHITECTURES:
        raise UserError(
            f"There is no architecture {name!r}. Choose one of {', '.join(ARCHITECTURES)}."
        )
    with torch.device("meta"):  # counted, not filled
        network = VNet(1, _CLASSES, _VNETS[name], _WIDTH) if name in _VNETS else CmFNet(_CLASSES)
    parts = _vnet_parts(network) if isinstance(network, VNet) else _cmfnet_parts(network)
    rows = [
        {"part": part.name, "channels": part.channels, "parameters": _count(part.module)}
        for part in parts
    ]
    return {"architecture": name, "parameters": _count(network), "parts": rows}


def describe_model(run_or_model: str | Path) -> JsonObject:
    """A model's name, number of parameters, and everything on its card.

    Raises
    ------
    UserError
        Missing, damaged, or not a CmFNet of this version.
    """
    model, card = load_model(run_or_model, torch.device("cpu"))
    return {
        "model": model_name(run_or_model),
        "parameters": _count(model),
        **card.model_dump(mode="json"),
    }


def show(description: JsonObject) -> None:
    """Print what `architecture_table` or `describe_model` returned as tables."""
    console = Console(markup=False, highlight=False)
    plain = Table(show_header=False, box=None)
    for key, value in description.items():
        if key != "parts":
            plain.add_row(key.replace("_", " "), _text(value))
    console.print(plain)
    if "parts" in description:
        table = Table("part", box=None)
        for title in ("channels", "parameters"):
            table.add_column(title, justify="right")
        for row in description["parts"]:
            table.add_row(row["part"], str(row["channels"]), f"{row['parameters']:,}")
        console.print(table)


def _text(value: object) -> str:
    """A value on one line, an object with a line for each of its entries."""
    match value:
        case dict():
            return "\n".join(f"{key}: {_text(entry)}" for key, entry in value.items()) or "–"
        case list():
            return ", ".join(map(str, value)) or "–"
        case int() if not isinstance(value, bool):
            return f"{value:,}"
        case None | "":
            return "–"
    return str(value)


def _vnet_parts(network: VNet) -> Iterator[_Part]:
    stages = len(network.encoder.stages)
    pairs = zip(network.encoder.stages, network.encoder.leads, strict=True)
    for number, (stage, lead) in enumerate(pairs, start=1):
        yield _Part(f"encoder stage {number}", stage, stage_channels(_WIDTH, number))
        outputs = len(next(lead.parameters()))  # weights: (outputs, inputs, 3, 3, 3)
        yield _Part(f"lead {number}", lead, outputs)
    yield _Part("bottom", network.bottom, 16 * _WIDTH)
    yield from _decoder_parts(network.decoder, stages)


def _decoder_parts(decoder: Decoder, stages: int) -> Iterator[_Part]:
    for number, stage in zip(range(stages, 0, -1), decoder.stages, strict=True):
        yield _Part(f"decoder stage {number}", stage, decoder_channels(_WIDTH, number))
    yield _Part("head", decoder.head, _CLASSES)


def _cmfnet_parts(network: CmFNet) -> Iterator[_Part]:
    yield _Part("CT branch, CT3", network.ct, _CLASSES)
    yield _Part("MR branch, MR4", network.mr, _CLASSES)
    if network.mm is not None:
        yield from _cross_modal_parts(network.mm)


def _cross_modal_parts(branch: CrossModal) -> Iterator[_Part]:
    for number, conv in enumerate(branch.fuse, start=1):
        yield _Part(f"CFF, stage {number}", conv, stage_channels(_WIDTH, number))
    yield _Part("CFE, lead", branch.lead, stage_channels(_WIDTH, FUSED_STAGES + 1))
    yield _Part("CFE, bottom", branch.bottom, 16 * _WIDTH)
    yield from _decoder_parts(branch.decoder, FUSED_STAGES)


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
