"""To and from a PACS: what is fetched is whole or not there, what is sent has arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import pydicom
from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.misc import is_dicom
from pydicom.uid import UID

from cmfnet_napari.core.dicom.pacs.nodes import Node
from cmfnet_napari.core.dicom.pacs.query import (
    Query,
    Series,
    Study,
    check_answers,
    identifier,
    series_of,
    study_of,
)
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import keep_private, new_folder, private_folder, replace

Progress = Callable[[int, int], None]  # files done, of how many

_COMPARED = "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"
_PATIENCE = 100  # files that are refused before the line is cut


class Pacs(Protocol):
    """What both ways to speak to a PACS can do; each raises UserError in one sentence."""

    node: Node

    def echo(self) -> None:
        """Ask whether it is there and lets us in."""

    def find(self, query: Query) -> list[Dataset]:
        """Studies that match."""

    def find_series(self, study: str) -> list[Dataset]:
        """Series of a study, by its UID."""

    def instances(self, study: str, series: str) -> set[str]:
        """SOP Instance UIDs that it has of a series."""

    def retrieve(self, study: str, series: str, keep: Callable[[Dataset], bool]) -> None:
        """Hand every file of a series to `keep`, in any order."""

    def send(self, files: list[Path], sent: Callable[[int], None]) -> None:
        """Send files; tell `sent` how many more have arrived."""


def connect(node: Node) -> Pacs:
    """Whatever speaks to this PACS."""
    # Each imports its own library, which the window starts without.
    if node.url:
        from cmfnet_napari.core.dicom.pacs.dicomweb import WebPacs

        return WebPacs(node)
    from cmfnet_napari.core.dicom.pacs.dimse import DimsePacs

    return DimsePacs(node)


def find(node: Node, query: Query) -> list[Study]:
    """Studies that match, newest first."""
    answers = connect(node).find(query)
    check_answers(answers, node.name, PatientID=query.patient_id, StudyInstanceUID=query.study)
    studies = (study_of(answer) for answer in answers)
    return sorted(studies, key=lambda study: study.date, reverse=True)


def find_series(node: Node, study: str) -> list[Series]:
    """Series of a study."""
    return [series_of(answer) for answer in connect(node).find_series(study)]


def fetch(
    node: Node, study: str, folder: str | Path, series: str = "", progress: Progress | None = None
) -> int:
    """Fetch a study, or one of its series, into a new folder; a folder for each series.

    Parameters
    ----------
    node : Node
        The PACS.
    study, series : str
        Instance UIDs; without a series all of the study.
    folder : path
        New or empty; appears only when everything has come, and can be read by the user alone.
    progress : callable, optional
        Is told how many files have come, and of how many; what it raises ends the fetch.

    Returns
    -------
    int
        How many files came.

    Raises
    ------
    UserError
        There is no such study, not all files came, or the line broke; then nothing is kept.
    """
    folder, pacs = new_folder(Path(folder), private=True), connect(node)
    asked = Asked(study, _patient_of(pacs, study))
    expected = _files_of(pacs, study, series)
    total = sum(len(uids) for uids in expected.values())
    if not total:
        raise UserError(f"{node.name} has no such study or series. Look for it again.")
    with TemporaryDirectory(prefix=".cmfnet-", dir=folder.parent) as part:
        basket = Basket(Path(part), asked, expected, progress)
        with disable_value_validation():  # files are kept as they are, with all their faults
            for uid in expected:
                pacs.retrieve(study, uid, basket.keep)
        if len(basket.came) < total:
            raise UserError(
                f"Only {len(basket.came)} of {total} files came from {node.name}; none were kept, "
                "since a part could be taken for the whole. Fetch it again."
            )
        for path in Path(part).iterdir():
            replace(path, folder / path.name)
    return total


def _patient_of(pacs: Pacs, study: str) -> str:
    """Patient ID of a study, as the PACS says when it is asked for it; empty where it says none."""
    found = pacs.find(Query(study=study))
    if not found:
        raise UserError(f"{pacs.node.name} has no such study or series. Look for it again.")
    for answer in found:
        identifier(answer, "StudyInstanceUID", pacs.node.name)
    check_answers(found, pacs.node.name, StudyInstanceUID=study)
    patients = {str(answer.get("PatientID") or "").strip() for answer in found}
    if len(patients) > 1:
        raise UserError(
            f"{pacs.node.name} has this study for {len(patients)} patients. Nothing was fetched. "
            "Ask those who look after it."
        )
    return next(iter(patients), "")


def _files_of(pacs: Pacs, study: str, series: str) -> dict[str, set[str]]:
    """SOP Instance UIDs of each series of a study, or of the one that is asked for.

    Raises
    ------
    UserError
        It lists fewer than it says that a series has.
    """
    name = pacs.node.name
    found = pacs.find_series(study)
    counts = {identifier(one, "SeriesInstanceUID", name): series_of(one).instances for one in found}
    expected = {uid: pacs.instances(study, uid) for uid in ([series] if series else counts)}
    for uid, uids in expected.items():
        count = counts.get(uid) or 0
        if len(uids) < count:
            raise UserError(
                f"{name} lists {len(uids)} of the {count} files of a series. Nothing was fetched, "
                "since a part could be taken for the whole. Ask those who look after it how many "
                "answers it gives at once."
            )
    return expected


@dataclass(frozen=True)
class Asked:
    """What was asked for: the study, and whose it is; empty: the first file tells."""

    study: str
    patient: str = field(repr=False)


class Basket:
    """Keeps the files that were asked for, each once.

    Raises UserError for a file of another patient, study or series, and for one that the PACS had
    not listed: who lists a part has more that could be missed. A second file with an identifier
    that is there already is refused and not taken.
    """

    def __init__(
        self,
        folder: Path,
        asked: Asked,
        expected: dict[str, set[str]],
        progress: Progress | None,
    ) -> None:
        self.came: set[str] = set()
        self._refused = 0
        self._folder = folder
        self._asked = asked
        self._expected = expected
        self._total = sum(len(uids) for uids in expected.values())
        self._progress = progress

    def keep(self, dataset: Dataset) -> bool:
        """Write a file; whether it was taken."""
        self._check(dataset)
        series, uid = str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID)
        if uid not in self._expected[series]:
            raise UserError(
                "The PACS sends a file that it had not listed, so that its list is not the whole. "
                "Nothing was kept. Fetch it again; if that does not help, ask those who look after "
                "it."
            )
        if uid in self.came:
            self._refused += 1
            if self._refused > max(_PATIENCE, self._total):
                raise UserError("The PACS does not stop sending files that it has sent already.")
            return False
        file = self._folder / series / f"{uid}.dcm"
        try:
            private_folder(file.parent)
            pydicom.dcmwrite(file, dataset, enforce_file_format=True)
            keep_private(file)
        except OSError as error:
            raise UserError(
                f"What came could not be written ({error.strerror}); nothing was kept. Free some "
                "space or choose another folder, and fetch it again."
            ) from error
        self.came.add(uid)
        if self._progress is not None:
            self._progress(len(self.came), self._total)
        return True

    def _check(self, dataset: Dataset) -> None:
        """Refuse what is of another patient, study or series than was asked for."""
        said = {name: str(dataset.get(name) or "").strip() for name in _COMPARED}
        uids = [said["SOPInstanceUID"], said["SeriesInstanceUID"]]
        if not all(uid and UID(uid).is_valid for uid in uids):
            raise UserError("The PACS sends files whose identifiers are none. They are not kept.")
        if not self._asked.patient:
            self._asked = Asked(self._asked.study, said["PatientID"])
        other = [
            what
            for what, wrong in (
                ("patient", self._asked.patient != said["PatientID"]),
                ("study", said["StudyInstanceUID"] != self._asked.study),
                ("series", said["SeriesInstanceUID"] not in self._expected),
            )
            if wrong
        ]
        if other:
            raise UserError(
                f"The PACS sends a file of another {other[0]} than was asked for. Nothing was "
                "kept. Ask those who look after it."
            )


def send(node: Node, paths: Iterable[str | Path], progress: Progress | None = None) -> int:
    """Send DICOM files, and all in folders, to a PACS.

    Returns
    -------
    int
        How many arrived: all.

    Raises
    ------
    UserError
        Nothing to send, or it did not take a file; the sentence says how many had arrived.
    """
    files = [file for path in paths for file in _dicom_files(Path(path))]
    if not files:
        raise UserError("There is no DICOM file to send.")
    done = 0

    def sent(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, len(files))

    with disable_value_validation():
        connect(node).send(files, sent)
    return done


def _dicom_files(path: Path) -> list[Path]:
    if not path.exists():
        raise UserError(f"{path} does not exist. Check the name and the folder.")
    if path.is_dir():
        return [file for file in sorted(path.rglob("*")) if file.is_file() and is_dicom(file)]
    if not is_dicom(path):
        raise UserError(f"{path.name} is no DICOM file and cannot be sent.")
    return [path]
