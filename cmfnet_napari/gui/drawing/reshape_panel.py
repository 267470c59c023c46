"""Edits of a whole structure: chosen, seen, applied."""

from __future__ import annotations

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QGroupBox,
    QLabel,
    QWidget,
)

from cmfnet_napari.core.geometry.margin import Sides
from cmfnet_napari.gui.drawing.drawing import Drawing
from cmfnet_napari.gui.drawing.edits import EDITS, Wish
from cmfnet_napari.gui.drawing.reshaping import Proposal, Reshaping
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.widgets import button, column, row, said, text_label
from cmfnet_napari.gui.views.navigation import Navigation

_WAIT_MS = 300
_LARGEST_MM = 100.0
_CHOOSE = "Choose an edit …"
_HINT = "Edits of the class in use as a whole. You see what changes before it does."
_NAME_WIDTH = 70
# Where each margin lies in the grid of fields, and its place among the sides of z, y, x.
_SIDES = {
    "Head": (0, 0, 0, 1),
    "Feet": (0, 1, 0, 0),
    "Front": (1, 0, 1, 0),
    "Back": (1, 1, 1, 1),
    "Right": (2, 0, 2, 0),
    "Left": (2, 1, 2, 1),
}


class ReshapePanel(QGroupBox):
    """One edit at a time; what it needs to know is asked below it."""

    def __init__(
        self, session: Session, drawing: Drawing, reshaping: Reshaping, navigation: Navigation
    ) -> None:
        super().__init__("Reshape")
        self._session, self._reshaping = session, reshaping
        self.edit = QComboBox()
        self.edit.setToolTip("What is done to the class in use, on the layer that is drawn on")
        self.edit.addItem(_CHOOSE, "")
        for name, known in EDITS.items():
            self.edit.addItem(known.label, name)
        self.mm = _length()
        self.each = QCheckBox("Each direction")
        self.sides = {name: _length() for name in _SIDES}
        self.other, self.inside, self.without, self.into = (_list() for _ in range(4))
        self.here_only = QCheckBox("Only this slice")
        self.apply_button = button("Apply", self._apply, "Do it; Ctrl+Z takes it back")
        self.cancel_button = button("Cancel", self._cancel, "Leave everything as it is")
        self.message = text_label(_HINT)
        self._timer = QTimer(self, singleShot=True)
        self._timer.timeout.connect(said(self._propose))
        self._drawn_on: tuple[object, ...] = ()  # layer, class and protection of the last wish
        self._looked = QTimer(self, singleShot=True, interval=0)  # napari selects what is inserted
        self._looked.timeout.connect(self._on_drawing)
        self._lay_out()
        self._connect(drawing, navigation)
        self._on_edit()

    def _lay_out(self) -> None:
        uneven = QWidget()
        grid = QGridLayout(uneven)
        grid.setContentsMargins(0, 0, 0, 0)
        for name, (line, place, *_side) in _SIDES.items():
            grid.addWidget(QLabel(name), line, 2 * place)
            grid.addWidget(self.sides[name], line, 2 * place + 1)
        self._uneven = uneven
        for widget, tip in (
            (self.mm, "How far, in mm of the patient"),
            (self.each, "Another length to head and feet, front and back, right and left"),
            (self.other, "The other structure"),
            (self.inside, "The outcome is cut off where this structure ends"),
            (self.without, "This structure is taken off the outcome"),
            (self.into, "The class that becomes the outcome; other classes keep what they have"),
            (self.here_only, "Only the slice on the screen, in two dimensions"),
        ):
            widget.setToolTip(tip)
        for side, spin in self.sides.items():
            spin.setToolTip(f"How far, {side}")
        self._asked = {
            "other": _named("Structure", self.other),
            "mm": _named("By", self.mm),
            "sides": self.each,
            "inside": _named("Inside", self.inside),
            "without": _named("Without", self.without),
            "into": _named("Into", self.into),
            "here_only": self.here_only,
        }
        below = ("inside", "without", "into", "here_only")
        self.setLayout(
            column(
                self.edit,
                *(self._asked[name] for name in ("other", "mm", "sides")),
                uneven,
                *(self._asked[name] for name in below),
                self.message,
                row(self.apply_button, self.cancel_button),
            )
        )

    def _connect(self, drawing: Drawing, navigation: Navigation) -> None:
        self.edit.currentIndexChanged.connect(self._on_edit)
        self.each.toggled.connect(self._on_each)
        for spin in (self.mm, *self.sides.values()):
            spin.valueChanged.connect(self._later)
        for box in (self.other, self.inside, self.without, self.into):
            box.currentIndexChanged.connect(self._later)
        self.here_only.toggled.connect(self._later)
        navigation.moved.connect(self._on_moved)
        drawing.changed.connect(self._looked.start)
        session, reshaping = self._session, self._reshaping
        session.strokes_changed.connect(self._later)
        session.corrected.connect(lambda _voxels: self._later())
        session.classes_changed.connect(self._fill)
        session.leaving.connect(self._cancel)
        session.recoded.connect(lambda _labels: self._cancel())
        reshaping.working.connect(self._on_working)
        reshaping.proposed.connect(self._on_proposed)
        reshaping.refused.connect(self._on_refused)
        reshaping.asked.connect(self.choose)

    def choose(self, edit: str) -> None:
        """Choose an edit by its name; empty for none."""
        self.edit.setCurrentIndex(self.edit.findData(edit))

    @property
    def _chosen(self) -> str:
        return self.edit.currentData()

    def _on_edit(self) -> None:
        known = EDITS.get(self._chosen)
        asks = known.asks if known is not None else ()
        for name, widget in self._asked.items():
            widget.setVisible(name in asks)
        self._uneven.setVisible("sides" in asks and self.each.isChecked())
        self.message.setText(_HINT if known is None else f"{known.tip}.")
        self.apply_button.setEnabled(False)
        self.cancel_button.setEnabled(known is not None)
        if known is None:
            self._timer.stop()
            self._reshaping.drop()
            return
        for spin in (self.mm, *self.sides.values()):
            spin.blockSignals(True)
            spin.setValue(known.mm)
            spin.blockSignals(False)
        self._fill()
        self._later()

    def _on_each(self, on: bool) -> None:
        self._uneven.setVisible(on and "sides" in EDITS[self._chosen].asks)
        self.mm.setEnabled(not on)
        for spin in self.sides.values():
            spin.setValue(self.mm.value())
        self._later()

    def _fill(self) -> None:
        """Structures and classes there are now; what was chosen stays, if it is there."""
        if not self._chosen or self._session.patient is None:
            return
        names = ["", *self._reshaping.sources]
        for box in (self.other, self.inside, self.without):
            _refill(box, [(name or "–", name) for name in names])
            box.setToolTip(self._reshaping.missing)
        classes = [(entry.name, entry.code) for entry in self._reshaping.classes]
        _refill(self.into, [("The same class", 0), *classes])

    def _later(self) -> None:
        if self._chosen:
            self.apply_button.setEnabled(False)
            self._timer.start(_WAIT_MS)

    def _on_moved(self) -> None:
        if self._chosen == "between" or self.here_only.isChecked():
            self._later()

    def _on_drawing(self) -> None:
        if self._chosen and self._session.patient is not None and self._in_hand() != self._drawn_on:
            self._fill()
            self._later()

    def _in_hand(self) -> tuple[object, ...]:
        layer = self._session.hand.layer
        return layer, layer.selected_label, layer.preserve_labels

    def _propose(self) -> None:
        if not self._chosen or self._session.patient is None:
            return
        if "other" in EDITS[self._chosen].asks and not self.other.currentData():
            self._reshaping.drop()
            self.message.setText("Choose the other structure.")
            return
        self._drawn_on = self._in_hand()
        self._reshaping.propose(
            Wish(
                self._chosen,
                self.mm.value(),
                self._uneven_sides() if self.each.isChecked() else None,
                self.other.currentData(),
                self.inside.currentData(),
                self.without.currentData(),
                self.into.currentData(),
                self.here_only.isChecked(),
            )
        )

    def _uneven_sides(self) -> Sides:
        mm = [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
        for name, (_line, _place, axis, end) in _SIDES.items():
            mm[axis][end] = self.sides[name].value()
        z, y, x = ((low, high) for low, high in mm)
        return z, y, x

    def _apply(self) -> None:
        self._timer.stop()
        self._reshaping.apply()
        self.choose("")

    def _cancel(self) -> None:
        self.choose("")

    def _on_working(self) -> None:
        self.apply_button.setEnabled(False)
        self.message.setText("Working …")

    def _on_proposed(self, proposal: Proposal) -> None:
        change, ml = proposal.change, self._session.case.study.grid.voxel_ml
        if not change.voxels.size:
            self.message.setText("This changes nothing.")
            return
        added, removed = change.added * ml, change.removed * ml
        where = "1 slice" if proposal.slices == 1 else f"{proposal.slices} slices"
        self.message.setText(
            f"+{added:.2f} ml (light blue), −{removed:.2f} ml (violet), on {where}."
        )
        self.apply_button.setEnabled(True)

    def _on_refused(self, reason: str) -> None:
        self.apply_button.setEnabled(False)
        self.message.setText(reason)


def _length() -> QDoubleSpinBox:
    spin = QDoubleSpinBox()
    spin.setRange(0.0, _LARGEST_MM)
    spin.setDecimals(1)
    spin.setSingleStep(0.5)
    spin.setSuffix(" mm")
    return spin


def _list() -> QComboBox:
    """A list that is as wide as there is room, however long the names of structures are."""
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(10)
    return box


def _named(name: str, widget: QWidget) -> QWidget:
    """A widget behind its name, as one that can be hidden."""
    label = QLabel(name)
    label.setMinimumWidth(_NAME_WIDTH)
    line = QWidget()
    line.setLayout(row(label, widget, stretch=1))
    return line


def _refill(box: QComboBox, entries: list[tuple[str, object]]) -> None:
    chosen = box.currentData()
    box.blockSignals(True)
    box.clear()
    for text, data in entries:
        box.addItem(text, data)
    box.setCurrentIndex(max(box.findData(chosen), 0))
    box.blockSignals(False)
