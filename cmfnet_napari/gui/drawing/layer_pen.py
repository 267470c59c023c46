"""The mouse draws on one labels layer: freely, straight, or around what is to be filled.

napari's modes say whether one paints, erases or moves, so its buttons and keys go on working; its
own brush gives way to this one, whose size is in millimetres in every plane and which knows more
than one way to draw. napari's brush has a whole, odd number of voxels across: 4 mm would be
4.9 mm on voxels of 0.98 mm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from napari.layers import Labels
from napari.utils.events import Event

from cmfnet_napari.gui.drawing.brush_settings import Brush
from cmfnet_napari.gui.drawing.tools import TOOLS, UnfinishedStroke, Way, ground_of
from cmfnet_napari.gui.patient.layer_recorder import LayerRecorder
from cmfnet_napari.gui.views.trail import Trail

_MODES = ("paint", "erase")
_JOIN = "Control"  # Qt's name: Ctrl, and Cmd on a Mac


class LayerPen:
    """Draws on a layer, in whatever napari viewer it is shown.

    Parameters
    ----------
    layer : Labels
        Scribbles or a contour (z, y, x), or a layer of another viewer that shares their array.
    brush : Brush
        What to draw with.
    recorder : LayerRecorder
        Hears of every stroke.
    trail : Trail
        Where the mouse goes over the views of planes.
    """

    def __init__(self, layer: Labels, brush: Brush, recorder: LayerRecorder, trail: Trail) -> None:
        self.layer, self.recorder = layer, recorder
        self._brush, self._trail = brush, trail
        self._last: np.ndarray | None = None  # where the last stroke ended, z, y, x
        layer.mouse_drag_callbacks.append(self._on_press)
        layer.events.mode.connect(self.show)
        layer.events.brush_size.connect(self._on_brush_size)
        self.show()

    def show(self) -> None:
        """Put napari's own brush aside, and show the pointer of the tool."""
        if self.layer.mode not in _MODES:
            return
        callbacks = self.layer.mouse_drag_callbacks
        callbacks[:] = [call for call in callbacks if not _is_naparis_brush(call)]
        self.layer.cursor = TOOLS[self._brush.tool].cursor
        self.layer.cursor_size = self._brush.size_mm

    def resize(self) -> None:
        """Give the layer the nearest size it has: napari's brush has a whole number of voxels."""
        self.layer.brush_size = max(1, round(self._brush.size_mm / min(self.layer.scale)))

    def close(self) -> None:
        """Let go of the layer; nothing paints on it any more until a mode is chosen."""
        self.layer.mouse_drag_callbacks.remove(self._on_press)
        self.layer.events.mode.disconnect(self.show)
        self.layer.events.brush_size.disconnect(self._on_brush_size)
        self.layer.mode = "pan_zoom"

    def _on_brush_size(self) -> None:
        self._brush.follow(self.layer.brush_size * min(self.layer.scale))
        self.show()

    def _on_press(self, layer: Labels, event: Event) -> Iterator[None]:
        """One stroke, from press to release; other buttons and keys are others' business."""
        plane = tuple(event.dims_displayed)
        ours = event.button == 1 and set(event.modifiers) <= {_JOIN}
        if layer.mode not in _MODES or not ours or len(plane) != 2:
            return
        self.recorder.begin()
        stroke = UnfinishedStroke(layer, self._brush.within)
        try:
            with layer.block_history():  # one paint event at the end
                yield from self._follow(stroke, event, plane)
        finally:
            self.recorder.end(stroke.voxels, stroke.affirmed)
            if layer is not self.recorder.layer:
                self.recorder.layer.refresh()

    def _follow(
        self, stroke: UnfinishedStroke, event: Event, plane: tuple[int, ...]
    ) -> Iterator[None]:
        here = self._place(event)
        joined = _JOIN in event.modifiers and self._same_slice(here, plane)
        tool = "straight" if joined else self._brush.tool
        start = self._last if joined else here
        ground = ground_of(self.layer, plane, self._brush.size_mm)
        way = TOOLS[tool].begin(stroke, ground, start)
        way.move(here)
        yield
        while event.type == "mouse_move":
            self._draw_on(way, event)
            yield
        self._draw_on(way, event)  # to where the button was let go, whatever came between
        self._last = self._place(event)
        way.end()

    def _draw_on(self, way: Way, event: Event) -> None:
        """Draw to where the mouse is, the way it came: napari's events are only some of it."""
        if not self._trail.followed:
            way.move(self._place(event))
        for place in self._trail.take():
            way.move(np.array(self.layer.world_to_data(place), float))

    def _place(self, event: Event) -> np.ndarray:
        return np.array(self.layer.world_to_data(event.position), float)

    def _same_slice(self, place: np.ndarray, plane: tuple[int, ...]) -> bool:
        if self._last is None:
            return False
        across = [axis for axis in range(3) if axis not in plane]
        return np.array_equal(np.round(place)[across], np.round(self._last)[across])


def _is_naparis_brush(call: Callable[..., object]) -> bool:
    """Whether a drag callback is the one that napari adds when one paints or erases."""
    module, name = getattr(call, "__module__", ""), getattr(call, "__name__", "")
    return name == "draw" and module.startswith("napari.layers.labels")
