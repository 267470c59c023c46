"""Curve of the contour's area over the slices; a click goes to a slice."""

from __future__ import annotations

import napari
import numpy as np
import pyqtgraph as pg
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from cmfnet_napari.core.scribbles import PALETTE
from cmfnet_napari.core.slice_areas import Areas

_AREA, _OTHER, _CHANGE, _UNSEEN = PALETTE[1], PALETTE[2], PALETTE[3], PALETTE[5]
_HEIGHT = 150
_BELOW = 6  # pixels; without them pyqtgraph cuts the descenders of the axis label


class AreaPlot(QWidget):
    """Area of the contour, of what it is compared with, and of where the two differ.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose theme it follows.
    """

    clicked = Signal(int)  # slice

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._slices = 0
        self.plot = pg.PlotWidget()
        self.plot.setFixedHeight(_HEIGHT)
        self.plot.setLabel("bottom", "slice")
        self.plot.setLabel("left", "cm²")
        self.plot.getPlotItem().layout.setContentsMargins(1, 1, 1, _BELOW)
        self.plot.setMenuEnabled(False)
        self.plot.setMouseEnabled(False, False)
        self.plot.hideButtons()
        self.plot.setToolTip("Click to go to a slice")
        self.area = self.plot.plot([], [], pen=pg.mkPen(_AREA, width=2))
        dashed = pg.mkPen(_OTHER, width=1.5, style=Qt.PenStyle.DashLine)
        self.other = self.plot.plot([], [], pen=dashed)
        self.change = self.plot.plot([], [], pen=pg.mkPen(_CHANGE, width=1.5))
        dots = {"pen": None, "symbol": "o", "symbolSize": 5, "symbolPen": None}
        self.unseen = self.plot.plot([], [], symbolBrush=_UNSEEN, **dots)
        self.here = pg.InfiniteLine(angle=90, pen=pg.mkPen("#808080"))
        self.plot.addItem(self.here, ignoreBounds=True)
        self.legend = QLabel()
        self.legend.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.plot)
        layout.addWidget(self.legend)
        self.plot.scene().sigMouseClicked.connect(self._on_click)
        viewer.events.theme.connect(self._follow_theme)
        self._follow_theme()
        self.show_areas(None, [])

    def show_areas(self, areas: Areas | None, unseen: list[int]) -> None:
        """Draw the curves; dots mark slices with contour that were not looked at."""
        self._slices = 0 if areas is None else len(areas.area)
        for line, values in (
            (self.area, None if areas is None else areas.area),
            (self.other, None if areas is None else areas.other),
            (self.change, None if areas is None else areas.change),
        ):
            line.setData([], []) if values is None else line.setData(np.arange(len(values)), values)
        self.unseen.setData(unseen, np.zeros(len(unseen)))
        self.legend.setText(_legend(areas, unseen))
        self.plot.setXRange(0, max(self._slices - 1, 1), padding=0.02)

    def show_slice(self, index: int) -> None:
        """Mark the slice on the screen."""
        self.here.setValue(index)

    def close_plot(self) -> None:
        """Let go of the viewer."""
        self._viewer.events.theme.disconnect(self._follow_theme)

    def _on_click(self, event: object) -> None:
        place = self.plot.getPlotItem().vb.mapSceneToView(event.scenePos())
        index = round(place.x())
        if 0 <= index < self._slices:
            self.clicked.emit(index)

    def _follow_theme(self) -> None:
        theme = get_theme(self._viewer.theme)
        text = theme.text.as_hex()
        self.plot.setBackground(theme.background.as_hex())
        for side in ("left", "bottom"):
            self.plot.getAxis(side).setPen(text)
            self.plot.getAxis(side).setTextPen(text)


def _legend(areas: Areas | None, unseen: list[int]) -> str:
    entries = []
    if areas is not None:
        entries.append((_AREA, "▬", "area"))
    if areas is not None and areas.other is not None:
        entries += [(_OTHER, "╌", "compared with"), (_CHANGE, "▬", "differs")]
    if unseen:
        entries.append((_UNSEEN, "●", "not looked at"))
    return "&nbsp; ".join(
        f'<span style="color: {color}">{sign}</span>&nbsp;{words.replace(" ", "&nbsp;")}'
        for color, sign, words in entries
    )
