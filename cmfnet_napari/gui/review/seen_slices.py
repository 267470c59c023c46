"""Which slices the user has looked at. It holds no widget."""

from __future__ import annotations

from qtpy.QtCore import QObject, QTimer, Signal

from cmfnet_napari.core.geometry.plane import VIEWS
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.views.layouts import Layouts
from cmfnet_napari.gui.views.navigation import Navigation
from cmfnet_napari.gui.views.planes import PLANES, Planes

LOOK_MS = 300  # a slice that flies by while one scrolls was not looked at


class SeenSlices(QObject):
    """Says which slice stays on the screen with the contour visible.

    Parameters
    ----------
    session : Session
        With its viewer.
    """

    looked_at = Signal(str, int)  # plane, slice
    moved = Signal(str, int)  # the same, at once

    def __init__(
        self,
        session: Session,
        planes: Planes,
        layouts: Layouts,
        navigation: Navigation,
        result: Result,
    ) -> None:
        super().__init__(session)
        self._session = session
        self._planes, self._layouts = planes, layouts
        self._navigation, self._result = navigation, result
        self._timer = QTimer(self, singleShot=True, interval=LOOK_MS)
        self._timer.timeout.connect(self._look)
        dims = session.viewer.dims
        dims.events.current_step.connect(self.look_again)
        dims.events.order.connect(self.look_again)
        layouts.changed.connect(self.look_again)
        layouts.enlarged_changed.connect(self.look_again)
        result.own_changed.connect(self.look_again)

    @property
    def place(self) -> tuple[str, int]:
        """The plane and the slice of the main view."""
        dims = self._session.viewer.dims
        axis = dims.order[0] if len(dims.order) == len(VIEWS) else 0
        return self._slice(axis)

    @property
    def places(self) -> list[tuple[str, int]]:
        """The planes and slices of all views on the screen."""
        main = self._planes.plane
        planes = {cell.plane(main) for cell in self._layouts.seen if not cell.solid}
        return [self._slice(PLANES[plane][0]) for plane in sorted(planes)]

    def _slice(self, axis: int) -> tuple[str, int]:
        return VIEWS[axis], self._navigation.voxel()[axis]

    def look_again(self) -> None:
        """Another slice, or another contour on the same one."""
        if self._session.patient is not None:
            self._timer.start()
            self.moved.emit(*self.place)

    def close(self) -> None:
        """Let go of the viewer."""
        self._timer.stop()
        events = self._session.viewer.dims.events
        events.current_step.disconnect(self.look_again)
        events.order.disconnect(self.look_again)

    def _look(self) -> None:
        layer = self._result.prediction
        if layer is None or self._result.own:  # what the hand has changed is out of sight
            return
        if layer.visible and self._session.viewer.dims.ndisplay == 2:
            for plane, index in self.places:
                self.looked_at.emit(plane, index)
