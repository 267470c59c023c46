"""How late the event loop is: what a user feels as a window that sticks."""

from __future__ import annotations

import time

import numpy as np
from qtpy.QtCore import QObject, Qt, QTimer

TICK_MS = 5


class Lateness(QObject):
    """A 5 ms timer that notes how much later than planned it is called.

    Use it as a context; `percentile` then answers in milliseconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self._delays: list[float] = []
        self._last = 0.0
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)

    def __enter__(self) -> Lateness:
        self._last = time.perf_counter()
        self._timer.start(TICK_MS)
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.stop()

    def percentile(self, share: float) -> float:
        return float(np.percentile(self._delays, share))

    @property
    def ticks(self) -> int:
        return len(self._delays)

    def _tick(self) -> None:
        now = time.perf_counter()
        self._delays.append(max(0.0, 1000 * (now - self._last) - TICK_MS))
        self._last = now
