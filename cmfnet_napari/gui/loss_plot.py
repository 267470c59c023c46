"""Live curve of the loss terms."""

from __future__ import annotations

from html import escape

import napari
import pyqtgraph as pg
from napari.utils.theme import get_theme
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from cmfnet_napari.core.events import Step

# Okabe and Ito; the total first.
_COLORS = ("#d55e00", "#56b4e9", "#009e73", "#cc79a7", "#e69f00", "#0072b2", "#f0e442")
_WORDS = {"ssl": "strokes (ssl)", "imr": "image (imr)", "imc": "branches agree (imc)"}
_MAX_POINTS = 2000
_BELOW = 6  # pixels; without them pyqtgraph cuts the descenders of the axis label
_FLOOR = 1e-6  # the axis is logarithmic


class LossPlot(QWidget):
    """One line a loss term over the steps."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._curves: dict[str, pg.PlotDataItem] = {}
        self._points: dict[str, tuple[list[int], list[float]]] = {}
        self.plot = pg.PlotWidget()
        self.plot.setFixedHeight(230)
        self.plot.setLogMode(y=True)
        self.plot.setLabel("bottom", "step")
        self.plot.setLabel("left", "loss")
        self.plot.getPlotItem().layout.setContentsMargins(1, 1, 1, _BELOW)
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.legend = QLabel()  # beside the plot, so that it never covers a curve
        self.legend.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.plot)
        layout.addWidget(self.legend)
        viewer.events.theme.connect(self._follow_theme)
        self._follow_theme()

    @property
    def terms(self) -> dict[str, tuple[list[int], list[float]]]:
        """Steps and values of every term that is drawn."""
        return self._points

    def clear(self) -> None:
        """Forget all lines."""
        for curve in self._curves.values():
            self.plot.removeItem(curve)
        self._curves.clear()
        self._points.clear()
        self.legend.clear()

    def add(self, event: Step) -> None:
        """Continue the lines with a step."""
        for name, value in sorted(event.losses.items(), key=lambda item: item[0] != "total"):
            if name not in self._curves:
                self._add_curve(name)
            steps, values = self._points[name]
            steps.append(event.step)
            values.append(max(value, _FLOOR))
            if len(steps) > _MAX_POINTS:  # a fit of hours must not slow the window
                del steps[1::2], values[1::2]
            self._curves[name].setData(steps, values)

    def close_plot(self) -> None:
        """Let go of the viewer."""
        self._viewer.events.theme.disconnect(self._follow_theme)

    def _add_curve(self, name: str) -> None:
        width = 2 if name == "total" else 1.3
        color = _COLORS[len(self._curves) % len(_COLORS)]
        self._points[name] = ([], [])
        self._curves[name] = self.plot.plot([], [], pen=pg.mkPen(color, width=width))
        entry = f'<span style="color: {color}">▬</span>&nbsp;{_WORDS.get(name, escape(name))}'
        self.legend.setText("&nbsp; ".join(filter(None, (self.legend.text(), entry))))

    def _follow_theme(self) -> None:
        theme = get_theme(self._viewer.theme)
        text = theme.text.as_hex()
        self.plot.setBackground(theme.background.as_hex())
        for side in ("left", "bottom"):
            self.plot.getAxis(side).setPen(text)
            self.plot.getAxis(side).setTextPen(text)
