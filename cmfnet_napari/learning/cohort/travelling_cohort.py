"""What of a cohort goes to another computer: voxels, masks, strokes and codes; no name, no header.

Codes are dealt in the order of the patients' names, so that patients come into the same folds as
here. What comes back is called by their names again.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import SimpleITK as sitk

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import (
    JsonObject,
    hash_file,
    private_folder,
    read_json,
    write_json,
)
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.volume import read_image, write_image
from cmfnet_napari.core.tables import write_table
from cmfnet_napari.core.words import cell
from cmfnet_napari.learning.cohort.cohort_file import Row
from cmfnet_napari.learning.cohort.loaded_cases import (
    CaseFacts,
    check_cohort,
    facts_of,
    load_case,
)
from cmfnet_napari.learning.cohort.prepared_cases import file_stamp, image_files
from cmfnet_napari.learning.cohort.train import check_strokes
from cmfnet_napari.remote.far_store import COHORT_FILE, free_bytes
from cmfnet_napari.remote.line_messages import CohortRow
from cmfnet_napari.remote.run_files import TRAINING

_MADE_FILE = "travelling.json"  # what was prepared: hashes by the files' sizes and times
_COLUMNS = "first", "second", "scribbles", "mask"
_CODE = re.compile(r"patient-[0-9]{4,6}\b")
_SENT = re.compile(r"\b([0-9]+)-(first|second|scribbles|mask)-[0-9a-f]{16}\.nrrd")
_FACTS = "kinds", "image", "codes", "judged", "dense"


class CaseError(UserError):
    """A row of the cohort cannot be used."""


class TravellingCohort:
    """A cohort here, as it is sent.

    Parameters
    ----------
    rows : sequence of Row
        From `cohort_file.read_cohort`.
    folder : Path
        Takes the files until the training is done: they are voxels alone.

    Attributes
    ----------
    rows : list of CohortRow
        Once it is prepared.
    files : dict of str to Path
        By their hash.
    """

    def __init__(self, rows: Sequence[Row], folder: Path) -> None:
        self._rows, self._folder = rows, private_folder(folder)
        names = sorted({row.case for row in rows})
        self._codes = {name: f"patient-{n:04d}" for n, name in enumerate(names, start=1)}
        self._names = {code: name for name, code in self._codes.items()}
        self.rows: list[CohortRow] = []
        self.files: dict[str, Path] = {}

    @property
    def data(self) -> list[list[str]]:
        """What is trained on, a row each: patient, line and split, kinds and hashes of images."""
        return [
            [*said, " ".join(row.modalities), *(getattr(row, column) or "" for column in _COLUMNS)]
            for said, row in zip(self.said, self.rows, strict=True)
        ]

    @property
    def said(self) -> list[list[str]]:
        """What the cohort file alone says of each row: patient, line and split."""
        return [[row.case, str(row.line), row.split] for row in self._rows]

    def prepare(
        self, config: Config, show: Callable[[float, str], None], stop: Callable[[], bool]
    ) -> bool:
        """Read and check every row, write its files; what was written is kept. False when stopped.

        Raises
        ------
        UserError
            As `train.train` for these data; there is no room for a second copy.
        """
        made, problems, facts = self._made(), list[str](), list[CaseFacts]()
        self.rows, self.files = [], {}
        keys = [_stamp(row) for row in self._rows]
        self._check_room(
            [row for row, key in zip(self._rows, keys, strict=True) if key not in made]
        )
        for number, (row, key) in enumerate(zip(self._rows, keys, strict=True), start=1):
            if stop():
                return False
            show(0.0, f"preparing {number} of {len(self._rows)}")
            try:
                if not self._has(made.get(key)):
                    made[key] = self._write(row)
                    write_json(self._folder / _MADE_FILE, made, private=True)
            except CaseError as error:
                problems.append(str(error).rstrip("."))
                continue
            facts.append(_facts(row, made[key]["facts"]))
            self.rows.append(self._row(row, made[key]))
            self.files |= {sha: self._path(sha) for sha in made[key]["sizes"]}
        check_cohort(facts, problems)
        check_strokes([one.row for one in facts if one.dense], config)
        for path in self._folder.glob("*.nrrd"):
            if path not in self.files.values():  # of a row that was corrected, or taken out
                path.unlink()
        return True

    def _row(self, row: Row, entry: JsonObject) -> CohortRow:
        said = {"patient": self._codes[row.case], "line": row.line, "split": row.split}
        kinds = list(entry["facts"]["kinds"])
        return CohortRow.model_validate({**said, "modalities": kinds, **entry["files"]})

    def _check_room(self, rows: Sequence[Row]) -> None:
        """Raise UserError where the copies will not fit; packed, they may be half of the files."""
        files = {f for row in rows for path in _images(row) for f in image_files(path)}
        need, free = sum(f.stat().st_size for f in files) // 2, free_bytes(self._folder)
        if need > free:
            raise UserError(
                f"There is no room for the cohort's voxels beside the models: about "
                f"{need / 2**30:.1f} GiB are needed, {free / 2**30:.1f} GiB are free. Free some "
                "disk space, or choose a folder on another disk."
            )

    def named(self, text: str, cohort: str) -> str:
        """A text from there with the names of patients and files that it is about."""
        text = _CODE.sub(lambda found: self._names.get(found[0], found[0]), text)
        lines = {row.line: row for row in self._rows}

        def here(found: re.Match[str]) -> str:
            row = lines.get(int(found[1]))
            path = None if row is None else getattr(row, found[2])
            return found[0] if path is None else str(path.name)

        return _SENT.sub(here, text).replace(COHORT_FILE, cohort)

    def bring_home(self, run: Path, out: Path) -> None:
        """Move what a training has made there into its folder here, under the patients' names.

        What was checked when it came. It can be broken off, and done again.
        """
        for path in sorted(run.rglob("*")):
            if not path.is_file() or path.name.startswith("."):
                continue
            target = out / path.relative_to(run)
            target.parent.mkdir(exist_ok=True)
            if path.name == "plan.json":
                write_json(target, self._plan(read_json(path)))
            elif path.name == "results.csv":
                self._write_table(path, target, out.name)
            else:
                os.replace(path, target)

    def _plan(self, plan: JsonObject) -> JsonObject:
        rows = plan["data"]
        named = [[self._names[row[0]], *row[1:]] for row in rows]
        return {**plan, "data": named}

    def _write_table(self, path: Path, target: Path, split: str) -> None:
        """A table of results; a training of one model is called as its folder."""
        with open(path, newline="", encoding="utf-8") as file:
            table = list(csv.reader(file))
        for row in table[1:]:
            row[0] = str(cell(self._names[row[0]]))
            row[1] = str(cell(split)) if row[1] == TRAINING else row[1]
        write_table(target, table)

    def _made(self) -> JsonObject:
        path = self._folder / _MADE_FILE
        try:
            return read_json(path) if path.exists() else {}
        except UserError:  # it costs time alone
            return {}

    def _has(self, entry: object) -> bool:
        """Whether the files of a row are there, as large as they were written."""
        if not isinstance(entry, dict) or not {"files", "facts", "sizes"} <= entry.keys():
            return False
        paths = {self._path(sha): size for sha, size in entry["sizes"].items()}
        return all(path.is_file() and path.stat().st_size == n for path, n in paths.items())

    def _path(self, sha: str) -> Path:
        return self._folder / f"{sha}.nrrd"

    def _write(self, row: Row) -> JsonObject:
        """Check a row as a training would, and write its voxels; what is known of it."""
        try:
            found = facts_of(load_case(row))
        except UserError as error:
            raise CaseError(str(error)) from error
        files = {
            column: self._write_voxels(path)
            for column in _COLUMNS
            if (path := getattr(row, column)) is not None
        }
        sizes = {sha: self._path(sha).stat().st_size for sha in files.values()}
        facts = {name: getattr(found, name) for name in _FACTS}
        return {"files": files, "sizes": sizes, "facts": facts}

    def _write_voxels(self, path: Path) -> str:
        """Write an image without what its header says, but for where it lies; its hash."""
        image = read_image(path)
        plain = Grid.from_image(image).to_image(sitk.GetArrayFromImage(image))
        part = self._folder / "part.nrrd"
        write_image(plain, part)
        sha = hash_file(part)
        os.replace(part, self._path(sha))
        return sha


def _images(row: Row) -> list[Path]:
    paths = (getattr(row, column) for column in _COLUMNS)
    return [path for path in paths if path is not None]


def _stamp(row: Row) -> str:
    """Changes with the files of a row, wherever the command is given."""
    files = (getattr(row, column) for column in _COLUMNS)
    stamps = [file_stamp(None if path is None else path.absolute()) for path in files]
    return "|".join([row.case, str(row.line), " ".join(row.modalities), *stamps])


def _facts(row: Row, known: JsonObject) -> CaseFacts:
    kinds, codes = tuple(known["kinds"]), tuple(known["codes"])
    return CaseFacts(row, kinds, known["image"], codes, known["judged"], known["dense"])
