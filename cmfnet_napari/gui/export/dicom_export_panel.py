"""Export to the clinic: structures, the series they belong to, the receipt, and the PACS."""

from __future__ import annotations

import re

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QLineEdit,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from cmfnet_napari.core.dicom.export.formats import FORMATS
from cmfnet_napari.core.dicom.export.receipt import Receipt
from cmfnet_napari.core.dicom.export.roi import Roi
from cmfnet_napari.core.strokes.scribbles import FIRST_CLASS, ScribbleClass
from cmfnet_napari.gui.export.dicom_export import OUTDATED, Choice, DicomExport
from cmfnet_napari.gui.export.pacs_send_dialog import PacsSendDialog
from cmfnet_napari.gui.export.roi_table import RoiTable, as_table, fit_height
from cmfnet_napari.gui.shared.dialogs import ask_folder, ask_open, ask_save
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.messages import show_info
from cmfnet_napari.gui.shared.widgets import (
    NOTICE_STYLE,
    button,
    column,
    group,
    large_button,
    row,
    text_label,
)

_RECEIPT = ["Read back", "Dice", "Volume, ml", "Change, %", "Shift, mm"]
_BAD = "\N{WARNING SIGN} "


class DicomExportPanel(QWidget):
    """Exports the contours of `dicom_export` for a DICOM series.

    Call `refresh` when there is another contour, or its classes have changed.
    """

    def __init__(self, dicom_export: DicomExport) -> None:
        super().__init__()
        self._dicom_export = dicom_export
        self._classes: list[ScribbleClass] = []
        self._empty: frozenset[int] = frozenset()  # codes without a voxel
        self.structures = RoiTable()
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("its DICOM folder")
        self.folder.setToolTip("The series that was contoured; other files there do not matter")
        self.kind = QComboBox()
        self.kind.setToolTip("Planning systems read structure sets; some viewers, segmentations")
        for name, chosen in FORMATS.items():
            if chosen.dicom:
                self.kind.addItem(chosen.title, name)
        self.add_to = QLineEdit()
        self.add_to.setToolTip("A structure set whose structures are taken over into the new file")
        self.add_to.setPlaceholderText("None: a new set")
        self.add_to.setClearButtonEnabled(True)
        self.add_to_row = QWidget()
        self.add_to_row.setLayout(
            row(self.add_to, button("File…", self._ask_set, "Choose a set"), stretch=0)
        )
        self.kind.currentIndexChanged.connect(self._on_kind)
        for edited in (
            self.structures.changed,
            self.kind.currentIndexChanged,
            self.add_to.textChanged,
            self.folder.textChanged,
        ):
            edited.connect(self._on_edited)
        self.export_button = large_button("Export…", self._ask_target, "Read back before it counts")
        self.said = text_label()
        self.receipt = as_table(QTableWidget(), [])
        self.receipt.setRowCount(len(_RECEIPT))
        self.receipt.setVerticalHeaderLabels(_RECEIPT)
        self.receipt.verticalHeader().show()
        self.pacs_button = button("Send to PACS…", self._ask_pacs, "The file that was exported")
        form = QFormLayout()
        form.addRow("Series", _boxed(self.folder, button("Folder…", self._ask_folder, "Choose it")))
        form.addRow("Format", self.kind)
        form.addRow("Add to", self.add_to_row)
        chosen = QWidget()
        chosen.setLayout(form)
        form.setContentsMargins(0, 0, 0, 0)
        parts = self.structures, chosen, self.export_button, self.said, self.receipt
        self.setLayout(column(group("For the clinic (DICOM)", *parts, self.pacs_button)))
        self.layout().setContentsMargins(0, 0, 0, 0)
        self.layout().addStretch()
        dicom_export.exported.connect(self._on_exported)
        dicom_export.refused.connect(self._on_refused)
        dicom_export.sent.connect(self._say)
        dicom_export.not_sent.connect(self._on_not_sent)
        dicom_export.late.connect(lambda text: show_info(plain(text)))
        self.refresh()

    def refresh(self) -> None:
        """Show the classes that can be exported; a receipt of another contour goes."""
        offered, empty = self._dicom_export.offered
        classes = [entry for entry in offered if entry.code >= FIRST_CLASS]
        self.setEnabled(bool(classes))
        if classes != self._classes:  # else names and types that were chosen stay
            self._classes = classes
            self.structures.show_classes(classes)
            self._empty = frozenset()
        with QSignalBlocker(self.structures):  # a tick is no name that would have to be judged
            for index in range(self.structures.rowCount()):
                self._tick(self.structures.item(index, 0), empty)
        self._empty = empty
        self.outdate()

    def _tick(self, item: QTableWidgetItem, empty: frozenset[int]) -> None:
        """A class without a voxel is not ticked; once it has one it is, else ticks stay."""
        code = item.data(Qt.ItemDataRole.UserRole)
        if (code in empty) != (code in self._empty):
            checked = Qt.CheckState.Unchecked if code in empty else Qt.CheckState.Checked
            item.setCheckState(checked)

    def _on_edited(self, *_value: object) -> None:
        """What is chosen is not what the last file holds."""
        self._dicom_export.outdate()
        if self.export_button.isEnabled():  # else what is being written is told of
            self.outdate()

    def outdate(self) -> None:
        """The file that was exported is not the contour of record any more: it is not sent."""
        self.said.clear()
        self.receipt.hide()
        self.pacs_button.setEnabled(False)

    def forget(self) -> None:
        """The patient is left."""
        self._dicom_export.forget()
        self.folder.clear()
        self.add_to.clear()
        self.export_button.setEnabled(True)
        self.refresh()

    @property
    def rois(self) -> tuple[Roi, ...]:
        """The structures that are ticked."""
        return self.structures.rois

    def export(self, out: str) -> None:
        """Export into a file."""
        kind: str = self.kind.currentData()
        add_to = self.add_to.text().strip() if FORMATS[kind].adds else ""
        self._dicom_export.export(Choice(self.rois, self.folder.text().strip(), kind, out, add_to))
        self.export_button.setEnabled(False)
        self.pacs_button.setEnabled(False)
        self._say("Writing, and reading back…")

    def _on_kind(self) -> None:
        self.add_to_row.setEnabled(FORMATS[self.kind.currentData()].adds)

    def _on_exported(self, file: str, receipt: Receipt) -> None:
        self.export_button.setEnabled(True)
        current = self._dicom_export.current  # one may have gone on while it was written
        self.pacs_button.setEnabled(current)
        outdated = "" if current else f" {OUTDATED}"
        self._say(
            f"Written as {file}. DICOM check: {receipt.dicom}.{outdated}".replace("/", "/\u200b")
        )
        self.receipt.setColumnCount(len(receipt.lines))
        self.receipt.setHorizontalHeaderLabels([line.name for line in receipt.lines])
        for place, line in enumerate(receipt.lines):
            values = (
                "OK" if line.ok else "not OK",
                f"{line.dice:.3f}",
                f"{line.written_ml:.2f}",
                f"{round(100 * line.volume_change, 2) + 0.0:+.2f}",  # no -0.00
                f"{line.shift_mm:.2f}",
            )
            for index, value in enumerate(values):
                self.receipt.setItem(index, place, QTableWidgetItem(value))
        fit_height(self.receipt)
        self.receipt.show()

    def _on_refused(self, why: str) -> None:
        self.export_button.setEnabled(True)
        self.receipt.hide()
        self._say(f"{_BAD}{why or 'Nothing was written.'}", NOTICE_STYLE)

    def _on_not_sent(self, why: str) -> None:
        self._say(why, NOTICE_STYLE)

    def _say(self, text: str, style: str = "") -> None:
        self.said.setStyleSheet(style)
        self.said.setText(text)

    def _ask_folder(self) -> None:
        path = ask_folder(self, "Choose the folder of the image's DICOM files")
        if path:
            self.folder.setText(path)
            self.folder.setToolTip(plain(path))

    def _ask_set(self) -> None:
        path = ask_open(self, "Choose a structure set to add to", what="results")
        if path:
            self.add_to.setText(path)

    def _ask_target(self) -> None:
        ending = FORMATS[self.kind.currentData()].ending
        name = file_name(self.rois[0].name if self.rois else "contours", ending)
        path = ask_save(self, "Export", name, f"DICOM (*{ending})")
        if path:
            self.export(path)

    def _ask_pacs(self) -> None:
        dialog = PacsSendDialog(self._dicom_export, self)
        dialog.exec()
        dialog.deleteLater()


def _boxed(*widgets: QWidget) -> QWidget:
    """Widgets side by side, the first as wide as it goes."""
    box = QWidget()
    box.setLayout(row(*widgets, stretch=0))
    return box


def file_name(structure: str, ending: str = ".dcm") -> str:
    """A file's name for a structure's, without signs that Windows or others forbid in one."""
    return re.sub(r'[<>:"/\\|?*\x00-\x1f]', "-", structure) + ending
