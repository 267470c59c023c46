"""Live curves of a training: the terms of the loss, and the agreement with the strokes."""

from __future__ import annotations

from functools import cached_property

import napari
import pyqtgraph as pg

from cmfnet_napari.core.fit.events import Preview, Step
from cmfnet_napari.gui.shared.plots import CurvePlot

_WORDS = {
    "ssl": "strokes (ssl)",
    "imr": "image (imr)",
    "imc": "branches agree (imc)",
    "variance": "each class alike (variance)",
}
_MAX_POINTS = 2000
_FLOOR = 1e-6  # the axis is logarithmic
_ALL, _HELD_OUT = "all strokes", "strokes while held out"


class LossPlot(CurvePlot):
    """One line a loss term over the steps; hidden until there is one."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__(viewer, "step", "loss", height=170)
        self.terms: dict[str, tuple[list[int], list[float]]] = {}  # steps and values
        self.hide()

    @cached_property
    def plot(self) -> pg.PlotWidget:
        """Its axis is logarithmic."""
        plot = super().plot
        plot.setLogMode(y=True)
        return plot

    def clear(self) -> None:
        """Forget all lines."""
        super().clear()
        self.terms.clear()
        self.hide()

    def add(self, event: Step) -> None:
        """Continue the lines with a step."""
        for name, value in sorted(event.losses.items(), key=lambda item: item[0] != "total"):
            if not value:  # a term that is switched off
                continue
            steps, values = self.terms.setdefault(name, ([], []))
            steps.append(event.step)
            values.append(max(value, _FLOOR))
            if len(steps) > _MAX_POINTS:  # a fit of hours must not slow the window
                del steps[1::2], values[1::2]
            width = 2.0 if name == "total" else 1.3
            self.draw(_WORDS.get(name, name), steps, values, width)
        self.show()


class AgreementPlot(CurvePlot):
    """Agreement of the previews with all strokes and with held-out ones; hidden until there is one.

    Attributes
    ----------
    points : dict
        Steps and per cent of either curve.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__(viewer, "step", "agreement, %", height=120)
        self.points: dict[str, tuple[list[int], list[float]]] = {}
        self.hide()

    @cached_property
    def plot(self) -> pg.PlotWidget:
        """Its axis is per cent."""
        plot = super().plot
        plot.setYRange(0, 100)
        return plot

    def clear(self) -> None:
        """Forget both curves."""
        super().clear()
        self.points.clear()
        self.hide()

    def add(self, event: Preview) -> None:
        """Continue the curves with a preview."""
        for name, share in ((_ALL, event.agreement), (_HELD_OUT, event.held_out)):
            if share is None:
                continue
            steps, values = self.points.setdefault(name, ([], []))
            steps.append(event.step)
            values.append(100 * share)
            self.draw(name, steps, values)
        self.show()
