"""Work off the GUI thread, and failures in words."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from napari.utils.notifications import show_error
from superqt.utils import create_worker

from cmfnet_napari.core.errors import CancelledError, UserError
from cmfnet_napari.core.privacy import redact, redacted_traceback
from cmfnet_napari.gui.markup import plain

_log = logging.getLogger(__name__)


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
    worker.start()


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
