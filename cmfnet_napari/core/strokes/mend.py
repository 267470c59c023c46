"""A damaged journal: what can be read of it is kept, and the damaged file is put aside."""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace as replace_fields
from pathlib import Path

import numpy as np

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import replace
from cmfnet_napari.core.strokes.corrections import Corrections
from cmfnet_napari.core.strokes.entries import (
    COLUMNS,
    ClassChange,
    Correction,
    Row,
    Stroke,
    class_change,
    entry_of,
    row_of,
    step_of,
)
from cmfnet_napari.core.strokes.journal import Journal, select
from cmfnet_napari.core.strokes.journal_file import JournalHeldError, connect

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BESIDE = ("-wal", "-shm")  # what SQLite keeps beside a file, and belongs to no other
_AGAIN = "What a class that was removed or merged took with it was worked out anew."
_MOVED = (
    "Among what is lost may be that a class was removed or merged: strokes that were drawn after "
    "it may be in another class now."
)
_MOST_MISSING = 10_000  # numbers that are tried one by one in a part that cannot be read


def mend(path: Path, voxels: int, reclassed: bool = False) -> str:
    """Make a journal readable again if it is damaged; only for who holds the case for writing.

    Every stroke that can be read goes into a new journal under its own number. The damaged file
    stays beside it, as ``strokes.damaged-1.sqlite``.

    Parameters
    ----------
    path : Path
        The journal; there may be none.
    voxels : int
        How many voxels the scribbles have: a stroke outside them is a damaged one.
    reclassed : bool
        Whether a class of the case was ever removed or merged.

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
    rows, damaged, highest = _readable(path, voxels)
    again = _work_out(rows, damaged, voxels)
    kept = [rows[number] for number in sorted(rows)]
    aside = _put_aside(path)
    part = path.with_name(f".{uuid.uuid4().hex}.sqlite")
    try:
        _write(part, kept)
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
    lost = max(0 if again else 1, highest - len(rows))
    those = "1 stroke is lost" if lost == 1 else f"{lost} strokes are lost"
    unknown = reclassed and highest > len(rows.keys() | damaged)
    return " ".join(
        filter(
            None,
            (
                f"The stroke journal was damaged: {those}, {len(rows)} were kept.",
                _AGAIN if again else "",
                _MOVED if unknown or any(_changes_classes(row) for row in damaged.values()) else "",
                f"Look over what you drew. {where}",
            ),
        )
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


def _readable(path: Path, voxels: int) -> tuple[dict[int, Row], dict[int, Row], int]:
    """Rows that hold a whole stroke, and damaged ones, by number; and the highest there was."""
    rows: dict[int, Row] = {}
    damaged: dict[int, Row] = {}
    highest = 0
    with closing(connect(path, "ro")) as db:
        for row in _rows(db):
            highest = max(highest, int(row[0]))
            damaged[int(row[0])] = row
            with suppress(Exception):  # a damaged row may hold anything
                entry = entry_of(*row[1:])
                at = entry.touched
                if not at.size or 0 <= at.min() <= at.max() < voxels:
                    rows[int(row[0])] = damaged.pop(int(row[0]))
        with suppress(sqlite3.Error, TypeError):
            highest = max(highest, int(db.execute("SELECT seq FROM sqlite_sequence").fetchone()[0]))
    return rows, damaged, highest


def _work_out(rows: dict[int, Row], damaged: dict[int, Row], voxels: int) -> bool:
    """Put changes of classes whose voxels are lost among the whole rows; whether there were any.

    What a class that goes takes with it follows from what was drawn before.
    """
    lost = {number for number, row in damaged.items() if _changes_classes(row)}
    scribbles, corrections = np.zeros(voxels, np.uint8), Corrections((voxels,))
    found: dict[int, Stroke] = {}
    for number in sorted(rows.keys() | lost) if lost else ():
        entry = entry_of(*rows[number][1:]) if number in rows else None
        if entry is None:
            with suppress(Exception):  # its other parts may be damaged too
                entry = _worked_out(damaged[number], found, scribbles, corrections.codes)
                rows[number] = (number, *row_of(entry))
                del damaged[number]
        if entry is None:
            continue
        if isinstance(entry, ClassChange):
            found[number] = entry
        corrections.take(number, entry)
        if not isinstance(entry, Correction):
            scribbles[entry.voxels] = entry.new
    return any(number in rows for number in lost)


def _worked_out(row: Row, found: dict[int, Stroke], scribbles: Codes, corrections: Codes) -> Stroke:
    """A change of classes from what it is told to be, and from what was there before."""
    told = dict(zip(("id", *COLUMNS.split(", ")), row, strict=True))
    target = told["target"]
    if told["source"] == "undo":
        entry = found[target].undone()
    elif told["source"] == "redo":
        entry = found[target]
    else:
        entry = class_change(scribbles, corrections, step_of(told["classes"]))
    moment, author, source = float(told["time"]), str(told["author"]), told["source"]
    return replace_fields(entry, time=moment, author=author, source=source, target=target)


def _changes_classes(row: Row) -> bool:
    return bool(row[1 + COLUMNS.split(", ").index("kind")] == "classes")


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
