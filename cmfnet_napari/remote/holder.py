"""Who speaks for a case there: one line at a time, so that two windows cannot use one worker."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, read_json, write_json
from cmfnet_napari.remote.far_store import FarCase, is_elsewhere, process_noted, this_process
from cmfnet_napari.remote.line_messages import HeldError

LINE_FILE = "line.json"
SILENCE_S = 60.0  # without a word: whoever was there is not there any more
_LOCK_S = 10.0


class Holder:
    """One conversation, as the one who has the line of a case."""

    def __init__(self) -> None:
        self._serial = ""

    def take(self, case: FarCase, client: str) -> None:
        """Be the one who speaks for a case.

        Raises
        ------
        HeldError
            Another window does.
        """
        with _locked(case):
            holder = _read(case)
            if holder is not None and holder.get("client") != client and lives(holder, case):
                raise HeldError(
                    "Another window trains this case there. Close it, or wait a minute if its "
                    "computer was switched off; then try again."
                )
            self._serial = uuid.uuid4().hex
            me = {"client": client, "serial": self._serial}
            write_json(case.path(LINE_FILE), me | this_process(), private=True)

    def has(self, case: FarCase) -> bool:
        """Whether this is still the one, and not a later line of the same window."""
        line = _read(case)
        return line is not None and bool(self._serial) and line.get("serial") == self._serial

    @contextmanager
    def alone(self, case: FarCase) -> Iterator[bool]:
        """Whether this is the one, and stays it as long as this is open."""
        with _locked(case):
            yield self.has(case)

    def stay(self, case: FarCase) -> None:
        """Say that the case is in use."""
        os.utime(case.path(LINE_FILE))
        case.touch()

    def leave(self, case: FarCase) -> None:
        """Let another one have it."""
        if self.has(case):
            case.path(LINE_FILE).unlink(missing_ok=True)

    def is_held(self, case: FarCase) -> bool:
        """Whether another line has a case, and is alive."""
        line = _read(case)
        return line is not None and line.get("serial") != self._serial and lives(line, case)


def lives(holder: JsonObject, case: FarCase) -> bool:
    """Whether who has the line is there, and was heard."""
    try:
        if time.time() - case.path(LINE_FILE).stat().st_mtime > SILENCE_S:
            return False
    except OSError:
        return False
    return is_elsewhere(holder) or process_noted(holder) is not None


def _locked(case: FarCase) -> FileLock:
    return FileLock(case.path("line.lock"), timeout=_LOCK_S, mode=0o600)


def _read(case: FarCase) -> JsonObject | None:
    path: Path = case.path(LINE_FILE)
    try:
        return read_json(path)
    except UserError:
        return None
