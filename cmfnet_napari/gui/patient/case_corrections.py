"""What was corrected of the open case's contours: written, taken back, told of. No widget."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.case.folder import Case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.strokes.corrections import (
    Corrections,
    Words,
    contour_of_record,
    given_up,
    part_around,
    taught,
)
from cmfnet_napari.core.strokes.entries import Correction, Source, Stroke
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, MAX_CODE, UNLABELLED, to_scribbles


class CaseCorrections(QObject):
    """The corrections of the open case. Who edits a contour by any tool calls `write`.

    Parameters
    ----------
    case : Case
        Open.
    known : Corrections
        Those of its journal; followed from here on.

    Attributes
    ----------
    scribbles : uint8 array (z, y, x)
        The strokes as they are recorded.
    teach : bool
        Whether corrected voxels count as strokes in the next fit or update.
    """

    changed = Signal(object)  # flat indices of voxels of which something else may be said
    recorded = Signal(object)  # Correction: made, taken back, undone, redone
    teaching = Signal(bool)

    def __init__(self, case: Case, known: Corrections) -> None:
        super().__init__()
        self._case, self._known = case, known
        self.scribbles = np.zeros(case.study.grid.shape, np.uint8)
        self.teach = True

    @property
    def version(self) -> int:
        """Counts what has changed."""
        return self._known.version

    @property
    def codes(self) -> np.ndarray:
        """What was corrected, scribble codes (uint8, z y x), 0 elsewhere: to look at."""
        return self._known.codes

    @property
    def words(self) -> Words:
        """What the user says of the voxels that are corrected."""
        return self._known.words(self.scribbles)

    @property
    def times(self) -> list[float]:
        """When the corrections that stand were made, s."""
        return self._case.journal.correction_times()

    @property
    def standing(self) -> list[tuple[int, Correction]]:
        """Numbers and corrections that stand, in order."""
        return list(self._case.journal.standing_corrections())

    def record_of(self, labels: np.ndarray) -> np.ndarray:
        """The contour of record over a model's labels (uint8, z y x): a copy."""
        return contour_of_record(labels, self.words)

    def lessons(self, always: bool = False) -> np.ndarray:
        """What a model may learn from: the strokes, corrections among them; to look at.

        Parameters
        ----------
        always : bool
            Whether corrections count although they do not teach.
        """
        words = self.words if self.teach or always else None
        return taught(self.scribbles, words) if words and words.voxels.size else self.scribbles

    @property
    def taught_codes(self) -> np.ndarray:
        """The scribble codes that corrections teach, uint8."""
        return np.unique(self.words.codes) if self.teach else np.zeros(0, np.uint8)

    def labels_at(self, voxels: np.ndarray, model: np.ndarray) -> np.ndarray:
        """The contour of record at some voxels (flat indices) over a model's labels."""
        says = self._known.at(voxels, self.scribbles)
        return np.where(says != UNLABELLED, says - 1, model.reshape(-1)[voxels]).astype(np.uint8)

    def contradicted(self, voxels: np.ndarray) -> np.ndarray:
        """Those of some voxels (flat indices) whose stroke a newer correction denies."""
        return self._known.contradicted(voxels, self.scribbles)

    def write(
        self, voxels: np.ndarray, labels: np.ndarray, source: Source = "hand", run: str = ""
    ) -> Correction | None:
        """Say of voxels what they are: one step of undo, whatever a model says.

        Parameters
        ----------
        voxels : int array (n,)
            Flat indices (C order of z, y, x), each once.
        labels : integer array (n,) or number
            Segmentation codes: 0 background, 1, 2, … the classes.
        source : str
            ``hand`` for what was painted, ``interpolation``, or ``tool`` for the rest.
        run : str
            Which contour was edited.

        Returns
        -------
        Correction or None
            None: all of it was said already.

        Raises
        ------
        UserError
            A code is too high, the case is open for looking only, or the disk is full.
        """
        labels = np.broadcast_to(np.asarray(labels), voxels.shape)
        if labels.max(initial=0) > MAX_CODE - BACKGROUND:
            raise UserError(
                f"The contour has the code {labels.max()}; {MAX_CODE - BACKGROUND} is the highest. "
                "Undo the edit."
            )
        codes = to_scribbles(labels, np.True_)
        new = self._known.at(voxels, self.scribbles) != codes
        return self._write(voxels[new], codes[new], source, run)

    def one_by_one(self) -> list[tuple[int, Correction]]:
        """Numbers and corrections that can be given up one by one, in order."""
        gone = given_up(self._case.journal)
        return [(n, c) for n, c in self.standing if n not in gone and c.source != "take back"]

    def take_back_all(self) -> Correction | None:
        """Give up all corrections: the model's contour is that of record. Undo brings them back."""
        return self._give_up(self.words.voxels)

    def take_back_around(self, voxel: tuple[int, int, int]) -> Correction | None:
        """Give up the corrections that hang together with the one nearest to a voxel (z, y, x)."""
        return self._give_up(part_around(self._known.codes, voxel, self._case.study.grid.spacing))

    def take_back(self, number: int) -> Correction | None:
        """Give up one correction: what was said before it is said again, where nothing came after.

        Parameters
        ----------
        number : int
            The journal's, as in `standing`.

        Returns
        -------
        Correction or None
            None: something came after, everywhere.
        """
        without = self._case.corrections(without=number)
        voxels = np.flatnonzero(without.codes != self._known.codes)
        codes = self._known.codes.reshape(-1)[voxels]
        voxels = voxels[self._known.at(voxels, self.scribbles) == codes]  # no newer stroke
        codes = without.codes.reshape(-1)[voxels]
        return self._write(voxels, codes, "take back", "", target=number)

    def apply(self, correction: Correction) -> None:
        """Follow what the journal has undone or redone."""
        self._take(self._case.journal.last_id(), correction)

    def follow(self, number: int, stroke: Stroke) -> None:
        """Follow a stroke, which may lie over corrections."""
        voxels = self._known.take(number, stroke)
        if voxels.size:
            self.changed.emit(voxels)

    def set_teach(self, on: bool) -> None:
        """Let corrected voxels count as strokes, or no more."""
        self.teach = on
        self.teaching.emit(on)

    def _give_up(self, voxels: np.ndarray) -> Correction | None:
        return self._write(voxels, np.zeros(voxels.shape, np.uint8), "take back", "")

    def _write(
        self,
        voxels: np.ndarray,
        codes: np.ndarray,
        source: Source,
        run: str,
        target: int | None = None,
    ) -> Correction | None:
        if not voxels.size:
            return None
        old = self._known.codes.reshape(-1)[voxels]
        made = Correction(voxels, old, codes, source, run=run, target=target)
        self._take(self._case.correct(made), made)
        return made

    def _take(self, number: int, correction: Correction) -> None:
        self.changed.emit(self._known.take(number, correction))
        self.recorded.emit(correction)
