"""The queue of a computer: one fit at a time, of all accounts, or several where memory allows.

Whoever trains, or wants to, has a file of his own in a folder that all accounts may write in, and
holds a lock on it as long as it lives. The oldest that lives has the turn. Who it is tells the
owner of the file, which nobody can forge.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

QUEUE_VARIABLE = "CMFNET_QUEUE"
_NAME = re.compile(r"[0-9]{20}-[0-9a-f]{32}")


@dataclass(frozen=True)
class Turn:
    """Somebody who was there before.

    Attributes
    ----------
    account : str
        Who.
    minutes : float
        Since when.
    """

    account: str
    minutes: float


class Ticket:
    """A place in the queue, until it is given back or this process ends.

    Parameters
    ----------
    folder : Path, optional
        The queue's.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or queue_folder()
        self._path = self._folder / f"{time.time_ns():020d}-{uuid.uuid4().hex}"
        self._lock = FileLock(self._path, timeout=0, mode=0o644)
        self._lock.acquire()
        os.chmod(self._path, 0o644)

    def before(self) -> Turn | None:
        """Who has the turn; None: this one."""
        for name in sorted(os.listdir(self._folder)):
            if name == self._path.name:
                return None
            if _NAME.fullmatch(name) and (turn := _turn(self._folder / name)) is not None:
                return turn
        return None

    def give_back(self) -> None:
        """Let the next one."""
        self._lock.release()
        self._path.unlink(missing_ok=True)


def queue_folder() -> Path:
    """Where all accounts of a computer queue (variable ``CMFNET_QUEUE``)."""
    folder = Path(os.environ.get(QUEUE_VARIABLE) or Path(tempfile.gettempdir(), "cmfnet-queue"))
    try:
        folder.mkdir(mode=0o1777)
        folder.chmod(0o1777)  # as /tmp: everyone writes, nobody removes what is another's
    except FileExistsError:
        pass
    return folder


def _turn(path: Path) -> Turn | None:
    """Whose a file is, if he is still there."""
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or not _held(path):
            return None
    except OSError:
        return None
    return Turn(_account(found.st_uid), max(0.0, time.time() - found.st_mtime) / 60)


def _held(path: Path) -> bool:
    """Whether a process holds the lock of a file, which may be another account's."""
    if os.name == "nt":
        probe = FileLock(path, timeout=0)
        try:
            probe.acquire()
        except (Timeout, OSError):
            return True
        probe.release()
        return False
    else:
        import fcntl

        with open(path, "rb") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
            return False


def _account(number: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return "another account"
