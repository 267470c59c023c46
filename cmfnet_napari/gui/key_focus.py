"""Keys go back to the images once a panel has been used."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QAbstractItemView, QApplication, QWidget

from cmfnet_napari.gui.shared.qt_events import as_it_is
from cmfnet_napari.gui.views.canvas_focus import takes_text

_ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


class KeyFocus(QObject):
    """Hands the focus from the panel to the images after a click, and after Enter in a field.

    Who goes through the panel with the Tab key keeps the focus there; a field keeps it while it
    is being typed in.

    Parameters
    ----------
    panel : QWidget
        The dock.
    take_keys : callable
        Gives the focus to the images.
    """

    def __init__(self, panel: QWidget, take_keys: Callable[[], None]) -> None:
        super().__init__(panel)
        self._panel = panel
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self._hand_on)
        self._take_keys, self._entered = take_keys, False
        self._field: QWidget | None = None
        QApplication.instance().focusChanged.connect(self._on_focus)

    def close(self) -> None:
        """Hand it on no more."""
        self._soon.stop()
        QApplication.instance().focusChanged.disconnect(self._on_focus)
        self._watch(None)

    def _on_focus(self, old: QWidget | None, now: QWidget | None) -> None:
        here = now is not None and now.window() is self._panel.window()
        inside = here and self._panel.isAncestorOf(now)
        self._watch(now if inside and takes_text(now) else None)
        if not inside or takes_text(now):
            return
        edited = takes_text(old) and isinstance(now, QAbstractItemView)  # a cell that is done
        if edited or QApplication.mouseButtons() != Qt.MouseButton.NoButton:
            self._soon.start()

    def _hand_on(self) -> None:
        """A click may have begun to edit a cell; a field that Enter was pressed in is done."""
        if self._entered or not takes_text(QApplication.focusWidget()):
            self._take_keys()
        self._entered = False

    def _watch(self, field: QWidget | None) -> None:
        """Hear the keys of the field that has the focus."""
        if self._field is not None:
            self._field.removeEventFilter(self)
            self._field.destroyed.disconnect(self._forget)
        self._field = field
        if field is not None:
            field.installEventFilter(self)
            field.destroyed.connect(self._forget)

    def _forget(self) -> None:
        self._field = None

    def eventFilter(self, field: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """After Enter the field is done."""
        pressed = event.type() == QEvent.Type.KeyPress and field is self._field
        if pressed and as_it_is(event).key() in _ENTER and not _has_lines(field):
            self._entered = True
            self._soon.start()
        return False


def swallow(event: QKeyEvent) -> bool:
    """Whether a key that a field made nothing of would go on to the images, and is kept here."""
    if takes_text(QApplication.focusWidget()):
        event.accept()
        return True
    return False


def _has_lines(field: QObject) -> bool:
    """Whether Enter begins another line in it."""
    return hasattr(field, "toPlainText") and not field.isReadOnly()
