"""The list of classes with their coverage."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QHeaderView,
    QProgressBar,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from cmfnet_napari.core.strokes.scribbles import BACKGROUND, PAPER_COVERAGE, ScribbleClass
from cmfnet_napari.gui.drawing.drawing_keys import DRAW_NEXT_CLASS, class_key
from cmfnet_napari.gui.patient.classes import add_class, change_class
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.widgets import button, column, row, said, text_label

_COLOR, _NAME, _KEY, _VOXELS, _PERCENT = range(5)
_ROW_HEIGHT = 26


class ClassesPanel(QWidget):
    """Choose, add, rename and recolour classes; see how much of the image each covers."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.table = _table()
        self.table.cellClicked.connect(self._on_click)
        self.table.itemChanged.connect(said(self._on_edit))
        self.add_button = button("Add class", self._add, "One more structure to contour")
        self.color_button = button("Colour…", self._recolor, "Colour of the class in use")
        layout = column(
            self.table,
            row(self.add_button, self.color_button),
            text_label(
                f"Click a class to paint it; double-click its name to rename it. "
                f"{DRAW_NEXT_CLASS.key}: next class. A full bar: strokes cover as much of the "
                "image as in the paper."
            ),
        )
        layout.setContentsMargins(0, 0, 0, 0)
        self.setLayout(layout)
        for signal in (session.opened, session.classes_changed, session.closed):
            signal.connect(self._fill)
        session.opened.connect(self._follow_selection)
        session.strokes_changed.connect(self._count)
        self._fill()
        if session.patient is not None:
            self._follow_selection()

    def _classes(self) -> tuple[ScribbleClass, ...]:
        return () if self._session.patient is None else self._session.case.classes

    def _fill(self) -> None:
        classes = self._classes()
        self.setEnabled(bool(classes))
        self.table.blockSignals(True)
        self.table.setRowCount(len(classes))
        for index, entry in enumerate(classes):
            for cell in range(5):
                self.table.setItem(index, cell, _item(cell))
            self.table.item(index, _COLOR).setIcon(_swatch(entry.color))
            self.table.item(index, _NAME).setText(entry.name)
            self.table.item(index, _NAME).setData(Qt.ItemDataRole.UserRole, entry.code)
            self.table.item(index, _KEY).setText(class_key(entry.code))
            self.table.setCellWidget(index, _PERCENT, _bar(entry.color))
        rows = min(max(len(classes), 2), 6)
        header = self.table.horizontalHeader().sizeHint().height()
        self.table.setFixedHeight(rows * _ROW_HEIGHT + header + 4)
        self.table.blockSignals(False)
        self._count()
        self._mark_selected()

    def _count(self) -> None:
        if self._session.patient is None:
            return
        recorder = self._session.recorder
        total = int(recorder.counts.sum())
        self.table.blockSignals(True)
        for index, entry in enumerate(self._classes()):
            voxels = int(recorder.counts[entry.code])
            self.table.item(index, _VOXELS).setText(f"{voxels:,}".replace(",", "\u2009"))
            _fill_bar(self.table.cellWidget(index, _PERCENT), entry, 100 * voxels / total)
        self.table.blockSignals(False)

    def _follow_selection(self) -> None:
        self._session.scribbles.events.selected_label.connect(self._mark_selected)
        self._mark_selected()

    def _mark_selected(self) -> None:
        if self._session.patient is None:
            return
        selected = self._session.scribbles.selected_label
        codes = [entry.code for entry in self._classes()]
        if selected in codes:
            self.table.selectRow(codes.index(selected))

    def _on_click(self, index: int, cell: int) -> None:
        self._session.select_class(self._classes()[index].code)

    def _on_edit(self, item: QTableWidgetItem) -> None:
        code = item.data(Qt.ItemDataRole.UserRole)
        if code is not None:
            self._session.set_classes(change_class(self._classes(), code, name=item.text()))

    def _add(self) -> None:
        classes = add_class(self._classes())
        self._session.set_classes(classes)
        self._session.select_class(classes[-1].code)
        item = self.table.item(len(classes) - 1, _NAME)
        self.table.scrollToItem(item)
        self.table.setCurrentItem(item)
        self.table.setFocus()
        self.table.editItem(item)  # what is typed now is its name, no key of a tool

    def _recolor(self) -> None:
        code = self._session.scribbles.selected_label
        entry = next((e for e in self._classes() if e.code == code), None)
        if entry is None:
            return
        color = QColorDialog.getColor(QColor(entry.color), self, f"Colour of {entry.name}")
        if color.isValid():
            self._session.set_classes(change_class(self._classes(), code, color=color.name()))


def _swatch(color: str) -> QIcon:
    """A square that keeps its colour when its row is selected."""
    pixmap = QPixmap(16, 16)
    pixmap.fill(QColor(color))
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon


def _bar(color: str) -> QProgressBar:
    """How much of the paper's coverage a class has; the figure is the share of the image."""
    bar = QProgressBar()
    bar.setRange(0, 100)
    bar.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    bar.setStyleSheet(
        "QProgressBar { background: transparent; border: none; margin: 2px; padding-right: 4px; }"
        f"QProgressBar::chunk {{ background: {QColor(color).darker(200).name()}; }}"
    )
    return bar


def _fill_bar(bar: QProgressBar, entry: ScribbleClass, percent: float) -> None:
    paper = PAPER_COVERAGE["background" if entry.code == BACKGROUND else "tumour"]
    bar.setValue(min(100, round(100 * percent / paper)))
    bar.setFormat(f"{percent:.3f}")
    bar.setToolTip(
        f"Strokes of {plain(entry.name)} cover {percent:.3f} % of the image; in the paper "
        f"{paper:g} % on average."
    )


def _table() -> QTableWidget:
    table = QTableWidget(0, 5)
    table.setHorizontalHeaderLabels(["", "Class", "Key", "Voxels", "% image"])
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    header = table.horizontalHeader()
    header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
    for cell, width in ((_COLOR, 26), (_KEY, 36), (_VOXELS, 58), (_PERCENT, 76)):
        table.setColumnWidth(cell, width)
    return table


def _item(cell: int) -> QTableWidgetItem:
    item = QTableWidgetItem()
    if cell != _NAME:
        item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
    if cell in (_VOXELS, _PERCENT):
        item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return item
