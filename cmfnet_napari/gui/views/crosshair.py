"""Lines through a view where the other planes go through."""

from __future__ import annotations

import numpy as np
from napari.qt import QtViewer
from vispy.scene.visuals import Line

_COLOR = (0.95, 0.9, 0.25, 0.6)  # yellow of the Okabe–Ito palette; what lies below shows through
_FAR = 1e5  # mm, beyond every canvas
_ABOVE_ALL = 1000  # napari numbers its layers from 0


class Crosshair:
    """A crosshair drawn with the picture itself, so that it costs nothing more than two lines.

    It is no layer: it would be in the layer list, in every extent, and sliced with each step.

    Parameters
    ----------
    qt_viewer : napari.qt.QtViewer
        Whose canvas it is drawn on.
    """

    def __init__(self, qt_viewer: QtViewer) -> None:
        self._line = Line(
            np.zeros((4, 3)), color=_COLOR, connect="segments", parent=qt_viewer.canvas.view.scene
        )
        self._line.order = _ABOVE_ALL
        self._line.set_gl_state("translucent", depth_test=False)
        self._line.visible = False
        self._at: tuple[float, float] | None = None

    def show(self, at: tuple[float, float] | None) -> None:
        """Move it to a place (down, across; mm in the plane), or hide it."""
        if at == self._at:
            return  # nothing to draw anew
        self._at = at
        self._line.visible = at is not None
        if at is not None:
            down, across = at
            ends = [
                (across - _FAR, down, 0),
                (across + _FAR, down, 0),
                (across, down - _FAR, 0),
                (across, down + _FAR, 0),
            ]
            self._line.set_data(pos=np.array(ends, dtype=np.float32))

    def close(self) -> None:
        """Take it off the canvas."""
        self._line.parent = None
