"""The patient's letters around the contour in three dimensions."""

from __future__ import annotations

import numpy as np
from napari.qt import QtViewer
from vispy.scene.visuals import Text

from cmfnet_napari.core.images.grid import Grid

_POINTS = 14
_AWAY = 0.15  # of the largest extent, beyond the contour
_MARGIN = 18  # pixels beyond the middle of a letter
_ABOVE_ALL = 1000  # napari numbers its layers from 0


def zoom_for(low: np.ndarray, high: np.ndarray, canvas: tuple[int, int]) -> float:
    """How near a contour may be looked at so that its letters are seen, however it is turned.

    Parameters
    ----------
    low, high : float array (3,)
        Box around the contour, mm.
    canvas : (int, int)
        Pixels of the view.

    Returns
    -------
    float
        Pixels a mm.
    """
    room = max(min(canvas) - 2 * _MARGIN, _MARGIN)
    return float(room / ((high - low).max() * (1 + 2 * _AWAY)))


class SolidLetters:
    """Six letters, each on its side, that face whoever looks; no layer, as the crosshair is none.

    Parameters
    ----------
    qt_viewer : napari.qt.QtViewer
        Whose canvas they are drawn on.
    grid : Grid
        The Study's, which knows the sides of its axes.
    """

    def __init__(self, qt_viewer: QtViewer, grid: Grid) -> None:
        self.letters = [letter for ends in grid.axis_letters for letter in ends]
        self.places = np.zeros((6, 3))  # mm along the study's axes (z, y, x)
        self._text = Text(
            self.letters,
            pos=self.places,
            color="white",
            font_size=_POINTS,
            parent=qt_viewer.canvas.view.scene,
        )
        self._text.order = _ABOVE_ALL
        self._text.set_gl_state("translucent", depth_test=True)  # what is behind is not seen
        self._text.visible = False

    def show(self, low: np.ndarray, high: np.ndarray) -> None:
        """Put them around a box (mm along the study's axes; z, y, x)."""
        middle, away = (low + high) / 2, _AWAY * (high - low).max()
        self.places = np.tile(middle, (6, 1))
        for axis in range(3):
            self.places[2 * axis, axis] = low[axis] - away
            self.places[2 * axis + 1, axis] = high[axis] + away
        self._text.pos = self.places[:, ::-1]  # vispy's order
        self._text.visible = True

    def hide(self) -> None:
        """There is nothing to be around."""
        self._text.visible = False

    def close(self) -> None:
        """Take them off the canvas."""
        self._text.parent = None
