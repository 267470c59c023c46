"""Strokes from the scribbles layer to the journal, and back when they are undone."""

from __future__ import annotations

import numpy as np
from napari.components import Dims
from napari.layers import Labels

from cmfnet_napari.core.strokes.entries import Source, Stroke
from cmfnet_napari.core.strokes.journal import Journal
from cmfnet_napari.core.strokes.scribbles import MAX_CODE, UNLABELLED
from cmfnet_napari.gui.patient.case_corrections import CaseCorrections
from cmfnet_napari.gui.patient.layer_recorder import LayerRecorder


class StrokeRecorder(LayerRecorder):
    """Writes every change of a scribbles layer to the journal.

    Parameters
    ----------
    layer : Labels
        uint8 scribbles (z, y, x); equal to the journal's fold.
    journal : Journal
        The case's journal.
    corrections : CaseCorrections
        What strokes may be drawn over.
    counts : int array
        Voxels of each code in the layer.
    dims : napari.components.Dims
        The viewer's: which plane is painted.
    before : uint8 array (z, y, x), optional
        A copy of the layer's data, to be kept up to date, where it was made already.
    """

    def __init__(
        self,
        layer: Labels,
        journal: Journal,
        corrections: CaseCorrections,
        counts: np.ndarray,
        dims: Dims,
        before: np.ndarray | None = None,
    ) -> None:
        before = np.array(layer.data, dtype=np.uint8) if before is None else before
        super().__init__(layer, before, dims)
        self.counts = counts.copy()
        self._journal, self._corrections = journal, corrections
        corrections.scribbles = self._before

    @property
    def present(self) -> np.ndarray:
        """The codes that have a stroke, uint8."""
        return np.flatnonzero(self.counts).astype(np.uint8)

    @property
    def recorded_scribbles(self) -> np.ndarray:
        """The scribbles as they are recorded, uint8 (z, y, x): to look at, they go on changing."""
        return self._before

    def own_code(self, code: int) -> int:
        """As in `LayerRecorder`."""
        return code

    def snapshot(self) -> np.ndarray:
        """A copy of the scribbles, uint8 (z, y, x), without what is being drawn."""
        if not self._drawing:
            self._try(self.record)
        return self._before.copy()

    def write(self, voxels: np.ndarray, codes: np.ndarray, source: Source) -> Stroke | None:
        """Put strokes that were not painted by hand into journal and layer; undo takes them back.

        Parameters
        ----------
        voxels : int array (n,)
            Flat indices, C order of z, y, x.
        codes : uint8 array (n,)
            New codes.
        source : str
            Where they come from.
        """
        self.record()
        old, new = self._before.reshape(-1)[voxels], np.broadcast_to(codes, voxels.shape)
        changes = old != new
        if not changes.any():
            return None
        stroke = Stroke(voxels[changes], old[changes], new[changes].astype(np.uint8), source)
        number = self._journal.append(stroke)
        self._put(stroke.voxels, stroke.new)
        self._take(number, stroke)
        return stroke

    def add(self, strokes: np.ndarray, source: Source) -> Stroke | None:
        """Write an array of new strokes (0: none), never over strokes that are there."""
        self.record()
        voxels = np.flatnonzero(strokes)
        voxels = voxels[self._before.reshape(-1)[voxels] == UNLABELLED]
        return self.write(voxels, strokes.reshape(-1)[voxels], source)

    def replace(self, scribbles: np.ndarray) -> Stroke | None:
        """Make the scribbles equal to an imported array (uint8, z y x)."""
        self.record()
        voxels = np.flatnonzero(self._before.reshape(-1) != scribbles.reshape(-1))
        return self.write(voxels, scribbles.reshape(-1)[voxels], "import")

    def apply(self, stroke: Stroke) -> None:
        """Show what the journal has undone or redone."""
        self._put(stroke.voxels, stroke.new)
        self._take(self._journal.last_id(), stroke)

    def _keep(self, change: Stroke | None) -> Stroke | None:
        change = self._within(change, MAX_CODE)
        if change is None:
            return None
        self._take(self._journal.append(change), change)
        return change

    def _drawn(self, voxels: np.ndarray, affirmed: np.ndarray) -> Stroke | None:
        """What has changed, and strokes drawn once more over what a correction denies."""
        change = self._changed_at(voxels)
        again = np.unique(self._corrections.contradicted(affirmed))
        if change is not None:  # the brush passed there more than once
            again = np.setdiff1d(again, change.voxels)
        if not again.size:
            return change
        codes = self._before.reshape(-1)[again]
        if change is None:
            return Stroke(again, codes, codes, "hand")
        parts = ((change.voxels, again), (change.old, codes), (change.new, codes))
        return Stroke(*(np.concatenate(part) for part in parts), "hand")

    def _take(self, number: int, stroke: Stroke) -> None:
        before = self._before.reshape(-1)
        old = before[stroke.voxels]  # not the stroke's: another window's may be undone here
        self.counts += np.bincount(stroke.new, minlength=self.counts.size)
        self.counts -= np.bincount(old, minlength=self.counts.size)
        before[stroke.voxels] = stroke.new
        self._corrections.follow(number, stroke)
        self.recorded.emit(stroke)
