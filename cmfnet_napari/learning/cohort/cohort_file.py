"""The cohort file: which patients a base model learns from, and how they are split.

A CSV file with the columns case, ct (or first), mr (or second), modality, scribbles, mask and
split; see `read_cohort`.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cmfnet_napari.core.errors import UserError, list_names
from cmfnet_napari.core.images.modality import Modalities, parse_modalities

TRAIN, VAL, TEST = "train", "val", "test"
_FILES = ("ct", "mr", "scribbles", "mask")
_COLUMNS = ("case", *_FILES, "modality", "split")
_ALSO = {"first": "ct", "second": "mr"}  # what the columns are called where they hold others
_NEEDED = ("case", "ct")
_FOLD = re.compile(r"0*([1-9][0-9]*)")
_SHOWN = 10  # problems at once; more than that is one mistake repeated


@dataclass(frozen=True)
class Row:
    """One line of the cohort file.

    Attributes
    ----------
    case : str
        Name of the patient; rows of one patient share it.
    first, second, scribbles, mask : Path
        Image files or DICOM folders; all but the first may be None, but not both labels.
    split : str
        ``"train"``, ``"val"``, ``"test"`` or the number of a fold, from ``"1"`` on.
    line : int
        Where it stands in the file, from 1 on.
    modalities : tuple of str
        What the images are; empty where the file does not say it.
    """

    case: str
    first: Path
    second: Path | None
    scribbles: Path | None
    mask: Path | None
    split: str
    line: int
    modalities: Modalities = ("", "")

    @property
    def place(self) -> str:
        """How a message names the row."""
        return f"{self.case} (line {self.line})"


def read_cohort(path: str | Path, *, labels: bool = True) -> tuple[Row, ...]:
    """Read a cohort file and check all that needs no image to be read.

    Parameters
    ----------
    path : path
        CSV, comma or semicolon, UTF-8. Columns in any order: ``case`` and ``ct`` or ``first``, the
        image that is drawn on; ``mr`` or ``second``; ``modality``, such as ``MR`` or ``MR PT``:
        without it, ``ct`` and ``mr`` hold what they are called, and headers and values tell what
        ``first`` and ``second`` hold;
        ``scribbles`` (scribble codes, trained from) or ``mask`` (segmentation codes: the
        reference, and trained from where there are no scribbles) or both; ``split``: train,
        val, test, a fold number, or empty for train. Relative paths start at the file's folder.
    labels : bool
        Every row needs scribbles or a mask, and some are to be trained on.

    Raises
    ------
    UserError
        Names up to ten problems: columns, empty cells, missing files, labels, splits, a patient
        in two splits, a file used twice, rows with and without a second image.
    """
    path = Path(path)
    columns, lines = _read_table(path)
    header = [_ALSO.get(name, name) for name in columns]
    raise_problems(path.name, _header_problems(header, labels))
    rows, problems = [], []
    for line, values in lines:
        cells = dict.fromkeys(_COLUMNS, "") | dict(zip(header, values, strict=False))
        empty = [name for name in _NEEDED if not cells[name]]
        problems += [f"line {line} has no {name}" for name in empty]
        if len(values) > len(header):
            problems.append(
                f"line {line} has {len(values)} cells, the header {len(header)}: put a path "
                "with a separator in quotes"
            )
        elif not empty:
            try:
                rows.append(_row(cells, line, path.parent, _said_by(columns)))
            except UserError as error:
                problems.append(f"line {line}: {str(error).rstrip('.')}")
    problems += [text for row in rows for text in _row_problems(row, labels)]
    raise_problems(path.name, [*problems, *_cohort_problems(rows, labels)])
    return tuple(rows)


def folds(rows: Sequence[Row], count: int, seed: int = 0) -> tuple[tuple[Row, ...], ...]:
    """Deal a cohort into folds for cross-validation, patient by patient.

    Parameters
    ----------
    rows : sequence of Row
        From `read_cohort`. Rows of split ``test`` come into no fold. Fold numbers in the file
        are kept; without them the patients are dealt by chance.
    count : int
        Number of folds, at least 2.
    seed : int
        Same seed, same patients in each fold, whatever the order of the rows.

    Returns
    -------
    tuple of `count` tuples of Row
        Dealt folds differ by at most one patient. Rows keep their order.

    Raises
    ------
    UserError
        More folds than patients, a fold number above `count`, an empty fold, or a row of split
        ``val``: each fold is the validation set of the others.
    """
    rows = [row for row in rows if row.split != TEST]
    patients = sorted({row.case for row in rows})
    if not 2 <= count <= len(patients):
        raise UserError(
            f"{len(patients)} patients cannot be split into {count} folds. "
            f"Choose 2 to {len(patients)}."
        )
    raise_problems("The cohort", _fold_problems(rows, count))
    if _numbered(rows):
        number = {row.case: int(row.split) for row in rows}
    else:
        dealt = np.random.default_rng(seed).permutation(patients)
        number = {str(case): i % count + 1 for i, case in enumerate(dealt)}
    return tuple(
        tuple(row for row in rows if number[row.case] == fold) for fold in range(1, count + 1)
    )


def raise_problems(name: str, problems: Iterable[str]) -> None:
    """Raise one UserError that names what is wrong with a cohort, one problem a line."""
    problems = list(problems)
    if len(problems) == 1:
        raise UserError(f"{name}: {problems[0]}.")
    if problems:
        more = len(problems) - _SHOWN
        shown = [*problems[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        raise UserError(
            f"{name} has {len(problems)} problems. Correct them and start again:\n  "
            + "\n  ".join(shown)
        )


def _read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header in lower case, and the lines that are not empty, each with its number."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if "\0" in text:
            raise csv.Error("it holds a null byte")
        first = text.partition("\n")[0]
        separator = ";" if first.count(";") > first.count(",") else ","
        reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
        table = [(reader.line_num, _cells(cells)) for cells in reader]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}). Check the name.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path.name} cannot be read as a table ({error}). Save it as CSV in UTF-8."
        ) from error
    table = [(line, cells) for line, cells in table if cells]
    if len(table) < 2:
        raise UserError(f"{path.name} names no case. Give it a header and one line a case.")
    return [name.lower() for name in table[0][1]], table[1:]


def _cells(values: list[str]) -> list[str]:
    """Cells without the empty ones at the end that spreadsheets leave."""
    values = [value.strip() for value in values]
    while values and not values[-1]:
        values.pop()
    return values


def _header_problems(header: list[str], labels: bool) -> list[str]:
    also = {column: f"{column} (or {name})" for name, column in _ALSO.items()}
    allowed = ", ".join(also.get(name, name) for name in _COLUMNS)
    unknown = [name or "(empty)" for name in header if name not in _COLUMNS]
    return [
        *(
            f"column {name} is missing; the columns are {allowed}"
            for name in _missing(header, labels)
        ),
        *(f"column {name} is unknown; the columns are {allowed}" for name in unknown),
        *(f"column {name} is there {n} times" for name, n in Counter(header).items() if n > 1),
    ]


def _missing(header: list[str], labels: bool) -> list[str]:
    missing = [name for name in _NEEDED if name not in header]
    enough = not labels or {"scribbles", "mask"} & set(header)
    return missing if enough else [*missing, "scribbles (or mask)"]


def _said_by(columns: list[str]) -> Modalities:
    """What the columns ``ct`` and ``mr`` say of what they hold; the others say nothing."""
    return "CT" if "ct" in columns else "", "MR" if "mr" in columns else ""


def _row(cells: dict[str, str], line: int, folder: Path, columns: Modalities) -> Row:
    files = {name: folder / cells[name] if cells[name] else None for name in _FILES[1:]}
    split = cells["split"].lower() or TRAIN
    number = _FOLD.fullmatch(split)
    return Row(
        case=cells["case"],
        first=folder / cells["ct"],
        second=files["mr"],
        scribbles=files["scribbles"],
        mask=files["mask"],
        split=number[1] if number else split,
        line=line,
        modalities=_modalities(cells["modality"], columns),
    )


def _modalities(cell: str, columns: Modalities) -> Modalities:
    """What a cell says of the images, else what their columns do."""
    said = [word for word in re.split(r"[\s+,]+", cell) if word]
    return parse_modalities(said) if said else columns


def _files(row: Row) -> list[tuple[str, Path | None]]:
    """Files of a row, each with the name of its column."""
    return list(zip(_FILES, (row.first, row.second, row.scribbles, row.mask), strict=True))


def _row_problems(row: Row, labels: bool) -> Iterator[str]:
    for name, file in _files(row):
        if file is not None and not os.path.exists(file):  # Path.exists raises on odd names
            yield f"{row.place}: {name} {file} does not exist"
    if labels and row.scribbles is None and row.mask is None:
        yield f"{row.place} has neither scribbles nor mask; give one of them"
    if row.split not in (TRAIN, VAL, TEST) and not _FOLD.fullmatch(row.split):
        yield f"{row.place}: split is {row.split}; use train, val, test or a fold number from 1 on"


def _cohort_problems(rows: list[Row], labels: bool) -> Iterator[str]:
    yield from _two_splits(rows)
    yield from _used_twice(rows)
    without = [row.place for row in rows if row.second is None]
    with_second = [row.place for row in rows if row.second is not None]
    if labels and without and with_second:
        yield (
            f"mr is given for {list_names(with_second)} but not for {list_names(without)}; "
            "train cases with and without it apart"
        )
    plain = [row for row in rows if row.split in (TRAIN, VAL)]
    numbered = _numbered(rows)
    if plain and numbered:
        yield (
            f"{numbered[0].place} is in fold {numbered[0].split}, but {plain[0].place} in "
            f"{plain[0].split}; give every row but the test rows a fold number, or none"
        )
    if labels and rows and all(row.split in (VAL, TEST) for row in rows):
        yield f"all {len(rows)} rows are val or test; there is nothing to train on"


def _two_splits(rows: list[Row]) -> Iterator[str]:
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row.case, row)
        if other.split != row.split:
            yield (
                f"{row.case} is in split {other.split} (line {other.line}) and in split "
                f"{row.split} (line {row.line}); a patient belongs to one"
            )


def _used_twice(rows: list[Row]) -> Iterator[str]:
    """One patient's rows may share files, column by column, but not all of them."""
    owners: dict[Path, tuple[Row, str]] = {}
    lines: dict[tuple[Path | None, ...], Row] = {}
    for row in rows:
        real = [(name, file and file.resolve()) for name, file in _files(row)]
        twin = lines.setdefault(tuple(file for _, file in real), row)
        if twin is not row:
            yield f"{twin.place} and {row.place} name the same files"
            continue
        for name, file in real:
            owner, column = owners.setdefault(file, (row, name)) if file else (row, name)
            if (owner.case, column) != (row.case, name):
                yield f"{column} of {owner.place} and {name} of {row.place} are one file, {file}"


def _numbered(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if _FOLD.fullmatch(row.split)]


def _fold_problems(rows: list[Row], count: int) -> Iterator[str]:
    for row in rows:
        if row.split == VAL:
            yield f"{row.place} is in split val, but each fold validates the others; leave it empty"
        elif row.split != TRAIN and int(row.split) > count:
            yield f"{row.place} is in fold {row.split}, but there are {count} folds"
    used = {row.split for row in _numbered(rows)}
    if used:
        empty = [str(n) for n in range(1, count + 1) if str(n) not in used]
        yield from (f"fold {n} of {count} has no case" for n in empty)
