"""A damaged journal: what can be read of it is kept, and the damaged file is put aside."""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import replace
from cmfnet_napari.core.strokes.entries import Row, entry_of
from cmfnet_napari.core.strokes.journal import Journal, select
from cmfnet_napari.core.strokes.journal_file import JournalHeldError, connect

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BESIDE = ("-wal", "-shm")  # what SQLite keeps beside a file, and belongs to no other
_MOST_MISSING = 10_000  # numbers that are tried one by one in a part that cannot be read


def mend(path: Path, voxels: int) -> str:
    """Make a journal readable again if it is damaged; only for who holds the case for writing.

    Every stroke that can be read goes into a new journal under its own number. The damaged file
    stays beside it, as ``strokes.damaged-1.sqlite``.

    Parameters
    ----------
    path : Path
        The journal; there may be none.
    voxels : int
        How many voxels the scribbles have: a stroke outside them is a damaged one.

    Returns
    -------
    str
        What was lost, in a sentence; empty when nothing was.

    Raises
    ------
    UserError
        The new journal could not be written, and the damaged one is as it was; or another program
        holds it.
    """
    if not path.exists() or not _is_damaged(path, voxels):
        return ""
    rows, numbers = _readable(path, voxels)
    aside = _put_aside(path)
    part = path.with_name(f".{uuid.uuid4().hex}.sqlite")
    try:
        _write(part, rows)
        for ending in _BESIDE:  # it would be taken for the new one's
            path.with_name(path.name + ending).unlink(missing_ok=True)
        replace(part, path)
    except (OSError, sqlite3.Error) as error:
        raise UserError(
            f"The stroke journal {path.name} is damaged, and what can be read of it could not be "
            f"written beside it ({error}). Free some disk space, then open the patient again."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    where = f"The damaged file is {aside.name} in the case folder."
    if not rows:
        return f"The stroke journal was damaged, and no stroke of it could be read. {where}"
    lost = max(1, numbers - len(rows))
    those = "1 stroke is" if lost == 1 else f"{lost} strokes are"
    return (
        f"The stroke journal was damaged: {those} lost, {len(rows)} were kept. Look over what you "
        f"drew. {where}"
    )


def _is_damaged(path: Path, voxels: int) -> bool:
    try:
        with closing(Journal(path, read_only=True)) as journal:
            journal.check_pages()
            for _, entry in journal.entries():
                journal.check_inside(entry, voxels)
    except JournalHeldError:
        raise
    except UserError as error:
        cause = error.__cause__
        code = getattr(cause, "sqlite_errorcode", None)
        return code is None or code & 0xFF in _DAMAGE  # a locked or unreadable file is not damaged
    return False


def _readable(path: Path, voxels: int) -> tuple[list[Row], int]:
    """Rows that hold a whole stroke, in order, and how many there were."""
    rows: dict[int, Row] = {}
    highest = 0
    with closing(connect(path, "ro")) as db:
        for row in _rows(db):
            highest = max(highest, int(row[0]))
            with suppress(Exception):  # a damaged row may hold anything
                entry = entry_of(*row[1:])
                at = entry.touched
                if not at.size or 0 <= at.min() <= at.max() < voxels:
                    rows[int(row[0])] = row
        with suppress(sqlite3.Error, TypeError):
            highest = max(highest, int(db.execute("SELECT seq FROM sqlite_sequence").fetchone()[0]))
    return [rows[number] for number in sorted(rows)], highest


def _rows(db: sqlite3.Connection) -> Iterator[Row]:
    """From the beginning, from the end, and one by one what lies between."""
    try:
        query = select(db)
    except sqlite3.Error:
        return
    first, last = 0, None
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.Error):
            for row in db.execute(f"{query} ORDER BY id {order}"):
                yield row
                first, last = (row[0], last) if order == "ASC" else (first, row[0])
            return  # all could be read
    for number in range(first + 1, min(last or first + _MOST_MISSING, first + _MOST_MISSING)):
        with suppress(sqlite3.Error):
            yield from db.execute(f"{query} WHERE id = ?", (number,))


def _put_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")).exists():
        number += 1
    try:
        for ending in ("", *_BESIDE[:1]):
            source = path.with_name(path.name + ending)
            if source.exists():
                shutil.copy2(source, aside.with_name(aside.name + ending))
    except OSError as error:
        raise UserError(
            f"The stroke journal {path.name} is damaged and could not be put aside "
            f"({error.strerror}). Free some disk space, then open the patient again."
        ) from error
    return aside


def _write(path: Path, rows: list[Row]) -> None:
    with closing(Journal(path)) as journal:
        journal.restore(rows)
