"""The review log as one file to archive, apart from all images: JSON that is signed, or PDF."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from cmfnet_napari.core.case.folder import Case, open_case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, read_json, write_json
from cmfnet_napari.core.images.study import save_labels
from cmfnet_napari.core.report.log_page import Readers, save_log_page
from cmfnet_napari.core.review.case_contour import case_stage
from cmfnet_napari.core.review.check_log import LogCheck, check_lines, check_log
from cmfnet_napari.core.review.readings import load_reading, reader_difference
from cmfnet_napari.core.review.review_log import (
    NO_HASH,
    Entry,
    entry_hash,
    line_of,
    log_lines,
    read_entries,
)
from cmfnet_napari.core.review.signer import End, is_signed, own_signer, short
from cmfnet_napari.core.review.standing import standing, standing_marks
from cmfnet_napari.core.strokes.class_order import ClassOrder

FORMAT = "cmfnet review log 1"


def save_log(case: Case, order: ClassOrder, contour: str, path: str | Path) -> Path:
    """Write the review log of a case as PDF or JSON, by the file's ending.

    Parameters
    ----------
    case : Case
        Open; any thread may ask.
    order : ClassOrder
        Its classes.
    contour : str
        `record.digest` of its contour of record; empty where there is none.
    path : path
        Ends in ``.pdf`` or ``.json``.

    Raises
    ------
    UserError
        There is no log, another ending, or the file cannot be written.
    """
    path = Path(path)
    check = check_log(case.folder)
    if path.suffix.casefold() == ".json":
        return write_json(path, _values(case, contour, check))
    if path.suffix.casefold() != ".pdf":
        raise UserError(f"{path.name} is neither .pdf nor .json. Choose one of the two.")
    entries = read_entries(case.folder)
    words = standing(check.entries, contour).sentence
    readers = two_readers(case, order, check.entries)
    return save_log_page(case.key, entries, words, check.sentences, readers, path)


def export_log(folder: Path, path: Path) -> Path:
    """Write the review log of a case folder, without a window; raises as `save_log`."""
    found, _ = case_stage(folder)
    case = open_case(folder, read_only=True)
    try:
        contour = "" if found.mark is None else found.mark.contour
        return save_log(case, case.order, contour, path)
    finally:
        case.close()


def compare_readers(folder: Path, out: Path | None = None) -> JsonObject:
    """How the contours of a case's two readers differ.

    Parameters
    ----------
    folder : Path
        Of the case.
    out : Path, optional
        Labels to write on the first image's grid: 1 the first reader's alone, 2 the second's
        alone, 3 both.

    Raises
    ------
    UserError
        There are no two, a contour was changed since, or the file cannot be written.
    """
    case = open_case(folder, read_only=True)
    try:
        readers = two_readers(case, case.order, check_log(folder).entries)
        if readers is None:
            raise UserError(f"{folder.name} was not peer-reviewed: there are no two readers.")
        one, other = readers.first_labels, readers.second_labels
        found = reader_difference(one, other, readers.grid, case.class_names)
        if out is not None:
            sides = (one > 0).astype(np.uint8) + 2 * (other > 0).astype(np.uint8)
            save_labels(sides, case.study, out)
        return {"first": readers.first, "second": readers.second, **found}
    finally:
        case.close()


def two_readers(case: Case, order: ClassOrder, entries: tuple[Entry, ...]) -> Readers | None:
    """The contours of the newest peer review: the second reader's and the first one's.

    Raises
    ------
    UserError
        A contour is missing or another one than was signed off.
    """
    marks = standing_marks(entries)
    peer = next((mark for mark in reversed(marks) if mark.what == "peer-reviewed"), None)
    first = next((m for m in marks if peer is not None and m.n == peer.detail.get("first")), None)
    if peer is None or first is None:
        return None
    contours = load_reading(case, first, order), load_reading(case, peer, order)
    return Readers(first.who, peer.who, *contours, case.study.grid)


def read_log(path: Path, against: Sequence[End] = ()) -> LogCheck:
    """Check a log that was exported as JSON; `against` is as in `check_log`.

    Raises
    ------
    UserError
        It is none.
    """
    values = _exported(path)
    lines = [line_of(entry).encode() for entry in values["entries"]]
    signed = is_signed(str(values.get("key")), entry_hash(values), str(values.get("signature")))
    check = check_lines([*lines, b""], [*against, export_end(path)], exported=True)
    if signed or check.broken:
        return check
    key = short(str(values.get("key")))
    broken = f"{path.name} was changed after it was exported: its signature is not that of {key}."
    return LogCheck(check.entries, broken, keys=check.keys, own=check.own, remembered=True)


def export_end(path: Path) -> End:
    """How far a log had come when it was exported as JSON; raises as `read_log`."""
    end = _exported(path)["end"]
    return End(end["entries"], end["hash"])


def _values(case: Case, contour: str, check: LogCheck) -> JsonObject:
    signer, last = own_signer(), check.entries[-1:]
    found = standing(check.entries, contour)
    values: JsonObject = {
        "format": FORMAT,
        "case": case.key,
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        "state": found.stage,
        "sentence": found.sentence,
        "check": check.sentences,
        "end": {
            "entries": len(check.entries),
            "hash": last[0].hash if last else NO_HASH,
        },
        "entries": list(_as_written(case.folder)),
        "key": signer.key,
    }
    values["signature"] = signer.sign(entry_hash(values))
    return values


def _as_written(folder: Path) -> Iterator[JsonObject]:
    """Entries with all that they say, also what this version does not know; no half lines."""
    for line in log_lines(folder):
        with suppress(ValueError):
            values = json.loads(line)
            if isinstance(values, dict):
                yield values


def _exported(path: Path) -> JsonObject:
    values = read_json(path)
    end = values.get("end")
    entries = values.get("entries")
    known = (
        values.get("format") == FORMAT
        and isinstance(end, dict)
        and isinstance(end.get("entries"), int)
        and isinstance(end.get("hash"), str)
        and isinstance(entries, list)
        and all(isinstance(entry, dict) for entry in entries)
    )
    if not known:
        raise UserError(f"{path.name} is no review log that was exported as JSON.")
    return values
