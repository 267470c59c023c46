"""Automatic strokes from a contour, with a live preview."""

from __future__ import annotations

from magicgui.widgets import ComboBox
from napari.layers import Labels
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QFormLayout, QGroupBox, QWidget

from cmfnet_napari.core.strokes.scribbles import BACKGROUND
from cmfnet_napari.gui.drawing.automatic_strokes import AutomaticStrokes, Wish
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.dialogs import ask_file
from cmfnet_napari.gui.shared.widgets import button, row, said, text_label

_DEBOUNCE_MS = 300
_NUMBER = Qt.ItemDataRole.UserRole + 1  # of a class, which keeps it; its code is `currentData`
# Margin in mm and coverage in percent: the paper's, for background and for a class.
_DEFAULTS = {True: (10.0, 0.06), False: (2.0, 0.04)}


class AutomaticStrokesPanel(QGroupBox):
    """Erode a contour, see the strokes, apply them."""

    def __init__(self, session: Session, automatic_strokes: AutomaticStrokes) -> None:
        super().__init__("Automatic strokes from a contour")
        self._session = session
        self._automatic_strokes = automatic_strokes
        self.kind = QComboBox()
        self.contour = ComboBox(choices=lambda _widget: automatic_strokes.masks(), nullable=True)
        self.margin = _spin(0.0, 200.0, 1, " mm")
        self.coverage = _spin(0.001, 100.0, 3, " %")
        self.whole = QCheckBox("The whole region, not sparse strokes")
        self.preview = QCheckBox("Preview")
        self.apply_button = button("Apply", self._apply, "Draw the proposed strokes")
        self.message = text_label()
        self._timer = QTimer(self, singleShot=True)
        self._timer.timeout.connect(said(self._propose))
        for widget, tip in (
            (self.kind, "Background outside a contour, or a class inside it"),
            (self.contour.native, "A labels layer on the image's grid, such as an older contour"),
            (self.margin, "How far from the contour the strokes keep"),
            (self.coverage, "Share of the image that the strokes are to cover"),
            (self.whole, "Label all that is far enough from the contour"),
            (self.preview, "Show the strokes before they are drawn"),
        ):
            widget.setToolTip(tip)
        self._lay_out()
        self._connect()
        self._fill_kinds()

    def reset_choices(self) -> None:
        """Follow the viewer's layers."""
        self.contour.reset_choices()

    def _lay_out(self) -> None:
        form = QFormLayout(self)
        form.setContentsMargins(6, 6, 6, 6)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Draw", self.kind)
        mask = QWidget()
        mask.setLayout(
            row(
                self.contour.native,
                button("File…", self._ask_mask, "A contour from a file"),
                stretch=0,
            )
        )
        form.addRow("Contour", mask)
        form.addRow("Margin", self.margin)
        form.addRow("Coverage", self.coverage)
        form.addRow(self.whole)
        form.addRow(row(self.preview, self.apply_button, stretch=1))
        form.addRow(self.message)

    def _connect(self) -> None:
        session, auto = self._session, self._automatic_strokes
        self.kind.currentIndexChanged.connect(self._on_kind)
        for signal in (
            self.margin.valueChanged,
            self.coverage.valueChanged,
            self.whole.toggled,
            self.preview.toggled,
            self.kind.currentIndexChanged,
        ):
            signal.connect(self._later)
        self.contour.changed.connect(self._later)
        for signal in (session.opened, session.classes_changed):
            signal.connect(self._fill_kinds)
        session.opened.connect(self.reset_choices)
        session.strokes_changed.connect(self._later)
        auto.proposed.connect(self._on_proposed)
        auto.refused.connect(self._on_refused)
        auto.mask_loaded.connect(self._on_mask_loaded)
        session.closed.connect(self._on_closed)
        session.recoded.connect(lambda _labels: self.preview.setChecked(False))

    def _fill_kinds(self) -> None:
        if self._session.patient is None:
            return
        chosen = self.kind.currentData(_NUMBER)
        self.kind.blockSignals(True)
        self.kind.clear()
        for entry in self._session.case.classes:
            where = "outside" if entry.code == BACKGROUND else "inside"
            self.kind.addItem(f"{entry.name}, {where}", entry.code)
            self.kind.setItemData(self.kind.count() - 1, entry.number, _NUMBER)
        again = self.kind.findData(chosen, _NUMBER)
        self.kind.setCurrentIndex(max(again, 0))
        self.kind.blockSignals(False)
        if again < 0:  # nothing was chosen yet, or it went
            self._on_kind()

    def _on_kind(self) -> None:
        margin, coverage = _DEFAULTS[self.kind.currentData() == BACKGROUND]
        self.margin.setValue(margin)
        self.coverage.setValue(coverage)

    def _later(self) -> None:
        """A change of any control: propose anew when the user has paused."""
        self.apply_button.setEnabled(False)
        if self.preview.isChecked() and isinstance(self.contour.value, Labels):
            self._timer.start(_DEBOUNCE_MS)
        else:
            self._timer.stop()
            self._automatic_strokes.drop()
            self.message.setText(
                "Choose a contour layer or file first." if self.preview.isChecked() else ""
            )

    def _propose(self) -> None:
        if not isinstance(self.contour.value, Labels) or self._session.patient is None:
            return
        self.message.setText("Working …")
        self._automatic_strokes.propose(
            Wish(
                self.contour.value,
                self.kind.currentData(),
                self.margin.value(),
                self.coverage.value() / 100,
                self.whole.isChecked(),
            )
        )

    def _apply(self) -> None:
        voxels = self._automatic_strokes.apply()
        self.preview.setChecked(False)
        self.message.setText(f"{voxels} voxels were drawn and marked as automatic.")

    def _ask_mask(self) -> None:
        path = ask_file(self, "Choose a contour on the image's grid")
        if path:
            self._automatic_strokes.load_mask(path)

    def _on_proposed(self, voxels: int) -> None:
        total = self._session.recorder.counts.sum()
        self.message.setText(f"{voxels} voxels, {100 * voxels / total:.3f} % of the image.")
        self.apply_button.setEnabled(voxels > 0)

    def _on_refused(self, reason: str) -> None:
        self.apply_button.setEnabled(False)  # an earlier proposal may have come meanwhile
        self.message.setText(reason)

    def _on_mask_loaded(self, layer: Labels) -> None:
        self.reset_choices()
        self.contour.value = layer
        self.preview.setChecked(True)

    def _on_closed(self) -> None:
        self._timer.stop()
        self.preview.setChecked(False)
        self.reset_choices()


def _spin(low: float, high: float, decimals: int, suffix: str) -> QDoubleSpinBox:
    spin = QDoubleSpinBox()
    spin.setRange(low, high)
    spin.setDecimals(decimals)
    spin.setSuffix(suffix)
    spin.setSingleStep(10 ** (1 - decimals) if decimals > 1 else 1.0)
    return spin
