"""Export to DICOM and on to a PACS, off the GUI thread. It holds no widget."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.dicom.export.checked_export import export
from cmfnet_napari.core.dicom.export.provenance import Maker
from cmfnet_napari.core.dicom.export.receipt import Receipt
from cmfnet_napari.core.dicom.export.reference import read_reference
from cmfnet_napari.core.dicom.export.roi import Roi, check_rois
from cmfnet_napari.core.dicom.export.same_image import check_same_image
from cmfnet_napari.core.dicom.pacs import transfer as pacs
from cmfnet_napari.core.dicom.pacs.nodes import Node
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import hash_file
from cmfnet_napari.core.images.study import Study, to_source_image
from cmfnet_napari.core.strokes.scribbles import FIRST_CLASS, count_codes, segmentation_code
from cmfnet_napari.gui.pacs.known_pacs import KnownPacs
from cmfnet_napari.gui.patient.classes import Classes
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure

OUTDATED = (
    "The contour, or what is to be exported of it, has changed since this file was written. Export "
    "it again, then send it."
)

Counted = tuple[Classes, np.ndarray]


@dataclass(frozen=True, eq=False)
class Contour:
    """What is exported.

    Attributes
    ----------
    labels : integer array (z, y, x)
        Segmentation codes on the Study's Grid.
    study : Study
        Where it lies.
    classes : tuple of ScribbleClass
        Names and colours.
    maker : Maker
        What made it.
    series, folder : str
        UID of the series that was drawn on and where its files lie, where that is known.
    """

    labels: np.ndarray
    study: Study
    classes: Classes
    maker: Maker
    series: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Choice:
    """How it is exported: structures, folder of the DICOM series, format, file, set to add to."""

    rois: tuple[Roi, ...]
    folder: str
    kind: str
    out: str
    add_to: str = ""


@dataclass(frozen=True, eq=False)
class _Written:
    """A file that was exported: which, its SHA-256, what is in it."""

    file: Path
    sha256: str
    contour: Contour
    names: str


class DicomExport(QObject):
    """Exports what a callable returns, and sends what was exported.

    Parameters
    ----------
    contour : callable
        What is exported: a copy.
    parent : QObject, optional
        It goes with it.
    counted : callable, optional
        Classes of the same, and the voxels of each segmentation code, where these are known
        already; else the copy is counted.
    """

    exported = Signal(str, object)  # file, Receipt
    refused = Signal(str)  # why nothing was written
    progress = Signal(int, int)  # files sent, of how many
    sent = Signal(str)  # what has happened, in a sentence
    not_sent = Signal(str)  # why
    late = Signal(str)  # what became of a file that is not the last exported, or outdated since

    def __init__(
        self,
        contour: Callable[[], Contour],
        parent: QObject | None = None,
        counted: Callable[[], Counted] | None = None,
    ) -> None:
        super().__init__(parent)
        self._contour, self._counted = contour, counted or self._count
        self.known = KnownPacs(self)
        self.file = ""  # the last one exported
        self._written: _Written | None = None
        self._asked: Choice | None = None  # the answer to others is too late
        self._outdated = False  # something else is to be exported than was asked for

    @property
    def offered(self) -> tuple[Classes, frozenset[int]]:
        """Classes of what would be exported, and the segmentation codes of those without a voxel.

        None when there is nothing yet.
        """
        try:
            classes, there = self._counted()
        except UserError:
            return (), frozenset()
        named = [segmentation_code(entry.code) for entry in classes if entry.code >= FIRST_CLASS]
        return classes, frozenset(c for c in named if c >= len(there) or not there[c])

    def _count(self) -> Counted:
        contour = self._contour()
        return contour.classes, count_codes(contour.labels)

    def export(self, choice: Choice) -> None:
        """Write a file, unless it reads back differently.

        Raises
        ------
        UserError
            There is no contour, no folder, or no structure was chosen.
        """
        if not choice.folder:
            raise UserError("Choose the folder with the DICOM series that was contoured.")
        if not choice.rois:
            raise UserError("Choose at least one structure to export.")
        check_rois(choice.rois)
        contour = self._contour()
        self._asked, self._outdated = choice, False

        def done(receipt: Receipt) -> None:
            if self._asked is choice:
                names = ", ".join(roi.name for roi in choice.rois)
                self.file = choice.out
                self._written = _Written(Path(choice.out), receipt.sha256, contour, names)
                self.exported.emit(choice.out, receipt)

        def failed(error: Exception) -> None:
            if self._asked is choice:
                self.refused.emit(str(error) if isinstance(error, UserError) else "")
            show_failure(error)

        run_in_background(_export, contour, choice, done=done, failed=failed)

    def forget(self) -> None:
        """The patient is left: its file is not sent any more, nor is one that is being written."""
        self.file, self._asked, self._written = "", None, None

    def outdate(self) -> None:
        """Something else is to be exported than the last file holds."""
        self._outdated = True

    @property
    def current(self) -> bool:
        """Whether the last file exported holds what would be exported now."""
        if self._written is None or self._outdated:
            return False
        try:
            return _same(self._written.contour, self._contour())
        except UserError:
            return False

    def send(self, node: Node) -> None:
        """Send the last file exported to a PACS, unless something has changed since."""
        written = self._written
        if written is None or not self.current:
            self.not_sent.emit(OUTDATED)
            return

        def is_last() -> bool:
            return self._written is written and self.current

        def told(done: int, total: int) -> None:
            if self._written is written:
                self.progress.emit(done, total)

        def done(_count: int) -> None:
            if is_last():
                self.sent.emit(f"{node.name} has it.")
            else:
                self.late.emit(f"{node.name} has {_earlier(written)}.")

        def failed(error: Exception) -> None:
            why = str(error) if isinstance(error, UserError) else "Nothing was sent."
            if is_last():
                self.not_sent.emit(why)
            else:
                self.late.emit(f"Sending {_earlier(written)}: {why}")
            if not isinstance(error, UserError):
                show_failure(error)

        run_in_background(_send, node, written, told, done=done, failed=failed)


def _earlier(written: _Written) -> str:
    """A file that is not the last exported any more, or was outdated meanwhile."""
    return f"{written.names} ({written.file.name}), exported before the last change"


def _send(node: Node, written: _Written, progress: pacs.Progress) -> int:
    """Send a file as it was written: a copy of its own, which nobody else can replace."""
    with TemporaryDirectory(prefix="cmfnet-") as folder:
        copy = Path(folder) / written.file.name
        try:
            shutil.copyfile(written.file, copy)
            same = hash_file(copy) == written.sha256
        except OSError as error:
            raise UserError(
                f"{written.file.name} cannot be read any more. Export it again, then send it."
            ) from error
        if not same:
            raise UserError(
                f"{written.file.name} is not the file that was exported: it was changed or "
                "replaced since. Nothing was sent. Export it again, then send it."
            )
        return pacs.send(node, [copy], progress)


def _same(one: Contour, other: Contour) -> bool:
    """Whether two contours are the same in the same place, under the same names."""
    same = one.study.source_grid == other.study.source_grid and one.classes == other.classes
    return same and np.array_equal(one.labels, other.labels)


def _series(contour: Contour, choice: Choice) -> str:
    """The series that was drawn on, in the folder it was read from; elsewhere there are others."""
    if not contour.series or not contour.folder:
        return ""
    own, chosen = Path(contour.folder).resolve(), Path(choice.folder).resolve()
    return contour.series if own == chosen else ""


def _export(contour: Contour, choice: Choice) -> Receipt:
    labels = to_source_image(contour.labels, contour.study)
    reference = read_reference(choice.folder, _series(contour, choice), labels)
    check_same_image(reference, contour.study)
    return export(
        labels,
        reference,
        choice.rois,
        choice.kind,
        Path(choice.out),
        contour.maker,
        add_to=choice.add_to or None,
        overwrite=True,  # the file dialog has asked
    )
