"""Strokes from the scribbles layer to the journal, and back when they are undone.

napari says when a stroke ends (``paint``) and when a layer is drawn anew (``set_data``), but not
publicly which voxels changed. So the layer is compared with what the journal holds: at once in
the plane that is painted, which costs next to nothing, and soon after, in the background,
everywhere, for whatever else may have changed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from napari.components import Dims
from napari.layers import Labels
from napari.utils.events import EventEmitter
from qtpy.QtCore import QObject, QTimer, Signal

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.strokes.changes import Region, changed_at, changed_in, changed_slices
from cmfnet_napari.core.strokes.journal import Journal, Source, Stroke
from cmfnet_napari.core.strokes.scribbles import MAX_CODE, UNLABELLED
from cmfnet_napari.gui.shared.tasks import run_in_background

_LOOK_AFTER_MS = 100  # redrawing also happens while one scrolls; do not compare each time
_RETRY_MS = 2000  # after a stroke could not be written


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
    dims : napari.components.Dims
        The viewer's: which plane is painted.
    """

    recorded = Signal(object)  # Stroke
    failed = Signal(object)  # UserError

    def __init__(self, layer: Labels, journal: Journal, counts: np.ndarray, dims: Dims) -> None:
        super().__init__()
        self.layer = layer
        self.counts = counts.copy()
        self._journal = journal
        self._before = np.array(layer.data, dtype=np.uint8)
        self._drawing = self._looking = self._closed = False
        self._complaint = ""
        self._stroke_ended, self._redrawn = self._timer(self._look_here), self._timer(self._look)
        self._painted: dict[Labels, tuple[Dims, Callable[[object], None]]] = {}
        self._last = layer  # painted last
        self.listen(layer, dims)
        for event in self._redrawing():
            event.connect(self._later)

    @property
    def present(self) -> np.ndarray:
        """The codes that have a stroke, uint8."""
        return np.flatnonzero(self.counts).astype(np.uint8)

    @property
    def recorded_scribbles(self) -> np.ndarray:
        """The scribbles as they are recorded, uint8 (z, y, x): to look at, they go on changing."""
        return self._before

    def snapshot(self) -> np.ndarray:
        """A copy of the scribbles as they are recorded, uint8 (z, y, x)."""
        self._try(self.record)
        return self._before.copy()

    def record(self, source: Source = "hand") -> Stroke | None:
        """Journal what changed anywhere since the last time.

        Raises
        ------
        UserError
            It could not be written; it is tried again.
        """
        after = self._data()
        region = changed_slices(self._before, after)
        return None if region is None else self._record(region, source)

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
        self._journal.append(stroke)
        self._apply(stroke)
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

    def begin(self) -> None:
        """A stroke is being drawn: nothing is recorded until its `end`."""
        self._drawing = True

    def end(self, voxels: np.ndarray) -> None:
        """Record a stroke whose voxels (flat indices, each once) are known."""
        self._drawing = False
        self._stroke_ended.stop()
        earlier = bool(self._complaint)
        self._try(self.record if earlier else lambda: self._keep(self._drawn(voxels)))
        self._later()

    def undo(self) -> Stroke | None:
        """Take the newest stroke back, of this session or an earlier one; None: there is none."""
        return self._step(self._journal.undo)

    def redo(self) -> Stroke | None:
        """Bring back what was undone last; None when there is nothing."""
        return self._step(self._journal.redo)

    def listen(self, layer: Labels, dims: Dims) -> None:
        """Hear of strokes painted into the same array in another view.

        Parameters
        ----------
        layer : Labels
            The view's layer; it holds the recorder's array.
        dims : napari.components.Dims
            The view's: which plane is painted.
        """
        painted = partial(self._soon, layer)
        layer.mouse_drag_callbacks.append(self._follow_drag)
        layer.events.paint.connect(painted)
        self._painted[layer] = dims, painted

    def close(self) -> None:
        """Record what is left and stop listening."""
        self._try(self.record)
        self._closed = True
        self._stroke_ended.stop()
        self._redrawn.stop()
        for layer, (_, painted) in self._painted.items():
            layer.mouse_drag_callbacks.remove(self._follow_drag)
            layer.events.paint.disconnect(painted)
        for event in self._redrawing():
            event.disconnect(self._later)

    # --- the layer and the journal

    def _data(self) -> np.ndarray:
        after = np.asarray(self.layer.data)
        if after.shape != self._before.shape:
            raise UserError(
                f"The scribbles layer now has the shape {after.shape}, the CT {self._before.shape}:"
                " nothing more is recorded. Open the patient again to get the strokes back."
            )
        return after

    def _record(self, region: Region, source: Source = "hand") -> Stroke | None:
        return self._keep(changed_in(self._before, self._data(), region, source))

    def _keep(self, stroke: Stroke | None) -> Stroke | None:
        if stroke is None:
            return None
        if stroke.new.max() > MAX_CODE:
            raise UserError(
                f"The scribbles layer has the code {stroke.new.max()}; {MAX_CODE} is the "
                "highest. Undo the stroke."
            )
        self._journal.append(stroke)
        self._take(stroke)
        return stroke

    def _drawn(self, voxels: np.ndarray) -> Stroke | None:
        return changed_at(self._before, self._data(), voxels, "hand")

    def _step(self, step: Callable[[], Stroke | None]) -> Stroke | None:
        self.record()
        stroke = step()
        if stroke is not None:
            self._apply(stroke)
        return stroke

    def _apply(self, stroke: Stroke) -> None:
        """Show a stroke of the journal in the layer, in whatever plane it is shown."""
        self._data()[np.unravel_index(stroke.voxels, self._before.shape)] = stroke.new
        self._take(stroke)
        self.layer.refresh()

    def _take(self, stroke: Stroke) -> None:
        before = self._before.reshape(-1)
        old = before[stroke.voxels]  # not the stroke's: another window's may be undone here
        self.counts += np.bincount(stroke.new, minlength=self.counts.size)
        self.counts -= np.bincount(old, minlength=self.counts.size)
        before[stroke.voxels] = stroke.new
        self.recorded.emit(stroke)

    # --- when to look, and where

    def _follow_drag(self, layer: Labels, event: object) -> Iterator[None]:
        """A stroke that is still being drawn is recorded when it ends, as one."""
        self._drawing = True
        try:
            yield
            while event.type == "mouse_move":
                yield
        finally:
            self._drawing = False

    def _soon(self, layer: Labels, _event: object) -> None:
        """After the event: napari tells of a stroke before the last voxels are in."""
        self._last = layer
        self._stroke_ended.start(0)

    def _later(self) -> None:
        if not self._redrawn.isActive():
            self._redrawn.start(_LOOK_AFTER_MS)

    def _look_here(self) -> None:
        """Record the stroke that has just been painted, then look whether that was all."""
        earlier = bool(self._complaint)  # strokes that could not be written yet
        self._try(self.record if earlier else lambda: self._record(self._shown()))
        self._later()

    def _shown(self) -> Region:
        """The plane that was painted; with a ball for a brush, as thick as the ball."""
        region = [slice(None)] * 3
        dims, _ = self._painted[self._last]
        if dims.ndisplay == 2:
            axis = dims.order[0]
            at = round(float(self.layer.world_to_data(dims.point)[axis]))
            reach = self.layer.brush_size if self.layer.n_edit_dimensions == 3 else 0
            region[axis] = slice(max(at - reach, 0), max(at + reach + 1, 0))
        return tuple(region)

    def _look(self) -> None:
        """Compare everything in the background."""
        if self._closed or self._looking:
            return
        if self._drawing:
            self._later()
            return
        self._try(self._start_looking)

    def _start_looking(self) -> None:
        after = self._data()
        self._looking = True
        run_in_background(
            changed_slices, self._before, after, done=self._found, failed=self.failed.emit
        )

    def _found(self, region: Region | None) -> None:
        self._looking = False
        if self._closed or region is None:
            return
        if self._drawing:
            self._later()
        else:
            self._try(lambda: self._record(region))

    def _try(self, action: Callable[[], object]) -> None:
        """What fails is said once, and tried again until it works."""
        try:
            action()
        except UserError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                self.failed.emit(error)
            self._redrawn.start(_RETRY_MS)
        else:
            self._complaint = ""

    def _redrawing(self) -> tuple[EventEmitter, ...]:
        events = self.layer.events
        return events.set_data, events.data, events.visible

    def _timer(self, action: Callable[[], None]) -> QTimer:
        timer = QTimer(self, singleShot=True)
        timer.timeout.connect(action)
        return timer
