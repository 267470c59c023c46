"""The contour's layer cannot be lost: who deletes it in napari's list gets it back."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import QObject, QTimer

from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.patient.opened import Opened
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.messages import show_info

_BACK = (
    "The contour belongs to the patient, with all corrections, so its layer came back. Hide it "
    "with its eye in the list of layers."
)


class KeptContour(QObject):
    """Shows the contour of the open case again when its layer was deleted.

    Volumes, review and exports speak of it: without the layer they would speak of nothing that
    can be seen.
    """

    def __init__(self, session: Session, result: Result) -> None:
        super().__init__(session)
        self._session, self._result = session, result
        session.viewer.layers.events.removed.connect(self._on_removed)

    def close(self) -> None:
        """Let go of the viewer."""
        self._session.viewer.layers.events.removed.disconnect(self._on_removed)

    def _on_removed(self, event: object) -> None:
        patient = self._session.patient
        if patient is not None and event.value == self._result.prediction:
            QTimer.singleShot(0, partial(self._bring_back, patient))

    def _bring_back(self, patient: Opened) -> None:
        """Once all is done that the layer went for: it may have been replaced."""
        gone = self._result.event is not None and not self._result.exists
        if self._session.patient is patient and gone:
            self._result.read(self._result.event)
            show_info(_BACK)
