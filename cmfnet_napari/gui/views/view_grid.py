"""Places the views beside napari's own canvas, and lets them show the same strokes.

napari has one canvas. Its grid mode shows other layers in each cell, but one plane in all. So
every further view is a ViewerModel and a QtViewer of napari's own (as in its example of several
viewers), with layers that share the main viewer's arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from napari.layers import Labels
from napari.qt import QtViewer
from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QGridLayout, QMainWindow, QWidget

from cmfnet_napari.gui.shared.widgets import is_there
from cmfnet_napari.gui.views.canvas_mouse import ViewLinks
from cmfnet_napari.gui.views.layouts import LAYOUTS, MAIN, Cell, Layouts
from cmfnet_napari.gui.views.linked_layers import LinkedLayer
from cmfnet_napari.gui.views.planes import Planes
from cmfnet_napari.gui.views.room import without_numbers
from cmfnet_napari.gui.views.view_pane import Overlay, SolidPane, ViewPane

_REDRAW_MS = 40
_SIZED_MS = 50  # Qt gives new canvases their size in several events
_OTHERS_MS = 100  # while one scrolls, every canvas that is drawn anew costs frames


class ViewGrid(QObject):
    """Follows the window's arrangement.

    Parameters
    ----------
    dock : QWidget
        The dock, which knows its window.
    links : ViewLinks
        What every view is tied to.
    planes, layouts
        The window's: which plane, and which views.
    """

    def __init__(self, dock: QWidget, links: ViewLinks, planes: Planes, layouts: Layouts) -> None:
        super().__init__(dock)
        session, navigation = links.session, links.navigation
        self._dock, self._links, self._session, self._navigation = dock, links, session, navigation
        self._planes, self._layouts = planes, layouts
        self._frame: QWidget | None = None
        self._main: QtViewer | None = None
        self._overlay: Overlay | None = None
        self._panes: dict[Cell, ViewPane | SolidPane] = {}
        self._shown: list[ViewPane | SolidPane] = []
        self._painted: set[Labels] = set()
        self._timer = QTimer(self, singleShot=True, interval=_REDRAW_MS)
        self._timer.timeout.connect(self._redraw_painted)
        self._set_cameras: Callable[[], None] = navigation.fit
        self._settled = QTimer(self, singleShot=True, interval=_SIZED_MS)
        self._settled.timeout.connect(lambda: self._set_cameras())
        session.opened.connect(self._on_opened)
        session.closed.connect(self._on_closed)
        planes.changed.connect(self._turn)
        layouts.changed.connect(self._arrange)
        layouts.enlarged_changed.connect(self._enlarge)
        layouts.enlarging.connect(self._enlarge_under_mouse)
        self._later = QTimer(self, singleShot=True, interval=_OTHERS_MS)
        self._later.timeout.connect(self._update_panes)
        navigation.moved.connect(self._follow_place)
        navigation.crosshair_changed.connect(self._update)

    def take_keys(self) -> None:
        """Let keys act on the images; of several views all act alike."""
        if self._main is not None and is_there(self._main):
            canvases = [self._main.canvas, *(pane.widget.canvas for pane in self._shown)]
            seen = [canvas.native for canvas in canvases if canvas.native.isVisible()]
            if seen:
                seen[0].setFocus(Qt.FocusReason.OtherFocusReason)

    @property
    def panes(self) -> list[ViewPane | SolidPane]:
        """The views that are shown beside the main one."""
        return list(self._shown)

    def _on_opened(self) -> None:
        self._main = _find_main(self._dock)
        if self._main is None:
            return
        without_numbers(self._main)
        enlarge = partial(self._layouts.enlarge, MAIN)
        self._overlay = Overlay(self._links, self._session.viewer, self._main, enlarge=enlarge)
        self._session.recorder.recorded.connect(self._redraw_twins)
        self._arrange(self._layouts.name, self._navigation.follow_main)

    def _on_closed(self) -> None:
        self._timer.stop()
        self._settled.stop()
        self._later.stop()
        self._painted.clear()
        self._shown.clear()
        gone = self._main is not None and not is_there(self._main)  # and all that lay beside it
        for pane in self._panes.values():
            pane.view.close() if gone else pane.close()
        self._panes.clear()
        if not gone:
            self._unframe()
            if self._overlay is not None:
                self._overlay.close()
        self._overlay = self._main = None

    def _arrange(self, name: str, then: Callable[[], None] | None = None) -> None:
        """Show an arrangement; `then` sets the cameras once every canvas has its size."""
        if self._overlay is None or self._session.patient is None:
            return
        layout = LAYOUTS[name]
        for pane in self._shown:
            pane.hide()
        for cell in layout.cells:
            self._pane(cell)
        alone = self._session.image_names[0] if layout.parted else ""
        self._overlay.image = self._overlay.mouse.image = alone
        self._place(layout.cells)
        self._show_seen()
        self._set_cameras = then or self._navigation.fit
        self._settled.start()

    def _enlarge(self) -> None:
        """One view has all the room, or each has its own again."""
        if self._overlay is not None and self._session.patient is not None:
            self._show_seen()
            self._set_cameras = partial(self._navigation.fit, MAIN in self._layouts.seen)
            self._settled.start()

    def _enlarge_under_mouse(self) -> None:
        if self._overlay is None:
            return
        places = {MAIN: self._main, **{c: self._panes[c].widget for c in self._layouts.cells}}
        for cell in self._layouts.seen:
            widget = places[cell]
            if widget.rect().contains(widget.mapFromGlobal(QCursor.pos())):
                self._layouts.enlarge(cell)
                return

    def _show_seen(self) -> None:
        """Show the views that are on the screen, hide the others, and share the room."""
        seen = self._layouts.seen
        self._main.setVisible(MAIN in seen)
        self._shown = [self._panes[cell] for cell in seen if cell != MAIN]
        for pane in self._panes.values():
            if pane not in self._shown:
                pane.hide()
        self._stretch(seen)
        self._turn_panes(self._planes.plane)
        self._update()

    def _pane(self, cell: Cell) -> ViewPane | SolidPane:
        if cell not in self._panes:
            kind = SolidPane if cell.solid else ViewPane
            keys = self._main.canvas.native
            enlarge = partial(self._layouts.enlarge, cell)
            self._panes[cell] = kind(self._links, cell, keys, self._on_painted, enlarge)
        return self._panes[cell]

    def _turn(self, plane: str) -> None:
        self._turn_panes(plane)
        if self._shown:
            self._navigation.fit()
        self._update()

    def _turn_panes(self, plane: str) -> None:
        with self._navigation.still():
            for cell, pane in self._panes.items():
                if pane in self._shown:
                    pane.show(cell.plane(plane))

    def _follow_place(self) -> None:
        """The main view at once; crosshairs and words of the others ten times a second."""
        if self._overlay is not None and self._session.patient is not None:
            self._overlay.update(self._crosshair)
            if self._shown and not self._later.isActive():
                self._later.start()

    def _update(self) -> None:
        """All views at once."""
        if self._overlay is not None and self._session.patient is not None:
            self._overlay.update(self._crosshair)
            self._update_panes()

    def _update_panes(self) -> None:
        for pane in self._shown:
            pane.update(self._crosshair)

    @property
    def _crosshair(self) -> bool:
        return self._navigation.crosshair and bool(self._shown)

    # --- strokes

    def _on_painted(self, painted: LinkedLayer) -> None:
        """Show a stroke that is drawn in one view in all others."""
        self._painted.add(painted.original)
        if not self._timer.isActive():
            self._timer.start()
        for linked in self._linked_layers(painted.original):
            if linked is not painted:
                linked.redraw_soon()

    def _redraw_painted(self) -> None:
        for layer in self._painted:
            layer.refresh(thumbnail=False, highlight=False, extent=False)
        self._painted.clear()

    def _redraw_twins(self) -> None:
        """After undo and strokes that were not painted."""
        for linked in self._linked_layers(self._session.scribbles):
            linked.redraw_soon()

    def _linked_layers(self, layer: Labels) -> list[LinkedLayer]:
        found = [pane.view.linked(layer) for pane in self._shown if isinstance(pane, ViewPane)]
        return [linked for linked in found if linked is not None]

    # --- places

    def _place(self, cells: tuple[Cell, ...]) -> None:
        """Give all views a place."""
        if self._frame is None:
            if not cells:
                return
            self._frame = _frame(self._main)
        grid = self._frame.layout()
        for cell in cells:
            grid.addWidget(self._panes[cell].widget, cell.row, cell.column)

    def _stretch(self, seen: tuple[Cell, ...]) -> None:
        """Rows and columns that nothing is seen in take no room."""
        if self._frame is None:
            return
        grid = self._frame.layout()
        for row in range(grid.rowCount()):
            grid.setRowStretch(row, int(any(cell.row == row for cell in seen)))
        for column in range(grid.columnCount()):
            grid.setColumnStretch(column, int(any(cell.column == column for cell in seen)))

    def _unframe(self) -> None:
        """Give napari's window its canvas back."""
        if self._frame is not None:
            self._frame.parentWidget().layout().addWidget(self._main)
            self._main.show()
            self._frame.setParent(None)
            self._frame.deleteLater()
            self._frame = None


def window_of(widget: QWidget | None) -> QMainWindow | None:
    """The window of napari, found from a dock that may float."""
    while widget is not None and not isinstance(widget, QMainWindow):
        widget = widget.parentWidget()
    return widget


def _find_main(widget: QWidget) -> QtViewer | None:
    """The canvas of napari with its sliders."""
    window = window_of(widget)
    return None if window is None else window.centralWidget().findChild(QtViewer)


def _frame(main: QtViewer) -> QWidget:
    """A grid in napari's central widget, in place of the canvas, which moves into it.

    It stays within its window all the time, so Qt keeps its OpenGL context.
    """
    central = main.parentWidget()
    frame = QWidget(central)
    grid = QGridLayout(frame)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setSpacing(2)
    central.layout().addWidget(frame)
    grid.addWidget(main, 0, 0)
    return frame
