"""What a case has cost its user: time, strokes, corrections; from its journal and one small file.

``open-times.txt`` has a moment a line, seconds since 1970: one when the case is opened, one every
`BEAT_S` while it is open, one when it is left. A program that is killed loses the last beat alone,
and a computer that sleeps adds nothing. No name stands in it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cmfnet_napari.core.case.folder import JOURNAL_FILE, read_card
from cmfnet_napari.core.files import append_line
from cmfnet_napari.core.strokes.class_order import ClassStep
from cmfnet_napari.core.strokes.entries import ClassChange, Correction, Source, Stroke
from cmfnet_napari.core.strokes.journal import Journal
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, UNLABELLED
from cmfnet_napari.core.strokes.time_spent import PAUSE_S, time_spent

OPEN_TIMES = "open-times.txt"
BEAT_S = 30.0
_FIRST, _END = 946_684_800.0, 4_102_444_800.0  # 2000 and 2100: no moment lies outside of them
BY_HAND: tuple[Source, ...] = ("hand", "interpolation", "tool")


@dataclass(frozen=True)
class Effort:
    """What a case has cost.

    Attributes
    ----------
    open_s : float
        Time with the patient open, s.
    drawing_s, editing_s : float
        Of it, time drawing strokes and correcting the contour, s; pauses of more than `PAUSE_S` are
        left out. What was undone has cost time, too.
    strokes, corrections : dict of str to int
        By class, background included: made by hand, also those undone later. A correction counts
        for the class that its voxels became.
    undone : int
        How often something was taken back.
    last : float
        When something was drawn last, or the patient was open, seconds since 1970; 0: never.
    """

    open_s: float = 0.0
    drawing_s: float = 0.0
    editing_s: float = 0.0
    strokes: dict[str, int] = field(default_factory=dict)
    corrections: dict[str, int] = field(default_factory=dict)
    undone: int = 0
    last: float = 0.0

    @property
    def sentences(self) -> list[str]:
        """The same in words, a line each; none where nothing was counted."""
        if not self.last:
            return []
        times = (self.open_s, "open"), (self.drawing_s, "drawing"), (self.editing_s, "correcting")
        lines = [", ".join(f"{_minutes(seconds)} {what}" for seconds, what in times)]
        for what, counts in (("strokes", self.strokes), ("corrections", self.corrections)):
            if counts:
                lines.append(f"{what}: " + ", ".join(f"{n} {name}" for name, n in counts.items()))
        return lines


def note_open(folder: Path, moment: float | None = None) -> None:
    """Write that a case is open now, or was at a moment (seconds since 1970).

    Raises
    ------
    UserError
        It cannot be written.
    """
    append_line(folder / OPEN_TIMES, f"{time.time() if moment is None else moment:.0f}")


def read_effort(folder: Path) -> Effort:
    """What a case has cost until now; another window may have it open.

    Raises
    ------
    UserError
        No case, one of another version, or its journal is damaged.
    """
    card = read_card(folder)
    moments = _open_moments(folder)
    if not (folder / JOURNAL_FILE).is_file():
        return Effort(open_s=time_spent(moments, 2 * BEAT_S), last=max(moments, default=0.0))
    journal = Journal(folder / JOURNAL_FILE, read_only=True)
    try:
        found = _Count({entry.code: entry.name for entry in card.classes})
        for _, entry in journal.entries():
            found.take(entry)
    finally:
        journal.close()
    return Effort(
        open_s=time_spent(moments, 2 * BEAT_S),
        drawing_s=found.seconds[False],
        editing_s=found.seconds[True],
        strokes=found.named(found.strokes),
        corrections=found.named(found.corrections),
        undone=found.undone,
        last=max(found.last, *moments, 0.0),
    )


class _Count:
    """Follows a journal, entry by entry."""

    def __init__(self, names: dict[int, str]) -> None:
        self._names = names
        self._numbers: Sequence[int] = tuple(names)  # of the classes, in order of their codes
        self.strokes: Counter[int] = Counter()
        self.corrections: Counter[int] = Counter()
        self.seconds = {False: 0.0, True: 0.0}  # drawing, editing
        self.undone, self.last = 0, 0.0

    def take(self, entry: Stroke) -> None:
        edits = isinstance(entry, Correction)
        if _FIRST <= entry.time < _END:
            gap = entry.time - self.last
            if 0 < gap <= PAUSE_S:
                self.seconds[edits] += gap
            self.last = max(self.last, entry.time)
        self.undone += entry.source == "undo"
        if isinstance(entry, ClassChange):
            self._numbers = self._after(entry.step, entry.source == "undo")
        elif entry.source in BY_HAND:
            counts = self.corrections if edits else self.strokes
            counts.update(self._classes(entry))

    def named(self, counts: Counter[int]) -> dict[str, int]:
        """By name, in order of the classes."""
        named: dict[str, int] = {}
        for number in sorted(counts):
            name = self._names.get(number, f"Class {number - BACKGROUND}")
            named[name] = named.get(name, 0) + counts[number]
        return named

    def _classes(self, entry: Stroke) -> list[int]:
        """Numbers of the classes that were painted; those that were erased where none was."""
        codes = entry.new if (entry.new != UNLABELLED).any() else entry.old
        places = [int(code) - BACKGROUND for code in np.unique(codes[codes != UNLABELLED])]
        return [self._numbers[at] if at < len(self._numbers) else at + 1 for at in places]

    def _after(self, step: ClassStep, undone: bool) -> Sequence[int]:
        known = max(step.before)
        left = step.before if undone else step.after
        return (*left, *(number for number in self._names if number > known))


def _open_moments(folder: Path) -> list[float]:
    """Lines that are none of ours are passed over."""
    try:
        lines = (folder / OPEN_TIMES).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
    moments = []
    for line in lines:
        try:
            moments.append(float(line))
        except ValueError:
            continue
    return [moment for moment in moments if _FIRST <= moment < _END]


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min"
