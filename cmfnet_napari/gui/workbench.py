"""All controllers of a window: built in order, arranged for a patient, and ended in order."""

from __future__ import annotations

import napari
import numpy as np
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.strokes.scribbles import FIRST_CLASS
from cmfnet_napari.gui.contours.comparison import Comparison
from cmfnet_napari.gui.contours.kept_contour import KeptContour
from cmfnet_napari.gui.contours.provisional import ProvisionalContour
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.drawing import drawing_keys
from cmfnet_napari.gui.drawing.automatic_strokes import AutomaticStrokes
from cmfnet_napari.gui.drawing.brush_settings import Brush
from cmfnet_napari.gui.drawing.drawing import Drawing
from cmfnet_napari.gui.drawing.reshaping import Reshaping
from cmfnet_napari.gui.export.report_export import ReportExport
from cmfnet_napari.gui.key_sheet import SHOW_KEYS
from cmfnet_napari.gui.last_view import LastView
from cmfnet_napari.gui.patient.open_time import OpenTime
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.registration.image_placement import ImagePlacement
from cmfnet_napari.gui.review.log_export import LogExport
from cmfnet_napari.gui.review.review import NEXT_PLACE, Review
from cmfnet_napari.gui.review.seen_slices import SeenSlices
from cmfnet_napari.gui.review.sign_off import SignOff
from cmfnet_napari.gui.shared.shortcuts import Actions, bind_keys, bind_on_layer, unbind_keys
from cmfnet_napari.gui.training.base_models import BaseModels
from cmfnet_napari.gui.training.preview_choice import PreviewChoice
from cmfnet_napari.gui.training.refinement import Refinement
from cmfnet_napari.gui.training.training import Training
from cmfnet_napari.gui.training.training_activity import TrainingActivity
from cmfnet_napari.gui.views import view_keys
from cmfnet_napari.gui.views.fusion import Fusion
from cmfnet_napari.gui.views.layouts import Layouts
from cmfnet_napari.gui.views.measures import Measures
from cmfnet_napari.gui.views.navigation import Navigation
from cmfnet_napari.gui.views.planes import Planes
from cmfnet_napari.gui.views.trail import Trail
from cmfnet_napari.gui.views.windowing import Windowing


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
        self.open_time = OpenTime(session)
        self.result = Result(session)
        self.kept_contour = KeptContour(session, self.result)
        self.training = Training(session, self.result)
        self.refinement = Refinement(session, self.result, self.training)
        self.training_activity = TrainingActivity(self.training)
        self.preview_choice = PreviewChoice(session, self.result, self.training, self.refinement)
        self.base_models = BaseModels(session)
        self.planes = Planes(session)
        self.navigation = Navigation(session)
        self.fusion = Fusion(session)
        self.windowing = Windowing(session)
        self.layouts = Layouts(session, self.fusion)
        self.comparison = Comparison(session, self.result)
        self.seen_slices = SeenSlices(
            session, self.planes, self.layouts, self.navigation, self.result
        )
        self.review = Review(session, self.result, self.navigation, self.seen_slices)
        self.sign_off = SignOff(session, self.result, self.review, self.comparison)
        self.log_export = LogExport(session, self.result, self.review)
        self.report_export = ReportExport(session, self.result, self.review, self.comparison)
        self.automatic_strokes = AutomaticStrokes(session)
        self.image_placement = ImagePlacement(session, self.fusion, self.training)
        self.brush = Brush(session)
        self.trail, self.measures = Trail(), Measures(session)
        self.drawing = Drawing(session, self.navigation, self.brush, self.trail)
        self.reshaping = Reshaping(session, self.drawing, self.navigation)
        self.provisional = ProvisionalContour(session, self.result)
        self.training.launching.connect(self.provisional.fill_in)
        self.training.previewed.connect(self.provisional.give_way)
        self.training.failed.connect(self.provisional.come_back)
        self.last_view = LastView(
            session,
            self.planes,
            self.navigation,
            self.layouts,
            self.fusion,
            self.brush,
            self.provisional,
            self.training,
            self.result,
        )
        self._actions: Actions = {}
        session.contour_added.connect(lambda layer: bind_on_layer(layer, self._actions))
        session.arriving.connect(self._arrange)
        session.leaving.connect(self._leave)

    def close(self) -> None:
        """End the worker, record what is left, let go of the viewer. Twice is once."""
        if not self.session.ended:
            self.session.close()
            self.seen_slices.close()
            self.navigation.close()
            self.kept_contour.close()

    def _arrange(self) -> None:
        """Planes, keys, scale bar, a place to start, and how the patient was seen last."""
        session, layer = self.session, self.session.scribbles
        session.viewer.canvas.overlays.scale_bar.visible = True
        self.navigation.go_to_voxel(_first_place(layer.data))
        self.planes.open()
        self.drawing.open()
        layer.selected_label = FIRST_CLASS
        layer.editable = session.writable
        session.viewer.layers.selection.active = layer
        self._actions = self._what_keys_do()
        bind_keys(session.viewer, layer, self._actions)
        self.last_view.open()

    def _leave(self) -> None:
        """The patient is left: jobs end first, then what was arranged for it."""
        if self.session.patient is not None:
            self.last_view.close()  # while the controllers still know how it was looked at
        for controller in (
            self.training,
            self.refinement,
            self.automatic_strokes,
            self.reshaping,
            self.sign_off,
            self.review,
            self.comparison,
            self.image_placement,
            self.provisional,
            self.result,
        ):
            controller.close()
        if self.session.patient is not None:
            unbind_keys(self.session.scribbles, self._actions)
            self.drawing.close()
            self.planes.close()

    def _what_keys_do(self) -> Actions:
        """What is done for every one of `key_sheet.SHORTCUTS`."""
        looking = self.planes, self.layouts, self.fusion, self.navigation, self.measures
        return {
            **drawing_keys.what_keys_do(self.session, self.drawing),
            **view_keys.what_keys_do(*looking),
            NEXT_PLACE: self.review.next_place,
            SHOW_KEYS: self.keys_asked.emit,
        }


def _first_place(scribbles: np.ndarray) -> tuple[int, int, int]:
    """The slice with most strokes of classes, else the middle one; and the middle of it."""
    marked = [int((plane >= FIRST_CLASS).sum()) if plane.any() else 0 for plane in scribbles]
    z, y, x = (n // 2 for n in scribbles.shape)
    return (int(np.argmax(marked)) if any(marked) else z), y, x
