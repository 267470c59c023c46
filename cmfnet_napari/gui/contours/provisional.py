"""A provisional contour within about a second of a stroke, until the network has one.

It holds no widget. One computation runs at a time; strokes that come meanwhile are taken up by
one more after it, however many they are.
"""

from __future__ import annotations

import time

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from cmfnet_napari.core.clues import appearance
from cmfnet_napari.core.clues.provisional_contour import Provisional, provisional_contour
from cmfnet_napari.core.contours.components import volumes_ml
from cmfnet_napari.core.fit.runs import newest_prediction
from cmfnet_napari.core.geometry.boxes import Box
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, FIRST_CLASS
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.patient.classes import class_names, provisional_colors
from cmfnet_napari.gui.patient.contour_recorder import ContourRecorder
from cmfnet_napari.gui.patient.layers import OPENED, insert_below, segmentation_layer
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure

QUIET_MS = 100  # after a stroke: who draws several in a row is not interrupted by each
NAME = "Provisional contour"
_OPACITY = 0.8
_NEEDS = "It appears when there are strokes inside and outside."
_REPLACED = "The network's contour has taken its place."
_NOTHING = "No part of the image is nearer to the inner strokes than to the others."


class ProvisionalContour(QObject):
    """The provisional contour of the open case.

    Attributes
    ----------
    enabled : bool
        Whether the user wants it.
    layer : Labels or None
        Segmentation codes, uint8 (z, y, x) on the Study's Grid.
    seconds : float
        How long the last one took.
    """

    said = Signal(str)  # one sentence on what is shown
    changed = Signal()  # the switch

    def __init__(self, session: Session, result: Result) -> None:
        super().__init__(session)
        self._session = session
        self._result = result
        self.enabled, self.layer, self.seconds = True, None, 0.0
        self._region: Box | None = None  # what was found
        self._labels: np.ndarray | None = None  # without corrections
        self._recorder: ContourRecorder | None = None
        self._busy = self._again = self._replaced = False
        self._quiet = QTimer(self, singleShot=True)
        self._quiet.setInterval(QUIET_MS)
        self._quiet.timeout.connect(self._begin)
        session.opened.connect(self._on_opened)
        session.strokes_changed.connect(self._later)
        session.classes_changed.connect(self._recolor)
        session.recoded.connect(self._on_recoded)
        result.changed.connect(self._on_result)

    def enable(self, on: bool) -> None:
        """Show it while the user draws, or no more."""
        self.enabled = on
        self.changed.emit()
        if on:
            self.show_now()
        else:
            self._drop("")

    def show_now(self) -> None:
        """Show it although the network has a contour, until that is renewed."""
        self._replaced = False
        self._later()

    def fill_in(self) -> None:
        """A fit begins: while its program loads, what the strokes tell is all there is."""
        if self.enabled and not self._result.exists:
            self.show_now()

    def give_way(self) -> None:
        """The network has a contour, be it a preview."""
        self._replaced = True
        self._drop(_REPLACED if self.enabled else "")

    def come_back(self) -> None:
        """A fit that left no contour: strokes bring the provisional one back."""
        self._replaced = self._result.prediction is not None

    def close(self) -> None:
        """The patient is left."""
        self._quiet.stop()
        self._drop("")

    @property
    def _wanted(self) -> bool:
        return self.enabled and self._session.writable and not self._replaced

    def _on_opened(self) -> None:
        self._replaced = newest_prediction(self._session.case.runs()) is not None
        self.said.emit(_NEEDS if self.enabled and not self._replaced else "")
        if self._wanted:
            run_in_background(appearance.get_ready, done=lambda _: None, failed=show_failure)
        self._later()

    def _on_result(self, volumes: dict[str, float] | None) -> None:
        if volumes is not None:
            self.give_way()

    def _later(self) -> None:
        if self._wanted:
            self._quiet.start()

    def _begin(self) -> None:
        """Compute it anew; while one is being computed, once more after that."""
        if not self._wanted:
            return
        counts = self._session.recorder.counts
        if not counts[BACKGROUND] or not counts[FIRST_CLASS:].any():
            self._drop(_NEEDS)
            return
        if self._busy:
            self._again = True
            return
        self._busy, patient, began = True, self._session.patient, time.perf_counter()
        order = patient.case.order

        def show(found: Provisional | None) -> None:
            self.seconds = time.perf_counter() - began
            if self._session.patient is patient and self._wanted:
                if patient.case.order == order:
                    self._show(found)
                else:  # what was found has the codes of other classes
                    self._again = True
            self._end()

        def fail(error: Exception) -> None:
            show_failure(error)
            self._end()

        arguments = patient.case.study, self._session.corrections.lessons(), patient.limits
        run_in_background(provisional_contour, *arguments, done=show, failed=fail)

    def _end(self) -> None:
        again, self._busy, self._again = self._again, False, False
        if again:
            self._begin()

    def _show(self, found: Provisional | None) -> None:
        if found is None or not found.labels.any():
            self._drop(_NOTHING)
            return
        if self.layer is None or self.layer not in self._session.viewer.layers:
            self._make_layer()
        parts = [found.region] if self._region is None else [self._region, found.region]
        if self._region is not None:
            self._labels[self._region] = 0
        self._labels[found.region], self._region = found.labels, found.region
        self._recorder.show(self._labels, parts)  # a copy would be as large as the study
        case = self._session.case
        shown = self._recorder.snapshot() if self._session.corrections.version else found.labels
        volumes = volumes_ml(shown, case.study.grid, class_names(case.classes))
        text = ", ".join(f"{name} {ml:.1f} ml" for name, ml in volumes.items())
        self.said.emit(f"From your strokes alone, not the network's: {text}.")

    def _make_layer(self) -> None:
        case, viewer = self._session.case, self._session.viewer
        grid, self._region = case.study.grid, None
        self._let_go()
        # Zeros take no memory, and no time here, until something is written: copies of them would.
        self._labels, nothing, *copies = (np.zeros(grid.shape, np.uint8) for _ in range(4))
        self.layer = segmentation_layer(self._labels, grid, provisional_colors(case.classes), NAME)
        self._recorder = self._session.show_contour(
            self.layer, nothing, lambda: "provisional", (copies[0], copies[1])
        )
        self.layer.opacity = _OPACITY
        self.layer.metadata[OPENED] = self._session.patient
        insert_below(viewer, self.layer, self._session.scribbles)

    def _recolor(self) -> None:
        if self.layer is not None:
            self.layer.colormap = provisional_colors(self._session.case.classes)

    def _on_recoded(self, labels: np.ndarray) -> None:
        """Classes went or came back; strokes that come back bring theirs."""
        if self._labels is not None:
            self._labels = labels[self._labels]
        self._later()

    def _let_go(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            self._session.drop_contour(recorder)

    def _drop(self, why: str) -> None:
        self._let_go()
        layer, self.layer = self.layer, None
        if layer is not None and layer in self._session.viewer.layers:
            self._session.viewer.layers.remove(layer)
        self.said.emit(why)
