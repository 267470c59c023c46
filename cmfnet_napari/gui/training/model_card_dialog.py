"""A model's card to read, before the model is used or whenever one likes."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QTextCursor, QTextDocument
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QTextBrowser, QVBoxLayout, QWidget

_SIZE = 620, 700  # pixels
_FEATURES = QTextDocument.MarkdownFeature


class ModelCardDialog(QDialog):
    """The card, with a button to go on where somebody waits for it.

    Parameters
    ----------
    parent : QWidget
        Whose it is.
    text : str
        The card as Markdown.
    use : callable, optional
        What is done once the user has read it and wants the model.
    """

    def __init__(self, parent: QWidget, text: str, use: Callable[[], object] | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Card of the model")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.text = _Page()
        features = _FEATURES.MarkdownNoHTML | _FEATURES.MarkdownDialectGitHub
        self.text.document().setMarkdown(text, features)
        self.text.moveCursor(QTextCursor.MoveOperation.Start)  # else Qt shows the end
        self.buttons = QDialogButtonBox()
        if use is None:
            self.buttons.addButton(QDialogButtonBox.StandardButton.Close)
        else:
            role = QDialogButtonBox.ButtonRole.AcceptRole
            self.use_button = self.buttons.addButton("I have read it: use this model", role)
            self.buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
            self.accepted.connect(use)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(self.buttons)
        self.resize(*_SIZE)


class _Page(QTextBrowser):
    """Shows text alone: a card from elsewhere opens no link and loads no picture."""

    def __init__(self) -> None:
        super().__init__()
        self.setOpenLinks(False)

    def loadResource(self, kind: int, name: QUrl) -> object:  # noqa: N802
        """Nothing."""
        return None
