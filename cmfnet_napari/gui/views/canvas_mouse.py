"""The mouse on a canvas before napari sees it: window and level, crosshair, slices, value.

napari zooms with the right button and with the wheel, and encircles while one paints; a clinician
expects window and level there, and other slices. So the events of that button, of the wheel, and
of Shift with the left one, are taken before they reach napari; all else goes on to it untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QCoreApplication, QEvent, QObject, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QWidget

from cmfnet_napari.core.images.window_level import Limits
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.qt_events import as_it_is
from cmfnet_napari.gui.views.canvas_focus import CanvasFocus
from cmfnet_napari.gui.views.fusion import Fusion
from cmfnet_napari.gui.views.measures import MeasureMark, Measures
from cmfnet_napari.gui.views.navigation import Navigation
from cmfnet_napari.gui.views.readout import Readout
from cmfnet_napari.gui.views.trail import Trail
from cmfnet_napari.gui.views.wheel import Wheel
from cmfnet_napari.gui.views.windowing import Windowing

_PRESS, _MOVE = QEvent.Type.MouseButtonPress, QEvent.Type.MouseMove
_RELEASE, _TWICE = QEvent.Type.MouseButtonRelease, QEvent.Type.MouseButtonDblClick
_LEFT, _RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
_KEYS = (QEvent.Type.KeyPress, QEvent.Type.KeyRelease)
_OWN_KEYS = (Qt.Key.Key_Left, Qt.Key.Key_Right)  # step through the slices under the mouse
_HOVER_MS = 40  # between two values that are read


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
    """What a view of planes is tied to.

    Attributes
    ----------
    session, navigation, fusion, windowing
        The patient, the place, and how the images are shown.
    trail : Trail
        Where the mouse went while it draws.
    measures : Measures
        What it measures instead.
    """

    session: Session
    navigation: Navigation
    fusion: Fusion
    windowing: Windowing
    trail: Trail
    measures: Measures


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
    mark : MeasureMark
        What is measured in it.
    readout : Readout
        Says on it what is under the mouse.
    image : str
        Name of the image when it shows that one alone.
    keys : QWidget, optional
        The main view's canvas, which gets the keys pressed over this one: napari's tools and
        ours act on the main viewer, whose layers all views share.
    enlarge : callable
        Called at a double click, if the mouse does not draw.
    """

    def __init__(
        self,
        links: ViewLinks,
        view: ViewerModel,
        canvas: QWidget,
        mark: MeasureMark,
        readout: Readout,
        image: str = "",
        keys: QWidget | None = None,
        enlarge: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(canvas)
        self.image = image
        self._mark, self._measuring = mark, False
        self._links, self._view, self._canvas, self._keys = links, view, canvas, keys
        self._enlarge = enlarge
        self._readout = readout
        self._window: tuple[str, Limits, QPointF] | None = None  # image, limits, where it began
        self._pointing = False
        self._at: QPointF | None = None  # the mouse is over the canvas
        self._focus = CanvasFocus(canvas)
        self._wheel = Wheel(self, links.navigation, view, canvas)
        self._hover = QTimer(self, singleShot=True, interval=_HOVER_MS)
        self._hover.timeout.connect(self.show_value)
        self._drag = QTimer(self, singleShot=True, interval=0)  # of many moves only the last
        self._drag.timeout.connect(self._follow_drag)
        canvas.installEventFilter(self)

    def close(self) -> None:
        """Hear no more."""
        for timer in (self._hover, self._drag):
            timer.stop()
        self._wheel.close()
        self._focus.close()
        self._canvas.removeEventFilter(self)
        self.deleteLater()  # the canvas of the main view outlives the patient

    def show_value(self) -> None:
        """Say what is under the mouse: it, the slice or the zoom may have moved."""
        if self._links.session.patient is not None and self._flat:
            self._readout.show_value(None if self._at is None else self._place(self._at))

    @property
    def _flat(self) -> bool:
        """Whether the view shows a plane; a layer may have more axes."""
        return self._view.dims.ndisplay == 2 and self._view.dims.ndim == 3

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Take what is ours; True keeps it from napari."""
        event = as_it_is(event)
        kind = event.type()
        if self._focus.hear(event):
            return True
        if self._links.session.patient is None:
            return False
        if kind in _KEYS and self._keys is not None:
            return self._hand_on(event)
        if kind == QEvent.Type.Leave:
            self._at = None
            self.show_value()
            return False
        if not self._flat:
            self._links.trail.forget()
            return False
        return self._mouse(kind, event)

    def _mouse(self, kind: QEvent.Type, event: QEvent) -> bool:
        if kind == QEvent.Type.Wheel:
            return self._wheel.turn(event)
        if kind == _TWICE and event.button() == _LEFT and not self._busy:
            self._enlarge()
            return True
        if kind in (_PRESS, _TWICE):
            return self._press(event)
        if kind == _MOVE:
            return self._move(event)
        return kind == _RELEASE and self._release(event)

    @property
    def _busy(self) -> bool:
        """Whether the left button draws or measures: then two quick clicks are two dabs."""
        active = self._links.session.viewer.layers.selection.active
        draws = getattr(active, "mode", "pan_zoom") != "pan_zoom"
        return draws or bool(self._links.measures.kind)

    def _hand_on(self, event: QEvent) -> bool:
        if event.key() in _OWN_KEYS:
            return False
        QCoreApplication.sendEvent(self._keys, event)
        return True

    def _press(self, event: QMouseEvent) -> bool:
        if event.button() == _RIGHT:
            return self._begin_window(event)
        shift = event.modifiers() == Qt.KeyboardModifier.ShiftModifier
        if event.button() == _LEFT and shift:
            self._pointing = True
            self._links.navigation.go_to(self._place(event.position()))
            return True
        if event.button() == _LEFT and event.modifiers() == Qt.KeyboardModifier.NoModifier:
            self._measuring = self._mark.begin(self._place(event.position()))
        if event.button() == _LEFT and not self._measuring:
            self._links.trail.begin()
        return self._measuring

    def _begin_window(self, event: QMouseEvent) -> bool:
        image = self.image or self._links.fusion.front
        limits = self._links.windowing.limits(image)
        if limits is not None:
            self._window = image, limits, event.position()
        return True

    def _move(self, event: QMouseEvent) -> bool:
        self._at = event.position()
        if self._window is not None or self._pointing or self._measuring:
            self._drag.start()
            return True
        if event.buttons() & _LEFT:  # strokes come first
            self._links.trail.add(self._place(event.position()))
        elif event.buttons() == Qt.MouseButton.NoButton and not self._hover.isActive():
            self._hover.start()
        return False

    def _follow_drag(self) -> None:
        if self._window is not None:
            image, limits, begun = self._window
            way = self._at - begun
            self._links.windowing.drag(image, limits, way.x(), way.y())
        elif self._pointing:
            self._links.navigation.go_to(self._place(self._at))
        elif self._measuring:
            self._mark.move(self._place(self._at))

    def _release(self, event: QMouseEvent) -> bool:
        if self._drag.isActive():
            self._drag.stop()
            self._follow_drag()
        if event.button() == _RIGHT:
            self._window = None
            return True
        taken = self._pointing or self._measuring
        if event.button() == _LEFT and not taken:
            self._links.trail.add(self._place(event.position()))
        self._pointing = self._measuring = False
        return taken

    def _place(self, at: QPointF) -> np.ndarray:
        size = self._canvas.width(), self._canvas.height()
        return place_under(self._view, size, at.x(), at.y())


class SolidMouse(QObject):
    """Listens to the canvas of the view in three dimensions: it turns and zooms as napari does.

    Parameters
    ----------
    canvas, keys, enlarge
        As of `CanvasMouse`.
    """

    def __init__(self, canvas: QWidget, keys: QWidget, enlarge: Callable[[], None]) -> None:
        super().__init__(canvas)
        self._canvas, self._keys, self._enlarge = canvas, keys, enlarge
        self._focus = CanvasFocus(canvas)
        canvas.installEventFilter(self)

    def close(self) -> None:
        """Hear no more."""
        self._focus.close()
        self._canvas.removeEventFilter(self)
        self.deleteLater()

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Take what is ours; True keeps it from napari."""
        event = as_it_is(event)
        self._focus.hear(event)  # a click that gives the focus may turn it: nothing is painted
        if event.type() in _KEYS:
            QCoreApplication.sendEvent(self._keys, event)
            return True
        if event.type() == _TWICE and event.button() == _LEFT:
            self._enlarge()
            return True
        return False
