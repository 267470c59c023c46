"""Steps of work in a thread, told to the window; the window may end it."""

from __future__ import annotations

import time

from qtpy.QtCore import QObject, Signal

_EVERY_S = 0.05


class Steps(QObject):
    """Given to work in a thread as its `progress`: tells what goes on, answers whether to go on."""

    moved = Signal(str, float)  # what goes on, share done 0 … 1

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._ended = False
        self._told = (0.0, "")

    def __call__(self, what: str, share: float) -> bool:
        """Called in the thread; the window hears of it at most every twentieth of a second."""
        now = time.monotonic()
        if now - self._told[0] > _EVERY_S or what != self._told[1]:
            self._told = (now, what)
            self.moved.emit(what, share)
        return not self._ended

    def end(self) -> None:
        """Ask the work to end."""
        self._ended = True
