"""The chooser: what lies in a DICOM folder, with the proposed images ticked."""

from __future__ import annotations

from collections.abc import Iterator

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from cmfnet_napari.core.dicom.importing.pair import propose
from cmfnet_napari.core.dicom.importing.patient import (
    Choice,
    both,
    frame_question,
    needs_registration,
    other_frames,
)
from cmfnet_napari.core.dicom.importing.unused import missing_slices
from cmfnet_napari.core.images.modality import MODALITIES
from cmfnet_napari.core.images.series.scan_result import (
    REGISTRATION,
    STRUCTURES,
    DicomObject,
    ImageSeries,
    Scan,
    left_out_notes,
)
from cmfnet_napari.gui.shared.dialogs import ask_sure
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.widgets import NOTICE_STYLE, text_label

_COLUMNS = "Patient, study, series", "Kind", "Date", "Size", "Spacing, mm"
_BOXES = "QTreeWidget::indicator:unchecked { border: 1px solid gray; }"  # else dark on dark
_ENTRY = Qt.ItemDataRole.UserRole
_TICKED, _CLEAR = Qt.CheckState.Checked, Qt.CheckState.Unchecked


class DicomChooser(QDialog):
    """Choose one image or two, and structures.

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
        self._pair: list[ImageSeries] = []
        self._ticked: list[ImageSeries] = []  # in the order they were ticked
        self._wish: bool | None = None  # what the user clicked: register, or not; None: nothing
        self.tree = QTreeWidget()
        self.register = QCheckBox("Register image 2 to image 1 when they are opened")
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
        self._ticked = [image for image in proposed if image is not None]
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
        elif origin.modality in MODALITIES:
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

    @property
    def picked(self) -> list[ImageSeries]:
        """The images that are ticked: a CT is drawn on, else the one that was ticked first."""
        return sorted(self._ticked, key=lambda image: image.origin.modality != "CT")

    def _on_ticked(self, item: QTreeWidgetItem, _column: int) -> None:
        """Two images at a time: a third takes the place of the one of its kind, or the last's."""
        entry = item.data(0, _ENTRY)
        if not isinstance(entry, ImageSeries):
            self._refresh()
            return
        others = [image for image in self._ticked if image is not entry]
        if item.checkState(0) != _TICKED:
            self._ticked = others
        elif entry not in self._ticked:
            self._ticked = [*_making_room(others, entry), entry]
            for gone in others:
                if gone not in self._ticked:
                    self.item(gone).setCheckState(0, _CLEAR)
        self._refresh()

    def _on_wish(self, on: bool) -> None:
        self._wish = on

    def _refresh(self) -> None:
        """What the choice needs, before it is opened."""
        picked = self.picked
        pair = len(picked) == 2
        needed = pair and needs_registration(*picked, self._found)
        self.register.setEnabled(pair)
        if picked != self._pair and self._wish is False:
            self._wish = None  # it was said of another pair
        self._pair = picked
        self.register.setChecked(pair and (needed if self._wish is None else self._wish))
        notes = []
        if not picked:
            notes.append("Tick a CT, an MR or a PET. The contour is drawn on it.")
        if needed:
            notes.append(
                f"{both(*picked)} do not share a frame of reference: image 2 has to be registered."
            )
        notes += left_out_notes(self._found.left_out)
        for image in picked:
            notes += missing_slices(image, self._found)
        self.note.setText("\n".join(notes))
        self.note.setVisible(bool(notes))
        self.buttons.button(QDialogButtonBox.StandardButton.Open).setEnabled(bool(picked))
        self._number()

    def _number(self) -> None:
        """Say beside each image's kind whether it is image 1 or 2."""
        self.tree.blockSignals(True)
        for item in self._items():
            entry = item.data(0, _ENTRY)
            if isinstance(entry, ImageSeries):
                place = self._pair.index(entry) + 1 if entry in self._pair else 0
                kind = entry.origin.modality
                item.setText(1, f"{kind}, image {place}" if place else kind)
        self.tree.blockSignals(False)

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
        first, second = (*self.picked, None)[:2]
        objects, names = self._structures()
        register = self.register.isChecked()
        choice = Choice(first, second, objects, names, register)
        asked = other_frames(choice, self._found)
        if asked:
            if not ask_sure(self, "Another frame of reference", frame_question(asked)):
                return
            choice = Choice(first, second, objects, names, register, any_frame=True)
        self.choice = choice
        self.accept()


def _making_room(ticked: list[ImageSeries], entry: ImageSeries) -> list[ImageSeries]:
    """Those that stay ticked beside one that is ticked now: another at most, and one CT."""
    kind = entry.origin.modality
    alike = [image for image in ticked if image.origin.modality == kind]
    if kind == "CT":
        ticked = [image for image in ticked if image not in alike]
    elif len(ticked) == 2:
        others = [image for image in ticked if image.origin.modality != "CT"]
        gone = (alike or others)[-1]
        ticked = [image for image in ticked if image is not gone]
    return ticked[:1]
