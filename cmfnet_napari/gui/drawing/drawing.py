"""How the user draws: pens, modes, the slices between. It holds no widget."""

from __future__ import annotations

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject

from cmfnet_napari.core.strokes.between import drawn_slices, fill_between, next_undrawn
from cmfnet_napari.core.strokes.scribbles import UNLABELLED
from cmfnet_napari.gui.drawing.brush_settings import Brush
from cmfnet_napari.gui.drawing.layer_pen import LayerPen
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.messages import show_info
from cmfnet_napari.gui.views.navigation import Navigation
from cmfnet_napari.gui.views.trail import Trail

_BEYOND_MM = 10.0  # a tumour may go on so far above and below what is drawn
_NOTHING_DRAWN = "Draw a stroke of this class first."


class Drawing(QObject):
    """Tools of the open case. Other viewers that show its strokes `attach` their layer.

    Attributes
    ----------
    brush : Brush
        What all of them draw with.
    """

    def __init__(
        self, session: Session, navigation: Navigation, brush: Brush, trail: Trail
    ) -> None:
        super().__init__(session)
        self._session = session
        self._navigation = navigation
        self._trail = trail
        self._pens: list[LayerPen] = []
        self.brush = brush
        brush.resized.connect(self._resize)
        brush.changed.connect(self._show)

    def attach(self, layer: Labels) -> None:
        """Draw on a layer: the scribbles, or one of another viewer that shares their array.

        Strokes go to the journal. Who shows the same array elsewhere refreshes it when the
        recorder says ``recorded``; the scribbles layer itself is refreshed here.
        """
        self._pens.append(LayerPen(layer, self.brush, self._session.recorder, self._trail))
        self.brush.set_size(self.brush.size_mm)

    def detach(self, layer: Labels) -> None:
        """Draw on a layer no more."""
        for pen in [pen for pen in self._pens if pen.layer is layer]:
            self._pens.remove(pen)
            pen.close()

    def choose(self, tool: str) -> None:
        """Draw with a tool from now on; who was erasing goes on erasing, with it."""
        if self._session.patient is not None:
            layer = self._session.scribbles
            self.set_mode("erase" if layer.mode == "erase" else "paint")
        self.brush.choose(tool)

    def set_mode(self, mode: str) -> None:
        """Paint, erase or move (napari's ``paint``, ``erase``, ``pan_zoom``)."""
        layer = self._session.scribbles
        self._session.viewer.layers.selection.active = layer
        layer.visible = True
        layer.mode = mode

    def set_ball(self, on: bool) -> None:
        """A ball in three dimensions, or a disc in the plane on the screen."""
        for pen in self._pens:
            pen.layer.n_edit_dimensions = 3 if on else 2

    def fill_between(self) -> None:
        """Draw the slices between the nearest drawn ones, in the class in use."""
        session, axis = self._session, self._axis
        if not session.writable:
            return
        mask = self._strokes()
        if not mask.any():
            show_info(_NOTHING_DRAWN)
            return
        new = fill_between(mask, axis, self._here, session.case.study.grid.spacing)
        strokes = np.where(new, np.uint8(session.scribbles.selected_label), np.uint8(0))
        if session.recorder.add(strokes, "interpolation") is None:
            show_info(
                "There is nothing to fill: draw the class on two slices that have empty ones "
                "between them, and go to one of those."
            )

    def step(self, direction: int) -> None:
        """Go to the next slice (1: up the axis, −1: down) where the class has no stroke."""
        axis, grid = self._axis, self._session.case.study.grid
        drawn = drawn_slices(self._strokes(), axis)
        beyond = round(_BEYOND_MM / grid.spacing[axis])
        at = next_undrawn(drawn, self._here, direction, beyond, grid.shape[axis])
        if at is not None:
            self._navigation.go_to_slice(axis, at)
        elif len(drawn):
            show_info("There is no further slice without a stroke of this class this way.")
        else:
            show_info(_NOTHING_DRAWN)

    def open(self) -> None:
        """A patient has been opened."""
        self.attach(self._session.scribbles)

    def close(self) -> None:
        """The patient is left."""
        for pen in list(self._pens):
            self.detach(pen.layer)

    @property
    def _axis(self) -> int:
        """Array axis that the slices on the screen follow each other on."""
        return self._session.viewer.dims.order[0]

    @property
    def _here(self) -> int:
        return self._navigation.voxel()[self._axis]

    def _strokes(self) -> np.ndarray:
        """Strokes of the class in use, bool (z, y, x)."""
        code = self._session.scribbles.selected_label
        layer = np.asarray(self._session.scribbles.data)
        return (layer == code) & (code != UNLABELLED)

    def _resize(self) -> None:
        for pen in self._pens:
            pen.resize()

    def _show(self) -> None:
        for pen in self._pens:
            pen.show()
