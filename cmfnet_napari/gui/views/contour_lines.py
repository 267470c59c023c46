"""Contours as smooth lines in a view, in place of napari's, which follow every voxel.

The layers stay as they are: visible, with their colours and opacity, and with their voxels for
every tool. Only what napari draws of a layer that is shown as a line is hidden in the canvas.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from napari.qt import QtViewer
from qtpy.QtCore import QObject, QTimer
from vispy.scene.visuals import Line

from cmfnet_napari.core.geometry.smooth_outline import smooth_outlines
from cmfnet_napari.gui.patient.layers import NO_CONTOUR
from cmfnet_napari.gui.views.spared import search_borders

_PAINTED_MS = 40
_WIDTH = 2.0  # pixels
_UNDER_CROSSHAIR = 900  # napari numbers its layers from 0


class ContourLines(QObject):
    """Follows the labels layers of one view.

    Parameters
    ----------
    view : ViewerModel
        The view.
    qt_viewer : napari.qt.QtViewer
        Its canvas.
    """

    def __init__(self, view: ViewerModel, qt_viewer: QtViewer) -> None:
        super().__init__()  # no child of the canvas, which would keep it, and the viewer with it
        self._view, self._canvas = view, qt_viewer.canvas
        self._lines: dict[Labels, Line] = {}
        self._changed: set[Labels] = set()
        self._timer = QTimer(self, singleShot=True, interval=0)
        self._timer.timeout.connect(self._draw_changed)
        view.layers.events.inserted.connect(self._follow_layers)
        view.layers.events.removed.connect(self._follow_layers)
        view.dims.events.ndisplay.connect(self._draw_all)
        self._follow_layers()

    def close(self) -> None:
        """Take all lines off the canvas, and show napari's again."""
        self._timer.stop()
        self._view.layers.events.inserted.disconnect(self._follow_layers)
        self._view.layers.events.removed.disconnect(self._follow_layers)
        self._view.dims.events.ndisplay.disconnect(self._draw_all)
        for layer in list(self._lines):
            self._drop(layer)
            self._show_naparis(layer, layer.visible)

    def points(self, layer: Labels) -> int:
        """How many points the lines of a layer have; 0 when napari draws it."""
        line = self._lines.get(layer)
        return len(line.pos) if line is not None and line.visible else 0

    def _follow_layers(self, _event: object = None) -> None:
        here = [layer for layer in self._view.layers if _may_be_line(layer)]
        for gone in [layer for layer in self._lines if layer not in here]:
            self._drop(gone)
        for layer in here:
            if layer not in self._lines:
                self._add(layer)

    def _add(self, layer: Labels) -> None:
        line = Line(np.zeros((2, 3)), connect="segments", width=_WIDTH, parent=self._scene)
        line.order = _UNDER_CROSSHAIR
        line.set_gl_state("translucent", depth_test=False)
        line.visible = False
        self._lines[layer] = line
        for event in _changes(layer):
            event.connect(self._on_change, position="last")  # after napari's canvas
        self._changed.add(layer)
        self._timer.start()

    def _drop(self, layer: Labels) -> None:
        for event in _changes(layer):
            event.disconnect(self._on_change)
        self._changed.discard(layer)
        self._lines.pop(layer).parent = None

    @property
    def _scene(self) -> object:
        return self._canvas.view.scene

    def _on_change(self, event: object) -> None:
        layer = event.source
        if layer in self._lines:
            if self._is_line(layer):
                self._show_naparis(layer, False)
            self._changed.add(layer)
            if not self._timer.isActive():
                self._timer.start(_PAINTED_MS if event.type in ("paint", "labels_update") else 0)

    def _draw_all(self, _event: object = None) -> None:
        self._changed.update(self._lines)
        self._timer.start(0)

    def _draw_changed(self) -> None:
        for layer in self._changed:
            self._draw(layer)
        self._changed.clear()

    def _draw(self, layer: Labels) -> None:
        line, as_line = self._lines[layer], self._is_line(layer)
        self._show_naparis(layer, layer.visible and not as_line)
        parts = list(self._parts(layer)) if as_line else []
        line.visible = bool(parts)
        if parts:
            points, colors = (np.concatenate(part) for part in zip(*parts, strict=True))
            line.set_data(pos=points.astype(np.float32), color=colors)

    def _parts(self, layer: Labels) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Segments (x, y, z of both ends; mm) and colours of every class on the slice."""
        axis = self._view.dims.order[0]
        rows, columns = self._view.dims.displayed
        index = round(layer.world_to_data(self._view.dims.point)[axis])
        if not 0 <= index < layer.data.shape[axis]:
            return
        plane = np.take(np.asarray(layer.data), index, axis)
        scale, origin = np.array(layer.scale), np.array(layer.translate)
        for label in (int(value) for value in np.unique(plane[plane != 0])):
            color = np.array(layer.colormap.map(label), float).ravel()
            color[3] *= layer.opacity
            for outline in smooth_outlines(plane == label):
                ends = np.repeat(outline, 2, axis=0)[1:-1]
                points = np.zeros((len(ends), 3))
                points[:, 1] = origin[rows] + ends[:, 0] * scale[rows]
                points[:, 0] = origin[columns] + ends[:, 1] * scale[columns]
                yield points, np.tile(color, (len(ends), 1))

    def _is_line(self, layer: Labels) -> bool:
        flat = self._view.dims.ndisplay == 2 and self._view.dims.ndim == layer.ndim == 3
        return flat and layer.visible and layer.contour > 0

    def _show_naparis(self, layer: Labels, on: bool) -> None:
        search_borders(layer, on or not layer.visible)
        drawn = self._canvas.layer_to_visual.get(layer)
        if drawn is not None and drawn.node.visible != on:
            drawn.node.visible = on


def _may_be_line(layer: object) -> bool:
    return type(layer) is Labels and layer.ndim == 3 and not layer.metadata.get(NO_CONTOUR)


def _changes(layer: Labels) -> tuple[object, ...]:
    events = layer.events
    looks = events.visible, events.contour, events.colormap, events.opacity
    return (*looks, events.data, events.set_data, events.paint, events.labels_update)
