"""The mouse on a canvas before napari sees it: window and level, crosshair, value.

napari zooms with the right button, and encircles while one paints; a clinician expects window
and level there. So the events of that button, and of Shift with the left one, are taken before
they reach napari; everything else goes on to it untouched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QCoreApplication, QEvent, QObject, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QWidget

from cmfnet_napari.core.images.window_level import Limits
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.views.fusion import Fusion
from cmfnet_napari.gui.views.navigation import Navigation
from cmfnet_napari.gui.views.readout import Readout
from cmfnet_napari.gui.views.windowing import Windowing

_PRESS, _MOVE = QEvent.Type.MouseButtonPress, QEvent.Type.MouseMove
_RELEASE, _TWICE = QEvent.Type.MouseButtonRelease, QEvent.Type.MouseButtonDblClick
_KEYS = (QEvent.Type.KeyPress, QEvent.Type.KeyRelease)
_OWN_KEYS = (Qt.Key.Key_Left, Qt.Key.Key_Right)  # step through the slices under the mouse


def place_under(view: ViewerModel, size: tuple[int, int], x: float, y: float) -> np.ndarray:
    """Where a pixel of a canvas lies, mm along the study's own axes (z, y, x).

    Parameters
    ----------
    view : ViewerModel
        Shows a plane.
    size : (int, int)
        Width and height of the canvas, pixels.
    x, y : float
        From the canvas's left and upper border, pixels.
    """
    camera = view.scene.camera
    rows, columns = view.dims.displayed
    vertical, horizontal = (str(way) for way in camera.orientation2d)
    place = np.array(view.dims.point[-3:])
    down = (y - size[1] / 2) / camera.zoom
    right = (x - size[0] / 2) / camera.zoom
    place[rows] = camera.center[-2] + (down if vertical == "down" else -down)
    place[columns] = camera.center[-1] + (right if horizontal == "right" else -right)
    return place


@dataclass(frozen=True)
class ViewLinks:
    """What a view of planes is tied to: the patient, the place, and how CT and MR are shown."""

    session: Session
    navigation: Navigation
    fusion: Fusion
    windowing: Windowing


class CanvasMouse(QObject):
    """Listens to one canvas.

    Parameters
    ----------
    links : ViewLinks
        What it moves.
    view : ViewerModel
        What the canvas shows.
    canvas : QWidget
        The canvas.
    image : str
        ``CT`` or ``MR`` when it shows that image alone.
    keys : QWidget, optional
        The main view's canvas, which gets the keys pressed over this one: napari's tools and
        ours act on the main viewer, whose layers all views share.
    """

    def __init__(
        self,
        links: ViewLinks,
        view: ViewerModel,
        canvas: QWidget,
        image: str = "",
        keys: QWidget | None = None,
    ) -> None:
        super().__init__(canvas)
        self.image = image
        self._links, self._view, self._canvas, self._keys = links, view, canvas, keys
        self._readout = Readout(links.session, view)
        self._window: tuple[str, Limits, QPointF] | None = None  # image, limits, where it began
        self._pointing = False
        canvas.installEventFilter(self)

    def close(self) -> None:
        """Hear no more."""
        self._canvas.removeEventFilter(self)

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Take what is ours; True keeps it from napari."""
        if self._links.session.patient is None:
            return False
        kind = event.type()
        if kind in _KEYS and self._keys is not None:
            return self._hand_on(event)
        if kind == QEvent.Type.Leave:
            self._readout.show_value(None)
            return False
        if self._view.dims.ndisplay != 2 or self._view.dims.ndim != 3:  # a layer with more axes
            return False
        if kind in (_PRESS, _TWICE):
            return self._press(event)
        if kind == _MOVE:
            return self._move(event)
        return kind == _RELEASE and self._release(event)

    def _hand_on(self, event: QEvent) -> bool:
        if event.key() in _OWN_KEYS:
            return False
        QCoreApplication.sendEvent(self._keys, event)
        return True

    def _press(self, event: QMouseEvent) -> bool:
        if event.button() == Qt.MouseButton.RightButton:
            return self._begin_window(event)
        shift = event.modifiers() == Qt.KeyboardModifier.ShiftModifier
        if event.button() == Qt.MouseButton.LeftButton and shift:
            self._pointing = True
            self._links.navigation.go_to(self._place(event))
            return True
        return False

    def _begin_window(self, event: QMouseEvent) -> bool:
        image = self.image or self._links.fusion.front
        limits = self._links.windowing.limits(image)
        if limits is not None:
            self._window = image, limits, event.position()
        return True

    def _move(self, event: QMouseEvent) -> bool:
        if self._window is not None:
            image, limits, begun = self._window
            way = event.position() - begun
            self._links.windowing.drag(image, limits, way.x(), way.y())
            return True
        if self._pointing:
            self._links.navigation.go_to(self._place(event))
        elif event.buttons() == Qt.MouseButton.NoButton:  # strokes come first
            self._readout.show_value(self._place(event))
        return self._pointing

    def _release(self, event: QMouseEvent) -> bool:
        if event.button() == Qt.MouseButton.RightButton:
            self._window = None
            return True
        taken, self._pointing = self._pointing, False
        return taken

    def _place(self, event: QMouseEvent) -> np.ndarray:
        at = event.position()
        size = self._canvas.width(), self._canvas.height()
        return place_under(self._view, size, at.x(), at.y())
