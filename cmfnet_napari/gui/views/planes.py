"""Planes the way radiologists look at them, with the patient's letters at the borders.

The Study's arrays run to the head, the back and the patient's left, so a slice is right when
columns run to the right and rows run down, except that the head points up.
"""

from __future__ import annotations

from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.gui.patient.session import NONE_OPEN, Session

HEAD_AXIS = 0
PLANES = {"axial": (0, 1, 2), "sagittal": (2, 0, 1), "coronal": (1, 0, 2)}
# Which way the axis across the slices points, so that 3D views are not mirrored.
_DEPTH = {"axial": "away", "sagittal": "towards", "coronal": "away"}


def border_letters(grid: Grid, rows: int, columns: int) -> dict[str, str]:
    """Patient letters at the canvas borders when two array axes are displayed.

    Parameters
    ----------
    grid : Grid
        The Study's Grid.
    rows, columns : int
        Array axes (0 z, 1 y, 2 x) along the screen's vertical and horizontal.
    """
    low, high = grid.axis_letters[rows]
    top, bottom = (high, low) if rows == HEAD_AXIS else (low, high)
    left, right = grid.axis_letters[columns]
    return {"top": top, "bottom": bottom, "left": left, "right": right}


def turn(view: ViewerModel, plane: str) -> None:
    """Put a view's camera upright for a plane."""
    _, rows, _ = PLANES[plane]
    vertical = "up" if rows == HEAD_AXIS else "down"
    view.scene.camera.orientation = (_DEPTH[plane], vertical, "right")


class Planes(QObject):
    """Keeps the viewer on one of the three planes, upright and lettered.

    Attributes
    ----------
    plane : str
        ``axial``, ``sagittal`` or ``coronal``.
    """

    changed = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session, self._viewer = session, session.viewer
        self.plane = "axial"

    def open(self) -> None:
        """A patient has been opened: show it axial and keep the viewer on its planes."""
        self._viewer.dims.events.order.connect(self._follow)
        self._viewer.dims.events.ndisplay.connect(self._follow)
        self.show("axial")

    def show(self, plane: str) -> None:
        """Show ``axial``, ``sagittal`` or ``coronal`` and fit it to the canvas.

        Raises
        ------
        UserError
            No patient is open.
        """
        if self._session.patient is None:
            raise UserError(NONE_OPEN)
        self.plane = plane
        with self._viewer.dims.events.order.blocker(self._follow):  # else all is done twice
            self._viewer.dims.order = PLANES[plane]
        turn(self._viewer, plane)
        self._viewer.fit_to_view()
        self.changed.emit(plane)

    def close(self) -> None:
        """The patient is left: let go of the viewer."""
        self._viewer.dims.events.order.disconnect(self._follow)
        self._viewer.dims.events.ndisplay.disconnect(self._follow)

    def _follow(self) -> None:
        """Answer napari's own roll and transpose buttons with the next upright plane."""
        order = tuple(self._viewer.dims.order)
        if len(order) != 3:
            return
        if order not in PLANES.values():
            # Rolling on from an upright coronal plane gives (2, 1, 0): the axial one is next.
            rolled_on = self.plane == "coronal" and order == (2, 1, 0)
            slices_along = 0 if rolled_on else order[0]
            order = next(o for o in PLANES.values() if o[0] == slices_along)
        self.show(next(name for name, o in PLANES.items() if o == order))
