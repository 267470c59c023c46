"""Notices when a worker gives no sign of life."""

from __future__ import annotations

import time
from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer

SILENT_SECONDS = 60.0
_TIMES_THE_USUAL = 20  # a slow machine is not a hung one
_LOOK_MS = 1000


class Watchdog(QObject):
    """Tells for how long nothing was heard, once that is unusual.

    Parameters
    ----------
    tell : callable
        Gets the seconds of silence every second; 0 when something is heard again.
    """

    def __init__(self, tell: Callable[[float], None]) -> None:
        super().__init__()
        self.limit = SILENT_SECONDS
        self._tell = tell
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)
        self._told = False
        self.start()
        self.stop()

    def start(self) -> None:
        """Begin to listen."""
        self._last, self._longest = time.monotonic(), 0.0
        self._timer.start(min(_LOOK_MS, max(1, int(1000 * self.limit / 2))))

    def heard(self) -> None:
        """Take a sign of life."""
        now = time.monotonic()
        self._longest, self._last = max(self._longest, now - self._last), now
        self._all_well()

    def stop(self) -> None:
        """Listen no more."""
        self._timer.stop()
        self._all_well()

    def _look(self) -> None:
        silence = time.monotonic() - self._last
        if silence > max(self.limit, min(_TIMES_THE_USUAL * self._longest, 10 * self.limit)):
            self._told = True
            self._tell(silence)

    def _all_well(self) -> None:
        if self._told:
            self._told = False
            self._tell(0.0)
