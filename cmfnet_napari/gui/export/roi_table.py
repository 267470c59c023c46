"""The structures to export: ticked, named, of a type; their names judged by TG-263 as one types."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import QModelIndex, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QComboBox,
    QHeaderView,
    QLineEdit,
    QMenu,
    QSizePolicy,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QWidget,
)

from cmfnet_napari.core.dicom.export.anatomy_code import anatomy_code
from cmfnet_napari.core.dicom.export.roi import ROI_TYPES, Roi, types_for
from cmfnet_napari.core.nomenclature.name_rules import judge
from cmfnet_napari.core.nomenclature.propose import nearest
from cmfnet_napari.core.strokes.scribbles import ScribbleClass, segmentation_code
from cmfnet_napari.gui.shared.markup import plain

ROW_HEIGHT = 26
_NAME, _TYPE, _CHECK = range(3)
_WIDTHS = {_TYPE: 106, _CHECK: 114}  # pixels; names have the rest
_TWICE = "Another structure has this name: give each one of its own."


class RoiTable(QTableWidget):
    """A row a class. Any name is allowed; the last column says what TG-263 would have."""

    def __init__(self) -> None:
        super().__init__(0, 3)
        as_table(self, ["Structure", "Type", "TG-263"])
        header = self.horizontalHeader()
        for place, width in _WIDTHS.items():
            header.setSectionResizeMode(place, QHeaderView.ResizeMode.Fixed)
            header.resizeSection(place, width)
        tip = "Names by AAPM TG-263; others are exported just as well"
        self.horizontalHeaderItem(_CHECK).setToolTip(tip)
        self.setItemDelegateForColumn(_NAME, _NameTyped(self))
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
        button: QToolButton = self.cellWidget(index, _CHECK)
        _set_menu(button, None)
        roi = self._roi(index, name)
        verdict = judge(roi.name)
        others = [self.item(k, _NAME).text().strip() for k in range(self.rowCount()) if k != index]
        twice = roi.name.casefold() in (other.casefold() for other in others)
        if not verdict.allowed or twice:
            found = [] if twice else _free(nearest(roi.name), others)
            self._offer(button, index, found, _TWICE if twice else verdict.why)
            return
        asked = verdict.roi_type
        if asked and asked != roi.type:
            button.setText(f"→ {asked}")
            button.setToolTip(plain(f"{verdict.about}. Click to export it as {asked}."))
            _on_click(button, partial(self._take_type, index, asked))
            return
        code = anatomy_code(roi)
        coded = "" if code is None else f" Written with the code FMA {code.value}."
        button.setText("✓")
        button.setToolTip(plain(f"A name by TG-263: {verdict.about}.{coded}"))
        _on_click(button, None)
        structure = verdict.structure
        if structure is not None and verdict.whole and structure.reverse != structure.name:
            either = structure.reverse if roi.name == structure.name else structure.name
            _set_menu(button, self._menu(button, index, [either]))

    def _offer(self, button: QToolButton, index: int, found: list[str], why: str) -> None:
        """The nearest name one click away, others in a menu."""
        if not found:
            button.setText("free")
            button.setToolTip(plain(why))
            _on_click(button, None)
            return
        button.setText(f"→ {found[0]}")
        button.setToolTip(plain(f"{why} Click to call it {found[0]}: {judge(found[0]).about}."))
        _on_click(button, partial(self._take_name, index, found[0]))
        if len(found) > 1:
            _set_menu(button, self._menu(button, index, found))

    def _menu(self, button: QToolButton, index: int, names: list[str]) -> QMenu:
        menu = QMenu(button)
        for name in names:
            about = judge(name).about
            menu.addAction(f"{name}   {about}", partial(self._take_name, index, name))
        return menu

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
        kinds.currentTextChanged.connect(lambda _kind: self.judge_all())
        self.setCellWidget(index, _TYPE, kinds)
        button = QToolButton()
        button.setAutoRaise(True)
        button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setCellWidget(index, _CHECK, button)


class _NameTyped(QStyledItemDelegate):
    """The field that a name is typed into: the name is judged at every letter."""

    def createEditor(  # noqa: N802 (Qt's name)
        self, parent: QWidget, option: QStyleOptionViewItem, index: QModelIndex
    ) -> QWidget:
        """Qt's own field, followed."""
        editor = super().createEditor(parent, option, index)
        if isinstance(editor, QLineEdit):
            editor.textEdited.connect(partial(self.parent().judge_row, index.row()))
        return editor


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


def _set_menu(button: QToolButton, menu: QMenu | None) -> None:
    """A menu beside what a click does; without one, no arrow."""
    before = button.menu()
    button.setMenu(menu)
    mode = QToolButton.ToolButtonPopupMode
    button.setPopupMode(mode.DelayedPopup if menu is None else mode.MenuButtonPopup)
    if before is not None:
        before.deleteLater()


def _on_click(button: QToolButton, action: partial[None] | None) -> None:
    """What a click does from now on."""
    before = button.property("action")
    if before is not None:
        button.clicked.disconnect(before)
    slot = None if action is None else (lambda: action())
    button.setProperty("action", slot)
    if slot is not None:
        button.clicked.connect(slot)


def _free(names: list[str], taken: list[str]) -> list[str]:
    """Names that no other structure has."""
    known = {name.casefold() for name in taken}
    return [name for name in names if name.casefold() not in known]
