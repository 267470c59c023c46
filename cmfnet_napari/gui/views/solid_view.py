"""A view of the contours in three dimensions, as surfaces: quick also without a graphics card."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from napari.components import ViewerModel
from napari.components.overlays import TextOverlay
from napari.layers import Labels, Layer, Surface
from qtpy.QtCore import QTimer

from cmfnet_napari.core.geometry.surface import Mesh, meshes, shade
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.gui.patient.layers import NO_CONTOUR, set_visible
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure
from cmfnet_napari.gui.views.solid_letters import zoom_for

_WAIT_MS = 300
_RIGHT_HANDED = ("away", "down", "right")  # of z, y, x: the patient, not the mirror image
_FROM_THE_FRONT, _HEAD_UP = (0, 1, 0), (1, 0, 0)  # z, y, x
Solids = dict[int, Mesh]
Placed = Callable[[tuple[np.ndarray, np.ndarray] | None], None]
Triangles = tuple[np.ndarray, np.ndarray]  # vertices and faces of a `Mesh`
_NOTHING = "The contour will be\nseen here in 3D."


def _nowhere(_box: object) -> None:
    """Nobody asks any more where the surfaces are."""


class SolidView:
    """Surfaces of all visible contours of the main viewer; strokes and the MR's edges are left out.

    Parameters
    ----------
    main : napari.Viewer
        The main viewer.
    grid : Grid
        The Study's.
    placed : callable
        Told the box around all surfaces (low and high end, mm; z, y, x); None: there are none.
    """

    def __init__(self, main: ViewerModel, grid: Grid, placed: Placed) -> None:
        self._placed = placed
        self.model = ViewerModel(title="3D", ndisplay=3)
        self._main, self._grid = main, grid
        self._box: tuple[np.ndarray, np.ndarray] | None = None  # around all surfaces, mm
        self._fitted = 0.0  # zoom, pixels a mm
        self._asked = 0  # counts; what was asked for before something newer is not shown
        self._watched: list[Labels] = []
        self._surfaces: list[Surface] = []  # more than are needed are hidden, not removed
        self._seen = self._late = False
        self._timer = QTimer(singleShot=True, interval=_WAIT_MS)
        self._timer.timeout.connect(self._compute)
        self.model.scene.camera.orientation = _RIGHT_HANDED
        self.model.canvas.overlays["cmfnet_empty"] = TextOverlay(
            text=_NOTHING, position="middle_center", font_size=10, visible=True
        )
        self.model.canvas.events.size.connect(self._fit)
        main.layers.events.inserted.connect(self._follow_layers)
        main.layers.events.removed.connect(self._follow_layers)
        self._follow_layers()

    def follow(self, seen: bool) -> None:
        """Follow the contours while somebody sees them; what is hidden costs nothing."""
        self._seen = seen
        if not seen:
            self._asked += 1
            self._late = self._late or self._timer.isActive()
            self._timer.stop()
        elif self._late:
            self._soon()

    def close(self) -> None:
        """Let go of the main viewer, and of who shows this one: a job may go on for a while."""
        self._asked += 1
        self._placed = _nowhere
        self._timer.stop()
        self._main.layers.events.inserted.disconnect(self._follow_layers)
        self._main.layers.events.removed.disconnect(self._follow_layers)
        self._watch([])
        self._surfaces.clear()
        self.model.layers.clear()

    def _follow_layers(self, _event: object = None) -> None:
        self._watch([layer for layer in self._main.layers if _is_contour(layer, self._grid)])
        self._soon()

    def _watch(self, layers: list[Labels]) -> None:
        for layer in self._watched:
            for event in _changes(layer):
                event.disconnect(self._soon)
        for layer in layers:
            for event in _changes(layer):
                event.connect(self._soon)
        self._watched = layers

    def _soon(self, _event: object = None) -> None:
        self._late = True
        if self._seen:
            self._timer.start()

    def _compute(self) -> None:
        self._asked += 1
        number = self._asked
        self._late = False
        layers = [layer for layer in self._watched if layer.visible]
        colors = [layer.colormap for layer in layers]

        def show(solids: list[Solids]) -> None:
            if self._asked == number:
                self._show(solids, colors)

        arrays = [np.asarray(layer.data) for layer in layers]
        run_in_background(_solids, arrays, self._grid, done=show, failed=show_failure)

    def _show(self, solids: list[Solids], colormaps: list[object]) -> None:
        """Put the new triangles into the surfaces there are.

        To remove one costs napari a collection of garbage and a rebuilt scene: a third of a second
        or more, with the mouse in the middle of a stroke.
        """
        before = any(surface.visible for surface in self._surfaces)
        found = [
            (mesh, shade(mesh, colormap.map(label)))
            for solid, colormap in zip(solids, colormaps, strict=True)
            for label, mesh in solid.items()
        ]
        for index, (mesh, colors) in enumerate(found):
            self._show_surface(index, (mesh.vertices, mesh.faces), colors)
        for surface in self._surfaces[len(found) :]:
            set_visible(surface, False)
        self.model.canvas.overlays["cmfnet_empty"].visible = not found
        self._box = _box([mesh.vertices for mesh, _colors in found])
        self._placed(self._box)
        if not before:
            self._fitted = self.model.scene.camera.zoom
            self.model.scene.camera.set_view_direction(_FROM_THE_FRONT, _HEAD_UP)
        self._fit()

    def _show_surface(self, index: int, triangles: Triangles, colors: np.ndarray) -> None:
        if index == len(self._surfaces):
            surface = Surface(triangles, vertex_colors=colors, shading="none")
            self._surfaces.append(surface)
            self.model.layers.append(surface)
            return
        surface = self._surfaces[index]
        surface.vertex_colors = None  # those of other vertices: there must be one for each
        surface.data = triangles
        surface.vertex_colors = colors
        set_visible(surface, True)

    def _fit(self, _event: object = None) -> None:
        """Show all of it and its letters, until the user has chosen how near to look."""
        camera = self.model.scene.camera
        if self._box is not None and np.isclose(camera.zoom, self._fitted):
            low, high = self._box
            camera.center = tuple((low + high) / 2)
            camera.zoom = self._fitted = zoom_for(low, high, self.model.canvas.size)


def _is_contour(layer: Layer, grid: Grid) -> bool:
    on_grid = type(layer) is Labels and layer.data.shape == grid.shape
    return on_grid and not layer.metadata.get(NO_CONTOUR)


def _box(vertices: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    if not vertices:
        return None
    every = np.concatenate(vertices)
    return every.min(axis=0), every.max(axis=0)


def _changes(layer: Labels) -> tuple[object, ...]:
    return layer.events.data, layer.events.visible, layer.events.colormap


def _solids(arrays: list[np.ndarray], grid: Grid) -> list[Solids]:
    return [meshes(labels, grid) for labels in arrays]
