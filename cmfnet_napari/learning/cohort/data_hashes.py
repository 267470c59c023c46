"""Hashes of a cohort's files, taken once: afterwards only of files whose size or time changed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, hash_file, read_json
from cmfnet_napari.learning.cohort.cohort_file import Row
from cmfnet_napari.learning.cohort.prepared_cases import file_stamp, image_files

HASHES_FILE = "hashes.json"


def hash_rows(rows: Sequence[Row], known: JsonObject) -> list[dict[str, str]]:
    """The rows of a cohort file: patient, split, kinds of images, and a hash of every file.

    Parameters
    ----------
    rows : sequence of Row
        As they were read.
    known : dict
        From `read_hashes`; takes those that are new.

    Raises
    ------
    UserError
        A file cannot be read.
    """
    return [
        {
            "case": row.case,
            "split": row.split,
            "modality": " ".join(row.modalities).strip(),
            **_hash_row(row, known),
        }
        for row in rows
    ]


def read_hashes(out: Path) -> JsonObject:
    """Hash of every file that was read, by its size and time; a damaged list costs time alone."""
    try:
        return read_json(out / HASHES_FILE)
    except UserError:
        return {}


def _hash_row(row: Row, known: JsonObject) -> dict[str, str]:
    files = {"ct": row.first, "mr": row.second, "scribbles": row.scribbles, "mask": row.mask}
    return {column: _hash(path, known) for column, path in files.items()}


def _hash(path: Path | None, known: JsonObject) -> str:
    """Of all files that an image is read from; empty for none."""
    if path is None:
        return ""
    try:
        stamp = file_stamp(path)
        if not isinstance(known.get(stamp), str):
            known[stamp] = _read(path)
        return str(known[stamp])
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}). Check its permissions."
        ) from error


def _read(path: Path) -> str:
    files = image_files(path)
    if files == [path]:
        return hash_file(path)
    return hashlib.sha256("".join(map(hash_file, files)).encode()).hexdigest()
