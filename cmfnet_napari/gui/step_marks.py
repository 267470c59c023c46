"""Marks on the steps of the dock: what is done, and what is missing."""

from __future__ import annotations

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QTabWidget

from cmfnet_napari.core.dicom.export.receipt import Receipt
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.strokes.scribbles import check_trainable
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.export.dicom_export import DicomExport
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.review.review import Review

STEPS = ("Open", "Scribble", "Train", "Review", "Export")


class StepMarks(QObject):
    """Keeps the tabs' titles: a tick where a step is done, a tooltip that says what is missing.

    Parameters
    ----------
    tabs : QTabWidget
        One tab a step, in order.
    session, result, review, export
        What is marked.
    """

    def __init__(
        self,
        tabs: QTabWidget,
        session: Session,
        result: Result,
        review: Review,
        export: DicomExport,
    ) -> None:
        super().__init__(tabs)
        self._tabs, self._saved = tabs, False
        self._session, self._result = session, result
        self._review, self._export = review, export
        for signal in (session.opened, session.closed, session.strokes_changed):
            signal.connect(self._mark)
        review.changed.connect(self._mark)
        result.changed.connect(self._on_result)
        result.saved.connect(self._on_saved)
        export.exported.connect(self._on_saved)
        self._mark()

    def _on_result(self, _volumes: dict[str, float] | None) -> None:
        self._saved = False  # what was saved is not what is shown
        self._mark()

    def _on_saved(self, _path: str, _receipt: Receipt | None = None) -> None:
        self._saved = True
        self._mark()

    def _mark(self) -> None:
        for index, (name, missing) in enumerate(zip(STEPS, self._missing(), strict=True)):
            text = f"{index + 1 if missing else '✓'} {name}"
            if self._tabs.tabText(index) != text:  # Qt would arrange all tabs anew
                self._tabs.setTabText(index, text)
            self._tabs.setTabToolTip(index, missing or "Done")

    def _missing(self) -> tuple[str, str, str, str, str]:
        """One sentence a step; empty where it is done."""
        if self._session.patient is None:
            first = "Open an image first."
            return first, first, first, first, first
        predicted = self._result.labels is not None
        none = "" if predicted else "There is no prediction yet. Train first."
        review = "" if self._review.complete else "Slices or places were not looked at yet."
        export = "" if self._saved else "Nothing was saved of this contour yet."
        return "", self._strokes(), none, none or review, none or export

    def _strokes(self) -> str:
        try:
            check_trainable(self._session.recorder.present, "The strokes")
        except UserError as error:
            return str(error)
        return ""
