"""Which classes a case has, and in what order: classes that are removed or merged.

A class has a number, given once and never again within its case, and a code, which is its place
among those that are left: codes have no gaps, since a network has none. Who removes a class moves
the codes above it down. Whatever was written with other codes, such as the prediction of an
earlier run, knows the numbers it was written with, and is read through a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, UNLABELLED

_CODES = 256  # a uint8 has
MOST_CLASSES = _CODES - 1


@dataclass(frozen=True)
class ClassStep:
    """A class that was removed, or merged into another.

    Attributes
    ----------
    before : tuple of int
        Numbers of the classes there were, in order of their codes 1, 2, …
    gone : int
        The one that went.
    into : int
        The one that has its strokes and corrections now; 0: nobody has.
    """

    before: tuple[int, ...]
    gone: int
    into: int = 0

    @property
    def after(self) -> tuple[int, ...]:
        """Numbers of the classes that are left, in order."""
        return tuple(number for number in self.before if number != self.gone)

    @property
    def table(self) -> Codes:
        """Scribble code after the step of every code before it, uint8 (256,)."""
        return ClassOrder(self.after, {self.gone: self.into}).table(self.before)


@dataclass(frozen=True)
class ClassOrder:
    """The classes there are.

    Attributes
    ----------
    numbers : tuple of int
        In order of their codes 1 (the background), 2, 3, …
    merged : dict of int to int
        Classes that went, by number: into which one; 0: into none.
    """

    numbers: tuple[int, ...]
    merged: Mapping[int, int]

    def code(self, number: int) -> int:
        """Scribble code of a class; `UNLABELLED` when it was removed."""
        for _ in self.merged:  # each once: a damaged journal may lead in a circle
            number = self.merged.get(number, number)
        return self.numbers.index(number) + 1 if number in self.numbers else UNLABELLED

    def table(self, numbers: Sequence[int]) -> Codes:
        """Scribble codes as they are now of those that were written with other classes.

        Parameters
        ----------
        numbers : sequence of int
            Those classes, in order of their codes.

        Returns
        -------
        uint8 array (256,)
            By scribble code; codes that had no class stay as they are.
        """
        table = np.arange(_CODES, dtype=np.uint8)
        table[BACKGROUND : len(numbers) + 1] = [self.code(number) for number in numbers]
        return table

    def labels(self, numbers: Sequence[int]) -> Codes | None:
        """Labels of segmentations as they are now, by those written with other classes.

        Whoever holds labels keeps them as they were read, with the classes they were written with,
        and translates them from there each time: of a class that comes back all is there again.

        Parameters
        ----------
        numbers : sequence of int
            Those classes, in order of their codes.

        Returns
        -------
        uint8 array (256,) or None
            By label; who is removed is background. None: they are the same.
        """
        table = label_table(self.table(numbers))
        return None if np.array_equal(table, np.arange(_CODES)) else table


def order_of(steps: Sequence[ClassStep], registered: Sequence[int]) -> ClassOrder:
    """The classes there are after some steps.

    Parameters
    ----------
    steps : sequence of ClassStep
        Those that stand, in order.
    registered : sequence of int
        Numbers of all classes there ever were, rising.
    """
    if not steps:
        return ClassOrder(tuple(registered), {})
    known = max(max(step.before) for step in steps)
    younger = (number for number in registered if number > known)
    return ClassOrder((*steps[-1].after, *younger), {step.gone: step.into for step in steps})


def label_table(table: Codes) -> Codes:
    """The same table for segmentations: 0 background, 1, 2, …; who is removed is background."""
    codes = np.roll(table, -BACKGROUND).astype(int) - BACKGROUND
    codes[-1] = _CODES - 1  # no scribble has that code
    labels: Codes = np.maximum(codes, 0).astype(np.uint8)
    return labels
