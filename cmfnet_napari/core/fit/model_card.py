"""The card in every model file: what a model is, without whose it is.

A model is one safetensors file, which cannot run code: the weights, and in its header the card.
The card is read here without torch, so that the window can offer models.
"""

from __future__ import annotations

import json
import math
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from safetensors import SafetensorError, safe_open

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.config import (
    FROM_BASE,
    READS_STROKES,
    Config,
    make_config,
    parse_config,
    stored,
)
from cmfnet_napari.core.fit.presets import published
from cmfnet_napari.core.images.modality import USUAL
from cmfnet_napari.core.strokes.scribbles import MAX_CODE

FORMAT = "cmfnet-1"
MODEL_FILE = "model.safetensors"
ANOTHER_MODEL = "another model"  # one whose name nobody is told
MODELS_VARIABLE = "CMFNET_MODELS"
ENDING = ".safetensors"
BUILT_IN = Path(__file__).parents[2] / "models"  # base models that come with the package
LICENCE = (
    "The weights have no licence of their own: they derive from the data named by hash, whose "
    "terms apply. For research use; not a medical device."
)
# What a fit takes from its base model: the network, and what the network is used to see.
INPUT_AND_NETWORK = (
    "ct_low",
    "ct_high",
    "mr_percentiles",
    "spacing",
    "ct_stages",
    "mr_stages",
    "fusion",
    "width",
    "stroke_maps",
    "drawn_voxels",
    "normalisation",
    "patch",
    "confidence",
)
MOST_CLASSES = 256  # as many codes as a segmentation of a byte a voxel has
_PACKAGES = ("cmfnet-napari", "torch", "monai", "numpy")


class Card(BaseModel):
    """What a model is. Fields of a newer version are ignored, those an older lacks are empty.

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
    modalities : tuple of str
        What images it was taught on; empty where it is not known, as of earlier versions.
    data : tuple of str
        Hashes of all studies the weights were trained on, those of its base model included.
    software : dict
        Versions it was trained with.
    metrics : dict
        Mean scores on patients it was not trained on, such as ``dsc``; those that are not finite
        are left out.
    licence : str
        What the weights may be used for.
    created : str
        Day, as YYYY-MM-DD.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    config: Config
    classes: int = Field(ge=2, le=MOST_CLASSES)
    study: str = ""
    region: list[list[int]] = []
    steps: int = 0
    seconds: float = 0.0
    agreement: float = 0.0
    modalities: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    software: dict[str, str] = {}
    metrics: dict[str, float] = {}
    licence: str = LICENCE
    created: str = ""

    @property
    def reads_anywhere(self) -> bool:
        """Whether the model contours any number of classes, on voxels that follow their size."""
        return self.config.drawn_voxels is not None

    @property
    def labels(self) -> int:
        """How many labels its predictions may hold, background included."""
        return MAX_CODE if self.reads_anywhere else self.classes

    @field_validator("config", mode="before")
    @classmethod
    def _from_disk(cls, config: Any) -> Any:
        return stored(config) if isinstance(config, dict) else config

    @field_validator("metrics")
    @classmethod
    def _finite(cls, metrics: dict[str, float]) -> dict[str, float]:
        return {name: value for name, value in metrics.items() if math.isfinite(value)}


def software_versions() -> dict[str, str]:
    """Versions of Python and of the packages that make a model what it is."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from a source tree
            versions[name] = "unknown"
    return versions


def models_folder() -> Path:
    """Where the base models are that the window offers (variable ``CMFNET_MODELS``)."""
    chosen = os.environ.get(MODELS_VARIABLE)
    return Path(chosen) if chosen else user_data_path("cmfnet-napari", appauthor=False) / "models"


def model_path(run_or_model: str | Path) -> Path:
    """The model file of a run folder, the file itself, or the built-in model of that name.

    Raises
    ------
    UserError
        None of them is there.
    """
    path = Path(run_or_model)
    file = path / MODEL_FILE if path.is_dir() else path
    if file.is_file():
        return file
    built_in = BUILT_IN / f"{path}{ENDING}"
    if path.name == str(path) and built_in.is_file():
        return built_in
    names = ", ".join(sorted(file.stem for file in BUILT_IN.glob(f"*{ENDING}"))) or "none"
    raise UserError(
        f"{path} holds no model ({MODEL_FILE}). Choose a run folder, a model file, or a model "
        f"that comes with cmfnet-napari ({names})."
    )


def model_name(run_or_model: str | Path) -> str:
    """What people call a model: its file's stem, or its run folder's name."""
    path = model_path(run_or_model)
    return path.resolve().parent.name if path.name == MODEL_FILE else path.stem


def known_name(run_or_model: str | Path) -> str:
    """A model's name where the package or the department gave it; a file's may be a patient's."""
    path = model_path(run_or_model)
    own = {BUILT_IN.resolve(), models_folder().resolve()}
    return path.stem if path.resolve().parent in own else ANOTHER_MODEL


def read_card(run_or_model: str | Path) -> Card:
    """Read a model's card, without its weights and without torch.

    Raises
    ------
    UserError
        Missing, damaged, or not a CmFNet of this version.
    """
    path = model_path(run_or_model)
    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
        if header.get("format") != FORMAT:
            raise UserError(f"{path.name} is no CmFNet model of this version ({FORMAT}).")
        card = Card.model_validate(json.loads(header["card"]))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"The card of the model {path.name} does not fit this version ({field}: "
            f"{first['msg']}). Use the version of cmfnet-napari that trained it, or train again."
        ) from error
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise damaged(path) from error
    if not card.modalities and path.resolve().parent == BUILT_IN.resolve():
        return card.model_copy(update={"modalities": USUAL})  # its file is older than the field
    return card


def damaged(path: Path) -> UserError:
    """The error for a model file that cannot be read."""
    return UserError(f"The model {path.name} is damaged. Train again or use a copy.")


def taught_otherwise(card: Card, name: str, kinds: tuple[str, ...]) -> str:
    """Say that a model was taught on other images than a patient has; empty if it was not.

    Parameters
    ----------
    card : Card
        The model's. One that reads strokes anywhere was taught on pairs of all kinds; of one that
        does not say what it was taught on, nothing is said.
    name : str
        What it is called.
    kinds : tuple of str
        What the patient's images are, the one that is drawn on first.
    """
    if card.reads_anywhere or card.modalities in ((), kinds):
        return ""
    theirs, ours = (" and ".join(images) for images in (card.modalities, kinds))
    return (
        f"{name} was taught on {theirs}, and this is {ours}: it may know little of such images. "
        "Look at its contour with care, or begin from the strokes alone."
    )


def check_base(card: Card, classes: int, name: str) -> None:
    """Check that a fit with `classes` outputs, background included, can start from a model.

    Raises
    ------
    UserError
        The model has another number of classes.
    """
    if card.classes != classes and not card.reads_anywhere:
        raise UserError(
            f"The model {name} knows {_count(card.classes)}, but the strokes mark "
            f"{_count(classes)}. Choose a model with {_count(classes)}, or start from the strokes "
            "alone."
        )


def start_config(preset: str, card: Card | None = None, **changes: Any) -> Config:
    """Return the configuration of a fit: a preset, the model it starts from, and what was changed.

    From a model, a preset for one patient trains gently (`config.FROM_BASE`), and not at all where
    the model reads strokes (`config.READS_STROKES`), unless `changes` says otherwise. Input and
    network are always the model's.

    Raises
    ------
    UserError
        As `config.make_config`.
    """
    if card is None:
        return make_config(preset, **changes)
    gentle = {} if published(preset) else dict(FROM_BASE)
    if gentle and card.config.stroke_maps:
        gentle |= READS_STROKES
    return with_network(make_config(preset, **{**gentle, **changes}), card)


def with_network(config: Config, card: Card) -> Config:
    """Return a configuration with the input and the network of a model."""
    own = {field: getattr(card.config, field) for field in INPUT_AND_NETWORK}
    return parse_config({**config.model_dump(), **own})


def _count(outputs: int) -> str:
    """Number of classes without the background, in words."""
    return "1 class" if outputs == 2 else f"{outputs - 1} classes"
