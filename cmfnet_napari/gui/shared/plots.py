"""Plots in the viewer's colours, with their legend below."""

from __future__ import annotations

from functools import cached_property
from html import escape

import napari
import pyqtgraph as pg
from napari.utils.theme import get_theme
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

# Okabe and Ito; told apart by colour-blind people.
COLORS = ("#d55e00", "#56b4e9", "#009e73", "#cc79a7", "#e69f00", "#0072b2", "#f0e442")
_BELOW = 6  # pixels; without them pyqtgraph cuts the descenders of the axis label


class ThemedPlot(QWidget):
    """A plot that follows the theme.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose theme it follows.
    across, up : str
        Labels of the axes.
    height : int
        Of the plot without its legend, pixels.
    """

    def __init__(self, viewer: napari.Viewer, across: str, up: str, height: int) -> None:
        super().__init__()
        self._viewer = viewer
        self._across, self._up, self._height = across, up, height
        self.legend = QLabel()  # beside the plot, so that it never covers a curve
        self.legend.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.legend)
        viewer.events.theme.connect(self._follow_theme)

    @cached_property
    def plot(self) -> pg.PlotWidget:
        """The plot itself, made when there is something to draw: the window opens sooner."""
        plot = pg.PlotWidget()
        plot.setFixedHeight(self._height)
        plot.setLabel("bottom", self._across)
        plot.setLabel("left", self._up)
        plot.getPlotItem().layout.setContentsMargins(1, 1, 1, _BELOW)
        plot.setMenuEnabled(False)
        plot.hideButtons()
        self.layout().insertWidget(0, plot)
        self._paint(plot)
        return plot

    def close_plot(self) -> None:
        """Let go of the viewer."""
        self._viewer.events.theme.disconnect(self._follow_theme)

    def _follow_theme(self) -> None:
        if "plot" in self.__dict__:
            self._paint(self.plot)

    def _paint(self, plot: pg.PlotWidget) -> None:
        theme = get_theme(self._viewer.theme)
        text = theme.text.as_hex()
        plot.setBackground(theme.background.as_hex())
        for side in ("left", "bottom"):
            plot.getAxis(side).setPen(text)
            plot.getAxis(side).setTextPen(text)


class CurvePlot(ThemedPlot):
    """Named curves that come as they are drawn, each with a colour of its own."""

    def __init__(self, viewer: napari.Viewer, across: str, up: str, height: int) -> None:
        super().__init__(viewer, across, up, height)
        self._curves: dict[str, pg.PlotDataItem] = {}

    def draw(self, name: str, across: list[float], up: list[float], width: float = 2.0) -> None:
        """Draw a curve, or draw it anew; a new one has the next colour and a line in the legend."""
        if name not in self._curves:
            color = COLORS[len(self._curves) % len(COLORS)]
            self._curves[name] = self.plot.plot([], [], pen=pg.mkPen(color, width=width))
            entry = f'<span style="color: {color}">▬</span>&nbsp;{escape(name)}'
            self.legend.setText("&nbsp; ".join(filter(None, (self.legend.text(), entry))))
        self._curves[name].setData(across, up)

    def clear(self) -> None:
        """Forget all curves."""
        for curve in self._curves.values():
            self.plot.removeItem(curve)
        self._curves.clear()
        self.legend.clear()
