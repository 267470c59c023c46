"""The files of a run that go over the line, and how large each may be."""

from __future__ import annotations

import csv
import hashlib
import re
import zipfile
from collections.abc import Collection
from math import prod
from pathlib import Path

import SimpleITK as sitk
from safetensors import SafetensorError

from cmfnet_napari.core.case.case_classes import RUN_CLASSES
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import hash_file, read_json, write_json
from cmfnet_napari.core.fit.kept_previews import read_kept
from cmfnet_napari.core.fit.model_card import ENDING as MODEL_ENDING
from cmfnet_napari.core.fit.model_card import MODEL_FILE, read_card
from cmfnet_napari.core.fit.runs import CONFIG_FILE
from cmfnet_napari.core.images.study import Study, load_values
from cmfnet_napari.remote.line_messages import RUN_NAME, FileOf
from cmfnet_napari.remote.trained_tables import check_curve, check_plan, check_results

_KEPT = re.compile(r"previews/[0-9]{8}\.(npz|safetensors)")
_RUN = re.compile(f"runs/{RUN_NAME}")
_BASE = re.compile(r"base/[0-9a-f]{16}" + re.escape(MODEL_ENDING))
_VOXELS = {  # bytes a voxel, at most
    "prediction.nii.gz": 2,
    "scribbles.nii.gz": 2,
    "disagreement.nii.gz": 2,
    "probabilities.nii.gz": 8,
}
_OTHERS = {CONFIG_FILE: 1 << 20, RUN_CLASSES: 1 << 20, MODEL_FILE: 1 << 32}
WORKING = "remote-case"  # in the folder of a run or a training, until it is complete
TRAINING = "0001-training"  # the run of a cohort
OF_A_TRAINING = "plan.json", "results.csv"
OF_A_MODEL = MODEL_FILE, "model.card.json", "losses.csv", "results.csv"
_TRAINED = {  # bytes, at most
    MODEL_FILE: 1 << 32,
    "model.card.json": 1 << 20,
    "plan.json": 1 << 24,
    "results.csv": 1 << 26,
    "losses.csv": 1 << 30,
    "scores.csv": 1 << 26,
    "speed.json": 1 << 16,
}
_TRAINED_NAME = re.compile(rf"(fold-[0-9]{{1,4}}/)?({'|'.join(map(re.escape, _TRAINED))})")
MADE_FILE = "made.json"  # which command elsewhere made a run, on both sides
_SMALL = 1 << 20
_LONGEST_CARD = 1 << 24


def travels(name: str) -> bool:
    """Whether a file of a run may go over the line. A state does not: it is no array."""
    return name in _VOXELS or name in _OTHERS or _KEPT.fullmatch(name) is not None


def base_path(sha: str) -> str:
    """Where a model to start from lies in a case there."""
    return f"base/{sha[:16]}{MODEL_ENDING}"


def is_run(path: str) -> bool:
    """Whether a path is that of a run of the case there."""
    return _RUN.fullmatch(path) is not None


def is_model(path: str) -> bool:
    """Whether a path is that of a model to start from, or of a run, which has one."""
    return is_run(path) or _BASE.fullmatch(path) is not None


def maker_of(run: Path) -> str:
    """The command elsewhere that made a run; empty: none did, or nobody knows."""
    try:
        found = read_json(run / MADE_FILE).get("command")
    except UserError:
        return ""
    return found if isinstance(found, str) else ""


def note_maker(run: Path, command: str) -> None:
    """Note which command made a run, unless another one did."""
    if command and not (run / MADE_FILE).exists():
        write_json(run / MADE_FILE, {"command": command}, private=True)


def is_kept_preview(name: str) -> bool:
    """Whether a file is one of those that a run keeps to be gone back to."""
    return _KEPT.fullmatch(name) is not None


class CaseFiles:
    """The files of a case's runs: weights as weights, labels on our grid.

    Parameters
    ----------
    study : Study
        The case's images.
    """

    def __init__(self, study: Study) -> None:
        self._study, self._voxels = study, prod(study.grid.shape)

    def largest(self, name: str) -> int:
        """Bytes that a file may have; -1: it may not come."""
        if not travels(name):
            return -1
        if name in _VOXELS:
            return _VOXELS[name] * self._voxels + _SMALL
        if name in _OTHERS:
            return _OTHERS[name]
        return _OTHERS[MODEL_FILE] if name.endswith(MODEL_ENDING) else self._voxels + _SMALL

    def part_of(self, name: str) -> str:
        """What to ask for to hear of a file again: the whole run."""
        del name
        return ""

    def check(self, path: Path, name: str) -> None:
        """Check what came before it counts; UserError when it is not what it is called."""
        check_arrived(path, name, self._study)


class CohortFiles:
    """The files of a training on a cohort: weights, tables, and what is said of them.

    Parameters
    ----------
    patients : collection of str
        The codes of its patients.
    """

    def __init__(self, patients: Collection[str]) -> None:
        self._patients = patients

    def largest(self, name: str) -> int:
        """Bytes that a file may have; -1: it may not come."""
        return _TRAINED[name.rpartition("/")[2]] if comes_back(name) else -1

    def part_of(self, name: str) -> str:
        """What to ask for to hear of a file again: its fold."""
        return name.rpartition("/")[0]

    def check(self, path: Path, name: str) -> None:
        """Check what came before it counts; UserError when it is not what it is called."""
        check_arrived(path, name, None)
        what = name.rpartition("/")[2]
        try:
            if what == "plan.json":
                check_plan(read_json(path), self._patients)
            elif what == "results.csv":
                check_results(path, self._patients)
            elif what.endswith(".csv"):
                check_curve(path)
        except (UserError, ValueError) as error:
            raise UserError(f"What came as {name} is not that ({error}).") from error


def comes_back(name: str) -> bool:
    """Whether a file of a training on a cohort may come back."""
    return _TRAINED_NAME.fullmatch(name) is not None


def trained_files(run: Path, part: str) -> list[FileOf]:
    """Files of a training on a cohort, or of one of its folds, that come back."""
    paths = sorted((run / part).glob("*"))
    names = [path.relative_to(run).as_posix() for path in paths if path.is_file()]
    return [_file(run, name) for name in names if comes_back(name)]


def files_of(run: Path) -> list[FileOf]:
    """Files of a run that travel."""
    found = []
    for path in sorted((*run.glob("*"), *run.glob("previews/*"))):
        name = path.relative_to(run).as_posix()
        if travels(name) and path.is_file():
            found.append(_file(run, name))
    return found[:100]


def _file(run: Path, name: str) -> FileOf:
    path = run / name
    head = weights_begin(path) if name.endswith(MODEL_ENDING) else 0
    tail = hash_file(path) if not head else _hash_after(path, head)
    sha = hash_file(path) if head else tail
    return FileOf(name=name, size=path.stat().st_size, sha=sha, head=head, tail=tail * bool(head))


def weights_begin(path: Path) -> int:
    """Where the weights begin in a model file, after its card; 0 where that is not known."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
        return 8 + length if 0 < length < min(_LONGEST_CARD, path.stat().st_size) else 0
    except OSError:
        return 0


def _hash_after(path: Path, head: int) -> str:
    with open(path, "rb") as file:
        file.seek(head)
        return hashlib.file_digest(file, "sha256").hexdigest()


def has_weights(path: Path, tail: str) -> int:
    """Where the weights of that hash begin in a file that is here; 0: it has others."""
    if not tail or not path.is_file():
        return 0
    head = weights_begin(path)
    return head if head and _hash_after(path, head) == tail else 0


def check_arrived(path: Path, name: str, study: Study | None) -> None:
    """Check what came from elsewhere before it counts: weights as weights, labels on our grid.

    Without a study it is of a cohort.

    Raises
    ------
    UserError
        It is not what it is called.
    """
    try:
        if name.endswith(MODEL_ENDING):
            read_card(path)
        elif name in _VOXELS and study is not None:
            _check_header(path, study)
            load_values(path, study.grid, study.names[0])
        elif name.endswith(".json"):
            read_json(path)
        elif name.endswith(".csv"):
            _check_table(path)
        elif name.endswith(".npz") and study is not None:
            _check_header_of_archive(path, study)
            read_kept(path, study.grid.shape)
    except (SafetensorError, UserError) as error:
        raise UserError(
            f"What came from the other computer as {name} is not that ({error}) and was not taken."
        ) from error


def _check_table(path: Path) -> None:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            columns = [len(row) for row in csv.reader(file, strict=True)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"no table: {error}") from error
    if len(set(columns)) > 1:
        raise UserError("a table of rows that differ")


def _check_header(path: Path, study: Study) -> None:
    """Refuse an image that is larger than ours before it is unpacked."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise UserError("no image") from error
    size, components = reader.GetSize(), reader.GetNumberOfComponents()
    if components != 1 or prod(size) != prod(study.grid.shape):
        raise UserError(f"an image of {size}, {components} values a voxel")


def _check_header_of_archive(path: Path, study: Study) -> None:
    """Refuse an archive that unpacks to more than labels of ours."""
    try:
        with zipfile.ZipFile(path) as file:
            size = sum(entry.file_size for entry in file.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError("no archive") from error
    if size > prod(study.grid.shape) + _SMALL:
        raise UserError(f"an archive of {size >> 20} MB")
