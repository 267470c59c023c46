"""Work off the GUI thread, its steps told and ended, and failures in words."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal
from superqt.utils import create_worker

from cmfnet_napari.core.errors import CancelledError, DataWarning, UserError
from cmfnet_napari.core.privacy import redact, redacted_traceback
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.messages import show_error, show_warning

_log = logging.getLogger(__name__)
_EVERY_S = 0.05


def run_in_background(
    function: Callable[..., Any],
    *arguments: Any,
    done: Callable[[Any], None],
    failed: Callable[[Exception], None],
) -> None:
    """Call a function in a thread of Qt's pool; answer on the GUI thread.

    Parameters
    ----------
    function : callable
        Touches no widget and no layer.
    done : callable
        Gets what the function returned.
    failed : callable
        Gets the exception instead.
    """
    worker = create_worker(function, *arguments, _start_thread=False, _ignore_errors=True)
    worker.returned.connect(done)
    worker.errored.connect(failed)
    worker.warned.connect(_show_warning)
    worker.start()


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


def _show_warning(warned: tuple[Any, ...]) -> None:
    """What was read, but is to be checked; warnings of libraries are for programmers."""
    message, category = warned[:2]
    if issubclass(category, DataWarning):
        show_warning(plain(str(message)))


def show_failure(error: Exception) -> None:
    """Say a failure in one sentence; what nobody foresaw goes to the log, without paths."""
    if isinstance(error, CancelledError):
        return
    if isinstance(error, UserError):
        show_error(plain(str(error)))
        return
    _log.error("Unexpected failure\n%s", redacted_traceback(error))
    show_error(
        f"Something unexpected went wrong ({type(error).__name__}: "
        f"{plain(redact(str(error)))}). "
        "Your strokes are saved; please report it."
    )
