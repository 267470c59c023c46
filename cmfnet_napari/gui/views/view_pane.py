"""One view beside the main one, as a widget: canvas, mouse, crosshair."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from napari.components import Dims, ViewerModel
from napari.qt import QtViewer
from napari.utils.action_manager import action_manager
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from cmfnet_napari.gui.views.canvas_mouse import CanvasMouse, SolidMouse, ViewLinks
from cmfnet_napari.gui.views.canvas_words import Words
from cmfnet_napari.gui.views.contour_lines import ContourLines
from cmfnet_napari.gui.views.crosshair import Crosshair
from cmfnet_napari.gui.views.layouts import Cell
from cmfnet_napari.gui.views.linked_layers import LinkedLayer
from cmfnet_napari.gui.views.linked_view import LinkedView, Painted
from cmfnet_napari.gui.views.measures import MeasureMark
from cmfnet_napari.gui.views.readout import Readout
from cmfnet_napari.gui.views.solid_letters import SolidLetters
from cmfnet_napari.gui.views.solid_view import SolidView


class Overlay:
    """What we draw over a view of planes: crosshair, slice position, value under the mouse."""

    def __init__(
        self,
        links: ViewLinks,
        view: ViewerModel,
        qt_viewer: QtViewer,
        image: str = "",
        keys: QWidget | None = None,
        enlarge: Callable[[], None] = lambda: None,
    ) -> None:
        self._navigation, self._view = links.navigation, view
        self.image = image
        self.crosshair = Crosshair(qt_viewer)
        self.outlines = ContourLines(view, qt_viewer)
        self.words = Words(view, qt_viewer)
        self.mark = MeasureMark(links.session, links.measures, view, qt_viewer, self.words)
        self._readout = Readout(links.session, view, self.words)
        self.mouse = CanvasMouse(
            links, view, qt_viewer.canvas.native, self.mark, self._readout, image, keys, enlarge
        )
        self._scale = 0.0, 0
        self._drawn = QTimer(self.mouse, singleShot=True, interval=0)
        self._drawn.timeout.connect(self._readout.fit_bar)
        self._drawn.timeout.connect(self.mouse.show_value)
        self._draw = qt_viewer.canvas.events.draw
        self._draw.connect(self._on_draw)

    def update(self, crosshair: bool) -> None:
        """Follow the place of the planes; with a fourth axis there is none to show."""
        self.mouse.show_value()
        self.mark.follow()
        if self._view.dims.ndim != 3:
            self.crosshair.show(None)
            return
        self._readout.show_plane(self.image)
        if crosshair and self._view.dims.ndisplay == 2:
            down, across = self._navigation.place[list(self._view.dims.displayed)]
            self.crosshair.show((float(down), float(across)))
        else:
            self.crosshair.show(None)

    def close(self) -> None:
        """Take everything off the canvas."""
        self.mouse.close()
        self.crosshair.close()
        self.outlines.close()
        self.mark.close()
        self.words.close()
        self._drawn.stop()
        self._draw.disconnect(self._on_draw)

    def _on_draw(self, _event: object) -> None:
        """Only then does napari know the scale of a canvas of another size, and says nothing."""
        scale = self._view.scene.camera.zoom, self._view.canvas.size[1]
        if scale != self._scale:
            self._scale = scale
            self._drawn.start()


class ViewPane:
    """A view of planes and its canvas.

    Parameters
    ----------
    links : ViewLinks
        Of a session with an open patient.
    cell : Cell
        Which image it shows.
    keys : QWidget
        The main view's canvas.
    painted : callable
        Told a linked layer that was painted into.
    enlarge : callable
        Gives it all the room.
    """

    def __init__(
        self,
        links: ViewLinks,
        cell: Cell,
        keys: QWidget,
        painted: Painted,
        enlarge: Callable[[], None],
    ) -> None:
        self._navigation = links.navigation
        session = links.session

        def added(linked: LinkedLayer, dims: Dims) -> None:
            recorder = session.recorder_of(linked.original)
            if recorder is not None:
                recorder.listen(linked.shown, dims)
                session.shown_again.emit(linked.original, linked.shown)

        image = "" if cell.image is None else session.image_names[cell.image]
        self.view = LinkedView(session.viewer, image, painted, added)
        self.widget = _canvas(self.view.model)
        self.overlay = Overlay(links, self.view.model, self.widget, image, keys, enlarge)
        self._linked = False

    def show(self, plane: str) -> None:
        """Show a plane and follow the main view."""
        self.view.follow(True)
        self.view.show(plane)
        if not self._linked:
            self._navigation.link(self.view.model)
            self._linked = True
        self.widget.show()

    def hide(self) -> None:
        """Follow no longer, which would cost time for nothing."""
        if self._linked:
            self._navigation.unlink(self.view.model)
            self._linked = False
        self.view.follow(False)
        self.widget.hide()

    def update(self, crosshair: bool) -> None:
        """Follow the place of the planes."""
        self.overlay.update(crosshair)

    def close(self) -> None:
        """End it and its widget."""
        self.hide()
        self.overlay.close()
        self.view.close()
        _end(self.widget)


class SolidPane:
    """The view in three dimensions and its canvas; made as a `ViewPane` is."""

    def __init__(
        self,
        links: ViewLinks,
        _cell: Cell,
        keys: QWidget,
        _painted: Painted,
        enlarge: Callable[[], None],
    ) -> None:
        session = links.session
        grid = session.case.study.grid
        self.view = SolidView(session.viewer, grid, self._put_letters)
        self.widget = _canvas(self.view.model)
        self.letters = SolidLetters(self.widget, grid)
        self._mouse = SolidMouse(self.widget.canvas.native, keys, enlarge)

    def show(self, _plane: str) -> None:
        """Show it; it has no plane."""
        self.view.follow(True)
        self.widget.show()

    def hide(self) -> None:
        """Hide it, and compute nothing for it."""
        self.view.follow(False)
        self.widget.hide()

    def update(self, _crosshair: bool) -> None:
        """Nothing in it moves with the planes."""

    def _put_letters(self, box: tuple[np.ndarray, np.ndarray] | None) -> None:
        if box is None:
            self.letters.hide()
        else:
            self.letters.show(*box)

    def close(self) -> None:
        """End it and its widget."""
        self._mouse.close()
        self.letters.close()
        self.view.close()
        _end(self.widget)


def _canvas(model: ViewerModel) -> QtViewer:
    """A canvas of napari's, without its sliders: wheel and arrows step slices.

    napari binds every key anew for each of its canvases, and all welcome screens follow each one
    that is bound: it takes 0.08 s without that, 0.17 with it, and nobody sees them.
    """
    with action_manager.events.shortcut_changed.blocker():
        widget = QtViewer(model)
    widget.setAcceptDrops(False)
    widget.dims.hide()
    return widget


def _end(widget: QtViewer) -> None:
    widget.setParent(None)
    widget.close()
    widget.deleteLater()
