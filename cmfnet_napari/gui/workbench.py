"""All controllers of a window: built in order, arranged for a patient, and ended in order."""

from __future__ import annotations

from functools import partial

import napari
import numpy as np
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.strokes.scribbles import BACKGROUND, FIRST_CLASS
from cmfnet_napari.gui import keys
from cmfnet_napari.gui.activity import Activity
from cmfnet_napari.gui.auto_strokes import AutoStrokes
from cmfnet_napari.gui.base_models import BaseModels
from cmfnet_napari.gui.brush_settings import Brush
from cmfnet_napari.gui.comparison import Comparison
from cmfnet_napari.gui.drawing import Drawing
from cmfnet_napari.gui.export import Export
from cmfnet_napari.gui.fusion import Fusion
from cmfnet_napari.gui.history import History
from cmfnet_napari.gui.instant import Instant
from cmfnet_napari.gui.layouts import Layouts
from cmfnet_napari.gui.marks import TOOLS
from cmfnet_napari.gui.navigation import Navigator
from cmfnet_napari.gui.orientation import PLANES, PlaneKeeper
from cmfnet_napari.gui.refining import Refining
from cmfnet_napari.gui.registering import Registering
from cmfnet_napari.gui.result import Result
from cmfnet_napari.gui.review import Review
from cmfnet_napari.gui.seen import SliceWatcher
from cmfnet_napari.gui.session import Session
from cmfnet_napari.gui.training import Training
from cmfnet_napari.gui.views import ViewKeeper
from cmfnet_napari.gui.windowing import Windowing


class Workbench(QObject):
    """The session and its controllers; each is handed what it names and nothing else.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer that shows the patient.
    """

    keys_asked = Signal()  # to be shown what every key does

    def __init__(self, viewer: napari.Viewer) -> None:
        session = Session(viewer)
        super().__init__(session)
        self.session = session
        self.result = Result(session)
        self.training = Training(session, self.result)
        self.refining = Refining(session, self.result, self.training)
        self.activity = Activity(self.training)
        self.history = History(session, self.result, self.training, self.refining)
        self.base_models = BaseModels(session)
        self.planes = PlaneKeeper(session)
        self.navigator = Navigator(session)
        self.fusion = Fusion(session)
        self.windowing = Windowing(session)
        self.layouts = Layouts(session, self.fusion)
        self.comparison = Comparison(session, self.result)
        self.watcher = SliceWatcher(session, self.planes, self.layouts, self.navigator, self.result)
        self.review = Review(session, self.result, self.navigator, self.watcher)
        self.export = Export(session, self.result, self.review, self.comparison)
        self.auto_strokes = AutoStrokes(session)
        self.registering = Registering(session, self.fusion, self.training)
        self.brush = Brush(session)
        self.drawing = Drawing(session, self.navigator, self.brush)
        self.instant = Instant(session, self.training, self.result)
        self.views = ViewKeeper(
            session,
            self.planes,
            self.navigator,
            self.layouts,
            self.fusion,
            self.brush,
            self.instant,
            self.training,
        )
        self._actions: keys.Actions = {}
        session.arriving.connect(self._arrange)
        session.leaving.connect(self._leave)

    def close(self) -> None:
        """End the worker, record what is left, let go of the viewer. Twice is once."""
        if not self.session.ended:
            self.session.close()
            self.watcher.close()
            self.navigator.close()

    def _arrange(self) -> None:
        """Planes, keys, scale bar, a place to start, and how the patient was seen last."""
        session, layer = self.session, self.session.scribbles
        self.planes.open()
        session.viewer.canvas.overlays.scale_bar.visible = True
        self.navigator.go_to_voxel(_first_place(layer.data))
        self.planes.show("axial")
        self.drawing.open()
        layer.selected_label = FIRST_CLASS
        layer.editable = session.writable
        session.viewer.layers.selection.active = layer
        self._actions = self._what_keys_do()
        keys.bind_keys(session.viewer, layer, self._actions)
        self.views.open()

    def _leave(self) -> None:
        """The patient is left: jobs end first, then what was arranged for it."""
        for controller in (
            self.training,
            self.refining,
            self.auto_strokes,
            self.review,
            self.comparison,
            self.registering,
            self.instant,
            self.result,
        ):
            controller.close()
        if self.session.patient is not None:
            keys.unbind_keys(self.session.scribbles, self._actions)
            self.drawing.close()
            self.views.close()
            self.planes.close()

    def _what_keys_do(self) -> keys.Actions:
        """What is done for every one of `keys.SHORTCUTS`."""
        session, drawing = self.session, self.drawing
        return {
            keys.BACKGROUND_KEY: partial(session.select_class, BACKGROUND),
            keys.FIRST_CLASS_KEY: partial(session.select_class, FIRST_CLASS),
            keys.NEXT_CLASS_KEY: session.select_next_class,
            **{keys.DRAWING[tool].key: partial(drawing.choose, tool) for tool in TOOLS},
            keys.DRAWING["between"].key: drawing.fill_between,
            keys.DRAWING["next"].key: partial(drawing.step, 1),
            keys.DRAWING["previous"].key: partial(drawing.step, -1),
            keys.UNDO_KEY: session.undo,
            keys.REDO_KEY: session.redo,
            **{keys.PLANE_KEYS[plane]: partial(self.planes.show, plane) for plane in PLANES},
            keys.LAYOUT_KEY: self.layouts.show_next,
            keys.CHECKERBOARD_KEY: self.fusion.switch_board,
            keys.FLICKER_KEY: self.fusion.flicker,
            keys.CROSSHAIR_KEY: self.navigator.switch_crosshair,
            keys.NEXT_PLACE_KEY: self.review.next_place,
            keys.SHEET_KEY: self.keys_asked.emit,
        }


def _first_place(scribbles: np.ndarray) -> tuple[int, int, int]:
    """The slice with most strokes of classes, else the middle one; and the middle of it."""
    marked = (scribbles >= FIRST_CLASS).sum(axis=(1, 2))
    z, y, x = (n // 2 for n in scribbles.shape)
    return (int(marked.argmax()) if marked.any() else z), y, x
