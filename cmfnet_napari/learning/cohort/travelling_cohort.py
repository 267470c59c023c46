"""What of a cohort goes to another computer: voxels, masks, strokes and codes; no name, no header.

Codes are dealt in the order of the patients' names, so that patients come into the same folds as
here. What comes back is called by their names again.
"""

from __future__ import annotations

import csv
import io
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
    write_safely,
)
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.volume import read_image, write_image
from cmfnet_napari.core.words import cell
from cmfnet_napari.learning.cohort.cohort_file import Row
from cmfnet_napari.learning.cohort.loaded_cases import load_case
from cmfnet_napari.learning.cohort.prepared_cases import file_stamp
from cmfnet_napari.remote.far_store import COHORT_FILE
from cmfnet_napari.remote.line_messages import CohortRow
from cmfnet_napari.remote.run_files import TRAINING

_MADE_FILE = "travelling.json"  # what was prepared: hashes by the files' sizes and times
_COLUMNS = "first", "second", "scribbles", "mask"
_CODE = re.compile(r"patient-[0-9]{4,6}\b")
_SENT = re.compile(r"\b([0-9]+)-(first|second|scribbles|mask)\.nrrd")


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
    stamps : list of list of str
        What it is made of: another cohort, or other files, has others.
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
        self.stamps = [_stamp(row) for row in rows]
        self.rows: list[CohortRow] = []
        self.files: dict[str, Path] = {}

    def prepare(self, show: Callable[[float, str], None], stop: Callable[[], bool]) -> bool:
        """Read every row and write its files; what was written is kept. False when stopped.

        Raises
        ------
        UserError
            As `loaded_cases.load_case`, or the disk is full.
        """
        made = self._made()
        self.rows, self.files = [], {}
        for number, (row, stamp) in enumerate(zip(self._rows, self.stamps, strict=True), start=1):
            if stop():
                return False
            show(0.0, f"preparing {number} of {len(self._rows)}")
            key = "|".join(stamp)
            entry = made.get(key)
            if not isinstance(entry, dict) or not self._has(entry):
                entry = made[key] = self._write(row)
                write_json(self._folder / _MADE_FILE, made, private=True)
            self.rows.append(CohortRow.model_validate(entry))
            for sha in (entry[column] for column in _COLUMNS if entry.get(column)):
                self.files[sha] = self._path(sha)
        return True

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
        """Move what a training has made there into its folder here, under the patients' names."""
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
        data = plan.get("data")
        rows = data if isinstance(data, list) else []
        named = [[self._names.get(str(row[0]), str(row[0])), *row[1:]] for row in rows if row]
        return {**plan, "data": named}

    def _write_table(self, path: Path, target: Path, split: str) -> None:
        """A table of results; a training of one model is called as its folder."""
        with open(path, newline="", encoding="utf-8") as file:
            table = list(csv.reader(file))
        text = io.StringIO()
        writer = csv.writer(text)
        for number, row in enumerate(table):
            if number:
                if len(row) < 2 or row[0] not in self._names:
                    raise UserError("The table of results that came back names no patient of ours.")
                row[0] = str(cell(self._names[row[0]]))
                row[1] = str(cell(split)) if row[1] == TRAINING else row[1]
            writer.writerow(row)
        written = text.getvalue().encode()
        write_safely(target, ".csv", lambda part: part.write_bytes(written))

    def _made(self) -> JsonObject:
        path = self._folder / _MADE_FILE
        try:
            return read_json(path) if path.exists() else {}
        except UserError:  # it costs time alone
            return {}

    def _has(self, entry: JsonObject) -> bool:
        return all(self._path(entry[c]).is_file() for c in _COLUMNS if entry.get(c))

    def _path(self, sha: str) -> Path:
        return self._folder / f"{sha}.nrrd"

    def _write(self, row: Row) -> JsonObject:
        """Check a row as a training would, and write its voxels."""
        kinds = load_case(row).study.kinds
        entry: JsonObject = {
            "patient": self._codes[row.case],
            "line": row.line,
            "split": row.split,
            "modalities": list(kinds),
        }
        for column in _COLUMNS:
            path = getattr(row, column)
            if path is not None:
                entry[column] = self._write_voxels(path)
        return entry

    def _write_voxels(self, path: Path) -> str:
        """Write an image without what its header says, but for where it lies; its hash."""
        image = read_image(path)
        plain = Grid.from_image(image).to_image(sitk.GetArrayFromImage(image))
        part = self._folder / "part.nrrd"
        write_image(plain, part)
        sha = hash_file(part)
        os.replace(part, self._path(sha))
        return sha


def _stamp(row: Row) -> list[str]:
    files = (getattr(row, column) for column in _COLUMNS)
    said = [row.case, str(row.line), row.split, " ".join(row.modalities)]
    return said + [file_stamp(path) for path in files]
