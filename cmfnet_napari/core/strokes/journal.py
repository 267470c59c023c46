"""Journal: the append-only record of strokes and corrections, in the order they were made.

The scribbles are the fold of the strokes; `corrections.Corrections` is that of the rest. A class
that is removed or merged is an entry, too: all that was drawn with it goes with it in one step.

SQLite in WAL mode: one writer (the window), any readers (the worker polls while it trains). A
stroke is in the file when `append` returns, so that killing the program loses none; a thread
then brings it to the disk, so that drawing never waits for one. Undo and redo are entries too:
what can be undone is read from the file, and so survives everything that the file survives. All
kinds are one line: undo takes back the newest, whatever it is.

Who looks on sees the file as it was when it was opened, strokes and classes alike, until
`catch_up`: codes are never those of one moment and classes those of another.
"""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np

from cmfnet_napari.core.arrays import Codes, Mask
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.privacy import account, printable
from cmfnet_napari.core.strokes.class_order import ClassStep
from cmfnet_napari.core.strokes.entries import (
    COLUMNS,
    ClassChange,
    Correction,
    Row,
    Source,
    Stroke,
    entry_of,
    row_of,
    step_of,
)
from cmfnet_napari.core.strokes.journal_file import (
    Disk,
    check_held,
    check_stored,
    connect,
    connect_to_look,
    identity,
    kept_beside,
    not_saved,
    reading_back,
    replaced,
    why,
)

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS strokes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time REAL NOT NULL,
    author TEXT NOT NULL,
    source TEXT NOT NULL,
    target INTEGER,
    kind TEXT NOT NULL DEFAULT 'stroke',
    run TEXT NOT NULL DEFAULT '',
    voxels BLOB NOT NULL,
    old BLOB NOT NULL,
    new BLOB NOT NULL,
    classes TEXT NOT NULL DEFAULT ''
)
"""
# Columns that journals of earlier versions lack, and what is read in their place: those from
# before undo was recorded, before contours could be corrected, and classes removed.
_LATER = {
    "target": ("INTEGER", "NULL"),
    "kind": ("TEXT NOT NULL DEFAULT 'stroke'", "'stroke'"),
    "run": ("TEXT NOT NULL DEFAULT ''", "''"),
    "classes": ("TEXT NOT NULL DEFAULT ''", "''"),
}


class Journal:
    """The strokes and corrections of one case.

    Parameters
    ----------
    path : path
        SQLite file; made when it is missing and `read_only` is false.
    read_only : bool
        For the worker, and for a second window: never writes.

    Raises
    ------
    UserError
        The file is no journal, is damaged, cannot be opened, or another program holds it.
    """

    def __init__(self, path: str | Path, read_only: bool = False) -> None:
        self._path, self._author = Path(path), account()  # who opens it stays within the case
        self._disk: Disk | None = None
        self._copy: TemporaryDirectory[str] | None = None
        try:
            if read_only:
                self._db, self._copy = connect_to_look(self._path)
            else:
                self._path.touch(mode=0o600)  # what SQLite makes beside it is as private
                self._db = connect(self._path, "rwc")
                self._prepare()
                self._disk = Disk(self._path)
                self._opened = identity(self._path)
            self._last, self._kept = 0, ""
            self._done: dict[int, None] = {}  # what stands; the newest is the last
            self._undone: dict[int, None] = {}
            self._steps: dict[int, ClassStep] = {}
            self._catch_up()
        except (sqlite3.Error, ValueError, OSError) as error:
            check_held(error, self._path)
            raise UserError(
                f"The stroke journal {self._path.name} cannot be opened ({why(error)})."
            ) from error

    def append(self, stroke: Stroke) -> int:
        """Write a stroke and return its number.

        Raises
        ------
        UserError
            The disk is full, the folder is read-only, another program holds the file, or replaced
            it; nothing was recorded.
        """
        if self._disk is not None and identity(self._path) != self._opened:
            self._kept = self._kept or kept_beside(self._db, self._path)  # not at every new try
            raise replaced(self._path, self._kept)
        row = row_of(stroke if stroke.author else replace(stroke, author=self._author))
        marks = ", ".join("?" for _ in row)
        # Opened first: what nobody could look for in the file is not written.
        with reading_back(self._path) as other:
            try:
                with self._db:
                    self._db.execute("BEGIN IMMEDIATE")  # nobody writes between the two
                    self._catch_up()
                    self._db.execute(f"INSERT INTO strokes ({COLUMNS}) VALUES ({marks})", row)
                    number = self._newest()
            except sqlite3.Error as error:
                raise not_saved(error) from error
            check_stored(self._db, other, self._path, number)
        self._last = number
        _take(number, stroke.source, stroke.target, self._done, self._undone)
        if isinstance(stroke, ClassChange):
            self._steps[number] = stroke.step
        if self._disk is not None:
            self._disk.sync()
        return number

    def undo(self) -> Stroke | None:
        """Record that the newest standing stroke or correction is taken back.

        Returns
        -------
        Stroke, Correction, ClassChange or None
            What to apply to the scribbles or corrections; None when nothing is left to undo.
        """
        self.catch_up()
        if not self._done:
            return None
        target = next(reversed(self._done))
        back = self._by_me(self._entry(target).undone(), "undo", target)
        self.append(back)
        return back

    def redo(self) -> Stroke | None:
        """Record that what was undone last stands again; as `undo`."""
        self.catch_up()
        if not self._undone:
            return None
        target = next(reversed(self._undone))
        again = self._by_me(self._entry(target), "redo", target)
        self.append(again)
        return again

    def steps_classes(self, redo: bool = False) -> bool:
        """Whether the next undo, or redo, is that of a class that was removed or merged."""
        entries = self._undone if redo else self._done
        return next(reversed(entries), None) in self._steps

    @property
    def class_steps(self) -> list[ClassStep]:
        """Which classes were removed or merged and are not back, in order."""
        return [self._steps[number] for number in self._done if number in self._steps]

    @property
    def undoable(self) -> int:
        """How many strokes and corrections can be undone."""
        return len(self._done)

    def last_id(self) -> int:
        """Number of the newest entry in the file; 0 when there is none."""
        return self._checked(self._newest)

    def catch_up(self) -> None:
        """Follow what another journal of the same case has written meanwhile.

        Whoever calls it takes up the `entries` that came, and shows the classes that are left.

        Raises
        ------
        UserError
            The file is damaged, or another program holds it.
        """
        self._checked(self._catch_up)

    @property
    def corrected(self) -> bool:
        """Whether there ever was a correction."""
        query = f"SELECT 1 FROM ({self._select()}) WHERE kind = 'correction' LIMIT 1"
        return self._checked(lambda: self._db.execute(query).fetchone()) is not None

    def entries(self, after: int = 0) -> Iterator[tuple[int, Stroke]]:
        """Numbers, strokes and corrections in order, those after a number only.

        What came after the last `catch_up` is not among them.

        Raises
        ------
        UserError
            The file is damaged.
        """
        query = f"{self._select()} WHERE id > ? AND id <= ? ORDER BY id"
        rows = self._checked(lambda: self._db.execute(query, (after, self._last)))
        with closing(rows):
            while (row := self._checked(rows.fetchone)) is not None:
                yield int(row[0]), self._checked(partial(entry_of, *row[1:]))

    def strokes(self, after: int = 0) -> Iterator[tuple[int, Stroke]]:
        """As `entries`, without the corrections."""
        entries = self.entries(after)
        return ((number, e) for number, e in entries if not isinstance(e, Correction))

    @property
    def standing_numbers(self) -> set[int]:
        """Numbers of the entries that are not undone."""
        return set(self._done)

    def standing(self) -> Iterator[tuple[int, Stroke]]:
        """Numbers and strokes that are not undone, in order; their fold is the scribbles too."""
        standing = self.standing_numbers
        return ((number, stroke) for number, stroke in self.strokes() if number in standing)

    def correction_times(self) -> list[float]:
        """When the corrections that stand were made, seconds since 1970, in order."""
        query = f"SELECT id, time FROM ({self._select()}) WHERE kind = 'correction' ORDER BY id"
        rows = self._checked(lambda: self._db.execute(query).fetchall())
        return [float(moment) for number, moment in rows if number in self._done]

    def standing_corrections(self) -> Iterator[tuple[int, Correction]]:
        """Numbers and corrections that are not undone, in order."""
        standing = self.standing_numbers
        entries = self.entries() if self.corrected else iter(())
        return ((n, e) for n, e in entries if n in standing and isinstance(e, Correction))

    def fold(self, scribbles: Codes, after: int = 0) -> int:
        """Apply the strokes after a number to a uint8 array in place; return the newest entry's.

        Raises
        ------
        UserError
            The file is damaged, or belongs to larger scribbles.
        """
        flat = scribbles.reshape(-1)
        for number, entry in self.entries(after):
            self.check_inside(entry, flat.size)
            if not isinstance(entry, Correction):
                flat[entry.voxels] = entry.new
            after = number
        return after

    def sources(self, shape: tuple[int, int, int]) -> dict[Source, Mask]:
        """For every source, where its strokes are what one sees now (bool arrays)."""
        origin = np.zeros(int(np.prod(shape)), dtype=np.uint8)
        names: list[Source] = []
        for _, stroke in self.standing():
            self.check_inside(stroke, origin.size)
            if isinstance(stroke, ClassChange):  # what is left of a stroke comes from where it did
                origin[stroke.voxels[stroke.new == 0]] = 0
                continue
            if stroke.source not in names:
                names.append(stroke.source)
            origin[stroke.voxels] = np.where(stroke.new == 0, 0, names.index(stroke.source) + 1)
        return {name: (origin == i + 1).reshape(shape) for i, name in enumerate(names)}

    def close(self) -> None:
        """Bring everything to the disk and release the file. Twice is once."""
        if self._disk is not None:
            self._disk.close()
        self._db.close()
        if self._copy is not None:
            self._copy.cleanup()

    def _prepare(self) -> None:
        # NORMAL does not wait for the disk; checkpoints, which do, are left to the thread.
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=0"):
            self._db.execute(f"PRAGMA {pragma}")
        with self._db:
            self._db.execute(_SCHEMA)
            there = _columns(self._db)
            for name, (kind, _) in _LATER.items():
                if name not in there:
                    self._db.execute(f"ALTER TABLE strokes ADD COLUMN {name} {kind}")

    def restore(self, rows: Sequence[Row]) -> None:
        """Write rows as `select` gives them, each under its own number, into an empty journal.

        Raises
        ------
        sqlite3.Error
            The disk is full, or the journal is not empty.
        """
        with self._db:
            marks = ", ".join("?" for _ in ("id", *COLUMNS.split(", ")))
            self._db.executemany(f"INSERT INTO strokes (id, {COLUMNS}) VALUES ({marks})", rows)
        self._catch_up()

    def _select(self) -> str:
        return self._checked(lambda: select(self._db))

    def _newest(self) -> int:
        return int(self._db.execute("SELECT COALESCE(MAX(id), 0) FROM strokes").fetchone()[0])

    def _catch_up(self) -> None:
        if self._newest() == self._last:
            return
        self._done, self._undone = {}, {}
        query = f"SELECT id, source, target FROM ({self._select()}) ORDER BY id"
        for number, source, target in self._db.execute(query):
            _take(number, source, target, self._done, self._undone)
            self._last = int(number)
        query = f"SELECT id, classes FROM ({self._select()}) WHERE kind = 'classes'"
        self._steps = {int(n): step_of(classes) for n, classes in self._db.execute(query)}

    def _entry(self, number: int) -> Stroke:
        return next(self.entries(after=number - 1))[1]

    def _by_me(self, entry: Stroke, source: Source, target: int) -> Stroke:
        now = time.time()
        return replace(entry, source=source, target=target, author=self._author, time=now)

    def check_pages(self) -> None:
        """Raise a UserError when SQLite finds a fault in the file, also where no stroke is."""
        (found,) = self._checked(lambda: self._db.execute("PRAGMA quick_check(1)").fetchone())
        if found != "ok":
            raise self._damaged(printable(str(found)[:80]))

    def check_inside(self, stroke: Stroke, size: int) -> None:
        """Raise a UserError unless a stroke lies within so many voxels."""
        voxels = stroke.touched
        if voxels.size and not 0 <= voxels.min() <= voxels.max() < size:
            raise self._damaged("a stroke lies outside the images")

    def _checked(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except (sqlite3.Error, zlib.error, ValueError, TypeError) as error:
            check_held(error, self._path)
            raise self._damaged(why(error)) from error

    def _damaged(self, why: str) -> UserError:
        return UserError(
            f"The stroke journal {self._path.name} is damaged ({why}). Nothing was changed; "
            "bring the case folder back from a backup, or open the images as a new case."
        )


def select(db: sqlite3.Connection) -> str:
    """The query for all columns of a journal, `entry_of`'s after the number, of any version."""
    there = _columns(db)  # who looks on cannot add those that it lacks
    names = ("id", *COLUMNS.split(", "))
    known = (n if n in there else f"{_LATER.get(n, ('', n))[1]} AS {n}" for n in names)
    return f"SELECT {', '.join(known)} FROM strokes"


def _columns(db: sqlite3.Connection) -> set[str]:
    return {row[1] for row in db.execute("PRAGMA table_info(strokes)")}


def _take(
    number: int,
    source: str,
    target: int | None,
    done: dict[int, None],
    undone: dict[int, None],
) -> None:
    """Follow what stands and what can be redone, one row of the journal on.

    Out of order, as two windows on one case may once have written it, it is followed as well: what
    one sees, the fold of all rows, does not depend on the order, and must stay within reach.
    """
    if source == "undo":
        if target in done:
            del done[target]
            undone[target] = None
    elif source == "redo":
        if target in undone:
            del undone[target]
            done[target] = None
    else:
        done[number] = None
        undone.clear()
