"""How the user draws: pens, modes, the slices between. It holds no widget."""

from __future__ import annotations

from typing import Literal

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.strokes.between import drawn_slices, fill_between, next_undrawn
from cmfnet_napari.core.strokes.brush import ValueRange
from cmfnet_napari.gui.drawing.brush_settings import Brush
from cmfnet_napari.gui.drawing.layer_pen import LayerPen
from cmfnet_napari.gui.drawing.shared_settings import SharedSettings
from cmfnet_napari.gui.drawing.tools import EMPTY
from cmfnet_napari.gui.patient.contour_recorder import OWN_SHOWN, ContourRecorder
from cmfnet_napari.gui.patient.layers import set_visible
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.messages import show_info
from cmfnet_napari.gui.views.navigation import Navigation
from cmfnet_napari.gui.views.trail import Trail

_BEYOND_MM = 10.0  # a tumour may go on so far above and below what is drawn
_NOTHING_DRAWN = "Draw a stroke of this class first."
_NO_CONTOUR = "There is no contour to draw on yet. Draw strokes, or train, first."


Mode = Literal["paint", "erase", "pan_zoom"]  # napari's words


class Drawing(QObject):
    """Tools of the open case, for its strokes and its contours: the selected layer is drawn on.

    Attributes
    ----------
    brush : Brush
        What all of them draw with.
    """

    changed = Signal()  # which layer is drawn on, and how
    filling_asked = Signal()  # of a contour's slices between corrected ones

    def __init__(
        self, session: Session, navigation: Navigation, brush: Brush, trail: Trail
    ) -> None:
        super().__init__(session)
        self._session = session
        self._navigation = navigation
        self._trail = trail
        self._pens: list[LayerPen] = []
        self.brush = brush
        self._settings = SharedSettings(session)
        brush.resized.connect(self._resize)
        brush.changed.connect(self._show)
        session.contour_added.connect(self._add_contour)
        session.contour_dropped.connect(self._drop_contour)
        session.shown_again.connect(lambda original, shown: self.attach(shown, original))
        session.viewer.layers.selection.events.active.connect(self._tell)

    def attach(self, layer: Labels, original: Labels | None = None) -> None:
        """Draw on a layer of another viewer, too.

        What is drawn goes to the journal. Who shows the same array elsewhere refreshes it when the
        recorder says ``recorded``; the original is refreshed here.

        Parameters
        ----------
        layer : Labels
            It shares the original's array.
        original : Labels, optional
            The scribbles or a contour of the main viewer; the scribbles where it is left out.
        """
        recorder = None if original is None else self._session.recorder_of(original)
        self._pens.append(
            LayerPen(layer, self.brush, recorder or self._session.recorder, self._trail)
        )
        self.brush.set_size(self.brush.size_mm)

    def detach(self, layer: Labels) -> None:
        """Draw on a layer no more."""
        for pen in [pen for pen in self._pens if pen.layer is layer]:
            self._pens.remove(pen)
            pen.close()

    def choose(self, tool: str) -> None:
        """Draw with a tool from now on; who was erasing goes on erasing, with it."""
        if self._session.patient is not None:
            layer = self._session.hand.layer
            self.set_mode("erase" if layer.mode == "erase" else "paint")
        self.brush.choose(tool)

    @property
    def on_contour(self) -> bool:
        """Whether a contour is drawn on, not the strokes."""
        return isinstance(self._session.hand, ContourRecorder)

    def set_mode(self, mode: Mode) -> None:
        """Paint, erase or move."""
        self._take_up(self._session.hand.layer, mode)

    def draw_on(self, contour: bool) -> None:
        """Draw on the contour that lies on top, or on the strokes."""
        session = self._session
        layers = [layer for layer in session.viewer.layers if layer in session.contours]
        if contour and not layers:
            show_info(_NO_CONTOUR)
            return
        mode: Mode = "erase" if session.hand.layer.mode == "erase" else "paint"
        self._take_up(layers[-1] if contour else session.scribbles, mode)

    def swap(self) -> None:
        """Draw on the contour, or on the strokes again."""
        if self._session.patient is not None:
            self.draw_on(not self.on_contour)

    def keep_within(self, image: str, low: float, high: float) -> None:
        """Let all tools change only what has a value from `low` to `high` in an image.

        Parameters
        ----------
        image : str
            Its name; empty for no limit, as where there is no such image.
        low, high : float
            The range in its units, ends included.
        """
        names = self._session.image_names
        if image not in names:
            self.brush.keep_within(None)
            return
        study, second = self._session.case.study, names.index(image) == 1
        array = (study.second if second else study.first).array
        self.brush.keep_within(ValueRange(array, low, high, study.seen if second else None))

    def set_ball(self, on: bool) -> None:
        """A ball in three dimensions, or a disc in the plane on the screen."""
        self._session.hand.layer.n_edit_dimensions = 3 if on else 2

    def protect(self, on: bool) -> None:
        """Keep what other classes have."""
        self._session.hand.layer.preserve_labels = on

    def fill_between(self) -> None:
        """Draw the slices between the nearest drawn ones, in the class in use.

        A contour has all of them already, so there it is asked for, and seen before it is done.
        """
        session, axis = self._session, self._axis
        if not session.writable:
            return
        if self.on_contour:
            self.filling_asked.emit()
            return
        mask = self._drawn()
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
        drawn = drawn_slices(self._drawn(), axis)
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
        self._settings.open()
        self._add(self._session.scribbles)

    def close(self) -> None:
        """The patient is left."""
        for pen in list(self._pens):
            self.detach(pen.layer)
        self.brush.keep_within(None)

    def _add_contour(self, layer: Labels) -> None:
        self._settings.add(layer)
        self._add(layer)

    def _add(self, layer: Labels) -> None:
        """Draw on a layer of the main viewer."""
        self.attach(layer, layer)
        events = layer.events
        for name in ("mode", "n_edit_dimensions", "preserve_labels", "selected_label"):
            getattr(events, name).connect(self._tell)

    def _drop_contour(self, recorder: ContourRecorder) -> None:
        for pen in [pen for pen in self._pens if pen.recorder is recorder]:
            self.detach(pen.layer)

    def _take_up(self, layer: Labels, mode: Mode) -> None:
        """Select a layer and draw on it, if it may be changed."""
        if mode != "pan_zoom" and not layer.editable:
            case = self._session.case
            show_info(plain(case.notice) if case.read_only else OWN_SHOWN)
            return
        self._session.viewer.layers.selection.active = layer
        set_visible(layer, True)
        layer.mode = mode

    def _tell(self, _event: object = None) -> None:
        self.changed.emit()

    @property
    def _axis(self) -> int:
        """Array axis that the slices on the screen follow each other on."""
        return self._session.viewer.dims.order[0]

    @property
    def _here(self) -> int:
        return self._navigation.voxel()[self._axis]

    def _drawn(self) -> np.ndarray:
        """What the class in use has in the layer that is drawn on, bool (z, y, x)."""
        layer = self._session.hand.layer
        return (np.asarray(layer.data) == layer.selected_label) & (layer.selected_label != EMPTY)

    def _resize(self) -> None:
        for pen in self._pens:
            pen.resize()

    def _show(self) -> None:
        for pen in self._pens:
            pen.show()
