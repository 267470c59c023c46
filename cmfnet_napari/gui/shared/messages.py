"""What the window has to say: in the dock, in whole sentences, and in napari's own record.

napari's toasts cut a sentence after a few words and lie over the image. They are left to viewers
without our dock, as when a file is dropped on napari.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from napari.utils.notifications import (
    Notification,
    NotificationSeverity,
    notification_manager,
)

MessageKind = Literal["info", "warning", "error"]
Listener = Callable[[str, MessageKind], None]  # takes a sentence
_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Say everything there from now on; of several windows the newest one has the word."""
    _listeners.append(listener)


def forget(listener: Listener) -> None:
    """Say nothing there any more; twice is once."""
    if listener in _listeners:
        _listeners.remove(listener)


def show_info(text: str) -> None:
    """Say what is good to know."""
    _say(text, "info")


def show_warning(text: str) -> None:
    """Say what was not done, or is not as expected."""
    _say(text, "warning")


def show_error(text: str) -> None:
    """Say what went wrong."""
    _say(text, "error")


def _say(text: str, kind: MessageKind) -> None:
    note = Notification(text, severity=NotificationSeverity(kind))
    if _listeners:
        notification_manager.records.append(note)
        _listeners[-1](text, kind)
    else:
        notification_manager.dispatch(note)
