"""The prediction of a fit: layers, volumes, parts, saving. It holds no widget."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.contours.components import drop_unmarked, volumes_ml
from cmfnet_napari.core.contours.doubt import from_percent
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.events import Finished
from cmfnet_napari.core.fit.runs import newest_prediction
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import load_values, save_labels
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.gui.patient.classes import class_names, segmentation_colors
from cmfnet_napari.gui.patient.layers import (
    OPENED,
    disagreement_layer,
    insert_below,
    probability_layer,
    segmentation_layer,
    show_filled,
)
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure

_Arrays = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # labels, probability, disagreement


class Result(QObject):
    """The newest prediction of the open case."""

    created = Signal()  # layers of its own
    changed = Signal(object)  # volumes in ml by class name; None: there is no prediction
    saved = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._whole: np.ndarray | None = None  # as predicted, nothing dropped
        self._marked_only = False
        self._reading = 0  # counts; what was asked for before something newer came is not shown
        self.labels: np.ndarray | None = None  # as shown last, before any edit by hand
        self.volumes: dict[str, float] = {}
        self.run = ""  # its folder within the case
        self.event: Finished | None = None
        self.updating = False  # the labels are a preview; probability and the like are older
        self.prediction: Labels | None = None
        self.probability: Image | None = None
        self.disagreement: Image | None = None
        self._preview: Labels | None = None
        session.opened.connect(self._bring_back)
        session.classes_changed.connect(self._recolor)

    def read(self, event: Finished, failed: Callable[[Exception], None] = show_failure) -> None:
        """Show the files of a finished fit."""
        folder, grid = self._session.case.folder, self._session.case.study.grid
        self._reading += 1
        patient, number = self._session.patient, self._reading

        def show(arrays: _Arrays) -> None:
            if self._session.patient is patient and self._reading == number:
                self.event, self.run = event, str(PurePosixPath(event.labels).parent)
                self._show(*arrays)

        run_in_background(_read, folder, event, grid, done=show, failed=failed)

    def follow(self, labels: np.ndarray) -> None:
        """Show labels (uint8, z y x) of a contour that is being updated, in place."""
        if self._is_shown(self.prediction):
            self._reading += 1
            self._whole, self.updating = labels, True
            self._refresh()

    def show_preview(self, labels: np.ndarray) -> None:
        """Show labels (uint8, z y x), not yet a prediction, as an area below the strokes."""
        viewer, case = self._session.viewer, self._session.case
        if self._preview is not None and self._preview in viewer.layers:
            self._preview.data = labels
            return
        colors = segmentation_colors(case.classes)
        layer = segmentation_layer(labels, case.study.grid, colors, "Preview", filled=True)
        layer.metadata[OPENED] = self._session.patient
        insert_below(viewer, layer, self._session.scribbles)
        self._preview = layer

    def remove_preview(self) -> None:
        """Take the preview layer away."""
        self._drop(self._preview)
        self._preview = None

    def keep_marked_only(self, on: bool) -> None:
        """Drop parts of the prediction that hold no stroke of their class, or bring them back."""
        self._marked_only = on
        if self._whole is not None:
            self._refresh()

    def fill_contour(self, on: bool) -> None:
        """Show the prediction filled or as a line."""
        if self.prediction is not None:
            show_filled(self.prediction, on)

    def show_probability(self, on: bool) -> None:
        """Show or hide the probability layer."""
        if self.probability is not None:
            self.probability.visible = on

    def show_disagreement(self, on: bool) -> None:
        """Show or hide the disagreement layer, if there is one."""
        if self.disagreement is not None:
            self.disagreement.visible = on

    @property
    def apart(self) -> np.ndarray | None:
        """Disagreement of the branches, 0 … 1 (z, y, x); None for runs without it."""
        return None if self.disagreement is None else self.disagreement.data

    @property
    def model_name(self) -> str:
        """What made the contour, for files that leave the case."""
        preset = self.run.rpartition("-")[2]
        return f"CmFNet {preset}".strip()

    def save(self, path: str) -> None:
        """Write the prediction as it is shown, on the CT's original grid."""
        study = self._session.case.study
        run_in_background(
            save_labels, self.shown(), study, path, done=self.tell_saved, failed=show_failure
        )

    def close(self) -> None:
        """Forget the prediction; its layers go with the patient."""
        self._whole = self.labels = self.event = None
        self.prediction = self.probability = self.disagreement = None
        self.run, self.volumes = "", {}
        self.changed.emit(None)

    def _bring_back(self) -> None:
        """Show the newest prediction of the case that was opened."""
        event = newest_prediction(self._session.case.runs())
        if event is not None:
            self.read(event, failed=self._not_brought_back)

    def _not_brought_back(self, error: Exception) -> None:
        show_info(plain(f"The last prediction could not be read and is not shown. {error}"))

    @property
    def exists(self) -> bool:
        """Whether there is a prediction in the window."""
        return self.labels is not None and self._is_shown(self.prediction)

    def shown(self) -> np.ndarray:
        """The contour as it is shown, edits by hand included (uint8, z y x).

        Raises
        ------
        UserError
            There is none.
        """
        if not self.exists:
            raise UserError("There is no prediction yet. Train first.")
        return np.asarray(self.prediction.data).astype(np.uint8)

    def _recolor(self) -> None:
        if self.prediction is not None:
            self.prediction.colormap = segmentation_colors(self._session.case.classes)

    def _show(self, labels: np.ndarray, probability: np.ndarray, apart: np.ndarray | None) -> None:
        self.remove_preview()
        self._whole, self.updating = labels, False
        maps = [self.probability] if apart is None else [self.probability, self.disagreement]
        if all(self._is_shown(layer) for layer in (self.prediction, *maps)):
            self.probability.data = probability  # in place: visibility, colours, order stay
            if apart is not None:
                self.disagreement.data = apart
            else:
                self._drop(self.disagreement)
                self.disagreement = None
        else:
            self._show_anew(labels, probability, apart)
        self._refresh()

    def _is_shown(self, layer: Layer | None) -> bool:
        return layer is not None and layer in self._session.viewer.layers

    def _drop(self, layer: Layer | None) -> None:
        if self._is_shown(layer):
            self._session.viewer.layers.remove(layer)

    def _show_anew(
        self, labels: np.ndarray, probability: np.ndarray, apart: np.ndarray | None
    ) -> None:
        viewer, case = self._session.viewer, self._session.case
        for old in (self.prediction, self.probability, self.disagreement):
            self._drop(old)
        grid, colors = case.study.grid, segmentation_colors(case.classes)
        self.probability = probability_layer(probability, grid, "Probability")
        self.prediction = segmentation_layer(labels, grid, colors, "Prediction")
        self.disagreement = None if apart is None else disagreement_layer(apart, case.study)
        layers = (self.probability, self.disagreement, self.prediction)
        for layer in (layer for layer in layers if layer is not None):
            layer.metadata[OPENED] = self._session.patient
            insert_below(viewer, layer, self._session.scribbles)
        self.created.emit()

    def _refresh(self) -> None:
        patient, whole, marked_only = self._session.patient, self._whole, self._marked_only
        scribbles = self._session.recorder.snapshot() if marked_only else None
        grid, names = patient.case.study.grid, class_names(patient.case.classes)

        def compute() -> tuple[np.ndarray, dict[str, float]]:
            labels = whole if scribbles is None else drop_unmarked(whole, scribbles)
            return labels, volumes_ml(labels, grid, names)

        def show(answer: tuple[np.ndarray, dict[str, float]]) -> None:
            current = self._whole is whole and self._marked_only == marked_only
            if current and self.prediction is not None:
                self.labels, self.volumes = answer
                self.prediction.data = self.labels.copy()  # edits by hand are not in `labels`
                self.changed.emit(self.volumes)

        run_in_background(compute, done=show, failed=show_failure)

    def tell_saved(self, path: Path) -> None:
        """Say that something of the result was written."""
        self.saved.emit(str(path))


def _read(folder: Path, event: Finished, grid: Grid) -> _Arrays:
    names = [event.labels, event.probabilities, *filter(None, [event.disagreement])]
    labels, probability, *apart = (load_values(inside(folder, name), grid) for name in names)
    return labels, probability, from_percent(apart[0]) if apart else None
