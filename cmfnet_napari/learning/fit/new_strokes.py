"""Strokes of a case as another process draws them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cmfnet_napari.core.arrays import Codes, Wholes
from cmfnet_napari.core.case.case_classes import OTHER_CLASSES
from cmfnet_napari.core.case.folder import Case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.strokes.corrections import Corrections, Words, taught
from cmfnet_napari.core.strokes.entries import ClassChange, Correction, Stroke
from cmfnet_napari.core.strokes.journal_file import JournalHeldError
from cmfnet_napari.core.strokes.middle_lines import middle_lines
from cmfnet_napari.core.strokes.scribbles import UNLABELLED


class NewStrokes:
    """Follows the journal of a case that another process writes.

    Parameters
    ----------
    case : Case
        Open for reading.
    corrections : bool
        Whether corrected voxels count as strokes.
    lines : bool
        Only the middle lines of what was corrected do, as a model that reads strokes knows them;
        what a correction says of other strokes counts all over.
    """

    def __init__(self, case: Case, corrections: bool = True, *, lines: bool = False) -> None:
        self._journal, self._teach = case.journal, corrections
        self._lines: Wholes | None = np.zeros(0, np.int64) if lines else None
        self._strokes = np.zeros(case.study.grid.shape, dtype=np.uint8)
        self._corrections = Corrections(self._strokes.shape)
        self._last = 0
        self._journal.catch_up()
        self._take(self._journal.entries())

    def poll(self) -> Codes | None:
        """Scribbles when what they say has changed since the last call, else None.

        Raises
        ------
        UserError
            Classes went or came back: what goes on works with those from before, and ends.
        """
        before = self.scribbles
        try:
            if self._journal.last_id() == self._last:
                return None
            self._journal.catch_up()
            came = list(self._journal.entries(self._last))
        except JournalHeldError:  # a backup, such as; they are there when it has ended
            return None
        if any(isinstance(entry, ClassChange) for _, entry in came):
            raise UserError(OTHER_CLASSES)
        self._take(came)
        return None if np.array_equal(before, self.scribbles) else self.scribbles.copy()

    def _take(self, entries: Iterable[tuple[int, Stroke]]) -> None:
        for number, entry in entries:
            self._journal.check_inside(entry, self._strokes.size)
            self._corrections.take(number, entry)
            if self._lines is not None and isinstance(entry, Correction):
                self._lines = _redrawn(self._lines, entry, self._strokes.shape)
            if not isinstance(entry, Correction):
                self._strokes.reshape(-1)[entry.voxels] = entry.new
            self._last = number
        words = self._corrections.words(self._strokes)
        if self._lines is not None:
            told = self._strokes.reshape(-1)[words.voxels] != UNLABELLED
            kept = told | np.isin(words.voxels, self._lines)
            words = Words(words.voxels[kept], words.codes[kept])
        self.scribbles = taught(self._strokes, words) if self._teach else self._strokes.copy()


def _redrawn(lines: Wholes, edit: Correction, shape: tuple[int, ...]) -> Wholes:
    """Middle lines of all edits (flat indices) after one more."""
    painted = edit.new != UNLABELLED
    drawn = middle_lines(edit.voxels[painted], edit.new[painted], shape)
    return np.union1d(np.setdiff1d(lines, edit.voxels), drawn)
