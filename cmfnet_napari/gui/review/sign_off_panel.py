"""Who has reviewed the contour: one sentence, a field for another reader, and three buttons."""

from __future__ import annotations

from qtpy.QtWidgets import QGroupBox, QLabel, QLineEdit

from cmfnet_napari.core.review.review_log import LONGEST_NAME
from cmfnet_napari.gui.review.log_export import LogExport
from cmfnet_napari.gui.review.sign_off import SignOff
from cmfnet_napari.gui.shared.dialogs import ask_save
from cmfnet_napari.gui.shared.widgets import NOTICE_STYLE, button, column, row, said, text_label


class SignOffPanel(QGroupBox):
    """Draft, reviewed, peer-reviewed. Whoever works alone can leave it as it is."""

    def __init__(self, sign_off: SignOff, log_export: LogExport) -> None:
        super().__init__("Sign-off")
        self._sign_off, self._log_export = sign_off, log_export
        self.message, self.fault = text_label(), text_label()
        self.fault.setStyleSheet(NOTICE_STYLE)
        self.reader = QLineEdit()
        self.reader.setMaxLength(LONGEST_NAME)
        self.reader.setToolTip(
            "Who looks at the contour now. It is written into the log of this review and the report"
        )
        self.reader.editingFinished.connect(said(self._read_by))
        self.reviewed = button(
            "Reviewed", self._mark_reviewed, "I have looked at this contour and answer for it"
        )
        self.peer = button(
            "Peer-reviewed",
            self._mark_peer_reviewed,
            "Another reader than the first has looked at it; how the two differ is kept",
        )
        self.draft = button("Draft again", sign_off.withdraw, "Take the review back")
        self.compare = button(
            "Compare", sign_off.compare, "With the contour as the other reader signed it off"
        )
        self.save = button("Save the log…", self._ask_save, "Who looked at what, as PDF or JSON")
        self.setLayout(
            column(
                self.message,
                self.fault,
                row(QLabel("Reader"), self.reader, stretch=1),
                row(self.reviewed, self.peer, self.draft),
                row(self.compare, self.save),
            )
        )
        sign_off.changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        sign_off = self._sign_off
        self.message.setText(sign_off.standing.sentence)
        self.fault.setText(sign_off.fault)
        self.fault.setVisible(bool(sign_off.fault))
        self.reader.setPlaceholderText(sign_off.account or "Your name")
        if not self.reader.hasFocus():
            own = "" if sign_off.reader == sign_off.account else sign_off.reader
            self.reader.setText(own)
        for widget in (self.reviewed, self.peer, self.reader):
            widget.setEnabled(sign_off.writable)
        self.draft.setEnabled(sign_off.writable and sign_off.marked)
        self.compare.setEnabled(sign_off.marked)
        self.save.setEnabled(bool(sign_off.entries))

    def _read_by(self) -> None:
        self._sign_off.read_by(self.reader.text())

    def _mark_reviewed(self) -> None:
        self._read_by()
        self._sign_off.sign("reviewed")

    def _mark_peer_reviewed(self) -> None:
        self._read_by()
        self._sign_off.sign("peer-reviewed")

    def _ask_save(self) -> None:
        kinds = "PDF (*.pdf);;JSON (*.json)"
        path = ask_save(self, "Save the log of the review", "review.pdf", kinds)
        if path:
            self._log_export.save(path)
