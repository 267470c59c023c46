"""A contour in a layer: a model's labels under the user's corrections; edits become corrections."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from napari.components import Dims
from napari.layers import Labels
from qtpy.QtCore import Signal

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.geometry.boxes import Box
from cmfnet_napari.core.strokes.changes import changed_slices
from cmfnet_napari.core.strokes.entries import Source, Stroke
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, MAX_CODE, segmentation_code
from cmfnet_napari.gui.patient.case_corrections import CaseCorrections
from cmfnet_napari.gui.patient.layer_recorder import LayerRecorder
from cmfnet_napari.gui.patient.layers import forget_history

OWN_SHOWN = "The model's own contour is shown, which stays as it is. Untick it under Review first."


Copies = tuple[np.ndarray, np.ndarray]


class ContourRecorder(LayerRecorder):
    """Shows the contour of record in a layer, and writes what is edited there as corrections.

    Parameters
    ----------
    layer : Labels
        Segmentation codes, uint8 (z, y, x); its data are replaced.
    model : uint8 array (z, y, x)
        What the contour is where nothing was corrected.
    corrections : CaseCorrections
        The case's.
    run : callable
        Says which contour `model` is, for the journal.
    dims : napari.components.Dims
        The viewer's: which plane is painted.
    copies : tuple of two arrays, optional
        Of the model, to be changed: where they were made already, nobody waits for them here.

    Attributes
    ----------
    model : uint8 array (z, y, x)
        As given last.
    own : bool
        Whether the layer shows the model's own contour, which cannot be edited.
    version : int
        Counts changes of the contour of record.
    """

    replaced = Signal()  # there is another model under the corrections

    def __init__(
        self,
        layer: Labels,
        model: np.ndarray,
        corrections: CaseCorrections,
        run: Callable[[], str],
        dims: Dims,
        copies: Copies | None = None,
    ) -> None:
        before, shown = copies or (model.astype(np.uint8), model.astype(np.uint8))
        words = corrections.words
        for array in (before, shown):
            array.reshape(-1)[words.voxels] = corrections.labels_at(words.voxels, model)
        super().__init__(layer, before, dims)
        self.model, self.own, self._run, self._corrections = model, False, run, corrections
        self._waiting: np.ndarray | None = None  # a model that came while one was drawing
        self._parts: list[Box] | None = []  # where it differs; None: nobody has said
        self.version = 0
        layer.data = shown
        corrections.changed.connect(self._follow)

    def own_code(self, code: int) -> int:
        """As in `LayerRecorder`."""
        return segmentation_code(code)

    def write(self, voxels: np.ndarray, codes: np.ndarray, source: Source) -> Stroke | None:
        """As in `LayerRecorder`.

        Raises
        ------
        UserError
            The model's own contour is shown, or it cannot be saved.
        """
        if self.own:
            raise UserError(OWN_SHOWN)
        self.record()
        made = self._corrections.write(voxels, codes, source, self._run())
        if made is not None:
            self.recorded.emit(made)
        return made

    def snapshot(self) -> np.ndarray:
        """As `contour`, without what is being drawn or could not be saved; that is said then."""
        return self.settled()[0].copy()

    def settled(self) -> tuple[np.ndarray, int]:
        """The same, to be copied elsewhere, with its version: at another one it has changed."""
        if not self._drawing:
            self._try(self.record)
        return self._before, self.version

    def contour(self) -> np.ndarray:
        """The contour of record with all that was edited, uint8 (z, y, x): a copy.

        What is being drawn at this moment is not in it yet.

        Raises
        ------
        UserError
            What was edited last could not be saved.
        """
        if not self._drawing:  # figures that came meanwhile are shown: no half stroke
            self.record()
        return self._before.copy()

    def show(self, model: np.ndarray, parts: Sequence[Box] | None = None) -> None:
        """Put another model's labels under the corrections.

        Not while one is drawing, nor while an edit could not be saved: it waits for that.

        Parameters
        ----------
        model : uint8 array (z, y, x)
            It may be the same array, changed in place.
        parts : sequence of Box, optional
            Where alone it differs from the one before.
        """
        self._waiting = model
        if parts is None or self._parts is None:
            self._parts = None
        else:
            self._parts += parts
        if not self._drawing:
            self._try(self.record)

    def show_own(self, on: bool) -> None:
        """Show the model's own contour, to look at, or the contour of record.

        Raises
        ------
        UserError
            What was edited last could not be saved: it stays on the screen.
        """
        if on == self.own:
            return
        self.record()
        self.own = on
        self._show_all()

    def record(self, source: Source = "hand") -> Stroke | None:
        """As `LayerRecorder.record`; nothing while the model's own contour is shown."""
        return None if self.own else super().record(source)

    def close(self) -> None:
        """Record what is left and stop listening."""
        super().close()
        self._corrections.changed.disconnect(self._follow)

    def _show_all(self) -> None:
        wanted = self.model if self.own else self._before
        if not np.array_equal(self.layer.data, wanted):
            self.layer.data = wanted.astype(np.uint8)
            forget_history(self.layer)

    def _follow(self, voxels: np.ndarray) -> None:
        """Something else is said of voxels: edited here or elsewhere, undone, drawn over."""
        labels = self._corrections.labels_at(voxels, self.model)
        self._before.reshape(-1)[voxels] = labels
        self.version += 1
        if self.own:
            return
        index = np.unravel_index(voxels, self._before.shape)
        if (self._data()[index] != labels).any():
            self._put(voxels, labels)
            forget_history(self.layer)
        self.layer.events.data(value=self.layer.data)  # the other views and the one in 3D hear it

    def _keep(self, change: Stroke | None) -> Stroke | None:
        change = None if self.own else self._within(change, MAX_CODE - BACKGROUND)
        if change is None:
            return None
        made = self._corrections.write(change.voxels, change.new, change.source, self._run())
        if made is not None:
            self.recorded.emit(made)
        return made

    def _drawn(self, voxels: np.ndarray, affirmed: np.ndarray) -> Stroke | None:
        """All that was drawn over: what was right already is meant, too."""
        change = self._changed_at(voxels)
        if change is not None:
            affirmed = np.union1d(change.voxels, affirmed)
        labels = self._data().reshape(-1)[affirmed].astype(np.uint8)
        return Stroke(affirmed, labels, labels) if affirmed.size else None

    def _drag_ended(self) -> None:
        if self._waiting is not None:
            self._stroke_ended.start(0)

    def _is_awaited(self) -> bool:
        return self._waiting is not None

    def _try(self, action: Callable[[], object]) -> None:
        super()._try(action)
        if self._waiting is None or self._drawing or self._complaint:
            return
        self._take_over(self._waiting)
        self.replaced.emit()

    def _take_over(self, model: np.ndarray) -> None:
        """Put a model under the corrections where it differs from the one before."""
        parts, self._waiting, self._parts = self._parts, None, []
        if parts is None:
            changed = None if model is self.model else changed_slices(self.model, model)
            parts = [] if changed is None else [changed]
        self.model = model
        words, shown = self._corrections.words, self._data()
        for part in parts:
            self._before[part] = model[part]
        self._before.reshape(-1)[words.voxels] = self._corrections.labels_at(words.voxels, model)
        self.version += 1
        for part in parts:  # the corrections in it are as they were
            shown[part] = (model if self.own else self._before)[part]
        if parts:
            self.layer.refresh()
            forget_history(self.layer)
            self.layer.events.data(value=self.layer.data)  # as in `_follow`
