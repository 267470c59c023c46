"""One window writes a case; others look on. The lock ends with the process that holds it."""

from __future__ import annotations

import json
import os
import socket
from datetime import datetime
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import keep_private
from cmfnet_napari.core.folder_lock import lock_failure
from cmfnet_napari.core.privacy import account

LOCK_FILE, HOLDER_FILE = "case.lock", "in-use.json"
_SAME_START_S = 1.0  # two processes of one number began at other times


class CaseReadOnlyError(UserError):
    """The case can be looked at, not written."""


class CaseInUseError(CaseReadOnlyError):
    """Another window has the case open."""


class CaseLock:
    """Holds a case for writing until it is released, or this process ends.

    Within one process a case may be held several times, as when a patient is opened again.

    Parameters
    ----------
    folder : Path
        The case folder.

    Attributes
    ----------
    unclean : bool
        Whoever held it last did not release it: a crash, a kill, a power cut.

    Raises
    ------
    CaseInUseError
        Another process holds it; the sentence says which.
    CaseReadOnlyError
        The folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._holder = folder / HOLDER_FILE
        # A case is opened in one thread and closed in another.
        path = str(folder.resolve() / LOCK_FILE)
        self._lock = FileLock(path, timeout=0, thread_local=False, is_singleton=True)
        try:
            self._lock.acquire()
            if self._lock.lock_counter == 1 and _is_at_work(self._holder):
                self._lock.release()  # a cleaner removed the other's lock; its window goes on
                raise Timeout(path)
            self.unclean = self._lock.lock_counter == 1 and self._holder.exists()
            self._found = self._holder.read_bytes() if self.unclean else b""
            self._holder.write_text(json.dumps(_me()), encoding="utf-8")
            keep_private(self._holder)
            keep_private(folder / LOCK_FILE)
        except Timeout:
            raise CaseInUseError(
                f"This case is open in another window{_who(self._holder)}. Here it can be looked "
                "at, not changed. Close the other window, then open the patient again."
            ) from None
        except (OSError, NotImplementedError) as error:
            raise CaseReadOnlyError(
                f"The case folder {folder.name} cannot be written ({lock_failure(error)}). It can "
                "be looked at, not changed."
            ) from error

    def release(self) -> None:
        """Let others write."""
        if self._lock.lock_counter == 1:
            self._holder.unlink(missing_ok=True)
        self._lock.release()

    def give_back(self) -> None:
        """Let others write, as if it had never been held: what a crash has left is kept."""
        if not self._found or self._lock.lock_counter > 1:
            self.release()
            return
        try:  # while it is held: the next window writes its own
            self._holder.write_bytes(self._found)
            keep_private(self._holder)
        finally:
            self._lock.release()


def _is_at_work(path: Path) -> bool:
    """Whether in-use.json is of another process of this computer, and that still runs."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        if holder["computer"] != socket.gethostname() or holder["process"] == os.getpid():
            return False
        started: float = psutil.Process(int(holder["process"])).create_time()
        return abs(started - float(holder["started"])) < _SAME_START_S
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return False


def _me() -> dict[str, str | int | float]:
    return {
        "user": account() or "somebody",
        "computer": socket.gethostname(),
        "process": os.getpid(),
        "started": psutil.Process().create_time(),
        "since": datetime.now().strftime("%Y-%m-%d %H:%M"),
    }


def _who(path: Path) -> str:
    """Who holds it, in words; empty when the file does not say."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return (
            f" (of {holder['user']} on {holder['computer']}, process {int(holder['process'])}, "
            f"since {holder['since']})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return ""
