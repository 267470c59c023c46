"""Strokes from the scribbles layer to the journal.

napari says when a stroke ends (``paint``) and when a layer is drawn anew, as it is after undo
and redo (``set_data``), but not publicly which voxels changed. So the layer is compared with
what the journal holds: exact for every tool, plane and shortcut.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.journal import Journal, Source, Stroke, difference
from cmfnet_napari.core.scribbles import MAX_CODE, UNLABELLED

_LOOK_AFTER_MS = 100  # redrawing also happens while one scrolls; do not compare each time


def changed_voxels(before: np.ndarray, after: np.ndarray, source: Source) -> Stroke | None:
    """`journal.difference`, looking only at the slices that changed (large CTs stay quick)."""
    slices = [z for z in range(len(before)) if not np.array_equal(before[z], after[z])]
    if not slices:
        return None
    first, end = slices[0], slices[-1] + 1
    stroke = difference(before[first:end], after[first:end], source)
    assert stroke is not None
    return replace(stroke, voxels=stroke.voxels + first * before[0].size)


class StrokeRecorder(QObject):
    """Writes every change of a scribbles layer to the journal.

    Parameters
    ----------
    layer : Labels
        uint8 scribbles (z, y, x); equal to the journal's fold.
    journal : Journal
        The case's journal.
    counts : int array
        Voxels of each code in the layer.
    """

    recorded = Signal(object)  # Stroke
    failed = Signal(object)  # UserError

    def __init__(self, layer: Labels, journal: Journal, counts: np.ndarray) -> None:
        super().__init__()
        self.layer = layer
        self.counts = counts.copy()
        self._journal = journal
        self._before = np.array(layer.data, dtype=np.uint8)
        self._timer = QTimer(self, singleShot=True)
        self._timer.timeout.connect(self._look)
        layer.events.paint.connect(self._soon)
        for event in (layer.events.set_data, layer.events.data, layer.events.visible):
            event.connect(self._later)

    @property
    def present(self) -> np.ndarray:
        """The codes that have a stroke, uint8."""
        return np.flatnonzero(self.counts).astype(np.uint8)

    def snapshot(self) -> np.ndarray:
        """A copy of the scribbles as they are recorded, uint8 (z, y, x)."""
        self._look()
        return self._before.copy()

    def record(self, source: Source = "hand") -> Stroke | None:
        """Journal what changed since the last time.

        Raises
        ------
        UserError
            It could not be written; it is tried again with the next stroke.
        """
        after = np.asarray(self.layer.data)
        if after.shape != self._before.shape:
            raise UserError(
                f"The scribbles layer now has the shape {after.shape}, the CT {self._before.shape}:"
                " nothing more is recorded. Open the patient again to get the strokes back."
            )
        stroke = changed_voxels(self._before, after, source)
        if stroke is not None:
            if stroke.new.max() > MAX_CODE:
                raise UserError(
                    f"The scribbles layer has the code {stroke.new.max()}; {MAX_CODE} is the "
                    "highest. Undo the stroke."
                )
            self._journal.append(stroke)
            self._before.reshape(-1)[stroke.voxels] = stroke.new
            np.subtract.at(self.counts, stroke.old, 1)
            np.add.at(self.counts, stroke.new, 1)
            self.recorded.emit(stroke)
        return stroke

    def write(self, voxels: np.ndarray, codes: np.ndarray, source: Source) -> Stroke | None:
        """Put strokes that were not painted by hand into layer and journal; undo takes them back.

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
        if not len(voxels):
            return None
        self.layer.visible = True  # napari edits only what it has sliced
        self.layer.data_setitem(np.unravel_index(voxels, self._before.shape), codes)
        self.layer.refresh()
        return self.record(source)

    def add(self, strokes: np.ndarray, source: Source) -> Stroke | None:
        """Write an array of new strokes (0: none), never over strokes that are there."""
        self.record()
        voxels = np.flatnonzero(strokes)
        voxels = voxels[self._before.reshape(-1)[voxels] == UNLABELLED]
        return self.write(voxels, strokes.reshape(-1)[voxels], source)

    def replace(self, scribbles: np.ndarray) -> Stroke | None:
        """Make the scribbles equal to an imported array."""
        self.record()
        stroke = changed_voxels(self._before, scribbles, "import")
        return None if stroke is None else self.write(stroke.voxels, stroke.new, "import")

    def close(self) -> None:
        """Record what is left and stop listening."""
        self._look()
        self._timer.stop()
        events = self.layer.events
        events.paint.disconnect(self._soon)
        for event in (events.set_data, events.data, events.visible):
            event.disconnect(self._later)

    def _soon(self) -> None:
        """After the event: napari tells of a stroke before the last voxels are in."""
        self._timer.start(0)

    def _later(self) -> None:
        if not self._timer.isActive():
            self._timer.start(_LOOK_AFTER_MS)

    def _look(self) -> None:
        try:
            self.record()
        except UserError as error:
            self.failed.emit(error)
