"""Corrections of a contour by hand, and the contour of record: the user's newest word wins.

What the user says of a voxel is a stroke or a correction, whichever came last. A correction
stands whatever a model says; a stroke that was drawn over one later stands in its place; a stroke
alone leaves the voxel to the model, which learns from it. A correction that is given up, or a
stroke that is erased, says nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cmfnet_napari.core.arrays import Codes, Mask, Wholes
from cmfnet_napari.core.geometry.boxes import bounding_box
from cmfnet_napari.core.strokes.entries import ClassChange, Correction, Stroke
from cmfnet_napari.core.strokes.journal import Journal
from cmfnet_napari.core.strokes.scribbles import UNLABELLED, to_targets


@dataclass(frozen=True, eq=False)
class Words:
    """What the user says of the voxels that were corrected.

    Attributes
    ----------
    voxels : int64 array (n,)
        Flat indices (C order of z, y, x), each once, rising.
    codes : uint8 array (n,)
        Scribble codes: 1 background, 2, 3, … the classes.
    """

    voxels: Wholes
    codes: Codes


class Corrections:
    """Where and to what a contour was corrected: takes the journal's entries one by one.

    Parameters
    ----------
    shape : tuple of int
        Of the Study's Grid (z, y, x).

    Attributes
    ----------
    codes : uint8 array (z, y, x)
        Scribble codes; 0 where nothing is corrected.
    version : int
        Counts entries that may have changed what is said of a voxel.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.codes: Codes = np.zeros(shape, dtype=np.uint8)
        self.version = 0
        self._covered: Mask = np.zeros(shape, dtype=bool)  # a stroke lies there that is newer
        self._range = self.codes.size, 0  # flat indices beyond which nothing is corrected
        self._turned: dict[int, Wholes] = {}  # by entry: where it turned `_covered`

    def take(self, number: int, entry: Stroke) -> Wholes:
        """Follow one entry of the journal, all in order.

        Parameters
        ----------
        number : int
            The entry's.
        entry : Stroke or Correction
            What was done.

        Returns
        -------
        int64 array (n,)
            Flat indices of the corrected voxels of which something else may be said now.
        """
        if isinstance(entry, ClassChange):
            return self._take_classes(entry)
        codes, covered = self.codes.reshape(-1), self._covered.reshape(-1)
        corrects = isinstance(entry, Correction)
        if corrects:
            voxels = entry.voxels
            if voxels.size:
                low, high = self._range
                self._range = min(low, int(voxels.min())), max(high, int(voxels.max()) + 1)
        else:
            voxels = self._among(entry.voxels)
        if not voxels.size:
            return voxels
        self.version += 1
        if entry.source in ("undo", "redo"):
            turned = self._turned.get(entry.target or 0, voxels[:0])
        else:
            speaks = np.ones(voxels.size, bool) if corrects else entry_at(entry, voxels) > 0
            turned = voxels[speaks & (covered[voxels] == corrects)]
            self._turned[number] = turned
        covered[turned] = corrects == (entry.source == "undo")
        if corrects:
            codes[voxels] = entry.new
        return voxels

    def words(self, scribbles: Codes) -> Words:
        """What the user says last of every corrected voxel.

        Parameters
        ----------
        scribbles : uint8 array (z, y, x)
            The strokes as they are.
        """
        low, high = self._range
        voxels = low + np.flatnonzero(self.codes.reshape(-1)[low:high]) if low < high else None
        if voxels is None:
            return Words(np.zeros(0, np.int64), np.zeros(0, np.uint8))
        return Words(voxels, self.at(voxels, scribbles))

    def at(self, voxels: Wholes, scribbles: Codes) -> Codes:
        """What the user says last of some voxels (flat indices); 0 where nothing is corrected."""
        strokes, codes = scribbles.reshape(-1)[voxels], self.codes.reshape(-1)[voxels]
        newer = self._covered.reshape(-1)[voxels] & (strokes != UNLABELLED)
        return np.where(newer & (codes != UNLABELLED), strokes, codes).astype(np.uint8)

    def contradicted(self, voxels: Wholes, scribbles: Codes) -> Wholes:
        """Those of some voxels whose stroke says something else than the newer correction."""
        says = self.at(voxels, scribbles)
        differ: Wholes = voxels[(says != UNLABELLED) & (says != scribbles.reshape(-1)[voxels])]
        return differ

    def _take_classes(self, entry: ClassChange) -> Wholes:
        """Classes go or come back: who spoke last of a voxel stays who did."""
        codes, corrected = self.codes.reshape(-1), entry.corrected
        voxels = corrected.voxels
        if entry.source == "undo":
            codes[voxels] = corrected.new
        else:  # by its table: what it is told without may have had other codes
            codes[:] = entry.step.table[codes]
        self.version += 1
        return np.union1d(voxels, self._among(entry.voxels))

    def _among(self, voxels: Wholes) -> Wholes:
        """Those of some voxels that are corrected."""
        low, high = self._range
        voxels = voxels[(voxels >= low) & (voxels < high)]
        corrected: Wholes = voxels[self.codes.reshape(-1)[voxels] != UNLABELLED]
        return corrected


def entry_at(entry: Stroke, voxels: Wholes) -> Codes:
    """New codes of an entry at some of its voxels."""
    order = np.argsort(entry.voxels, kind="stable")
    new: Codes = entry.new[order[np.searchsorted(entry.voxels, voxels, sorter=order)]]
    return new


def contour_of_record(labels: Codes, words: Words) -> Codes:
    """What counts as the contour: a model's labels, but for what the user says.

    Parameters
    ----------
    labels : integer array (z, y, x)
        Segmentation codes of a model, a preview or a provisional contour.
    words : Words
        What the user says of the voxels that were corrected.

    Returns
    -------
    uint8 array (z, y, x)
        A copy; segmentation codes.
    """
    record = labels.astype(np.uint8)
    record.reshape(-1)[words.voxels] = to_targets(words.codes)
    return record


def taught(scribbles: Codes, words: Words) -> Codes:
    """The strokes with the corrections among them: what a model may learn from.

    Parameters
    ----------
    scribbles : uint8 array (z, y, x)
        The strokes.
    words : Words
        What the user says of the voxels that were corrected.

    Returns
    -------
    uint8 array (z, y, x)
        A copy; scribble codes.
    """
    strokes = scribbles.copy()
    strokes.reshape(-1)[words.voxels] = words.codes
    return strokes


def part_around(codes: Codes, voxel: Sequence[int], spacing: Sequence[float]) -> Wholes:
    """Corrected voxels that hang together with the one nearest to a place.

    Parameters
    ----------
    codes : uint8 array (z, y, x)
        Scribble codes; 0 where nothing is corrected.
    voxel : sequence of int
        The place, (z, y, x).
    spacing : sequence of float
        Of the voxels, mm (z, y, x).

    Returns
    -------
    int64 array (n,)
        Flat indices; voxels that touch at a face, an edge or a corner hang together.
    """
    box = bounding_box(codes > 0)
    if box is None:
        return np.zeros(0, np.int64)
    parts, _ = ndimage.label(codes[box] > 0, np.ones((3, 3, 3), bool))
    at = np.array(np.nonzero(parts))
    start = np.array([part.start for part in box])
    steps = (at + start[:, None] - np.array(voxel)[:, None]) * np.array(spacing)[:, None]
    nearest = tuple(at[:, np.square(steps).sum(axis=0).argmin()])
    index = np.array(np.nonzero(parts == parts[nearest])) + start[:, None]
    flat: Wholes = np.ravel_multi_index(tuple(index), codes.shape)
    return flat


def slices_by_hand(made: Iterable[Correction], shape: tuple[int, ...], axis: int) -> Wholes:
    """Slices across an axis on which a contour was painted by hand, in order.

    Parameters
    ----------
    made : iterable of Correction
        Those that stand. What was painted across several of these slices does not count: it was
        painted on another plane, or with a ball.
    shape : tuple of int
        Of the Study's Grid (z, y, x).
    axis : int
        Array axis the slices follow each other on.
    """
    found: set[int] = set()
    for correction in made:
        at = np.unique(np.unravel_index(correction.voxels, shape)[axis])
        if correction.source == "hand" and len(at) == 1:
            found.add(int(at[0]))
    return np.array(sorted(found), dtype=np.int64)


def read_corrections(
    journal: Journal, shape: tuple[int, ...], without: int | None = None
) -> Corrections:
    """The corrections of a journal.

    Parameters
    ----------
    journal : Journal
        Of a case.
    shape : tuple of int
        Of the Study's Grid (z, y, x).
    without : int, optional
        Number of a correction that is passed over, as if it had never been made; so are those that
        were given up one by one before.

    Raises
    ------
    UserError
        The journal is damaged, or belongs to larger images.
    """
    found = Corrections(shape)
    if not journal.corrected:
        return found
    standing = journal.standing_numbers
    passed = set() if without is None else {without, *given_up(journal)}
    for number, entry in journal.entries():
        journal.check_inside(entry, found.codes.size)
        # Those that stand, one after another: what was undone has codes of other classes.
        if without is None or (number in standing and number not in passed):
            found.take(number, entry)
    return found


def given_up(journal: Journal) -> set[int]:
    """Numbers of the corrections that were given up one by one, and of what gave them up."""
    numbers: set[int] = set()
    for number, entry in journal.standing_corrections():
        if entry.source == "take back" and entry.target is not None:
            numbers |= {number, entry.target}
    return numbers


def read_words(journal: Journal, shape: tuple[int, ...]) -> tuple[Codes, Words]:
    """The strokes of a journal, uint8 (z, y, x), and what is said of the corrected voxels.

    Parameters and errors are as in `read_corrections`.
    """
    strokes: Codes = np.zeros(shape, dtype=np.uint8)
    journal.fold(strokes)
    return strokes, read_corrections(journal, shape).words(strokes)
