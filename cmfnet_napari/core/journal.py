"""Journal: the append-only record of strokes. The scribbles are its fold.

SQLite in WAL mode: one writer (the window), any readers (the worker polls while it trains),
and a kill at any moment leaves every committed stroke in place.
"""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from cmfnet_napari.core.errors import UserError

Source = Literal["hand", "auto-background", "auto-foreground", "import"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS strokes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time REAL NOT NULL,
    author TEXT NOT NULL,
    source TEXT NOT NULL,
    voxels BLOB NOT NULL,
    old BLOB NOT NULL,
    new BLOB NOT NULL
)
"""


@dataclass(frozen=True)
class Stroke:
    """One user action.

    Attributes
    ----------
    voxels : int64 array (n,)
        Flat indices into the scribbles (C order of z, y, x), each at most once.
    old, new : uint8 array (n,)
        Codes before and after.
    source : str
        ``hand``, ``auto-background``, ``auto-foreground`` or ``import``.
    author : str
        Who drew it; empty when not said.
    time : float
        Seconds since 1970, UTC.
    """

    voxels: np.ndarray
    old: np.ndarray
    new: np.ndarray
    source: Source = "hand"
    author: str = ""
    time: float = field(default_factory=time.time)


def difference(before: np.ndarray, after: np.ndarray, source: Source = "hand") -> Stroke | None:
    """Stroke that turns one uint8 scribble array into another; None when they are equal."""
    voxels = np.flatnonzero(before.ravel() != after.ravel())
    if not voxels.size:
        return None
    return Stroke(voxels, before.ravel()[voxels], after.ravel()[voxels], source)


class Journal:
    """The strokes of one case.

    Parameters
    ----------
    path : path
        SQLite file; made when it is missing and `read_only` is false.
    read_only : bool
        For the worker: never writes.

    Raises
    ------
    UserError
        The file is no journal, or cannot be opened.
    """

    def __init__(self, path: str | Path, read_only: bool = False) -> None:
        path = Path(path)
        uri = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        try:
            self._db = sqlite3.connect(uri, uri=True, timeout=10, check_same_thread=False)
            if not read_only:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                with self._db:
                    self._db.execute(_SCHEMA)
            self.last_id()
        except sqlite3.Error as error:
            raise UserError(
                f"The stroke journal {path.name} cannot be opened ({error})."
            ) from error

    def append(self, stroke: Stroke) -> int:
        """Write a stroke to disk and return its number.

        Raises
        ------
        UserError
            The disk is full or the folder is read-only; nothing was recorded.
        """
        row = (
            stroke.time,
            stroke.author,
            stroke.source,
            zlib.compress(np.ascontiguousarray(stroke.voxels, dtype="<i8").tobytes(), 1),
            zlib.compress(np.ascontiguousarray(stroke.old, dtype=np.uint8).tobytes(), 1),
            zlib.compress(np.ascontiguousarray(stroke.new, dtype=np.uint8).tobytes(), 1),
        )
        try:
            with self._db:
                cursor = self._db.execute(
                    "INSERT INTO strokes (time, author, source, voxels, old, new) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    row,
                )
        except sqlite3.Error as error:
            raise UserError(
                f"The stroke could not be saved ({error}). Free some disk space, then paint again."
            ) from error
        return int(cursor.lastrowid)

    def last_id(self) -> int:
        """Number of the newest stroke; 0 when there is none."""
        return int(self._db.execute("SELECT COALESCE(MAX(id), 0) FROM strokes").fetchone()[0])

    def strokes(self, after: int = 0) -> Iterator[tuple[int, Stroke]]:
        """Numbers and strokes in order, those after a number only."""
        rows = self._db.execute(
            "SELECT id, time, author, source, voxels, old, new FROM strokes WHERE id > ? "
            "ORDER BY id",
            (after,),
        )
        with closing(rows):
            for number, moment, author, source, voxels, old, new in rows:
                yield (
                    number,
                    Stroke(
                        np.frombuffer(zlib.decompress(voxels), "<i8").astype(np.int64),
                        np.frombuffer(zlib.decompress(old), np.uint8),
                        np.frombuffer(zlib.decompress(new), np.uint8),
                        source,
                        author,
                        moment,
                    ),
                )

    def fold(self, scribbles: np.ndarray, after: int = 0) -> int:
        """Apply the strokes after a number to a uint8 array in place; return the newest number."""
        flat = scribbles.reshape(-1)
        for number, stroke in self.strokes(after):
            flat[stroke.voxels] = stroke.new
            after = number
        return after

    def sources(self, shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
        """For every source, where its strokes are what one sees now (bool arrays)."""
        origin = np.zeros(int(np.prod(shape)), dtype=np.uint8)
        names: list[str] = []
        for _, stroke in self.strokes():
            if stroke.source not in names:
                names.append(stroke.source)
            origin[stroke.voxels] = np.where(stroke.new == 0, 0, names.index(stroke.source) + 1)
        return {name: (origin == i + 1).reshape(shape) for i, name in enumerate(names)}

    def close(self) -> None:
        """Release the file."""
        self._db.close()
