"""Tools to draw with, and the slices between."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
)

from cmfnet_napari.gui.drawing.brush_settings import LARGEST_MM, SMALLEST_MM
from cmfnet_napari.gui.drawing.drawing import Drawing
from cmfnet_napari.gui.drawing.drawing_keys import (
    FILL_BETWEEN,
    NEXT_SLICE,
    PREVIOUS_SLICE,
    SWAP_LAYER,
)
from cmfnet_napari.gui.drawing.range_row import RangeRow
from cmfnet_napari.gui.drawing.tools import TOOLS
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.shortcuts import Shortcut
from cmfnet_napari.gui.shared.widgets import button, column, row

_MODES = {
    "paint": ("Paint", "Paint the class in use (P)"),
    "erase": ("Erase", "Take strokes or contour away (E)"),
    "pan_zoom": ("Move", "Move the image with the mouse (Z, or hold the space bar)"),
}
_IN_A_ROW = 3  # tools


class ToolsPanel(QGroupBox):
    """What is drawn on; paint, erase, move; tools; brush; stepping and filling slices."""

    def __init__(self, session: Session, drawing: Drawing) -> None:
        super().__init__("Draw")
        self._session = session
        self._drawing = drawing
        self.on_strokes = _choice("Strokes", partial(drawing.draw_on, False), _tip(SWAP_LAYER))
        self.on_contour = _choice(
            "Contour", partial(drawing.draw_on, True), _tip(SWAP_LAYER, "Corrections stay")
        )
        self.modes = {
            mode: _choice(text, partial(drawing.set_mode, mode), tip)
            for mode, (text, tip) in _MODES.items()
        }
        self.tools = {
            name: _choice(tool.label, partial(drawing.choose, name), _tip(tool.shortcut, tool.tip))
            for name, tool in TOOLS.items()
        }
        self.brush = QDoubleSpinBox()
        self.brush.setRange(SMALLEST_MM, LARGEST_MM)
        self.brush.setDecimals(1)
        self.brush.setSingleStep(0.5)
        self.brush.setSuffix(" mm")
        self.brush.setToolTip("How wide the brush is, in every plane ([ and ] change it)")
        self.brush.valueChanged.connect(drawing.brush.set_size)
        self.ball = QCheckBox("Ball")
        self.ball.setToolTip("Paint the slices before and behind as well, as far as a ball reaches")
        self.ball.toggled.connect(drawing.set_ball)
        self.protect = QCheckBox("Keep other classes")
        self.protect.setToolTip(
            "Painting and filling change only what has no class; erasing only the class in use (B)"
        )
        self.protect.toggled.connect(self._protect)
        self.range = RangeRow(session, drawing)
        self._lay_out()
        drawing.brush.changed.connect(self._show)
        drawing.changed.connect(self._show)
        session.opened.connect(self._show)
        self._show()

    def _lay_out(self) -> None:
        drawing = self._drawing
        back, on = partial(drawing.step, -1), partial(drawing.step, 1)
        self.previous = button("◀", back, _tip(PREVIOUS_SLICE))
        self.next = button("▶", on, _tip(NEXT_SLICE))
        self.between = button("Fill between slices", drawing.fill_between, _tip(FILL_BETWEEN))
        self.previous.setAccessibleName("Previous empty slice")
        self.next.setAccessibleName("Next empty slice")
        self.setLayout(
            column(
                row(QLabel("Draw on"), self.on_strokes, self.on_contour),
                row(*self.modes.values()),
                *_rows(list(self.tools.values())),
                row(QLabel("Brush"), self.brush, self.ball, stretch=1),
                row(QLabel("Empty slice"), self.previous, self.next, self.between, stretch=3),
                row(
                    button("Undo", self._session.undo, "Take the last stroke back (Ctrl+Z)"),
                    button("Redo", self._session.redo, "Bring it back (Ctrl+Shift+Z)"),
                ),
                self.protect,
                self.range,
            )
        )

    def _protect(self, on: bool) -> None:
        if self._session.patient is not None:
            self._drawing.protect(on)

    def _show(self) -> None:
        if self._session.patient is None:
            return
        layer, brush = self._session.hand.layer, self._drawing.brush
        self.on_strokes.setChecked(not self._drawing.on_contour)
        self.on_contour.setChecked(self._drawing.on_contour)
        for name, choice in self.modes.items():
            choice.setChecked(layer.mode == name)
        for name, choice in self.tools.items():
            choice.setChecked(brush.tool == name)
        self.brush.blockSignals(True)
        self.brush.setValue(brush.size_mm)
        self.brush.blockSignals(False)
        self.ball.setChecked(layer.n_edit_dimensions == 3)
        self.protect.setChecked(layer.preserve_labels)


def _rows(choices: list[QPushButton]) -> list[QHBoxLayout]:
    """As many below each other as the narrow dock needs."""
    return [row(*choices[at : at + _IN_A_ROW]) for at in range(0, len(choices), _IN_A_ROW)]


def _choice(text: str, action: Callable[[], None], tip: str) -> QPushButton:
    """A button that stays down while it is what is chosen; the session says so."""
    widget = button(text, action, tip)
    widget.setCheckable(True)
    return widget


def _tip(shortcut: Shortcut, more: str = "") -> str:
    return (
        f"{shortcut.title} ({shortcut.key}). {more}"
        if more
        else f"{shortcut.title} ({shortcut.key})"
    )
