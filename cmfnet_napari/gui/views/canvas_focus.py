"""Keys act where the mouse is: the focus follows it into the views."""

from __future__ import annotations

import time

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)

_BOTH_S = 0.2  # a window is activated and clicked by one press of the button
_TEXT = (QLineEdit, QAbstractSpinBox, QTextEdit, QPlainTextEdit)


def is_typed_in(widget: QWidget | None) -> bool:
    """Whether a widget is a field that somebody has typed something into that is not done yet."""
    if isinstance(widget, QAbstractSpinBox):
        widget = widget.lineEdit()
    if isinstance(widget, QComboBox):
        widget = widget.lineEdit()
    return isinstance(widget, QLineEdit) and widget.isModified()


def takes_text(widget: QWidget | None) -> bool:
    """Whether letters typed into a widget are text."""
    editable = isinstance(widget, QComboBox) and widget.isEditable()
    return isinstance(widget, _TEXT) or editable


class CanvasFocus(QObject):
    """Gives the focus to one canvas when the mouse comes, and takes care that it paints nothing.

    Parameters
    ----------
    canvas : QWidget
        The canvas.
    """

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self._given = -1.0  # when a click took the focus from a text, or from another program
        self._swallows = self._by_mouse = False
        app = QApplication.instance()
        app.focusChanged.connect(self._on_focus)
        app.applicationStateChanged.connect(self._on_program)

    def close(self) -> None:
        """Follow the focus no more."""
        app = QApplication.instance()
        app.focusChanged.disconnect(self._on_focus)
        app.applicationStateChanged.disconnect(self._on_program)

    def hear(self, event: QEvent) -> bool:
        """Follow an event of the canvas; True when it is for nobody else."""
        kind = event.type()
        if kind == QEvent.Type.Enter:
            self._enter()
        elif kind == QEvent.Type.FocusIn:
            self._by_mouse = event.reason() == Qt.FocusReason.MouseFocusReason
        elif kind == QEvent.Type.MouseButtonPress:
            self._swallows = time.monotonic() - self._given < _BOTH_S
            self._given = -1.0
            return self._swallows
        elif kind == QEvent.Type.MouseMove and self._swallows:
            return event.buttons() != Qt.MouseButton.NoButton
        elif kind == QEvent.Type.MouseButtonRelease and self._swallows:
            self._swallows = False
            return True
        return False

    def _on_focus(self, old: QWidget | None, now: QWidget | None) -> None:
        if now is self._canvas and takes_text(old) and self._by_mouse:
            self._given = time.monotonic()

    def _on_program(self, state: Qt.ApplicationState) -> None:
        if state == Qt.ApplicationState.ApplicationActive:
            self._given = time.monotonic()

    def _enter(self) -> None:
        window = self._canvas.window()
        if window.isActiveWindow() and not is_typed_in(QApplication.focusWidget()):
            self._canvas.setFocus(Qt.FocusReason.OtherFocusReason)
