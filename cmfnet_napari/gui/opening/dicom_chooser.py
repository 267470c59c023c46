"""The chooser: what lies in a DICOM folder, with the proposed CT and MR ticked."""

from __future__ import annotations

from collections.abc import Iterator

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QMessageBox,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from cmfnet_napari.core.dicom.importing.pair import propose
from cmfnet_napari.core.dicom.importing.patient import (
    Choice,
    frame_question,
    needs_registration,
    other_frames,
)
from cmfnet_napari.core.dicom.importing.unused import missing_slices
from cmfnet_napari.core.images.series.scan_result import (
    REGISTRATION,
    STRUCTURES,
    DicomObject,
    ImageSeries,
    Scan,
    left_out_notes,
)
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.widgets import NOTICE_STYLE, text_label

_COLUMNS = "Patient, study, series", "Kind", "Date", "Size", "Spacing, mm"
_BOXES = "QTreeWidget::indicator:unchecked { border: 1px solid gray; }"  # else dark on dark
_ENTRY = Qt.ItemDataRole.UserRole
_ROLES = "CT", "MR"
_TICKED, _CLEAR = Qt.CheckState.Checked, Qt.CheckState.Unchecked


class DicomChooser(QDialog):
    """Choose a CT, an MR and structures.

    Parameters
    ----------
    found : Scan
        What was found.
    parent : QWidget
        The dialog goes with it.

    Attributes
    ----------
    choice : Choice or None
        What was chosen, once the dialog is accepted.
    """

    def __init__(self, found: Scan, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Choose from the DICOM folder")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(900, 520)
        self.choice: Choice | None = None
        self._found = found
        self._pair: tuple[ImageSeries | None, ...] = ()
        self._wish: bool | None = None  # what the user clicked: register, or not; None: nothing
        self.tree = QTreeWidget()
        self.register = QCheckBox("Register the MR to the CT when it is opened")
        self.register.setToolTip("Rigid, by mutual information; look at the result before you draw")
        self.note = text_label()
        self.note.setStyleSheet(NOTICE_STYLE)
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel
        )
        self._lay_out()
        self._fill()
        self.tree.itemChanged.connect(self._on_ticked)
        self.register.clicked.connect(self._on_wish)
        self.buttons.accepted.connect(self._open)
        self.buttons.rejected.connect(self.reject)
        self._refresh()

    def item(self, entry: ImageSeries | DicomObject) -> QTreeWidgetItem:
        """The row of a series or a structure set."""
        return next(item for item in self._items() if item.data(0, _ENTRY) is entry)

    def _lay_out(self) -> None:
        self.tree.setColumnCount(len(_COLUMNS))
        self.tree.setHeaderLabels(_COLUMNS)
        self.tree.setStyleSheet(_BOXES)
        header = self.tree.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in range(1, len(_COLUMNS)):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        layout = QVBoxLayout(self)
        for widget in (self.tree, self.register, self.note, self.buttons):
            layout.addWidget(widget)

    def _fill(self) -> None:
        """Patients, their studies, in these their series; structures below their set."""
        proposed = propose(self._found)
        branches: dict[tuple[str, ...], QTreeWidgetItem] = {}
        for image in self._found.images:
            self._add_image(self._branch(branches, image), image, image in proposed)
        for entry in self._found.objects:
            if entry.origin.modality != REGISTRATION:
                self._add_object(self._branch(branches, entry), entry)
        self.tree.expandAll()
        if len(self._found.objects) > 3:
            for item in self._items():
                item.setExpanded(not isinstance(item.data(0, _ENTRY), DicomObject))

    def _branch(
        self, branches: dict[tuple[str, ...], QTreeWidgetItem], entry: ImageSeries | DicomObject
    ) -> QTreeWidgetItem:
        origin = entry.origin
        patient = (origin.patient,)
        if patient not in branches:
            branches[patient] = QTreeWidgetItem(self.tree, [origin.patient_name])
        study = (origin.patient, origin.study_uid)
        if study not in branches:
            words = [origin.study or "Study", "", origin.date]
            branches[study] = QTreeWidgetItem(branches[patient], words)
        return branches[study]

    def _add_image(self, branch: QTreeWidgetItem, image: ImageSeries, ticked: bool) -> None:
        origin, stack = image.origin, image.stack
        name = " – ".join(filter(None, (origin.description or "Series", stack.name)))
        rows, columns = stack.slices[0].size
        spacing = stack.grid.spacing[::-1]
        words = [
            name,
            origin.modality,
            origin.date,
            f"{columns} × {rows} × {len(stack.slices)}",
            "" if stack.problem else " × ".join(f"{s:.2f}" for s in spacing),
        ]
        item = QTreeWidgetItem(branch, words)
        item.setData(0, _ENTRY, image)
        item.setToolTip(0, plain(stack.problem or " ".join(stack.notes)))
        if stack.problem:
            item.setText(4, "cannot be read")
            item.setDisabled(True)
            QTreeWidgetItem(item, [f"{stack.problem[:1].upper()}{stack.problem[1:]}"]).setDisabled(
                True
            )
            item.child(0).setFirstColumnSpanned(True)
        elif origin.modality in _ROLES:
            item.setCheckState(0, _TICKED if ticked else _CLEAR)

    def _add_object(self, branch: QTreeWidgetItem, entry: DicomObject) -> None:
        kind = "structure" if entry.origin.modality == STRUCTURES else "segment"
        item = QTreeWidgetItem(branch, [entry.label or kind, entry.origin.modality])
        item.setText(2, entry.origin.date)
        item.setText(3, f"{len(entry.names)} {kind}{'' if len(entry.names) == 1 else 's'}")
        item.setData(0, _ENTRY, entry)
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsAutoTristate)
        for name in entry.names:
            if name in entry.empty:
                QTreeWidgetItem(item, [f"{name} (empty: no contour)"]).setDisabled(True)
            else:
                QTreeWidgetItem(item, [name]).setCheckState(0, _CLEAR)

    def _items(self) -> Iterator[QTreeWidgetItem]:
        stack = [self.tree.invisibleRootItem()]
        while stack:
            item = stack.pop()
            yield item
            stack += [item.child(k) for k in range(item.childCount())]

    def _picked(self, modality: str) -> ImageSeries | None:
        for item in self._items():
            entry = item.data(0, _ENTRY)
            ticked = isinstance(entry, ImageSeries) and item.checkState(0) == _TICKED
            if ticked and entry.origin.modality == modality:
                return entry
        return None

    def _on_ticked(self, item: QTreeWidgetItem, _column: int) -> None:
        """One CT and one MR at a time: ticking one clears the other."""
        entry = item.data(0, _ENTRY)
        if isinstance(entry, ImageSeries) and item.checkState(0) == _TICKED:
            for other in self._items():
                found = other.data(0, _ENTRY)
                alike = isinstance(found, ImageSeries) and found is not entry
                if alike and found.origin.modality == entry.origin.modality:
                    self._clear(other)
        self._refresh()

    def _on_wish(self, on: bool) -> None:
        self._wish = on

    def _clear(self, item: QTreeWidgetItem) -> None:
        if item.checkState(0) == _TICKED:  # others have no box
            item.setCheckState(0, _CLEAR)

    def _refresh(self) -> None:
        """What the choice needs, before it is opened."""
        ct, mr = self._picked("CT"), self._picked("MR")
        needed = ct is not None and mr is not None and needs_registration(ct, mr, self._found)
        self.register.setEnabled(mr is not None)
        if (ct, mr) != self._pair and self._wish is False:
            self._wish = None  # it was said of another pair
        self._pair = ct, mr
        self.register.setChecked(mr is not None and (needed if self._wish is None else self._wish))
        notes = []
        if ct is None:
            notes.append("Tick a CT. The contour is drawn on it.")
        if needed:
            notes.append(
                "CT and MR do not share a frame of reference: the MR has to be registered."
            )
        notes += left_out_notes(self._found.left_out)
        for image in filter(None, (ct, mr)):
            notes += missing_slices(image, self._found)
        self.note.setText("\n".join(notes))
        self.note.setVisible(bool(notes))
        self.buttons.button(QDialogButtonBox.StandardButton.Open).setEnabled(ct is not None)

    def _structures(self) -> tuple[tuple[DicomObject, ...], frozenset[tuple[str, str]]]:
        objects, names = [], set()
        for item in self._items():
            entry = item.data(0, _ENTRY)
            if isinstance(entry, DicomObject):
                rows = (item.child(k) for k in range(item.childCount()))
                ticked = {(entry.uid, row.text(0)) for row in rows if row.checkState(0) == _TICKED}
                objects += [entry] if ticked else []
                names |= ticked
        return tuple(objects), frozenset(names)

    def _open(self) -> None:
        ct = self._picked("CT")
        objects, names = self._structures()
        register = self.register.isChecked()
        choice = Choice(ct, self._picked("MR"), objects, names, register)
        asked = other_frames(choice, self._found)
        if asked:
            answer = QMessageBox.question(self, "Another frame of reference", frame_question(asked))
            if answer != QMessageBox.StandardButton.Yes:
                return
            choice = Choice(ct, choice.second, objects, names, register, any_frame=True)
        self.choice = choice
        self.accept()
