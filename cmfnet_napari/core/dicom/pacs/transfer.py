"""To and from a PACS: what is fetched is whole or not there, what is sent has arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import pydicom
from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.misc import is_dicom
from pydicom.uid import UID

from cmfnet_napari.core.dicom.pacs.dicomweb import WebPacs
from cmfnet_napari.core.dicom.pacs.dimse import DimsePacs
from cmfnet_napari.core.dicom.pacs.nodes import Node
from cmfnet_napari.core.dicom.pacs.query import Query, Series, Study, series_of, study_of
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import new_folder, replace

Progress = Callable[[int, int], None]  # files done, of how many


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

    def retrieve(self, study: str, series: str, keep: Callable[[Dataset], None]) -> None:
        """Hand every file of a series to `keep`, in any order."""

    def send(self, files: list[Path], sent: Callable[[int], None]) -> None:
        """Send files; tell `sent` how many more have arrived."""


def connect(node: Node) -> Pacs:
    """Whatever speaks to this PACS."""
    return WebPacs(node) if node.url else DimsePacs(node)


def find(node: Node, query: Query) -> list[Study]:
    """Studies that match, newest first."""
    studies = (study_of(answer) for answer in connect(node).find(query))
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
        New or empty; appears only when everything has come.
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
    folder, pacs = new_folder(Path(folder)), connect(node)
    wanted = [series] if series else [str(s.SeriesInstanceUID) for s in pacs.find_series(study)]
    expected = {uid: pacs.instances(study, uid) for uid in wanted}
    total = sum(len(uids) for uids in expected.values())
    if not total:
        raise UserError(f"{node.name} has no such study or series. Look for it again.")
    with TemporaryDirectory(prefix=".cmfnet-", dir=folder.parent) as part:
        basket = _Basket(Path(part), expected, progress)
        with disable_value_validation():  # files are kept as they are, with all their faults
            for uid in wanted:
                pacs.retrieve(study, uid, basket.keep)
        if len(basket.came) < total:
            raise UserError(
                f"Only {len(basket.came)} of {total} files came from {node.name}; none were kept, "
                "since a part could be taken for the whole. Fetch it again."
            )
        for path in Path(part).iterdir():
            replace(path, folder / path.name)
    return total


class _Basket:
    """Keeps the files that were asked for, each once; whatever else is sent is left out."""

    def __init__(
        self, folder: Path, expected: dict[str, set[str]], progress: Progress | None
    ) -> None:
        self.came: set[str] = set()
        self._folder = folder
        self._expected = expected
        self._total = sum(len(uids) for uids in expected.values())
        self._progress = progress

    def keep(self, dataset: Dataset) -> None:
        series, uid = str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID)
        if uid not in self._expected.get(series, ()):
            return
        if not (UID(series).is_valid and UID(uid).is_valid):
            raise UserError("The PACS sends files whose identifiers are none. They are not kept.")
        file = self._folder / series / f"{uid}.dcm"
        try:
            file.parent.mkdir(exist_ok=True)
            pydicom.dcmwrite(file, dataset, enforce_file_format=True)
        except OSError as error:
            raise UserError(
                f"What came could not be written ({error.strerror}); nothing was kept. Free some "
                "space or choose another folder, and fetch it again."
            ) from error
        self.came.add(uid)
        if self._progress is not None:
            self._progress(len(self.came), self._total)


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
