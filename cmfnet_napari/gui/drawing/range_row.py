"""Tools kept to a range of an image's values."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QLabel, QWidget

from cmfnet_napari.gui.drawing.drawing import Drawing
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.widgets import column, row

_LOWEST, _HIGHEST = -32768.0, 1e7  # Bq/ml of a hot spot
_SOFT_TISSUE = (0.0, 150.0)  # HU
_COARSE = 20.0  # a range that is narrower has values between whole numbers, as SUV


class RangeRow(QWidget):
    """A switch, which image, and from where to where."""

    def __init__(self, session: Session, drawing: Drawing) -> None:
        super().__init__()
        self._session, self._drawing = session, drawing
        self.on = QCheckBox("Only values of")
        self.image = QComboBox()
        self.low, self.high = _value(_SOFT_TISSUE[0]), _value(_SOFT_TISSUE[1])
        for widget, tip in (
            (self.on, "Every tool changes only what has a value in this range"),
            (self.image, "Which image's values count: a CT's are in HU"),
            (self.low, "The lowest value that is changed"),
            (self.high, "The highest value that is changed"),
        ):
            widget.setToolTip(tip)
        lines = column(
            row(self.on, self.image, stretch=1),
            row(self.low, QLabel("to"), self.high),
        )
        lines.setContentsMargins(0, 0, 0, 0)
        self.setLayout(lines)
        self.on.toggled.connect(self._use)
        self.image.currentTextChanged.connect(self._on_image)
        for spin in (self.low, self.high):
            spin.valueChanged.connect(self._use)
        session.opened.connect(self._fill)
        if session.patient is not None:
            self._fill()

    def _fill(self) -> None:
        """The images of the patient; no range at first."""
        self.on.setChecked(False)
        self.image.blockSignals(True)
        self.image.clear()
        self.image.addItems(self._session.image_names)
        self.image.blockSignals(False)
        self._on_image(self._session.image_names[0])

    def _on_image(self, image: str) -> None:
        """Soft tissue on a CT; on others, whose values have no such meaning, what is shown."""
        number = self._session.image_names.index(image)
        unit, shown = self._session.case.study.units[number], self._session.patient.limits[number]
        limits = _SOFT_TISSUE if self._session.is_ct(image) else shown
        for spin, value in zip((self.low, self.high), limits, strict=True):
            spin.blockSignals(True)
            spin.setSuffix(f" {unit}" if unit else "")
            spin.setDecimals(0 if limits[1] - limits[0] > _COARSE else 2)
            spin.setValue(value)
            spin.blockSignals(False)
        self._use()

    def _use(self) -> None:
        image = self.image.currentText() if self.on.isChecked() else ""
        low, high = sorted((self.low.value(), self.high.value()))
        self._drawing.keep_within(image, low, high)


def _value(value: float) -> QDoubleSpinBox:
    spin = QDoubleSpinBox()
    spin.setRange(_LOWEST, _HIGHEST)
    spin.setDecimals(0)
    spin.setSingleStep(10)
    spin.setValue(value)
    return spin
