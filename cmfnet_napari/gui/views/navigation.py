"""One place and one scale for all views: where the planes go through, zoom, pan, crosshair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.gui.patient.session import Session

_SAME = 1e-6  # napari's cameras come back from the canvas rounded; do not follow that


class Navigation(QObject):
    """Moves all planes to a place, and keeps the views beside the main one where it is.

    The main viewer's `dims.point` is the place. It holds no widget.
    """

    moved = Signal()  # the place
    crosshair_changed = Signal(bool)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._main = session.viewer
        self._links: dict[int, list[tuple[object, Callable]]] = {}
        self._views: list[ViewerModel] = []
        self._following = False
        self.crosshair = True
        self._main.dims.events.current_step.connect(self._follow_main)
        self._main.dims.events.order.connect(self._tell)
        self._link_camera(self._main)

    @property
    def place(self) -> np.ndarray:
        """Where the planes go through, mm along the study's own axes (z, y, x)."""
        return np.array(self._main.dims.point[-3:])

    def voxel(self) -> tuple[int, int, int]:
        """The voxel (z, y, x) of the Study's Grid that the planes go through, or the nearest.

        napari's own steps do not say it: they are as fine as the finest of all layers.

        Raises
        ------
        UserError
            No patient is open.
        """
        grid = self._session.case.study.grid
        index = np.rint((self.place - np.array(grid.translate)) / np.array(grid.spacing))
        z, y, x = (int(i) for i in np.clip(index, 0, np.array(grid.shape) - 1))
        return z, y, x

    def go_to_voxel(self, voxel: tuple[int, int, int]) -> np.ndarray:
        """Put the planes through a voxel, the picture unmoved; return its place (mm, z y x).

        Parameters
        ----------
        voxel : tuple of int
            (z, y, x) on the Study's Grid; outside of it the nearest voxel is taken.

        Raises
        ------
        UserError
            No patient is open.
        """
        grid = self._session.case.study.grid
        index = np.clip(voxel, 0, np.array(grid.shape) - 1)
        place = np.array(grid.translate) + index * np.array(grid.spacing)
        self.go_to(place)
        return place

    def go_to_slice(self, axis: int, index: int) -> None:
        """Show a slice across an axis (0 z, 1 y, 2 x); as `go_to_voxel`."""
        voxel = list(self.voxel())
        voxel[axis] = index
        self.go_to_voxel(tuple(voxel))

    def step(self, view: ViewerModel, slices: int) -> None:
        """Go so many slices on along the axis that a view cuts, at most to the last one."""
        axis, grid = view.dims.order[0], self._session.case.study.grid
        index = int(np.clip(self.voxel()[axis] + slices, 0, grid.shape[axis] - 1))
        self._main.dims.set_point(axis, grid.translate[axis] + index * grid.spacing[axis])

    def look_at(self, voxel: tuple[int, int, int]) -> None:
        """Go to a voxel and centre it in every view, whatever plane it shows; as `go_to_voxel`."""
        place = self.go_to_voxel(voxel)
        with self.still():
            for view in self._flat():
                rows, columns = view.dims.displayed
                view.scene.camera.center = 0.0, place[rows], place[columns]

    def go_to(self, place: np.ndarray) -> None:
        """Put the planes through a place (mm along the study's own axes), the picture unmoved."""
        last = range(self._main.dims.ndim)[-3:]  # others are of a layer that is not ours
        self._main.dims.set_point(last, [float(value) for value in place])

    def switch_crosshair(self) -> None:
        """Show or hide the crosshair."""
        self.crosshair = not self.crosshair
        self.crosshair_changed.emit(self.crosshair)

    def link(self, view: ViewerModel) -> None:
        """Let a view follow the place and the scale, and be followed."""
        view.dims.point = self._main.dims.point
        self._views.append(view)
        follow = partial(self._follow_view, view)
        view.dims.events.current_step.connect(follow)
        self._link_camera(view)
        self._links[id(view)].append((view.dims.events.current_step, follow))

    def unlink(self, view: ViewerModel) -> None:
        """Let a view alone."""
        self._views.remove(view)
        for event, callback in self._links.pop(id(view)):
            event.disconnect(callback)

    def fit(self, main: bool = True) -> None:
        """Show the whole of every plane, all at the scale of the one that needs most room.

        Without `main` the main view, which is hidden, needs none.
        """
        views = [view for view in self._flat() if main or view is not self._main]
        with self.still():
            for view in views:
                view.fit_to_view()
            smallest = min((view.scene.camera.zoom for view in views), default=1.0)
            for view in views:
                view.scene.camera.zoom = smallest

    def follow_main(self) -> None:
        """Show every plane at the scale of the main view, where it shows as much."""
        with self.still():
            for view in self._flat():
                if view is not self._main:
                    view.fit_to_view()
        self._follow_camera(self._main)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Cameras that move meanwhile are not followed."""
        self._following = True
        try:
            yield
        finally:
            self._following = False

    def close(self) -> None:
        """Let go of the main viewer."""
        self._main.dims.events.current_step.disconnect(self._follow_main)
        self._main.dims.events.order.disconnect(self._tell)
        for event, callback in self._links.pop(id(self._main)):
            event.disconnect(callback)

    def _flat(self) -> list[ViewerModel]:
        """The views that show a plane."""
        return [view for view in (self._main, *self._views) if _is_flat(view)]

    def _tell(self) -> None:
        self.moved.emit()

    def _follow_main(self) -> None:
        """Views slice again only where their own slice is another one."""
        point = self._main.dims.point
        if len(point) == 3:
            for view in self._views:
                axis = view.dims.order[0]
                if view.dims.point[axis] != point[axis]:
                    view.dims.set_point(axis, point[axis])
        self._tell()

    def _follow_view(self, view: ViewerModel, _event: object) -> None:
        axis = view.dims.order[0]
        here = view.dims.point[axis]
        if self._main.dims.ndim == 3 and self._main.dims.point[axis] != here:
            self._main.dims.set_point(axis, here)

    def _link_camera(self, view: ViewerModel) -> None:
        follow = partial(self._follow_camera, view)
        events = view.scene.camera.events
        self._links[id(view)] = [(events.center, follow), (events.zoom, follow)]
        for event, callback in self._links[id(view)]:
            event.connect(callback)

    def _follow_camera(self, source: ViewerModel, _event: object = None) -> None:
        """Pan the others along the axes they share with a view, and zoom them as it is."""
        if self._following or not _is_flat(source) or not self._views:
            return
        camera = source.scene.camera
        shared = dict(zip(source.dims.displayed, camera.center[-2:], strict=True))
        with self.still():
            for view in self._flat():
                other = view.scene.camera
                center = [
                    shared.get(axis, here)
                    for axis, here in zip(view.dims.displayed, other.center[-2:], strict=True)
                ]
                if not np.allclose(center, other.center[-2:], rtol=0, atol=_SAME):
                    other.center = 0.0, *center
                if not np.isclose(other.zoom, camera.zoom, rtol=_SAME):
                    other.zoom = camera.zoom


def _is_flat(view: ViewerModel) -> bool:
    """Whether a view shows a plane of the study: no volume, and no layer with a fourth axis."""
    return view.dims.ndisplay == 2 and view.dims.ndim == 3
