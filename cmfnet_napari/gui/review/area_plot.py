"""Curve of the contour's area over the slices; a click goes to a slice."""

from __future__ import annotations

import napari
import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt, Signal

from cmfnet_napari.core.contours.slice_areas import Areas
from cmfnet_napari.core.strokes.scribbles import PALETTE
from cmfnet_napari.gui.shared.plots import ThemedPlot

_, _AREA, _, _UNSEEN, _, _OTHER, _CHANGE = PALETTE
_HEIGHT = 150


class AreaPlot(ThemedPlot):
    """Area of the contour, of what it is compared with, and of where the two differ.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose theme it follows.
    """

    clicked = Signal(int)  # slice

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__(viewer, "slice", "cm²", _HEIGHT)
        self._slices = 0
        self.plot.setMouseEnabled(False, False)
        self.plot.setToolTip("Click to go to a slice")
        self.area = self.plot.plot([], [], pen=pg.mkPen(_AREA, width=2))
        dashed = pg.mkPen(_OTHER, width=1.5, style=Qt.PenStyle.DashLine)
        self.other = self.plot.plot([], [], pen=dashed)
        self.change = self.plot.plot([], [], pen=pg.mkPen(_CHANGE, width=1.5))
        dots = {"pen": None, "symbol": "o", "symbolSize": 5, "symbolPen": None}
        self.unseen = self.plot.plot([], [], symbolBrush=_UNSEEN, **dots)
        self.here = pg.InfiniteLine(angle=90, pen=pg.mkPen("#808080"))
        self.plot.addItem(self.here, ignoreBounds=True)
        self.plot.scene().sigMouseClicked.connect(self._on_click)
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

    def _on_click(self, event: object) -> None:
        place = self.plot.getPlotItem().vb.mapSceneToView(event.scenePos())
        index = round(place.x())
        if 0 <= index < self._slices:
            self.clicked.emit(index)


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
