"""The prediction of a fit: layers, volumes, parts, saving, evaluation. It holds no widget."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.components import drop_unmarked, volumes_ml
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.events import Finished
from cmfnet_napari.core.grid import Grid
from cmfnet_napari.core.metrics import Evaluation, evaluate
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.core.runs import newest_prediction
from cmfnet_napari.core.study import load_labels, save_labels
from cmfnet_napari.gui.classes import Classes, class_names, segmentation_colors
from cmfnet_napari.gui.layers import (
    OPENED,
    probability_layer,
    segmentation_layer,
    show_filled,
)
from cmfnet_napari.gui.markup import plain
from cmfnet_napari.gui.tasks import run_in_background, show_failure

if TYPE_CHECKING:
    from cmfnet_napari.gui.session import Session


class Result(QObject):
    """The newest prediction of the open case."""

    created = Signal()  # layers of its own
    changed = Signal(object)  # volumes in ml by class name; None: there is no prediction
    evaluated = Signal(object)  # Evaluation
    saved = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._whole: np.ndarray | None = None  # as predicted, nothing dropped
        self._marked_only = False
        self._reading = 0  # counts; what was asked for before something newer came is not shown
        self.prediction: Labels | None = None
        self.probability: Image | None = None
        session.opened.connect(self._bring_back)

    def read(self, event: Finished, failed: Callable[[Exception], None] = show_failure) -> None:
        """Show the files of a finished fit."""
        folder, grid = self._session.case.folder, self._session.case.study.grid
        self._reading += 1
        patient, number = self._session.patient, self._reading

        def show(arrays: tuple[np.ndarray, np.ndarray]) -> None:
            if self._session.patient is patient and self._reading == number:
                self._show(*arrays)

        names = event.labels, event.probabilities
        run_in_background(_read, folder, *names, grid, done=show, failed=failed)

    def follow(self, labels: np.ndarray) -> None:
        """Show labels (uint8, z y x) of a contour that is being updated, in place."""
        if self._is_shown(self.prediction):
            self._reading += 1
            self._whole = labels
            self._refresh()

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

    def recolor(self, classes: Classes) -> None:
        """Follow the classes' colours."""
        if self.prediction is not None:
            self.prediction.colormap = segmentation_colors(classes)

    def save(self, path: str) -> None:
        """Write the prediction as it is shown, on the CT's original grid."""
        labels, study = self._shown(), self._session.case.study
        run_in_background(
            save_labels, labels, study, path, done=self._on_saved, failed=show_failure
        )

    def evaluate(self, path: str) -> None:
        """Compare the prediction as it is shown with a reference file on the CT's grid."""
        labels, study = self._shown(), self._session.case.study
        names = class_names(self._session.case.classes)

        def compare() -> Evaluation:
            return evaluate(labels, load_labels(path, study.grid), study.grid, names)

        run_in_background(compare, done=self.evaluated.emit, failed=show_failure)

    def close(self) -> None:
        """Forget the prediction; its layers go with the patient."""
        self._whole = self.prediction = self.probability = None
        self.changed.emit(None)

    def _bring_back(self) -> None:
        """Show the newest prediction of the case that was opened."""
        event = newest_prediction(self._session.case.runs())
        if event is not None:
            self.read(event, failed=self._not_brought_back)

    def _not_brought_back(self, error: Exception) -> None:
        show_info(plain(f"The last prediction could not be read and is not shown. {error}"))

    def _shown(self) -> np.ndarray:
        if not self._is_shown(self.prediction):
            raise UserError("There is no prediction yet. Train first.")
        return np.asarray(self.prediction.data).astype(np.uint8)

    def _show(self, labels: np.ndarray, probability: np.ndarray) -> None:
        self._session.training.remove_preview()
        self._whole = labels
        if self._is_shown(self.prediction) and self._is_shown(self.probability):
            self.probability.data = probability  # in place: visibility, colours, order stay
        else:
            self._show_anew(labels, probability)
        self._refresh()

    def _is_shown(self, layer: Layer | None) -> bool:
        return layer is not None and layer in self._session.viewer.layers

    def _show_anew(self, labels: np.ndarray, probability: np.ndarray) -> None:
        viewer, case = self._session.viewer, self._session.case
        for old in (self.prediction, self.probability):
            if self._is_shown(old):
                viewer.layers.remove(old)
        active = viewer.layers.selection.active
        grid, colors = case.study.grid, segmentation_colors(case.classes)
        self.probability = probability_layer(probability, grid, "Probability")
        self.prediction = segmentation_layer(labels, grid, colors, "Prediction")
        for layer in (self.probability, self.prediction):
            layer.metadata[OPENED] = self._session.patient
            viewer.add_layer(layer)
            below = viewer.layers.index(self._session.scribbles)
            viewer.layers.move(viewer.layers.index(layer), below)
        viewer.layers.selection.active = active
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
                self.prediction.data = answer[0]
                self.changed.emit(answer[1])

        run_in_background(compute, done=show, failed=show_failure)

    def _on_saved(self, path: Path) -> None:
        self.saved.emit(str(path))


def _read(
    folder: Path, labels: str, probabilities: str, grid: Grid
) -> tuple[np.ndarray, np.ndarray]:
    first, second = (inside(folder, name) for name in (labels, probabilities))
    return load_labels(first, grid), load_labels(second, grid)
