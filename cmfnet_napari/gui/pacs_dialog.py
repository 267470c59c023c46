"""Send to a PACS: which one, and a form to add another."""

from __future__ import annotations

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFormLayout,
    QLineEdit,
    QProgressBar,
    QSpinBox,
    QWidget,
)

from cmfnet_napari.core.dicom.pacs_nodes import Node, load_nodes, make_node
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.gui.dicom_exporting import DicomExporting
from cmfnet_napari.gui.widgets import (
    NOTICE_STYLE,
    button,
    column,
    group,
    large_button,
    row,
    text_label,
)


class PacsDialog(QDialog):
    """Sends the file that `exporting` wrote last."""

    def __init__(self, exporting: DicomExporting, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Send to a PACS")
        self.setMinimumWidth(460)
        self._exporting = exporting
        self.nodes = QComboBox()
        self.bar = QProgressBar()
        self.bar.hide()
        self.said = text_label()
        self.send_button = large_button("Send", self._send)
        self.test_button = button("Test", self._test, "Ask whether it is there and lets us in")
        self.form = PacsForm()
        self.add_button = button("Add this PACS", self._add)
        chooser = row(self.nodes, self.test_button, stretch=0)
        added = group("Another PACS", self.form, self.add_button)
        self.setLayout(column(chooser, self.send_button, self.bar, self.said, added))
        exporting.progress.connect(self._on_progress)
        exporting.sent.connect(self._on_said)
        exporting.not_sent.connect(self._on_failed)
        self._show_nodes()

    def _show_nodes(self, chosen: str = "") -> None:
        try:
            names = list(load_nodes())
        except UserError as error:
            self._on_failed(str(error))
            names = []
        self.nodes.clear()
        self.nodes.addItems(names)
        self.nodes.setCurrentText(chosen)
        for widget in (self.nodes, self.send_button, self.test_button):
            widget.setEnabled(bool(names))

    def _chosen(self) -> Node:
        return load_nodes()[self.nodes.currentText()]

    def _send(self) -> None:
        self._wait("Sending…")
        self._exporting.send(self._chosen())

    def _test(self) -> None:
        self._wait("Asking…")
        self._exporting.test(self._chosen())

    def _add(self) -> None:
        node = self.form.node()
        self._exporting.add_node(node, self.form.password.text())
        self._show_nodes(node.name)
        self.form.password.clear()
        self._on_said(f"{node.name} was added.")

    def _wait(self, text: str) -> None:
        self.send_button.setEnabled(False)
        self.said.setStyleSheet("")
        self.said.setText(text)

    def _on_progress(self, done: int, total: int) -> None:
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.bar.show()

    def _on_said(self, text: str) -> None:
        self.send_button.setEnabled(True)
        self.said.setStyleSheet("")
        self.said.setText(text)

    def _on_failed(self, text: str) -> None:
        self._on_said(text)
        self.said.setStyleSheet(NOTICE_STYLE)


class PacsForm(QWidget):
    """What must be known of a PACS."""

    def __init__(self) -> None:
        super().__init__()
        self.name = QLineEdit()
        self.url = QLineEdit()
        self.url.setPlaceholderText("https://…/dicom-web")
        self.user = QLineEdit()
        self.password = QLineEdit()
        self.password.setEchoMode(QLineEdit.EchoMode.Password)
        self.host = QLineEdit()
        self.port = QSpinBox()
        self.port.setRange(1, 65535)
        self.port.setValue(Node.model_fields["port"].default)
        self.title = QLineEdit()
        self.our_title = QLineEdit(Node.model_fields["our_title"].default)
        self.tls = QCheckBox("Encrypted (TLS)")
        layout = QFormLayout()
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addRow("Name", self.name)
        layout.addRow("DICOMweb address", self.url)
        layout.addRow("User", self.user)
        layout.addRow("Password", self.password)
        layout.addRow(text_label("Without a DICOMweb address, for DICOM messages:"))
        layout.addRow("Computer", self.host)
        layout.addRow("Port", self.port)
        layout.addRow("Its AE title", self.title)
        layout.addRow("Our AE title", self.our_title)
        layout.addRow(self.tls)
        self.setLayout(layout)

    def node(self) -> Node:
        """The PACS as it was filled in.

        Raises
        ------
        UserError
            It makes no sense.
        """
        return make_node(
            name=self.name.text().strip(),
            url=self.url.text().strip(),
            user=self.user.text().strip(),
            host=self.host.text().strip(),
            port=self.port.value(),
            title=self.title.text().strip(),
            our_title=self.our_title.text().strip(),
            tls=self.tls.isChecked(),
        )
