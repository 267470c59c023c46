"""Step 5: write what was made."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QWidget

from cmfnet_napari.core.dicom.export.provenance import Maker
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.export.dicom_export import Contour, Counted, DicomExport
from cmfnet_napari.gui.export.dicom_export_panel import DicomExportPanel
from cmfnet_napari.gui.export.report_export import ReportExport
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.review.review import Review
from cmfnet_napari.gui.shared.dialogs import ask_save, ask_target
from cmfnet_napari.gui.shared.widgets import (
    NOTICE_STYLE,
    button,
    column,
    group,
    large_button,
    text_label,
)


class ExportPanel(QWidget):
    """Contour, report and table; what was not looked at is said, and stops nothing."""

    def __init__(
        self, session: Session, result: Result, review: Review, report_export: ReportExport
    ) -> None:
        super().__init__()
        self._session = session
        self._result, self._review, self._report_export = result, review, report_export
        self.missing = text_label()
        self.missing.setStyleSheet(NOTICE_STYLE)
        self.save_button = large_button(
            "Save the contour…", self._ask_save, "On the image's own grid"
        )
        self.report_button = button(
            "Save a report…", self._ask_report, "One page: pictures, volumes, what was looked at"
        )
        self.table_button = button(
            "Save the table…", self._ask_table, "Volumes and, if you compared, the scores, as CSV"
        )
        self.written = text_label()
        self._buttons = [self.save_button, self.report_button, self.table_button]
        self._files = group("Files", self.missing, *self._buttons, self.written)
        self.dicom_export = DicomExport(self._contour, session, self._counted)
        self.dicom = DicomExportPanel(self.dicom_export)
        layout = column(self._files, self.dicom)
        layout.addStretch()
        self.setLayout(layout)
        result.changed.connect(self._on_changed)
        result.edited.connect(self.dicom.outdate)
        result.saved.connect(self._on_saved)
        review.changed.connect(self._show_missing)
        session.closed.connect(self.written.clear)
        session.closed.connect(self.dicom.forget)
        session.classes_changed.connect(self.dicom.refresh)
        session.opened.connect(lambda: self.dicom.folder.setText(session.patient.folder))
        self._on_changed(None)

    def _on_changed(self, volumes: dict[str, float] | None) -> None:
        for widget in self._buttons:
            widget.setEnabled(volumes is not None)
        self.dicom.refresh()
        self._show_missing()

    def _contour(self) -> Contour:
        """What is exported: the contour of record."""
        result, case = self._result, self._session.case
        how = "SEMIAUTOMATIC" if result.saw_strokes else "AUTOMATIC"
        maker = Maker(result.model_name, how, result.corrected)
        patient = self._session.patient
        images = None if patient is None else patient.images
        series = "" if images is None else images.first.origin.uid
        folder = "" if patient is None else patient.folder
        return Contour(result.shown(), case.study, case.classes, maker, series, folder)

    def _counted(self) -> Counted:
        """Classes and voxels of each code of the contour of record, as it was measured last."""
        if not self._result.exists:
            raise UserError("There is no prediction yet. Train first.")
        return self._session.case.classes, self._result.counts

    def _show_missing(self) -> None:
        text = missing_words(len(self._review.unseen("axial")), self._review.open_places)
        if self._result.labels is None:
            text = "There is no prediction to save yet."
        self.missing.setText(text)
        self.missing.setVisible(bool(text))

    def _on_saved(self, path: str) -> None:
        """The newest on top."""
        line = f"Saved: {Path(path).name}\nin {Path(path).parent}".replace("/", "/\u200b")
        self.written.setText("\n\n".join(filter(None, (line, self.written.text()))))

    def _ask_save(self) -> None:
        path = ask_target(self, "Save the contour", "prediction.nii.gz")
        if path:
            self._result.save(path)

    def _ask_report(self) -> None:
        path = ask_save(self, "Save the report", "report.pdf", "PDF (*.pdf)")
        if path:
            self._report_export.save_report(path)

    def _ask_table(self) -> None:
        path = ask_save(self, "Save the table", "contour.csv", "Table (*.csv)")
        if path:
            self._report_export.save_table(path)


def missing_words(slices: int, places: int) -> str:
    """What a review lacks, in a sentence; empty when it lacks nothing."""
    missing = []
    if slices:
        missing.append(f"{_count(slices, 'axial slice')} of the contour not looked at")
    if places:
        missing.append(f"{_count(places, 'place')} not decided")
    return f"Still open: {', '.join(missing)}. You can save all the same." if missing else ""


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
