"""How late the event loop is: what a user feels as a window that sticks."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import numpy as np
from qtpy.QtCore import QObject, Qt, QTimer

TICK_MS = 5


def own_time(threads: str = "thread-self") -> float:
    """A clock (s) that stands still while this thread could go on but others have the processor.

    What it measures is the program's own slowness, not that of a machine with much to do. Only
    Linux tells; elsewhere it is a clock like others. With ``self/task/*`` it also stands while
    threads that this one may wait for, as those that draw, are kept waiting.
    """
    waited = 0
    for thread in Path("/proc").glob(f"{threads}/schedstat"):
        with contextlib.suppress(OSError):  # it has ended
            waited += int(thread.read_text().split()[1])
    return time.perf_counter() - waited / 1e9


class Lateness(QObject):
    """A 5 ms timer that notes how much later than planned it is called, in its own time.

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
        self._last = own_time()
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
        now = own_time()
        self._delays.append(max(0.0, 1000 * (now - self._last) - TICK_MS))
        self._last = now
