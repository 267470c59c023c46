"""How a fit begins: the preset, and the model it starts from."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QComboBox, QFormLayout, QSizePolicy, QWidget

from cmfnet_napari.core.case import Case
from cmfnet_napari.core.config import PRESETS, Config
from cmfnet_napari.core.model_card import with_base
from cmfnet_napari.core.scribbles import FIRST_CLASS
from cmfnet_napari.gui.base_models import BaseModel, list_models, model_words
from cmfnet_napari.gui.markup import plain
from cmfnet_napari.gui.session import Session
from cmfnet_napari.gui.widgets import ask_model, button, text_label

_ORDER = ("quick", "standard", "paper")
_WORDS = {
    "quick": "A first result on any computer",
    "standard": "Finer; for a computer with a GPU",
    "paper": "The published recipe; hours on a GPU",
}
_SHOWN = 26  # letters of a name that fit at the dock's least width
_NOTHING = "Strokes alone (from nothing)"
_START_TIP = (
    "Training can begin with a model that has learnt from other patients. It then needs fewer "
    "strokes and less time, if it was trained on the same kind of images and structures."
)
_ADD_TIP = (
    "Choose a model file, such as model.safetensors in the folder of a training. It is copied to "
    "your models and offered for every patient."
)


class StartPanel(QWidget):
    """Preset and base model, and what they mean."""

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.preset = QComboBox()
        for name in _ORDER:
            self.preset.addItem(name.capitalize(), name)
        self.base = QComboBox()
        self.base.setToolTip(_START_TIP)
        self.add_button = button("Add a model…", self._ask_model, _ADD_TIP)
        self.help = text_label()
        self._lay_out()
        self.preset.currentIndexChanged.connect(self._explain)
        self.base.currentIndexChanged.connect(self._explain)
        session.base_models.added.connect(self._offer)
        session.opened.connect(self._follow)
        self._offer()

    @property
    def base_path(self) -> Path | None:
        """The model to start from; None: from nothing."""
        model = self._model
        return None if model is None else model.path

    @property
    def config(self) -> Config:
        """What the fit will be done with."""
        return start_config(self.preset.currentData(), self._model)

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        """Offer the models that are there by now."""
        self._offer(self.base_path)
        super().showEvent(event)

    @property
    def _model(self) -> BaseModel | None:
        return self.base.currentData()

    def _lay_out(self) -> None:
        for box in (self.preset, self.base):  # long names must not widen the dock
            box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Preset", self.preset)
        form.addRow("Start from", self.base)
        form.addRow("", self.add_button)
        form.addRow(self.help)

    def _follow(self) -> None:
        """Show the preset that was kept with the case, and propose a model that fits it."""
        self.preset.setCurrentIndex(_ORDER.index(self._session.preset))
        if self.base_path is None:
            self._offer(proposed(self._session.case))

    def _offer(self, chosen: Path | None = None) -> None:
        """Fill the list anew and choose a model."""
        self.base.blockSignals(True)
        self.base.clear()
        self.base.addItem(_NOTHING, None)
        for model in list_models():
            self.base.addItem(_short(model.name), model)
            index = self.base.count() - 1
            self.base.setItemData(index, plain(model_words(model)), Qt.ItemDataRole.ToolTipRole)
            if model.path == chosen:
                self.base.setCurrentIndex(index)
        self.base.blockSignals(False)
        self._explain()

    def _ask_model(self) -> None:
        path = ask_model(self, "Choose a model")
        if path:
            self._session.base_models.add(path)

    def _explain(self) -> None:
        self._session.preset = self.preset.currentData()
        self.help.setText(start_words(self.preset.currentData(), self._model))
        self.changed.emit()


def proposed(case: Case) -> Path | None:
    """The model that comes with the package for such a patient: one class, CT with MR."""
    classes = sum(kind.code >= FIRST_CLASS for kind in case.classes)
    if classes != 1 or case.study.mr is None:
        return None
    fitting = (m for m in list_models() if m.built_in and m.card.classes == 2)
    return next((model.path for model in fitting), None)


def start_config(preset: str, model: BaseModel | None) -> Config:
    """A preset, with the input and the network of the model it starts from."""
    config: Config = PRESETS[preset]
    return config if model is None else with_base(config, model.card)


def start_words(preset: str, model: BaseModel | None) -> str:
    """A preset in one line, and the model in another."""
    config = start_config(preset, model)
    limit = f"at most {config.minutes:g} min" if config.minutes else "no time limit"
    voxels = f"voxels of {config.spacing:g} mm" if config.spacing else "the CT's own voxels"
    if not config.steps:
        return f"No training: the model contours from your strokes at once.\n\n{model_words(model)}"
    words = f"{_WORDS[preset]}: {config.steps} steps, {limit}, {voxels}."
    return words if model is None else f"{words}\n\nStarts from {model_words(model)}"


def _short(name: str) -> str:
    """A name as far as the list has room; its end stays, which may be a number."""
    half = _SHOWN // 2
    return name if len(name) <= _SHOWN else f"{name[: half - 1]}…{name[-half:]}"
