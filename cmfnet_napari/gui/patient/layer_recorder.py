"""What changes on a labels layer, by whatever tool, handed on as one change a stroke.

napari says when a stroke ends (``paint``) and when a layer is drawn anew (``set_data``), but not
publicly which voxels changed. So the layer is compared with what is recorded: at once in the plane
that is painted, which costs next to nothing, and soon after, in the background, everywhere, for
whatever else may have changed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from napari.components import Dims
from napari.layers import Labels
from napari.utils.events import Event, EventEmitter
from qtpy.QtCore import QObject, QTimer, Signal

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.strokes.changes import Region, changed_at, changed_in, changed_slices
from cmfnet_napari.core.strokes.entries import Source, Stroke
from cmfnet_napari.gui.shared.messages import show_warning
from cmfnet_napari.gui.shared.tasks import run_in_background

_LOOK_AFTER_MS = 100  # redrawing also happens while one scrolls; do not compare each time
_RETRY_MS = 2000  # after a stroke could not be written


class LayerReshapedError(UserError):
    """A layer has other voxels than the image: nothing that is drawn on it can be recorded."""


class LayerRecorder(QObject):
    """Hears of every change of a labels layer; `_keep` of its kinds says what becomes of it.

    Parameters
    ----------
    layer : Labels
        uint8 (z, y, x).
    before : uint8 array (z, y, x)
        What is recorded of it, an array of its own; kinds keep it up to date.
    dims : napari.components.Dims
        The viewer's: which plane is painted.
    """

    recorded = Signal(object)  # Stroke
    failed = Signal(object)  # UserError

    def __init__(self, layer: Labels, before: np.ndarray, dims: Dims) -> None:
        super().__init__()
        self.layer = layer
        self._before = before
        self._drawing = self._looking = self._closed = False
        self._complaint = ""
        self._stroke_ended, self._redrawn = self._timer(self._look_here), self._timer(self._look)
        self._painted: dict[Labels, tuple[Dims, Callable[[object], None]]] = {}
        self._last = layer  # painted last
        self.listen(layer, dims)
        for event in self._redrawing():
            event.connect(self._later)

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

    def begin(self) -> None:
        """A stroke is being drawn: nothing is recorded until its `end`."""
        self._drawing = True

    def end(self, voxels: np.ndarray, affirmed: np.ndarray) -> None:
        """Record a stroke whose voxels are known.

        Parameters
        ----------
        voxels : int array (n,)
            Flat indices of what may have changed, each once.
        affirmed : int array (m,)
            Of what was drawn over in the code that was there already, each once.
        """
        self._drawing = False
        self._stroke_ended.stop()
        earlier = bool(self._complaint)
        self._try(self.record if earlier else lambda: self._keep(self._drawn(voxels, affirmed)))
        self._later()
        self._drag_ended()

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
        """Record what is left and stop listening; what cannot be recorded is lost, and said."""
        self._complaint = ""
        self._try(self.record)
        self._closed = True
        self._stroke_ended.stop()
        self._redrawn.stop()
        for layer, (_, painted) in self._painted.items():
            layer.mouse_drag_callbacks.remove(self._follow_drag)
            layer.events.paint.disconnect(painted)
        for event in self._redrawing():
            event.disconnect(self._later)

    # --- for its kinds

    def own_code(self, code: int) -> int:
        """A class's code in the layer, from its scribble code."""
        raise NotImplementedError

    def snapshot(self) -> np.ndarray:
        """A copy of what is recorded of the layer, uint8 (z, y, x)."""
        raise NotImplementedError

    def write(self, voxels: np.ndarray, codes: np.ndarray, source: Source) -> Stroke | None:
        """Change voxels (flat indices) otherwise than by painting: one step of undo.

        Codes are the layer's. None: nothing is changed by it.
        """
        raise NotImplementedError

    def _keep(self, change: Stroke | None) -> Stroke | None:
        """Write a change, codes as in the layer, and take it over into what is recorded."""
        raise NotImplementedError

    def _drawn(self, voxels: np.ndarray, affirmed: np.ndarray) -> Stroke | None:
        """What a stroke has changed of voxels that it may have."""
        raise NotImplementedError

    def _within(self, change: Stroke | None, highest: int) -> Stroke | None:
        """A change without labels that no class can have: these go from the layer, and it is said.

        napari's own field for the label goes up to 255.
        """
        if change is None or change.new.max(initial=0) <= highest:
            return change
        high = change.new > highest
        show_warning(
            f"The {self.layer.name} layer has the label {change.new.max()}; {highest} is the "
            "highest. What was drawn with it was taken out again. Choose a class and draw it anew."
        )
        out = change.voxels[high]
        self._put(out, self._before.reshape(-1)[out])
        kept = change.voxels[~high], change.old[~high], change.new[~high]
        return Stroke(*kept, change.source) if kept[0].size else None

    def _drag_ended(self) -> None:
        """The mouse was let go, whatever it did."""

    def _is_awaited(self) -> bool:
        """Whether something waits that replaces what is not recorded by then."""
        return False

    def _data(self) -> np.ndarray:
        after = np.asarray(self.layer.data)
        if after.shape != self._before.shape:
            raise LayerReshapedError(
                f"The {self.layer.name} layer now has the shape {after.shape}, the image "
                f"{self._before.shape}: nothing more is recorded. Open the patient again to get "
                "it back."
            )
        return after

    def _put(self, voxels: np.ndarray, codes: np.ndarray) -> None:
        """Show codes in the layer, in whatever plane it is shown."""
        self._data()[np.unravel_index(voxels, self._before.shape)] = codes
        self.layer.refresh()

    def _changed_at(self, voxels: np.ndarray) -> Stroke | None:
        return changed_at(self._before, self._data(), voxels, "hand")

    def _record(self, region: Region, source: Source = "hand") -> Stroke | None:
        return self._keep(changed_in(self._before, self._data(), region, source))

    # --- when to look, and where

    def _follow_drag(self, layer: Labels, event: Event) -> Iterator[None]:
        """A stroke that is still being drawn is recorded when it ends, as one."""
        self._drawing = True
        try:
            yield
            while event.type == "mouse_move":
                yield
        finally:
            self._drawing = False
            self._drag_ended()

    def _soon(self, layer: Labels, _event: object) -> None:
        """After the event: napari tells of a stroke before the last voxels are in."""
        self._last = layer
        self._stroke_ended.start(0)

    def _later(self) -> None:
        if not self._redrawn.isActive():
            self._redrawn.start(_LOOK_AFTER_MS)

    def _look_here(self) -> None:
        """Record the stroke that has just been painted, then look whether that was all."""
        everywhere = bool(self._complaint) or self._is_awaited()  # or strokes not written yet
        self._try(self.record if everywhere else lambda: self._record(self._shown()))
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
