"""What runs in a worker process: a task, on one core, that tells how far it is.

What takes long or may end the process, as torch on a processor it was not built for, is imported
only once it is told that the task begins: the tries of one that never gets further are counted.
"""

from __future__ import annotations

import signal
import threading
import time
from typing import NamedTuple

from distributed import Event, Worker, WorkerPlugin, get_worker
from distributed.protocol.pickle import loads

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.folder_lock import InUseError

_TOLD_EVERY_S = 0.5
_ASKED_EVERY_S = 1.0


class Outcome(NamedTuple):
    """How a task ended: complete or stopped, and what is wrong with it in words."""

    complete: bool
    problem: str = ""


def work(do: bytes, number: int, run: str) -> Outcome:
    """Do a task of a run, in a worker.

    One that another process is at is waited for: a worker that the scheduler has lost may be
    alive, and what it has done is not done again.

    Parameters
    ----------
    do : bytes
        A task's, pickled.
    number : int
        Its place among all, for progress.
    run : str
        Topic of what is told, and name of the wish to stop.
    """
    line = _Line(get_worker(), number, run)
    line.begin()
    if line.stop():  # an answer: that it begins has arrived, too
        return Outcome(False)
    return _done(do, line)


def _done(do: bytes, line: _Line) -> Outcome:
    from cmfnet_napari.learning.cohort.split import Hooks
    from cmfnet_napari.learning.engine.device import one_core

    task = loads(do)
    with one_core():
        while not line.stop():
            try:
                return Outcome(task(Hooks(line.tell, line.stop)))
            except InUseError:
                line.tell(0.0, "another process is at it")
                time.sleep(_ASKED_EVERY_S)
            except UserError as error:
                return Outcome(False, str(error))
    return Outcome(False)


class _Line:
    """To who waits for the run."""

    def __init__(self, worker: Worker, number: int, run: str) -> None:
        self._worker, self._number, self._run = worker, number, run
        self._event = Event(run)
        self._told = self._asked = float("-inf")
        self._wished = False

    def begin(self) -> None:
        self._send(0.0, "begins", begins=True)

    def tell(self, share: float, note: str) -> None:
        now = time.monotonic()
        if now - self._told > _TOLD_EVERY_S:
            self._told = now
            self._send(share, note)

    def _send(self, share: float, note: str, begins: bool = False) -> None:
        message = {"number": self._number, "share": share, "note": note, "begins": begins}
        self._worker.log_event(self._run, message)

    def stop(self) -> bool:
        now = time.monotonic()
        if not self._wished and now - self._asked > _ASKED_EVERY_S:
            self._asked = now
            self._wished = bool(self._event.is_set())
        return self._wished


class OnThisMachine(WorkerPlugin):
    """Ctrl-C reaches all processes of a terminal; ours wait to be told, and serve no page."""

    def setup(self, worker: Worker) -> None:
        """Runs in the worker."""
        worker.http_server.stop()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
