"""The wheel over a view of planes: other slices, and with Ctrl zoom; or napari's way round."""

from __future__ import annotations

from napari.components import ViewerModel
from qtpy.QtCore import QCoreApplication, QObject, Qt, QTimer
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QWidget

from cmfnet_napari.gui.shared.preferences import preferences
from cmfnet_napari.gui.views.navigation import Navigation

_NOTCH = 120  # eighths of a degree; touchpads send less at a time
_ZOOM = Qt.KeyboardModifier.ControlModifier
_PLAIN = Qt.KeyboardModifier.NoModifier


class Wheel(QObject):
    """What the wheel does over one canvas.

    Turns that come faster than slices can be drawn are added up: the last one counts, the slices
    between are passed over.
    """

    def __init__(
        self, parent: QObject, navigation: Navigation, view: ViewerModel, canvas: QWidget
    ) -> None:
        super().__init__(parent)
        self._navigation, self._view, self._canvas = navigation, view, canvas
        self._turned = 0
        self._handing_on = False
        self._timer = QTimer(self, singleShot=True, interval=0)
        self._timer.timeout.connect(self._step)

    def close(self) -> None:
        """Turn no more slices."""
        self._timer.stop()

    def turn(self, event: QWheelEvent) -> bool:
        """Take a turn of the wheel; True when it was ours."""
        zooms = preferences().wheel_zooms
        if self._handing_on or event.modifiers() not in (_PLAIN, _ZOOM):
            return False
        if (event.modifiers() == _PLAIN) == zooms:
            return self._zoom(event)
        self._turned += event.angleDelta().y()
        if abs(self._turned) >= _NOTCH:
            self._timer.start()
        return True

    def _zoom(self, event: QWheelEvent) -> bool:
        """Let napari zoom around the mouse, as it does with the wheel alone."""
        if event.modifiers() == _PLAIN:
            return False
        plain = QWheelEvent(
            event.position(),
            event.globalPosition(),
            event.pixelDelta(),
            event.angleDelta(),
            event.buttons(),
            _PLAIN,
            event.phase(),
            event.inverted(),
        )
        self._handing_on = True
        QCoreApplication.sendEvent(self._canvas, plain)
        self._handing_on = False
        return True

    def _step(self) -> None:
        slices = int(self._turned / _NOTCH)  # toward zero
        self._turned -= slices * _NOTCH
        self._navigation.step(self._view, slices)
