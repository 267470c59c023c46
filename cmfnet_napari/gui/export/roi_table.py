"""The structures to export: ticked, named, of a type; their names judged by TG-263 as one types."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QComboBox, QHeaderView, QTableWidget, QTableWidgetItem

from cmfnet_napari.core.dicom.export.anatomy_code import anatomy_code
from cmfnet_napari.core.dicom.export.roi import ROI_TYPES, Roi, types_for
from cmfnet_napari.core.nomenclature.name_rules import judge
from cmfnet_napari.core.strokes.scribbles import ScribbleClass, segmentation_code
from cmfnet_napari.gui.shared.name_check import NameCheck, NameTyped

ROW_HEIGHT = 26
_NAME, _TYPE, _CHECK = range(3)
_WIDTHS = {_TYPE: 106, _CHECK: 114}  # pixels; names have the rest


class RoiTable(QTableWidget):
    """A row a class. Any name is allowed; the last column says what TG-263 would have."""

    changed = Signal()  # another name, type or tick: something else would be exported

    def __init__(self) -> None:
        super().__init__(0, 3)
        as_table(self, ["Structure", "Type", "TG-263"])
        header = self.horizontalHeader()
        for place, width in _WIDTHS.items():
            header.setSectionResizeMode(place, QHeaderView.ResizeMode.Fixed)
            header.resizeSection(place, width)
        tip = "Names by AAPM TG-263; others are exported just as well"
        self.horizontalHeaderItem(_CHECK).setToolTip(tip)
        self.setItemDelegateForColumn(_NAME, NameTyped(self, self.judge_row))
        self.itemChanged.connect(self._on_changed)

    def show_classes(self, classes: list[ScribbleClass]) -> None:
        """Offer other classes; a name that TG-263 has brings its type along."""
        self.blockSignals(True)
        self.setRowCount(len(classes))
        for index, entry in enumerate(classes):
            self._show(index, entry)
        self.blockSignals(False)
        self.judge_all()
        fit_height(self)

    @property
    def rois(self) -> tuple[Roi, ...]:
        """The structures that are ticked."""
        items = [self.item(index, _NAME) for index in range(self.rowCount())]
        return tuple(
            self._roi(index, item.text())
            for index, item in enumerate(items)
            if item.checkState() == Qt.CheckState.Checked
        )

    def judge_all(self) -> None:
        """Say of all names what TG-263 says."""
        for index in range(self.rowCount()):
            self.judge_row(index, self.item(index, _NAME).text())

    def judge_row(self, index: int, name: str) -> None:
        """Say what TG-263 says of a name that may not be complete yet."""
        check: NameCheck = self.cellWidget(index, _CHECK)
        others = [self.item(k, _NAME).text() for k in range(self.rowCount()) if k != index]
        roi = self._roi(index, name)
        verdict = check.judge(roi.name, others)
        if verdict is None:
            return
        asked = verdict.roi_type
        if asked and asked != roi.type:
            tip = f"{verdict.about}. Click to export it as {asked}."
            check.say(f"→ {asked}", tip, partial(self._take_type, index, asked))
            return
        code = anatomy_code(roi)
        if code is not None:
            coded = f"Written with the code FMA {code.value}."
            check.setToolTip(f"{check.toolTip()} {coded}")

    def _take_name(self, index: int, name: str) -> None:
        asked = judge(name).roi_type
        if asked:
            self._take_type(index, asked)
        self.item(index, _NAME).setText(name)

    def _take_type(self, index: int, kind: str) -> None:
        self.cellWidget(index, _TYPE).setCurrentText(kind)

    def _roi(self, index: int, name: str) -> Roi:
        item = self.item(index, _NAME)
        return Roi(
            code=item.data(Qt.ItemDataRole.UserRole),
            name=name.strip(),
            type=self.cellWidget(index, _TYPE).currentText(),
            color=item.foreground().color().name(),
        )

    def _on_changed(self, item: QTableWidgetItem) -> None:
        if item.column() == _NAME:
            self.judge_all()
            self.changed.emit()

    def _on_type(self, _kind: str) -> None:
        self.judge_all()
        self.changed.emit()

    def _show(self, index: int, entry: ScribbleClass) -> None:
        item = QTableWidgetItem(entry.name)
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsEditable)
        item.setCheckState(Qt.CheckState.Checked)
        item.setForeground(QColor(entry.color))
        item.setData(Qt.ItemDataRole.UserRole, segmentation_code(entry.code))
        item.setToolTip("Double-click to rename; untick to leave it out")
        self.setItem(index, _NAME, item)
        kinds = QComboBox()
        kinds.addItems(ROI_TYPES)
        kinds.setCurrentText(types_for([entry.name])[0])
        kinds.currentTextChanged.connect(self._on_type)
        self.setCellWidget(index, _TYPE, kinds)
        self.setCellWidget(index, _CHECK, NameCheck(partial(self._take_name, index)))


def as_table(table: QTableWidget, titles: list[str]) -> QTableWidget:
    """A table that is as high as its rows."""
    table.setHorizontalHeaderLabels(titles)
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
    table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
    return table


def fit_height(table: QTableWidget) -> None:
    """Make a table as high as its rows."""
    header = table.horizontalHeader().sizeHint().height()
    table.setFixedHeight(header + table.rowCount() * ROW_HEIGHT + 4)
