"""What the contour is compared with: an earlier training, a reference, a second observer.

It holds no widget.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

from cmfnet_napari.core.contours.metrics import Evaluation, evaluate
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.runs import newest_prediction
from cmfnet_napari.core.images.study import load_labels
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.patient.classes import class_names, reference_colors
from cmfnet_napari.gui.patient.layers import OPENED, insert_below, segmentation_layer
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure

_WAIT_MS = 800  # a contour that is being updated changes again before it could be judged


class Comparison(QObject):
    """Another contour of the open case, and how well the prediction agrees with it.

    Attributes
    ----------
    kind : str
        Where the other contour comes from: ``nothing``, ``previous``, ``sample`` or ``file``.
    other : uint8 array (z, y, x) or None
        The other contour on the Study's Grid.
    evaluation : Evaluation or None
        Of the prediction as it is shown; None while it is computed anew.
    """

    changed = Signal()  # the other contour
    evaluated = Signal(object)  # Evaluation, or None

    def __init__(self, session: Session, result: Result) -> None:
        super().__init__(session)
        self._session = session
        self._result = result
        self.kind = "nothing"
        self.other: np.ndarray | None = None
        self.evaluation: Evaluation | None = None
        self._layer: Labels | None = None
        self._later = QTimer(self, singleShot=True, interval=_WAIT_MS)
        self._later.timeout.connect(self._evaluate)
        result.changed.connect(self._on_result)

    def use_nothing(self) -> None:
        """Compare with nothing."""
        self._use("nothing", None)

    def use_file(self, path: str) -> None:
        """Compare with a contour on the CT's grid, such as a reference or a second observer's."""
        grid = self._session.case.study.grid
        self._read("file", lambda: load_labels(path, grid))

    def use_sample(self) -> None:
        """Compare with the contour that came with a sample patient.

        Raises
        ------
        UserError
            There is none.
        """
        patient = self._session.patient
        if patient is None or patient.contour is None:
            raise UserError("This patient came without a contour. Choose one from a file.")
        self._use("sample", patient.contour)

    def use_previous(self) -> None:
        """Compare with the contour of the training before.

        Raises
        ------
        UserError
            There is none.
        """
        case, shown = self._session.case, self._result.run
        earlier = [folder for folder in case.runs() if folder.name < Path(shown).name]
        event = newest_prediction(earlier)
        if event is None:
            raise UserError("There is no earlier training of this patient to compare with.")
        path, grid = inside(case.folder, event.labels), case.study.grid
        self._read("previous", lambda: load_labels(path, grid))

    def close(self) -> None:
        """The patient is left."""
        self._later.stop()
        self.use_nothing()

    def _read(self, kind: str, load: Callable[[], np.ndarray]) -> None:
        patient = self._session.patient

        def done(labels: np.ndarray) -> None:
            if self._session.patient is patient:
                self._use(kind, labels)

        run_in_background(load, done=done, failed=show_failure)

    def _use(self, kind: str, other: np.ndarray | None) -> None:
        self.kind, self.other = kind, other
        self._show_layer()
        self.changed.emit()
        self._forget()
        self._evaluate()

    def _show_layer(self) -> None:
        """Show a contour that was read; a sample's own has a layer already."""
        viewer, layer, self._layer = self._session.viewer, self._layer, None
        if layer is not None and layer in viewer.layers:
            viewer.layers.remove(layer)
        if self.other is None or self.kind == "sample":
            return
        grid = self._session.case.study.grid
        self._layer = segmentation_layer(self.other, grid, reference_colors(), "Compared with")
        self._layer.metadata[OPENED] = self._session.patient
        insert_below(viewer, self._layer, self._session.scribbles)

    def _forget(self) -> None:
        self.evaluation = None
        self.evaluated.emit(None)

    def _on_result(self, volumes: dict[str, float] | None) -> None:
        if self.other is not None and volumes is not None:
            self._forget()
            self._later.start()

    def _evaluate(self) -> None:
        result, other = self._result, self.other
        labels = result.labels
        if other is None or not result.exists:
            return
        case = self._session.case
        grid, names = case.study.grid, class_names(case.classes)

        def done(evaluation: Evaluation) -> None:
            if self.other is other and result.labels is labels:
                self.evaluation = evaluation
                self.evaluated.emit(evaluation)

        shown = result.shown()
        run_in_background(evaluate, shown, other, grid, names, done=done, failed=show_failure)
