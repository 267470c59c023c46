"""A form for what must be known of another computer."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QDialog, QFormLayout, QLineEdit, QSpinBox, QWidget

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.widgets import (
    NOTICE_STYLE,
    button,
    column,
    large_button,
    make_room,
    row,
    text_label,
)
from cmfnet_napari.gui.training.where import Where
from cmfnet_napari.remote.hosts import Host, make_host

_ABOUT = (
    "Its name is what ‘ssh’ in a terminal takes, and it has to let you in without asking for "
    "anything. The images of the patient that is open go there, without any name; who manages "
    "that computer can read them."
)


class ComputerForm(QDialog):
    """Adds a computer to the list, or changes the one of that name; *Test* asks it first."""

    def __init__(self, where: Where, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Add a computer")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(460)
        self._where = where
        self.name, self.via = QLineEdit(), QLineEdit()
        self.name.setPlaceholderText("as in ssh NAME")
        self.via.setPlaceholderText("such as srun --gres=gpu:1; empty: nothing")
        self.forget = QCheckBox("Delete the images there when the patient is left")
        fields = Host.model_fields
        self.days, self.minutes = QSpinBox(suffix=" days"), QSpinBox(suffix=" min")
        self.days.setRange(1, 365)
        self.days.setValue(fields["days"].default)
        self.days.setToolTip("Images that nobody used for so long are deleted there")
        self.minutes.setRange(1, 1440)
        self.minutes.setValue(fields["minutes"].default)
        self.minutes.setToolTip("How long the training goes on there when the line is lost")
        self.said = text_label()
        self.said.hide()
        self.test_button = button("Test", self._test, "Ask it what it can do")
        self.add_button = large_button("Add this computer", self._add)
        self.cancel_button = button("Cancel", self.reject)
        form = QFormLayout()
        form.addRow("Computer", self.name)
        form.addRow("Started by", self.via)
        form.addRow("Images stay", self.days)
        form.addRow("", self.forget)
        form.addRow("Without a line", self.minutes)
        buttons = row(self.add_button, self.test_button, self.cancel_button, stretch=0)
        self.setLayout(column(text_label(_ABOUT), form, self.said, buttons))
        where.answered.connect(self._on_answer)
        where.failed.connect(self._on_failure)

    def host(self) -> Host:
        """The computer as it was filled in; UserError when it makes no sense."""
        return make_host(
            self.name.text(),
            self.via.text(),
            forget=self.forget.isChecked(),
            days=self.days.value(),
            minutes=self.minutes.value(),
        )

    def _test(self) -> None:
        if self._try(self._where.test):
            self._on_answer("Asking …")

    def _add(self) -> None:
        if self._try(self._where.add):
            self.accept()

    def _try(self, action: Callable[[Host], None]) -> bool:
        self.said.hide()
        try:
            action(self.host())
        except UserError as error:
            self._on_failure(str(error))
            return False
        return True

    def _on_answer(self, text: str) -> None:
        self._say(text, "")

    def _on_failure(self, text: str) -> None:
        self._say(text, NOTICE_STYLE)

    def _say(self, text: str, style: str) -> None:
        self.said.setStyleSheet(style)
        self.said.setText(plain(text))
        self.said.show()
        make_room(self)
