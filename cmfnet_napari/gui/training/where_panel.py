"""Where trainings run: the choice, and how the line to another computer is."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox, QFormLayout, QSizePolicy, QWidget

from cmfnet_napari.core.fit.events import LineChanged
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.widgets import (
    NOTICE_STYLE,
    ProgressBar,
    button,
    row,
    said,
    text_label,
)
from cmfnet_napari.gui.training.computer_form import ComputerForm
from cmfnet_napari.gui.training.where import Where

_HERE, _ADD = "This computer", "Add a computer…"
_TIP = (
    "Another computer, such as one with a GPU, can train in this one's place. The images go there "
    "once, without any name; strokes and the case stay here."
)
_TEST_TIP = "Ask the computer what it can do: GPU, memory, disk, version"
_REMOVE_TIP = "Take the computer from this list; what lies there is left alone"
_NOTICED = "away", "refused"  # what must not be overlooked


class WherePanel(QWidget):
    """A list of computers, *Test*, and a line that says how it is."""

    def __init__(self, where: Where) -> None:
        super().__init__()
        self._where = where
        self.box = QComboBox()
        self.box.setToolTip(_TIP)
        self.box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.test_button = button("Test", self._test, _TEST_TIP)
        self.remove_button = button("Remove", self._remove, _REMOVE_TIP)
        self.state = text_label()
        self.sent = ProgressBar()
        self.sent.setRange(0, 1000)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Where", row(self.box, self.test_button, self.remove_button, stretch=0))
        form.addRow(self.state)
        form.addRow(self.sent)
        self.box.activated.connect(said(self._choose))
        where.changed.connect(self._offer)
        where.line_changed.connect(self._show)
        where.answered.connect(lambda text: self._say(text, False))
        where.failed.connect(lambda text: self._say(text, True))
        self._offer()

    def _offer(self, _how: object = None) -> None:
        self._say("", False)
        self.sent.hide()
        self.box.blockSignals(True)
        self.box.clear()
        self.box.addItem(_HERE, "")
        for host in self._where.hosts:
            self.box.addItem(host.name, host.name)
        self.box.insertSeparator(self.box.count())
        self.box.addItem(_ADD, None)
        self.box.setCurrentIndex(self.box.findData(self._where.name))
        self.box.blockSignals(False)
        for widget in (self.test_button, self.remove_button):
            widget.setVisible(self._where.host is not None)
        if self._where.line is not None:
            self._show(self._where.line)

    def _choose(self, *_index: int) -> None:
        name = self.box.currentData()
        if name is None:
            self.box.setCurrentIndex(self.box.findData(self._where.name))
            form = ComputerForm(self._where, self)
            form.finished.connect(self._offer)  # what a test in it found is not of the chosen one
            form.open()
        else:
            self._where.choose(name)

    def _test(self) -> None:
        if self._where.host is not None:
            self._say(f"Asking {self._where.host.name} …", False)
            self._where.test(self._where.host)

    def _remove(self) -> None:
        self._where.forget(self._where.name)

    def _show(self, event: LineChanged) -> None:
        self.sent.setVisible(event.state == "sending" and event.share < 1)
        self.sent.setValue(round(1000 * event.share))
        word = {"away": "Away. ", "waiting": "Waiting. "}.get(event.state, "")
        self._say(word + event.text, event.state in _NOTICED)

    def _say(self, text: str, notice: bool) -> None:
        self.state.setText(plain(text))
        self.state.setStyleSheet(NOTICE_STYLE if notice else "")
        self.state.setVisible(bool(text))
