"""Models a fit can start from: those in the models folder, and adding to them. No widget."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.case.folder import Case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import write_safely
from cmfnet_napari.core.fit.card_sections import SECTIONS_ENDING, sections_file
from cmfnet_napari.core.fit.model_card import (
    BUILT_IN,
    ENDING,
    Card,
    model_name,
    model_path,
    models_folder,
    read_card,
)
from cmfnet_napari.core.fit.runs import newest_prediction
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure


@dataclass(frozen=True)
class BaseModel:
    """A model to start from."""

    path: Path
    card: Card

    @property
    def name(self) -> str:
        """What people call it."""
        return model_name(self.path)

    @property
    def built_in(self) -> bool:
        """Whether it comes with the package."""
        return self.path.parent == BUILT_IN


class BaseModels(QObject):
    """Adds models in the background."""

    added = Signal(object)  # Path in the models folder

    def add(self, path: str) -> None:
        """Check a model and copy it into the models folder; say why not when it cannot be used."""
        run_in_background(add_model, path, done=self.added.emit, failed=show_failure)


def list_models() -> list[BaseModel]:
    """Models that come with the package and those in the models folder, each by name.

    Files that are no usable model are left out.
    """
    models = []
    for path in (*_files(BUILT_IN), *_files(models_folder())):
        try:
            models.append(BaseModel(path, read_card(path)))
        except UserError:
            continue
    return models


def own_model(case: Case) -> BaseModel | None:
    """The model of the patient's last training that is complete, if it is there.

    One that has learnt classes which are no more is not offered.
    """
    event = newest_prediction(case.runs())
    if event is None:
        return None
    try:
        path = inside(case.folder, event.model)
        card = read_card(path)
        return BaseModel(path, card) if case.knows_classes(path.parent, card.labels) else None
    except UserError:
        return None


def add_model(run_or_model: str | Path) -> Path:
    """Copy a model into the models folder; return where it is there.

    A name that is taken gets a number: no other model is ever overwritten.

    Raises
    ------
    UserError
        Not a usable model, or the folder cannot be written.
    """
    source, folder = model_path(run_or_model), models_folder()
    read_card(source)
    if source.resolve().parent == folder.resolve():
        return folder / source.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The models folder {folder} cannot be made ({error.strerror}).") from error
    target = _free(folder, model_name(source))
    if (written := sections_file(source)).is_file():  # first: a model is never without its card
        beside = folder / f"{target.stem}{SECTIONS_ENDING}"
        write_safely(beside, SECTIONS_ENDING, lambda part: shutil.copyfile(written, part))
    return write_safely(target, ENDING, lambda part: shutil.copyfile(source, part))


def model_words(model: BaseModel) -> str:
    """A model's card in a line or two."""
    card = model.card
    classes = "1 class" if card.classes == 2 else f"{card.classes - 1} classes"
    if card.reads_anywhere:
        classes = "any number of classes"
    patients = f" on {len(card.data)} patients" if len(card.data) > 1 else ""
    facts = [f"{classes}, trained for {card.steps:,} steps{patients}"]
    if card.created:
        facts.append(f"made on {card.created}")
    if "dsc" in card.metrics:
        facts.append(f"mean DSC {card.metrics['dsc']:.2f} on patients it had not seen")
    return f"{model.name}: {'; '.join(facts)}."


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"[!.]*{ENDING}"), key=lambda path: path.stem)


def _free(folder: Path, name: str) -> Path:
    """A path in the folder that no model has yet, with a number behind the name if need be."""
    path, number = folder / f"{name}{ENDING}", 1
    while path.exists():
        number += 1
        path = folder / f"{name}-{number}{ENDING}"
    return path
