"""Qt's events by their own Python types."""

from __future__ import annotations

from qtpy.QtCore import QEvent
from qtpy.QtGui import QFocusEvent, QKeyEvent, QMouseEvent, QWheelEvent

_KINDS: dict[QEvent.Type, type[QEvent]] = {
    QEvent.Type.FocusIn: QFocusEvent,
    QEvent.Type.FocusOut: QFocusEvent,
    QEvent.Type.MouseButtonPress: QMouseEvent,
    QEvent.Type.MouseButtonRelease: QMouseEvent,
    QEvent.Type.MouseButtonDblClick: QMouseEvent,
    QEvent.Type.MouseMove: QMouseEvent,
    QEvent.Type.Wheel: QWheelEvent,
    QEvent.Type.KeyPress: QKeyEvent,
    QEvent.Type.KeyRelease: QKeyEvent,
    QEvent.Type.ShortcutOverride: QKeyEvent,
}


def as_it_is(event: QEvent) -> QEvent:
    """An event that a filter got, by its own type.

    PyQt finds the Python object of an event by its place in memory. Where somebody keeps one that
    is over, as vispy keeps the last of the mouse, the next event at that place comes as that one:
    a focus event as a `QMouseEvent`, without its reason.
    """
    kind = _KINDS.get(event.type())
    if kind is None or isinstance(event, kind):
        return event
    from qtpy import sip  # PyQt's; other bindings have no such events

    itself: QEvent = sip.wrapinstance(sip.unwrapinstance(event), kind)
    return itself
