"""Send to a PACS: which one, and how it went."""

from __future__ import annotations

from qtpy.QtWidgets import QDialog, QWidget

from cmfnet_napari.gui.export.dicom_export import DicomExport
from cmfnet_napari.gui.pacs.pacs_chooser import PacsChooser
from cmfnet_napari.gui.shared.widgets import (
    NOTICE_STYLE,
    ProgressBar,
    column,
    large_button,
    text_label,
)


class PacsSendDialog(QDialog):
    """Sends the file that `dicom_export` wrote last."""

    def __init__(self, dicom_export: DicomExport, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Send to a PACS")
        self.setMinimumWidth(460)
        self._dicom_export = dicom_export
        self.bar = ProgressBar()
        self.bar.hide()
        self.said = text_label()
        self.send_button = large_button("Send", self._send)
        dicom_export.progress.connect(self._on_progress)
        self.chooser = PacsChooser(dicom_export.known)
        for answer in (dicom_export.sent, dicom_export.late, dicom_export.known.answered):
            answer.connect(self._on_said)
        for failure in (dicom_export.not_sent, dicom_export.known.failed, self.chooser.failed):
            failure.connect(self._on_failed)
        self.chooser.changed.connect(self._enable)
        self.chooser.waiting.connect(self._wait)
        self.setLayout(column(self.chooser, self.send_button, self.bar, self.said))
        self.chooser.refresh()

    def _enable(self) -> None:
        self.send_button.setEnabled(bool(self.chooser.name))

    def _send(self) -> None:
        node = self._dicom_export.known.node(self.chooser.name)
        self._wait("Sending…")
        self._dicom_export.send(node)

    def _wait(self, text: str) -> None:
        self.send_button.setEnabled(False)
        self.said.setStyleSheet("")
        self.said.setText(text)

    def _on_progress(self, done: int, total: int) -> None:
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.bar.show()

    def _on_said(self, text: str) -> None:
        self._enable()
        self.said.setStyleSheet("")
        self.said.setText(text)

    def _on_failed(self, text: str) -> None:
        self._on_said(text)
        self.said.setStyleSheet(NOTICE_STYLE)
