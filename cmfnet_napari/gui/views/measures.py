"""A ruler, and the values in an ellipse, drawn over a view; nothing of them is kept."""

from __future__ import annotations

from typing import Literal

import numpy as np
from napari.components import ViewerModel
from napari.qt import QtViewer
from qtpy.QtCore import QObject, Signal
from vispy.scene.visuals import Line

from cmfnet_napari.core.images.region import Region, Values, measure_region
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.views.canvas_words import Words

_COLOR = (0.9, 0.6, 0.9, 1.0)  # neither a class's nor the crosshair's
_ABOVE_ALL = 1001  # napari numbers its layers from 0
_CORNERS = 48  # of an ellipse


Measure = Literal["ruler", "region", ""]


class Measures(QObject):
    """What the left button measures, in every view.

    Attributes
    ----------
    kind : Measure
        Empty: it draws or moves.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.kind: Measure = ""
        session.closed.connect(lambda: self.choose(""))

    def choose(self, kind: Measure) -> None:
        """Measure so from now on; the same once more: no longer."""
        self.kind = "" if kind == self.kind else kind
        self.changed.emit()


class MeasureMark(QObject):
    """What is measured in one view: lines, and words in its corner.

    Parameters
    ----------
    session : Session
        With the patient.
    measures : Measures
        Which.
    view : ViewerModel
        The view.
    qt_viewer : napari.qt.QtViewer
        Its canvas.
    words : Words
        On it.
    """

    def __init__(
        self,
        session: Session,
        measures: Measures,
        view: ViewerModel,
        qt_viewer: QtViewer,
        words: Words,
    ) -> None:
        super().__init__()  # no child of the canvas, which would keep it, and the viewer with it
        self._session, self._measures, self._view = session, measures, view
        self._words = words
        self._begun: np.ndarray | None = None
        self._line = Line(np.zeros((2, 3)), color=_COLOR, parent=qt_viewer.canvas.view.scene)
        self._line.order = _ABOVE_ALL
        self._line.set_gl_state("translucent", depth_test=False)
        self._line.visible = False
        measures.changed.connect(self.hide)

    @property
    def text(self) -> str:
        """What is said of it."""
        return self._words.text("measure")

    def begin(self, place: np.ndarray) -> bool:
        """The button was pressed at a place (mm; z, y, x); whether something is measured."""
        self._begun = place if self._measures.kind else None
        if self._begun is not None:
            self.hide_words()
        return self._begun is not None

    def move(self, place: np.ndarray) -> None:
        """Measure to a place."""
        if self._begun is None:
            return
        axis, study = self._view.dims.order[0], self._session.case.study
        if self._measures.kind == "ruler":
            points = np.array([self._begun, place])
            text = f"{np.linalg.norm(place - self._begun):.1f} mm"
        else:
            points = _around(self._begun, place, axis)
            text = region_text(study, axis, self._begun, place)
        self._line.set_data(pos=self._on_screen(points))
        self._line.visible = True
        self._words.write("measure", text)

    def follow(self) -> None:
        """Another slice is shown: what was measured is not true of it."""
        axis = self._view.dims.order[0]
        if self._begun is not None and not np.isclose(
            self._begun[axis], self._view.dims.point[axis]
        ):
            self.hide()

    def hide(self) -> None:
        """Take it away."""
        self._begun = None
        self.hide_words()

    def hide_words(self) -> None:
        """Nothing has been measured yet."""
        self._line.visible = False
        self._words.write("measure", "")

    def close(self) -> None:
        """Take it off the canvas."""
        self._measures.changed.disconnect(self.hide)
        self._line.parent = None

    def _on_screen(self, points: np.ndarray) -> np.ndarray:
        rows, columns = self._view.dims.displayed
        flat = np.zeros((len(points), 3), dtype=np.float32)
        flat[:, 0], flat[:, 1] = points[:, columns], points[:, rows]
        return flat


def region_text(study: Study, axis: int, one: np.ndarray, other: np.ndarray) -> str:
    """Area and values of an ellipse, in short lines; empty when no voxel lies in it."""
    region: Region | None = measure_region(study, axis, one, other)
    if region is None:
        return ""
    lines = [f"{region.area / 100:.2f} cm²"]
    images = zip(study.names, study.units, (region.first, region.second), strict=False)
    for name, unit, values in images:
        if values is not None:
            lines.append(f"{name} {_words(values)} {unit}".rstrip())
    return "\n".join(lines)


def _words(values: Values) -> str:
    spread = f"{values.mean:.4g} ± {values.deviation:.3g}"
    return f"{spread} ({values.least:.4g} … {values.largest:.4g})"


def _around(one: np.ndarray, other: np.ndarray, axis: int) -> np.ndarray:
    """The ellipse in the box between two corners."""
    first, second = (a for a in range(3) if a != axis)
    angle = np.linspace(0, 2 * np.pi, _CORNERS + 1)
    points = np.tile((one + other) / 2, (len(angle), 1))
    points[:, first] += np.cos(angle) * (other - one)[first] / 2
    points[:, second] += np.sin(angle) * (other - one)[second] / 2
    return points
