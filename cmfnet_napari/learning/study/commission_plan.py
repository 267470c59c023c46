"""What is commissioned: a model and presets, on whose patients, with which users' strokes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.fit.card_sections import FullCard
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.fit.model_card import check_base, start_config
from cmfnet_napari.core.folder_lock import changed_since

PLAN = "commission.json"


@dataclass(frozen=True)
class Plan:
    """What is commissioned.

    Attributes
    ----------
    folder : Path
        Contoured patients as DICOM.
    out : Path
        A new folder, or that of the same commissioning.
    model : str
        Name or file of the model.
    presets : tuple of str
        Compared with it, from the strokes alone.
    users : tuple of str
        Names of `user_styles.STYLES`.
    structures : tuple of str
        Its names, of which each patient has one, the first that fits; none: what begins with GTV.
    register : bool
        Register the second image to the first.
    changes : mapping
        Settings of the presets that are changed, such as ``minutes``.
    device : str
        As in `fit`.
    """

    folder: Path
    out: Path
    model: str = "limb-sarcoma"
    presets: tuple[str, ...] = ("quick",)
    users: tuple[str, ...] = ("careful", "hasty", "sloppy")
    structures: tuple[str, ...] = ()
    register: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"


def methods_of(plan: Plan, card: FullCard) -> dict[str, Config]:
    """What contours, by name: the model first, then presets from the strokes alone."""
    check_base(card.card, 2, card.name)
    if card.name in plan.presets:
        raise UserError(f"The model is called {card.name}, like a preset. Rename its file first.")
    methods = {card.name: start_config("quick", card.card)}
    if card.card.reads_anywhere or card.card.config.stroke_maps:
        methods[card.name] = start_config("quick", card.card, steps=0)
    for preset in plan.presets:
        methods[preset] = start_config(preset, None, **plan.changes)
    return methods


def begin(plan: Plan, card: FullCard, methods: Mapping[str, Config]) -> None:
    """Write what is begun, or check that it is what was begun there."""
    wanted: JsonObject = {
        "model": card.card.model_dump(mode="json"),  # what people wrote may be mended meanwhile
        "methods": {name: config.model_dump(mode="json") for name, config in methods.items()},
        "users": list(plan.users),
        "register": plan.register,
    }
    if changed := changed_since(plan.out / PLAN, wanted):
        raise UserError(
            f"{plan.out.name} holds another commissioning: {', '.join(changed)} differ. Choose a "
            "new folder."
        )
