"""The list of classes with their coverage."""

from __future__ import annotations

from functools import partial

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QHeaderView,
    QMenu,
    QProgressBar,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from cmfnet_napari.core.strokes.entries import ClassChange
from cmfnet_napari.core.strokes.scribbles import (
    BACKGROUND,
    FIRST_CLASS,
    PAPER_COVERAGE,
    ScribbleClass,
)
from cmfnet_napari.gui.drawing.drawing_keys import DRAW_NEXT_CLASS, UNDO, class_key
from cmfnet_napari.gui.patient.classes import add_class, change_class
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.messages import show_info
from cmfnet_napari.gui.shared.name_check import NameCheck, NameTyped
from cmfnet_napari.gui.shared.widgets import ProgressBar, button, column, row, said, text_label

_COLOR, _NAME, _KEY, _VOXELS, _PERCENT = range(5)
_ROW_HEIGHT = 26


class ClassesPanel(QWidget):
    """Choose, add, name, colour, remove and merge classes; how much of the image each covers."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.table = _table()
        self.table.cellClicked.connect(self._on_click)
        self.table.itemChanged.connect(said(self._on_edit))
        self.table.setItemDelegateForColumn(_NAME, NameTyped(self.table, self._judge))
        self.name_check = NameCheck(said(self._take_name))
        self._named = FIRST_CLASS  # code of the class whose name is judged
        self.add_button = button("Add class", self._add, "One more structure to contour")
        self.color_button = button("Colour…", self._recolor, "Colour of the class in use")
        self.remove_button = button(
            "Remove",
            self._remove,
            "Remove the class in use, with its strokes and corrections. Undo brings all back",
        )
        self.merge_menu = QMenu(self)
        self.merge_menu.aboutToShow.connect(said(self._fill_merge_menu))
        self.merge_button = QPushButton("Merge into")
        self.merge_button.setToolTip(
            "Give the strokes and corrections of the class in use to another class. Undo takes "
            "them apart again"
        )
        self.merge_button.setMenu(self.merge_menu)
        layout = column(
            self.table,
            row(text_label("Name by TG-263:"), self.name_check, stretch=1),
            row(self.add_button, self.color_button),
            row(self.remove_button, self.merge_button),
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
        removable = self._session.writable and selected in codes[1:] and len(codes) > FIRST_CLASS
        for widget in (self.remove_button, self.merge_button):
            widget.setEnabled(removable)
        if selected in codes[1:]:
            index = codes.index(selected)
            self._judge(index, self._classes()[index].name)
        else:
            self.name_check.say("–", "The background is no structure")
        self.name_check.setEnabled(self._session.writable and selected in codes[1:])

    def _judge(self, index: int, name: str) -> None:
        """Say what TG-263 says of a class's name, which may not be complete yet."""
        entry = self._classes()[index]
        others = [other.name for other in self._classes() if other.code != entry.code]
        self._named = entry.code
        self.name_check.judge(name, others)

    def _take_name(self, name: str) -> None:
        code = self._named
        self._mark_selected()  # ends what is being typed: later it would take the name's place
        self._session.set_classes(change_class(self._classes(), code, name=name))

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

    def _used(self) -> ScribbleClass | None:
        code = self._session.scribbles.selected_label
        return next((entry for entry in self._classes() if entry.code == code), None)

    def _remove(self) -> None:
        entry = self._used()
        if entry is not None:
            self._tell(entry, "was removed", self._session.remove_class(entry.code))

    def _merge(self, into: ScribbleClass) -> None:
        entry = self._used()
        if entry is not None:
            change = self._session.remove_class(entry.code, into.code)
            self._tell(entry, f"is part of {into.name} now", change)

    def _tell(self, entry: ScribbleClass, what: str, change: ClassChange) -> None:
        voxels = int(np.count_nonzero(change.old == entry.code))
        drawn = f", with {voxels} voxels of strokes" if voxels else ""
        show_info(plain(f"{entry.name} {what}{drawn}. {UNDO.key} takes that back."))

    def _fill_merge_menu(self) -> None:
        """The classes that the one in use can become part of."""
        self.merge_menu.clear()
        used = self._used()
        for entry in self._classes()[1:]:
            if entry != used:
                name = entry.name.replace("&", "&&")  # which Qt takes for a letter to underline
                self.merge_menu.addAction(name, said(partial(self._merge, entry)))

    def _recolor(self) -> None:
        entry = self._used()
        if entry is None:
            return
        code = entry.code
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
    bar = ProgressBar()
    bar.setRange(0, 100)
    bar.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    bar.setStyleSheet(
        "QProgressBar { background: transparent; border: none; margin: 2px; padding-right: 4px; }"
        f"QProgressBar::chunk {{ background: {QColor(color).darker(200).name()}; }}"
    )
    return bar


def _fill_bar(bar: QProgressBar, entry: ScribbleClass, percent: float) -> None:
    paper = PAPER_COVERAGE["background" if entry.code == BACKGROUND else "tumour"]
    value, words = min(100, round(100 * percent / paper)), f"{percent:.3f}"
    if (bar.value(), bar.format()) == (value, words):
        return  # nothing to draw anew
    bar.setValue(value)
    bar.setFormat(words)
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
