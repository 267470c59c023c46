"""How a patient was looked at, kept with the case and brought back."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from napari.layers import Layer
from qtpy.QtCore import QObject, QTimer

from cmfnet_napari.core.case.view_state import VIEWS_FILE, Look, Views, parse_views
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import read_json, write_json
from cmfnet_napari.core.fit.config import PRESETS
from cmfnet_napari.gui.contours.provisional import ProvisionalContour
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.drawing.brush_settings import Brush
from cmfnet_napari.gui.patient.layers import OPENED, ROLE, set_visible
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.training.training import Training
from cmfnet_napari.gui.views.fusion import Fusion
from cmfnet_napari.gui.views.layouts import Layouts
from cmfnet_napari.gui.views.navigation import Navigation
from cmfnet_napari.gui.views.planes import PLANES, Planes

_LOOK_MS = 1000
_log = logging.getLogger(__name__)


class LastView(QObject):
    """Brings the views of a case back, and writes them when they have changed."""

    def __init__(
        self,
        session: Session,
        planes: Planes,
        navigation: Navigation,
        layouts: Layouts,
        fusion: Fusion,
        brush: Brush,
        provisional: ProvisionalContour,
        training: Training,
        result: Result,
    ) -> None:
        super().__init__(session)
        self._session = session
        self._planes, self._navigation, self._layouts = planes, navigation, layouts
        self._fusion, self._brush = fusion, brush
        self._provisional, self._training, self._result = provisional, training, result
        self._kept: dict[str, Any] = {}
        self._timer = QTimer(self, interval=_LOOK_MS)
        self._timer.timeout.connect(self.keep)

    def open(self) -> None:
        """A patient has just been opened: show it as it was seen last."""
        self._bring_back()
        self._kept = self._views()
        if not self._session.case.read_only:
            self._timer.start()

    def keep(self) -> None:
        """Write the views if they have changed; a full disk is said of strokes, not of these."""
        views = self._views()
        if views == self._kept or self._session.case.read_only:
            return
        try:
            write_json(self._path, views)
        except UserError:
            _log.warning("The views could not be written.")
            return
        self._kept = views

    def close(self) -> None:
        """The patient is left: write the last ones."""
        self._timer.stop()
        self.keep()

    @property
    def _path(self) -> Path:
        return self._session.case.folder / VIEWS_FILE

    @property
    def _voxel_mm(self) -> float:
        return min(self._session.case.study.grid.spacing)

    def _layers(self) -> dict[str, Layer]:
        """The case's own layers that are there, by role."""
        layers = self._session.viewer.layers
        own = (layer for layer in layers if layer.metadata.get(OPENED) is self._session.patient)
        return {layer.metadata[ROLE]: layer for layer in own if ROLE in layer.metadata}

    def _views(self) -> dict[str, Any]:
        viewer, scribbles = self._session.viewer, self._session.scribbles
        return {
            "plane": self._planes.plane,
            "slices": list(self._navigation.voxel()),
            "center": [float(value) for value in viewer.scene.camera.center],
            "zoom": float(viewer.scene.camera.zoom),
            "brush": self._brush.size_mm / self._voxel_mm,
            "class": int(scribbles.selected_label),
            "keep other classes": bool(scribbles.preserve_labels),
            "provisional contour": self._provisional.enabled,
            "only parts with a stroke": self._result.marked_only,
            "corrections teach": self._session.corrections.teach,
            "preset": self._training.preset,
            "layout": self._layouts.name,
            "blend": self._fusion.blend,
            "checkerboard": self._fusion.board,
            "crosshair": self._navigation.crosshair,
            "layers": {role: _look(layer) for role, layer in self._layers().items()},
        }

    def _bring_back(self) -> None:
        if not self._path.exists():
            return
        try:
            self._apply(parse_views(read_json(self._path)))
        except UserError:
            _log.warning("The views of the case are damaged and were not used.")

    def _apply(self, views: Views) -> None:
        viewer, scribbles = self._session.viewer, self._session.scribbles
        self._brush.set_size(views.brush * self._voxel_mm)
        if views.selected in [entry.code for entry in self._session.case.classes]:
            scribbles.selected_label = views.selected
        scribbles.preserve_labels = views.protect
        self._provisional.enabled = views.provisional
        self._result.marked_only = views.marked
        self._session.corrections.teach = views.teach
        if views.preset in PRESETS:
            self._training.preset = views.preset
        layers = self._layers()
        for role, look in views.layers.items():
            if role in layers:
                _show(layers[role], look)
        self._fusion.bring_back(views.blend, views.board)
        self._layouts.show(views.layout)
        if self._navigation.crosshair != views.crosshair:
            self._navigation.switch_crosshair()
        if views.plane in PLANES and views.plane != self._planes.plane:
            self._planes.show(views.plane)
        self._navigation.go_to_voxel(views.slices)
        viewer.scene.camera.center = views.center
        viewer.scene.camera.zoom = views.zoom


def _look(layer: Layer) -> dict[str, Any]:
    look: dict[str, Any] = {"visible": bool(layer.visible), "opacity": float(layer.opacity)}
    if hasattr(layer, "contrast_limits"):
        look["limits"] = [float(value) for value in layer.contrast_limits]
    return look


def _show(layer: Layer, look: Look) -> None:
    set_visible(layer, look.visible)
    layer.opacity = look.opacity
    if look.limits is not None and hasattr(layer, "contrast_limits"):
        layer.contrast_limits = look.limits
