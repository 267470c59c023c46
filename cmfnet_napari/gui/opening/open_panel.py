"""Step 1: open a patient."""

from __future__ import annotations

from functools import partial
from html import escape

from qtpy.QtWidgets import QWidget

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.hounsfield import OFFSET
from cmfnet_napari.core.images.series.scan_result import Scan
from cmfnet_napari.gui.opening.dicom_chooser import DicomChooser
from cmfnet_napari.gui.opening.dicom_import import DicomImport
from cmfnet_napari.gui.opening.image_kinds import ImageKinds
from cmfnet_napari.gui.opening.recent_patients import RecentPatients
from cmfnet_napari.gui.pacs.pacs_fetch import PacsFetch
from cmfnet_napari.gui.pacs.pacs_fetch_dialog import PacsFetchDialog
from cmfnet_napari.gui.patient.opened import (
    Opened,
    open_files,
    open_phantom,
    open_sample_patient,
    subtract_offset,
)
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.registration.image_placement import ImagePlacement
from cmfnet_napari.gui.registration.registration_panel import RegistrationPanel
from cmfnet_napari.gui.shared.dialogs import ask_folder
from cmfnet_napari.gui.shared.widgets import (
    PathField,
    ProgressBar,
    button,
    column,
    group,
    large_button,
    row,
    text_label,
)


class OpenPanel(QWidget):
    """A DICOM folder; images and scribbles; or a sample."""

    def __init__(self, session: Session, image_placement: ImagePlacement) -> None:
        super().__init__()
        self._session, self._image_placement = session, image_placement
        self.dicom = DicomImport(session)
        self.dicom_button = large_button(
            "DICOM folder…",
            self._choose_dicom,
            "Look through an export, choose images and structures",
        )
        self.pacs = PacsFetch(session)
        self.pacs_button = button(
            "From PACS…", self._ask_pacs, "Look for a study in a PACS, fetch it, choose from it"
        )
        self.chooser: DicomChooser | None = None
        self.pacs_dialog: PacsFetchDialog | None = None
        self.first = PathField("Image 1", "needed", folders=True)
        self.second = PathField("Image 2", "optional", folders=True)
        self.scribbles = PathField("Scribbles", "optional")
        self.open_button = large_button("Open", self._open, "Open these files")
        self.synthetic = button(
            "Synthetic CT/MR patient",
            partial(session.open, open_phantom),
            "A made-up patient, to try the program",
        )
        self.real = button(
            "Real patient (soft-tissue sarcoma, download)",
            partial(session.open, open_sample_patient),
            "CT and MR of one patient, CC BY 3.0; downloaded once",
        )
        self._busy = ProgressBar()
        self._busy.setRange(0, 0)
        self.cancel_button = button("Cancel", self._cancel, "Stop reading; nothing is opened")
        self._work = QWidget()
        self._work.setLayout(row(self._busy, self.cancel_button, stretch=0))
        self._work.hide()
        self.subtract_button = button(
            f"Subtract {OFFSET} from the CT",
            self._subtract,
            "Its values are no Hounsfield units: tissue lies near 1024, where they have 0",
        )
        self.subtract_button.hide()
        self.info = text_label("No patient is open.", rich=True)
        self.kinds = ImageKinds(session)
        self.registration = RegistrationPanel(session, image_placement)
        self.recent = RecentPatients(session)
        layout = column(
            self.recent,
            self.dicom_button,
            self.pacs_button,
            group("Files", self.first, self.second, self.scribbles, self.open_button),
            group("Or try a sample", self.synthetic, self.real),
            self._work,
            group("Patient", self.info, self.kinds, self.subtract_button),
            self.registration,
        )
        layout.addStretch()
        self.setLayout(layout)
        self.dicom.found.connect(self._choose)
        self.pacs.fetched.connect(self.dicom.look_through)
        self.dicom.moved.connect(self._show_step)
        image_placement.moved.connect(self._show_step)
        session.busy.connect(self._show_busy)
        session.opened.connect(self._describe)
        session.closed.connect(self._describe_none)

    def _open(self) -> None:
        if self.first.path is None:
            raise UserError(
                "No image is chosen. Choose the file of image 1, or a folder with one DICOM series."
            )
        load = partial(open_files, self.first.path, self.second.path, self.scribbles.path)
        self._session.open(load)

    def _subtract(self) -> None:
        self._session.open(partial(subtract_offset, self._session.patient))

    def _choose_dicom(self) -> None:
        folder = ask_folder(self, "Choose the folder of a DICOM export")
        if folder:
            self.dicom.look_through(folder)

    def _choose(self, found: Scan) -> None:
        """Ask what is to be opened; the window goes on meanwhile."""
        dialog = self.chooser = DicomChooser(found, self)
        dialog.accepted.connect(lambda: self.dicom.read(dialog.choice, found))
        dialog.rejected.connect(self.pacs.forget)
        dialog.finished.connect(self._forget_chooser)
        dialog.open()

    def _forget_chooser(self) -> None:
        self.chooser = None

    def _ask_pacs(self) -> None:
        self.pacs_dialog = PacsFetchDialog(self.pacs, self)
        self.pacs_dialog.finished.connect(self._forget_pacs)
        self.pacs_dialog.open()

    def _forget_pacs(self) -> None:
        self.pacs_dialog = None

    def _cancel(self) -> None:
        self.dicom.cancel()
        self._image_placement.cancel()

    def _show_step(self, what: str, share: float) -> None:
        """A share that is known, with what it is of; nothing ends it."""
        self._work.setVisible(bool(what))
        self._busy.setRange(0, 100 if what else 0)
        self._busy.setTextVisible(bool(what))
        self._busy.setFormat(f"{what} … %p %")
        self._busy.setValue(round(100 * share))
        self.cancel_button.setVisible(bool(what))
        self.dicom_button.setEnabled(not what)
        self.pacs_button.setEnabled(not what)

    def _show_busy(self, what: str) -> None:
        self._work.setVisible(bool(what))
        self.cancel_button.hide()
        sources = self.dicom_button, self.pacs_button, self.open_button, self.synthetic, self.real
        for widget in sources:
            widget.setEnabled(not what)
        if what:
            self.info.setText(what)
        elif self._session.patient is None:
            self.info.setText("No patient is open.")
        else:
            self._describe()

    def _describe_none(self) -> None:
        self.info.setText("No patient is open.")
        self.subtract_button.hide()

    def _describe(self) -> None:
        patient = self._session.patient
        self.subtract_button.setVisible(patient.lacks_offset)
        folder = patient.case.folder
        lines = [
            f"<b>{escape(patient.title)}</b>",
            *study_lines(patient),
            f"Everything you do is saved in the case folder<br>{breakable(escape(str(folder)))}",
        ]
        if patient.credit:
            lines.append(f"<i>{escape(patient.credit)}</i>")
        self.info.setText("<br><br>".join(lines))


def study_lines(opened: Opened) -> list[str]:
    """A study in words."""
    study = opened.case.study
    z, y, x = study.grid.shape
    dz, dy, dx = study.grid.spacing
    one = study.names[0]
    lines = [f"{one}: {x} × {y} × {z} voxels of {dx:.2f} × {dy:.2f} × {dz:.2f} mm"]
    if opened.seen_share is not None:
        share = f"{100 * opened.seen_share:.0f} %"
        lines.append(f"{study.names[1]}: has data in {share} of the {one}")
    return lines


def breakable(path: str) -> str:
    """A path that can be wrapped after every separator."""
    return path.replace("/", "/\u200b").replace("\\", "\\\u200b")
