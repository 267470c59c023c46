"""A form for what must be known of a PACS."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QDoubleSpinBox,
    QFormLayout,
    QLineEdit,
    QSpinBox,
    QWidget,
)
from superqt import QCollapsible

from cmfnet_napari.core.dicom.pacs.nodes import Node, make_node
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.gui.pacs.known_pacs import KnownPacs
from cmfnet_napari.gui.shared.dialogs import ask_open
from cmfnet_napari.gui.shared.widgets import (
    NOTICE_STYLE,
    button,
    column,
    large_button,
    make_room,
    row,
    text_label,
)

_LONGEST_WAIT_S = 3600.0


class PacsForm(QDialog):
    """Adds a PACS to the known ones, or changes the one of that name."""

    def __init__(self, known: KnownPacs, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Another PACS")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(460)
        self._known = known
        self.name = QLineEdit()
        self.url = QLineEdit()
        self.url.setPlaceholderText("https://…/dicom-web")
        self.user = QLineEdit()
        self.password = QLineEdit()
        self.password.setEchoMode(QLineEdit.EchoMode.Password)
        self.host = QLineEdit()
        self.port = _port("port", lowest=1)
        self.title = QLineEdit()
        self.our_title = QLineEdit(Node.model_fields["our_title"].default)
        self.our_port = _port("our_port", lowest=0)
        self.our_port.setToolTip("Where the PACS sends what is fetched; it must know it")
        self.tls = QCheckBox("Encrypted (TLS)")
        self.ca_file, self.cert_file, self.key_file = QLineEdit(), QLineEdit(), QLineEdit()
        self.ca_file.setPlaceholderText("as the computer's own list says")
        self.timeout = QDoubleSpinBox(decimals=0, suffix=" s")
        self.timeout.setRange(1.0, _LONGEST_WAIT_S)
        self.timeout.setValue(Node.model_fields["timeout_s"].default)
        self.folded = QCollapsible("Certificates, and how long to wait")
        self.said = text_label()
        self.said.setStyleSheet(NOTICE_STYLE)
        self.said.hide()
        self.add_button = large_button("Add this PACS", self._add)
        self.cancel_button = button("Cancel", self.reject)
        self._lay_out()

    def _lay_out(self) -> None:
        form, more, folded = QFormLayout(), QFormLayout(), QWidget()
        form.addRow("Name", self.name)
        form.addRow("DICOMweb address", self.url)
        form.addRow("User", self.user)
        form.addRow("Password", self.password)
        form.addRow(text_label("Without a DICOMweb address, for DICOM messages:"))
        form.addRow("Computer", self.host)
        form.addRow("Port", self.port)
        form.addRow("Its AE title", self.title)
        form.addRow("Our AE title", self.our_title)
        form.addRow("Our port", self.our_port)
        form.addRow(self.tls)
        more.addRow("Whom to trust (CA)", self._file_row(self.ca_file))
        more.addRow("Our certificate", self._file_row(self.cert_file))
        more.addRow("Its key", self._file_row(self.key_file))
        more.addRow("Longest wait", self.timeout)
        folded.setLayout(more)
        self.folded.addWidget(folded)
        buttons = row(self.add_button, self.cancel_button, stretch=0)
        self.setLayout(column(form, self.folded, self.said, buttons))

    def _file_row(self, line: QLineEdit) -> QWidget:
        parts = QWidget()
        parts.setLayout(row(line, button("File…", partial(self._choose_file, line)), stretch=0))
        return parts

    def _choose_file(self, line: QLineEdit) -> None:
        kinds = "Certificates and keys (*.pem *.crt *.cer *.key);;All files (*)"
        path = ask_open(self, "Choose a PEM file", kinds, "certificates")
        if path:
            line.setText(path)

    def _add(self) -> None:
        try:
            self._known.add(self.node(), self.password.text())
        except UserError as error:
            self.said.setText(str(error))
            self.said.show()
            make_room(self)
        else:
            self.accept()

    def node(self) -> Node:
        """The PACS as it was filled in.

        Raises
        ------
        UserError
            It makes no sense.
        """
        lines = ["name", "url", "user", "host", "title", "our_title"]
        lines += ["ca_file", "cert_file", "key_file"]
        return make_node(
            **{line: getattr(self, line).text().strip() for line in lines},
            port=self.port.value(),
            our_port=self.our_port.value(),
            tls=self.tls.isChecked(),
            timeout_s=self.timeout.value(),
        )


def _port(field: str, lowest: int) -> QSpinBox:
    box = QSpinBox()
    box.setRange(lowest, 65535)
    box.setValue(Node.model_fields[field].default)
    return box
