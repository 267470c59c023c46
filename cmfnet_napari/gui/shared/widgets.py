"""Small widgets the panels share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QDialog,
    QGroupBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.events import Finished, Preview
from cmfnet_napari.gui.shared.dialogs import ask_file, ask_folder
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.tasks import show_failure

_ROW_HEIGHT = 26
NOTICE_STYLE = "color: #d55e00"  # what must not be overlooked; told apart by colour-blind people


class ProgressBar(QProgressBar):
    """A bar that is drawn with the window; Qt draws the whole window for each value, at once."""

    def setValue(self, value: int) -> None:  # noqa: N802 (Qt's name)
        """Move it."""
        self.setUpdatesEnabled(False)
        super().setValue(value)
        self.setUpdatesEnabled(True)


def said(action: Callable[..., Any]) -> Callable[..., None]:
    """Wrap a button's action: a UserError becomes a notification instead of a traceback."""

    @wraps(action)
    def call(*arguments: Any) -> None:
        try:
            action(*arguments)
        except UserError as error:
            show_failure(error)

    return call


def is_there(widget: QWidget) -> bool:
    """Whether Qt has not deleted a widget yet; Python's end of it outlives it."""
    try:
        widget.objectName()
    except RuntimeError:
        return False
    return True


def button(text: str, action: Callable[[], Any], tip: str = "") -> QPushButton:
    """A push button; the action takes no argument and may raise UserError."""
    widget = QPushButton(text)
    widget.setToolTip(tip)
    do = said(action)
    widget.clicked.connect(lambda: do())
    return widget


def large_button(text: str, action: Callable[[], Any], tip: str = "") -> QPushButton:
    """The one button a panel is about."""
    widget = button(text, action, tip)
    widget.setMinimumHeight(40)
    font = widget.font()
    font.setBold(True)
    widget.setFont(font)
    return widget


def text_label(text: str = "", rich: bool = False) -> QLabel:
    """Wrapped text that can be selected; with `rich` it is HTML, and names in it are escaped."""
    widget = QLabel(text)
    widget.setTextFormat(Qt.TextFormat.RichText if rich else Qt.TextFormat.PlainText)
    widget.setWordWrap(True)
    widget.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return widget


def make_room(dialog: QDialog) -> None:
    """Give a dialog the height that its words need by now: Qt would squeeze its fields instead."""
    layout = dialog.layout()
    layout.activate()
    needed = layout.totalHeightForWidth(dialog.width())
    dialog.resize(dialog.width(), max(dialog.height(), needed))


def row(*widgets: QWidget, stretch: int = -1) -> QHBoxLayout:
    """Widgets side by side; `stretch` is the index of the one that takes the room left."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    for index, widget in enumerate(widgets):
        layout.addWidget(widget, 1 if index == stretch else 0)
    return layout


def group(title: str, *parts: QWidget | QHBoxLayout) -> QGroupBox:
    """A titled box with parts below each other."""
    box = QGroupBox(title)
    box.setLayout(column(*parts))
    return box


def column(*parts: QWidget | QHBoxLayout) -> QVBoxLayout:
    """Parts below each other."""
    layout = QVBoxLayout()
    layout.setContentsMargins(6, 6, 6, 6)
    layout.setSpacing(6)
    for part in parts:
        if isinstance(part, QWidget):
            layout.addWidget(part)
        else:
            layout.addLayout(part)
    return layout


def fill_table(
    table: QTableWidget, names: Sequence[str], rows: Mapping[str, Sequence[str]]
) -> None:
    """Show a table as high as its rows: a name a column, a title a row."""
    table.setColumnCount(len(names))
    table.setRowCount(len(rows))
    table.setHorizontalHeaderLabels(list(names))
    table.setVerticalHeaderLabels(list(rows))
    for r, values in enumerate(rows.values()):
        for c, value in enumerate(values):
            table.setItem(r, c, QTableWidgetItem(value))
    table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
    table.setFixedHeight((len(rows) + 1) * _ROW_HEIGHT + 8)
    table.show()


def scrollable(panel: QWidget) -> QScrollArea:
    """A panel that scrolls up and down when the window is low."""
    area = QScrollArea()
    area.setWidget(panel)
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return area


class PathField(QWidget):
    """A path with a button to choose a file and, if wanted, one to choose a DICOM folder."""

    def __init__(self, label: str, hint: str, folders: bool = False) -> None:
        super().__init__()
        self._label, self._tip = label, f"Where the {label} lies"
        self._line = QLineEdit()
        self._line.setToolTip(self._tip)
        self._line.setPlaceholderText(hint)
        self._line.setClearButtonEnabled(True)
        name = QLabel(label)
        name.setFixedWidth(68)
        parts = [name, self._line, button("File…", self._choose_file, f"Choose the {label} file")]
        if folders:
            parts.append(button("Folder…", self._choose_folder, "Folder with one DICOM series"))
        self.setLayout(row(*parts, stretch=1))

    @property
    def path(self) -> str | None:
        """The path, or None when the field is empty."""
        return self._line.text().strip() or None

    @path.setter
    def path(self, path: str | None) -> None:
        self._line.setText(path or "")
        self._line.setToolTip(plain(path or self._tip))

    def _choose_file(self) -> None:
        path = ask_file(self, f"Choose the {self._label} file")
        if path:
            self.path = path

    def _choose_folder(self) -> None:
        path = ask_folder(self, f"Choose the {self._label} folder", "images")
        if path:
            self.path = path


def agreement_words(event: Preview | Finished) -> str:
    """How far a contour agrees with the strokes, and with those that were held out."""
    words = f"agreement with your strokes {100 * event.agreement:.1f} %"
    if event.held_out is None:
        return words
    return f"{words}; {100 * event.held_out:.1f} % with strokes while they were held out"
