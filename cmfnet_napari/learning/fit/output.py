"""A fit's events and files. When the disk is full it says so, waits, and goes on."""

from __future__ import annotations

import contextlib
import errno
import shutil
import time
from collections.abc import Callable
from typing import TypeVar

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.learning.fit.callbacks import Hooks
from cmfnet_napari.learning.fit.run_folder import RunFolder

T = TypeVar("T")

STEP_EVENTS_A_SECOND = 5
LOOK_SECONDS = 0.5  # between looks at a full disk
_MIB = 2**20
_LEAST = 4 * _MIB  # with less than this free, a write that failed has failed for want of room


class Report:
    """Tells events and writes files of a run.

    Parameters
    ----------
    run : RunFolder
        Where files go.
    hooks : Hooks
        Where events go and requests come from.
    """

    def __init__(self, run: RunFolder, hooks: Hooks) -> None:
        self.run, self._hooks = run, hooks
        self._last_step = 0.0

    def tell(self, event: events.Event) -> None:
        """Log an event and hand it on; a log that cannot be written stops nothing but the end.

        The end is what the next session finds the contour by: it is told when it is written.

        Raises
        ------
        UserError
            The end could not be written.
        """
        if isinstance(event, events.Finished):
            self.write(lambda: self.run.log(event), len(events.encode(event)))
        else:
            with contextlib.suppress(UserError):
                self.run.log(event)
        self._hooks.emit(event)

    def tell_step(self, event: Callable[[], events.Step]) -> None:
        """Tell of a step, a few times a second at most."""
        now = time.monotonic()
        if now - self._last_step >= 1 / STEP_EVENTS_A_SECOND:
            self._last_step = now
            self.tell(event())

    def write(self, action: Callable[[], T], need: int = 0) -> T:
        """Write something of about `need` bytes; wait while the disk has no room for it.

        Raises
        ------
        UserError
            A request to stop or to quit came while there was no room, or it fails otherwise.
        """
        said = False
        while True:
            if self._free() >= need:
                try:
                    return action()
                except (OSError, RuntimeError, UserError) as error:
                    if not self._is_full(error):
                        raise
            reason = self._reason(need)
            if not said:
                self.tell(events.Paused(reason=f"{reason} Training goes on by itself then."))
                said = True
            if self._hooks.request():
                raise UserError(
                    f"{reason} What was saved before is kept: continue or train again then."
                )
            time.sleep(LOOK_SECONDS)

    def _free(self) -> int:
        return shutil.disk_usage(self.run.folder).free

    def _is_full(self, error: BaseException) -> bool:
        cause: BaseException | None = error
        while cause is not None:
            if getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                return True
            cause = cause.__cause__ or cause.__context__
        return self._free() < _LEAST

    def _reason(self, need: int) -> str:
        free = self._free()
        missing = max(need - free, _LEAST - free, _MIB)
        return (
            f"The disk is full: {max(need, _LEAST) / _MIB:.0f} MB are needed, {free / _MIB:.0f} MB "
            f"are free. Free {missing / _MIB:.0f} MB or more."
        )
