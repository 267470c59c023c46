"""Notices when a worker gives no sign of life."""

from __future__ import annotations

import time
from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer

SILENT_SECONDS = 60.0
ANSWER_SECONDS = 10.0  # after it was asked to stop
_TIMES_THE_USUAL = 20  # a slow machine is not a hung one,
_TIMES_THE_LONGEST = 2  # nor is one that predicts between two steps
_LOOK_MS = 1000


class Watchdog(QObject):
    """Tells for how long nothing was heard, once that is unusual.

    Parameters
    ----------
    tell : callable
        Gets the seconds of silence every second; 0 when something is heard again.

    Attributes
    ----------
    limit, answer_limit : float
        Seconds of silence that are never unusual: while it works, and after a question.
    """

    def __init__(self, tell: Callable[[float], None]) -> None:
        super().__init__()
        self.limit, self.answer_limit = SILENT_SECONDS, ANSWER_SECONDS
        self._tell = tell
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)
        self._told = False
        self.start()
        self.stop()

    def start(self) -> None:
        """Begin to listen."""
        self._last = time.monotonic()
        self._gaps = self._sum = self._longest = self._granted = 0.0
        self._started = self._waits = self._asked = False
        self._timer.start(min(_LOOK_MS, max(1, int(1000 * self.limit / 2))))

    def heard(self, waits: bool = False) -> None:
        """Take a sign of life; one that `waits` for something has a reason to be silent after."""
        now = time.monotonic()
        if self._started and not self._waits:
            gap = now - self._last
            self._gaps, self._sum = self._gaps + 1, self._sum + gap
            self._longest = max(self._longest, gap)
        self._started, self._last, self._waits = True, now, waits
        self._granted, self._asked = 0.0, False
        self._all_well()

    def ask(self) -> None:
        """It was asked something: silence is unusual sooner, until it is heard."""
        self._asked = True

    def wait_on(self) -> None:
        """Tell no more of this silence until it has lasted as long again."""
        self._granted, self._asked = time.monotonic() - self._last, False
        self._all_well()

    def stop(self) -> None:
        """Listen no more."""
        self._timer.stop()
        self._all_well()

    @property
    def patience(self) -> float:
        """Seconds of silence from which on it is told."""
        if self._asked:
            return self.answer_limit
        usual = self._sum / self._gaps if self._gaps else 0.0
        slow = max(_TIMES_THE_USUAL * usual, _TIMES_THE_LONGEST * self._longest)
        return self._granted + max(self.limit, slow)

    def _look(self) -> None:
        silence = time.monotonic() - self._last
        if silence > self.patience and (self._asked or not self._waits):
            self._told = True
            self._tell(silence)

    def _all_well(self) -> None:
        if self._told:
            self._told = False
            self._tell(0.0)
