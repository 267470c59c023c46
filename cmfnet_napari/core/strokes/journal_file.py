"""The journal's file: how it is opened, brought to the disk, and whether it is still the same."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import keep_private
from cmfnet_napari.core.privacy import printable

_RETRY_SECONDS = 1.0
_WAIT_SECONDS = 1.5  # for another program that holds the file
_NO_ROOM_BESIDE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
_HELD = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_COUNT = "SELECT COUNT(*) FROM strokes"
_ENTRY = "SELECT time, source, new FROM strokes WHERE id = ?"

Identity = tuple[int, int] | None


class JournalHeldError(UserError):
    """Another program holds the file, and lets nobody read it."""


def connect(path: Path, mode: Literal["ro", "rw", "rwc"]) -> sqlite3.Connection:
    """A connection that any thread may use; the modes are SQLite's."""
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS, check_same_thread=False)


def connect_to_look(path: Path) -> tuple[sqlite3.Connection, TemporaryDirectory[str] | None]:
    """A connection for looking; where nothing can be written beside the file, to a copy."""
    db = connect(path, "ro")
    try:
        db.execute("SELECT 1 FROM sqlite_master").fetchall()
        return db, None
    except sqlite3.OperationalError as error:
        db.close()
        if error.sqlite_errorcode & 0xFF not in _NO_ROOM_BESIDE or not path.is_file():
            raise
    copy = TemporaryDirectory(prefix="cmfnet-")
    for name in (path.name, f"{path.name}-wal"):
        if path.with_name(name).exists():
            shutil.copyfile(path.with_name(name), Path(copy.name, name))
            keep_private(Path(copy.name, name))
    return connect(Path(copy.name, path.name), "rw"), copy


def identity(path: Path) -> Identity:
    """Which file it is, not what it is called; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def kept_beside(db: sqlite3.Connection, path: Path) -> str:
    """Write all strokes of a connection beside its file, and say where; empty: not possible.

    For a file that is no longer the one that was opened. A sync tool or a restored backup puts
    another one in its place; what is written into the old one then is lost when it is closed.
    """
    number = 1
    while (ours := path.with_name(f"{path.stem}.open-{number}{path.suffix}")).exists():
        number += 1
    try:
        db.execute("VACUUM INTO ?", (str(ours),))
        keep_private(ours)
    except (sqlite3.Error, OSError):
        return ""
    return ours.name


def replaced(path: Path, kept: str) -> UserError:
    """Why nothing is stored in a file that another program has put there, and what to do."""
    where = f"are in {kept}" if kept else "could not be written"
    return UserError(
        f"Another program replaced or deleted the stroke journal {path.name}: this stroke is not "
        f"stored. All strokes until now {where} beside it. Close the patient, bring the right file "
        "back, and open the patient again."
    )


@contextmanager
def reading_back(path: Path) -> Iterator[sqlite3.Connection]:
    """Another connection to the file, which reads what whoever opens it now would find.

    Raises
    ------
    UserError
        It cannot be opened.
    """
    try:
        other = connect(path, "ro")
    except sqlite3.Error as error:
        raise not_saved(error) from error
    with closing(other):
        try:
            other.execute(_COUNT).fetchone()  # SQLite opens a file when it is first read
        except sqlite3.Error as error:
            raise not_saved(error) from error
        yield other


def check_stored(
    db: sqlite3.Connection, other: sqlite3.Connection, path: Path, number: int
) -> None:
    """Raise UserError unless another connection finds the newest entry of ours in the file."""
    try:
        if other.execute(_ENTRY, (number,)).fetchone() == db.execute(_ENTRY, (number,)).fetchone():
            return
        theirs, ours = (one.execute(_COUNT).fetchone()[0] for one in (other, db))
    except sqlite3.Error as error:
        raise not_saved(error) from error
    raise UserError(
        f"Another program wrote into the stroke journal {path.name}: it holds {theirs} strokes, "
        f"and {ours} were made. Close the patient, bring the file back from a backup, and open "
        "the patient again."
    )


def check_held(error: Exception, path: Path) -> None:
    """Raise JournalHeldError when that is what an error says: nothing is damaged then."""
    if _code(error) in _HELD:
        raise JournalHeldError(
            f"Another program holds the stroke journal {path.name}, such as a backup "
            f"({why(error)}). End that, then try again."
        ) from error


def _code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def not_saved(error: sqlite3.Error) -> UserError:
    """Why a stroke could not be written, and what to do, by what SQLite says."""
    code = _code(error)
    if code in _HELD:
        what = "Another program holds its file, such as a backup: end that"
    elif code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
        what = "The case folder cannot be written: make it writable"
    elif code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        what = "The stroke journal was damaged: open the patient again"
    else:
        what = "Free some disk space"
    return UserError(f"The stroke could not be saved ({why(error)}). {what}, then paint again.")


def why(error: Exception) -> str:
    """An error's words; a damaged file may bring any character and any length into them."""
    return printable(" ".join(str(error).split())[:80])


class Disk:
    """Brings what is written to the disk, in a thread: a checkpoint of the write-ahead log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wanted, self._retry, self._closing = threading.Event(), threading.Event(), False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def sync(self) -> None:
        """Do so soon."""
        self._wanted.set()

    def close(self) -> None:
        """Do so now, and end."""
        self._closing = True
        self._wanted.set()
        self._retry.set()
        self._thread.join()

    def _run(self) -> None:
        with closing(connect(self._path, "rwc")) as db:
            while not self._closing:
                self._wanted.wait()
                self._wanted.clear()
                try:
                    db.execute("PRAGMA wal_checkpoint(PASSIVE)")
                except sqlite3.Error:  # a full disk: the log still holds the strokes
                    self._retry.wait(_RETRY_SECONDS)
                    self._wanted.set()
