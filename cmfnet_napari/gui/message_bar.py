"""Messages above the tabs, each until it is no longer true or has been read."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.messages import MessageKind, forget, listen
from cmfnet_napari.gui.shared.widgets import NOTICE_STYLE, text_label

_MOST = 3
_READ_MS = 20_000  # what is good to know; what went wrong stays until somebody says that it is read


class MessageBar(QWidget):
    """The last messages, newest below; nothing, and no room taken, when there is none.

    Parameters
    ----------
    session : Session
        Messages are about its patient: they go with it.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._rows = QVBoxLayout()
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(2)
        self.setLayout(self._rows)
        self.hide()
        listen(self.say)
        self.destroyed.connect(partial(forget, self.say))
        self._cleared = False  # for the patient who is being read
        session.busy.connect(self._on_busy)
        session.leaving.connect(self._on_leaving)
        session.opened.connect(self._on_opened)

    @property
    def texts(self) -> list[str]:
        """What is shown, oldest first."""
        return [message.text for message in self._messages]

    def say(self, text: str, kind: MessageKind) -> None:
        """Show a message; the same one again takes the place of the first."""
        for message in self._messages:
            if message.text == text:
                self._drop(message)
        self._rows.addWidget(_Message(self, text, kind))
        for message in self._messages[:-_MOST]:
            self._drop(message)
        self.show()

    def clear(self) -> None:
        """The patient is left: what was said of it is history."""
        for message in self._messages:
            self._drop(message)

    def _on_busy(self, what: str) -> None:
        """Another patient is read: what is said from now on is about that one."""
        if what:
            self.clear()
            self._cleared = True

    def _on_leaving(self) -> None:
        if not self._cleared:
            self.clear()

    def _on_opened(self) -> None:
        self._cleared = False

    def close_bar(self) -> None:
        """Show no further messages."""
        forget(self.say)

    @property
    def _messages(self) -> list[_Message]:
        items = (self._rows.itemAt(index).widget() for index in range(self._rows.count()))
        return [item for item in items if isinstance(item, _Message)]

    def _drop(self, message: _Message) -> None:
        self._rows.removeWidget(message)
        message.hide()
        message.deleteLater()
        self.setVisible(bool(self._messages))


class _Message(QWidget):
    """One sentence and a cross."""

    def __init__(self, bar: MessageBar, text: str, kind: MessageKind) -> None:
        super().__init__(bar)
        self.text = text
        label = text_label(text)
        if kind != "info":
            label.setStyleSheet(NOTICE_STYLE)
        cross = QPushButton("×")
        cross.setFixedSize(22, 22)
        cross.setToolTip("I have read it")
        cross.setAccessibleName("Close the message")
        cross.clicked.connect(lambda: bar._drop(self))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(label, 1)
        layout.addWidget(cross, 0)
        layout.setAlignment(cross, Qt.AlignmentFlag.AlignTop)
        if kind == "info":
            self._read = QTimer(self, singleShot=True, interval=_READ_MS)
            self._read.timeout.connect(lambda: bar._drop(self))
            self._read.start()
