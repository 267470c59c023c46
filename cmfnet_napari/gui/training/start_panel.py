"""How a fit begins: the preset, and the model it starts from."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QComboBox, QFormLayout, QSizePolicy, QWidget

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.fit.model_card import Card, start_config, taught_otherwise
from cmfnet_napari.core.fit.presets import ROWS
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.dialogs import ask_model
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.widgets import button, row, text_label
from cmfnet_napari.gui.training.base_models import (
    BaseModel,
    BaseModels,
    list_models,
    model_words,
    own_model,
)
from cmfnet_napari.gui.training.card_check import card_text
from cmfnet_napari.gui.training.model_card_dialog import ModelCardDialog
from cmfnet_napari.gui.training.settings_form import SettingsForm
from cmfnet_napari.gui.training.training import Training

_SHOWN = 26  # letters of a name that fit at the dock's least width
_NOTHING = "Strokes alone (from nothing)"
_OWN = "This patient's last training"
_START_TIP = (
    "Training can begin with a model that has learnt from other patients. It then needs fewer "
    "strokes and less time, if it was trained on the same kind of images and structures."
)
_ADD_TIP = (
    "Choose a model file, such as model.safetensors in the folder of a training. It is copied to "
    "your models and offered for every patient."
)
_CARD_TIP = (
    "What the model is for, what it was taught on, how well it does, its limits and how to watch it"
)


class StartPanel(QWidget):
    """Preset and base model, and what they mean."""

    changed = Signal()

    def __init__(self, session: Session, training: Training, base_models: BaseModels) -> None:
        super().__init__()
        self._session = session
        self._training, self._base_models = training, base_models
        self.preset = QComboBox()
        for name in ROWS:
            self.preset.addItem(name.capitalize(), name)
        self.preset.setToolTip("How thoroughly to train; the line below says what it means")
        self.base = QComboBox()
        self.base.setToolTip(_START_TIP)
        self.add_button = button("Add a model…", self._ask_model, _ADD_TIP)
        self.card_button = button("Its card…", self._show_card, _CARD_TIP)
        self.help = text_label()
        self.settings = SettingsForm()
        self._lay_out()
        self.preset.currentIndexChanged.connect(self._explain)
        self.base.currentIndexChanged.connect(self._explain)
        self.settings.changed.connect(self._say)
        base_models.added.connect(self._offer)
        session.opened.connect(self._follow)
        self._offer()

    @property
    def base_path(self) -> Path | None:
        """The model to start from; None: from nothing."""
        return None if self.model is None else self.model.path

    @property
    def config(self) -> Config:
        """What the fit will be done with."""
        return start_config(self.preset.currentData(), self._card, **self.settings.changes)

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        """Offer the models that are there by now."""
        self._offer(self.base_path)
        super().showEvent(event)

    @property
    def model(self) -> BaseModel | None:
        """The model to start from, with its card; None: from nothing."""
        return self.base.currentData()

    @property
    def _card(self) -> Card | None:
        return None if self.model is None else self.model.card

    def _lay_out(self) -> None:
        for box in (self.preset, self.base):  # long names must not widen the dock
            box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Preset", self.preset)
        form.addRow("Start from", self.base)
        form.addRow(row(self.card_button, self.add_button))
        form.addRow(self.help)
        form.addRow(self.settings)

    def _follow(self) -> None:
        """Show the preset that was kept with the case, and propose a model."""
        self.preset.setCurrentIndex(self.preset.findData(self._training.preset))
        kept = self.base_path if self.base_path in [m.path for m in list_models()] else None
        self._offer(kept or proposed())

    def _offer(self, chosen: Path | None = None) -> None:
        """Fill the list anew and choose a model."""
        self.base.blockSignals(True)
        self.base.clear()
        self.base.addItem(_NOTHING, None)
        own = None if self._session.patient is None else own_model(self._session.case)
        for model in (*([] if own is None else [own]), *list_models()):
            self.base.addItem(_OWN if model is own else _short(model.name), model)
            index = self.base.count() - 1
            self.base.setItemData(index, plain(model_words(model)), Qt.ItemDataRole.ToolTipRole)
            if model.path == chosen:
                self.base.setCurrentIndex(index)
        self.base.blockSignals(False)
        self._explain()

    def _ask_model(self) -> None:
        path = ask_model(self, "Choose a model")
        if path:
            self._base_models.add(path)

    def _show_card(self) -> None:
        if self.model is not None:
            ModelCardDialog(self, card_text(self.model)).show()

    def _explain(self) -> None:
        """Show the settings of another preset or model."""
        self._training.preset = self.preset.currentData()
        self.card_button.setEnabled(self.model is not None)
        self.settings.show_preset(start_config(self.preset.currentData(), self._card))

    def _say(self) -> None:
        """What will be done, in words; settings that do not go together are said at once."""
        try:
            self.help.setText("\n\n".join(filter(None, (self._doubt, self._words))))
        except UserError as error:
            self.help.setText(str(error))
            return
        self.changed.emit()

    @property
    def _words(self) -> str:
        return start_words(self.config, self.model)

    @property
    def _doubt(self) -> str:
        """That the model was taught on other images than are open."""
        model = self.model
        if model is None or self._session.patient is None:
            return ""
        return taught_otherwise(model.card, model.name, self._session.case.study.kinds)


def proposed() -> Path | None:
    """The model that comes with the package and reads strokes on any images, of any classes."""
    own = (model for model in list_models() if model.built_in and model.card.reads_anywhere)
    return next((model.path for model in own), None)


def start_words(config: Config, model: BaseModel | None) -> str:
    """A configuration in one line, and the model in another."""
    limit = f"at most {config.minutes:g} min" if config.minutes else "no time limit"
    voxels = f"voxels of {config.spacing:g} mm" if config.spacing else "the image's own voxels"
    if not config.steps:
        return f"No training: the model contours from your strokes at once.\n\n{model_words(model)}"
    words = f"{ROWS[config.preset].words}: {config.steps} steps, {limit}, {voxels}."
    return words if model is None else f"{words}\n\nStarts from {model_words(model)}"


def _short(name: str) -> str:
    """A name as far as the list has room; its end stays, which may be a number."""
    half = _SHOWN // 2
    return name if len(name) <= _SHOWN else f"{name[: half - 1]}…{name[-half:]}"
