"""Whether two journals are the same up to an entry, told by a hash of what may travel of it."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from cmfnet_napari.core.strokes.entries import Row, Stroke, row_of
from cmfnet_napari.core.strokes.journal import Journal


def travelling(entry: Stroke) -> Row:
    """An entry's row without who drew it, when, and on which run."""
    moment, author, source, target, kind, run, *rest = row_of(replace(entry, author="", time=0.0))
    del moment, author, run
    return (0.0, "", source, target, kind, "", *rest)


class Digest:
    """Of entries, one after the other."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.last = 0

    def add(self, number: int, row: Row) -> None:
        """Take an entry in, as `travelling` gives it."""
        _, _, source, target, kind, _, voxels, old, new, classes = row
        self._hash.update(json.dumps([number, source, target, kind, classes]).encode())
        for part in (voxels, old, new):
            self._hash.update(len(part).to_bytes(8, "big") + part)
        self.last = number

    @property
    def text(self) -> str:
        """The hash so far."""
        return self._hash.hexdigest() if self.last else ""


def digest_of(path: Path, until: int | None = None) -> tuple[int, str]:
    """Number of a journal's last entry, and the hash of all up to it, or up to another one."""
    with closing(Journal(path, read_only=True)) as journal:
        digest = Digest()
        for number, entry in journal.entries():
            if until is not None and number > until:
                break
            digest.add(number, travelling(entry))
        return digest.last, digest.text
