"""The review log as one file to archive, apart from all images: JSON that is signed, or PDF."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cmfnet_napari.core.case.folder import Case, open_case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, read_json, write_json
from cmfnet_napari.core.images.study import save_labels
from cmfnet_napari.core.report.log_page import Readers, save_log_page
from cmfnet_napari.core.review.case_contour import case_log, contour_digest
from cmfnet_napari.core.review.check_log import LogCheck, check_lines, whose
from cmfnet_napari.core.review.log_entry import (
    NO_HASH,
    Entry,
    entry_hash,
    line_of,
    log_lines,
    log_name,
    no_log,
)
from cmfnet_napari.core.review.readings import load_reading, reader_difference
from cmfnet_napari.core.review.signer import End, is_signed, known_ends, own_signer, short
from cmfnet_napari.core.review.standing import named_classes, standing, standing_marks
from cmfnet_napari.core.strokes.class_order import ClassOrder
from cmfnet_napari.core.strokes.scribbles import ScribbleClass

FORMAT = "cmfnet review log 1"


def save_log(
    case: Case,
    classes: tuple[ScribbleClass, ...],
    order: ClassOrder,
    contour: str,
    path: str | Path,
) -> Path:
    """Write the review log of a case as PDF or JSON, by the file's ending.

    Parameters
    ----------
    case : Case
        Open; any thread may ask.
    classes, order : tuple of ScribbleClass, ClassOrder
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
    known = known_ends(case.key)
    lines = log_lines(case.folder)  # once: the window may go on writing meanwhile
    check = check_lines(lines, case.key, known)
    if check.nothing:
        raise no_log(case.folder)
    if path.suffix.casefold() == ".json":
        return write_json(path, _values(case, named_classes(classes), contour, lines, check))
    if path.suffix.casefold() != ".pdf":
        raise UserError(f"{path.name} is neither .pdf nor .json. Choose one of the two.")
    words = standing(check.entries, contour, named_classes(classes)).sentence
    readers = two_readers(case, order, check.entries)
    return save_log_page(case.key, check.entries, words, check.sentences, readers, path)


def export_log(folder: Path, path: Path) -> Path:
    """Write the review log of a case folder, without a window; raises as `save_log`."""
    case = open_case(folder, read_only=True)
    try:
        return save_log(case, case.classes, case.order, contour_digest(case), path)
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
        readers = two_readers(case, case.order, case_log(folder).entries)
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

    What the file says of itself is held against its entries; who signed the file is said, since
    anybody can sign with a key of their own.

    Raises
    ------
    UserError
        It is none.
    """
    values = _exported(path)
    lines, end = _lines(values), _end(values)
    known = [one for one in known_ends(values["case"]) if one.log == end.log]
    known = [one for one in known if one.entries <= len(values["entries"])]  # it has gone on since
    check = check_lines(lines, values["case"], known, against)
    found = standing(check.entries, values["contour"], values.get("classes"))
    key = str(values.get("key"))
    notes = (
        f"State by its entries: {found.sentence}",
        f"The key {short(key)} ({whose(key, check.own)}) signed the file as a whole.",
    )
    broken = check.broken
    if not _is_signed(values):
        broken = broken or _not_signed(path, values)
    elif values["state"] != found.stage or end != _end_of(check):
        broken = broken or f"{path.name} says something else of its entries than they do."
    return replace(check, broken=broken, notes=notes)


def export_end(path: Path) -> End:
    """How far a log had come when it was exported as JSON; UserError where it was changed since."""
    values = _exported(path)
    if not _is_signed(values):
        raise UserError(_not_signed(path, values))
    return _end(values)


def _values(
    case: Case,
    classes: list[JsonObject],
    contour: str,
    lines: Sequence[bytes],
    check: LogCheck,
) -> JsonObject:
    signer, end = own_signer(), _end_of(check)
    found = standing(check.entries, contour, classes)
    values: JsonObject = {
        "format": FORMAT,
        "case": case.key,
        "contour": contour,
        "classes": classes,
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        "state": found.stage,
        "sentence": found.sentence,
        "check": check.sentences,
        "end": {"log": end.log, "entries": end.entries, "hash": end.hash},
        **_parts(lines, check.entries),
        "key": signer.key,
    }
    values["signature"] = signer.sign(entry_hash(values))
    return values


def _parts(lines: Sequence[bytes], entries: Sequence[Entry]) -> JsonObject:
    """Entries as they were written; whatever else lies in the log by its line, in hex digits."""
    written: list[JsonObject] = []
    others = {}
    for number, line in enumerate(lines, start=1):
        values = _entry(line) if len(written) < len(entries) else {}
        if values and values.get("hash") == entries[len(written)].hash:
            written.append(values)
        else:
            others[str(number)] = line.hex()
    return {"entries": written, "others": others}


def _entry(line: bytes) -> JsonObject:
    """What an entry's line says; nothing where it is not byte for byte what that makes."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) and line_of(values).encode() == line else {}


def _lines(values: JsonObject) -> list[bytes]:
    """The log's lines, as they lay in the file."""
    others = {int(number): bytes.fromhex(line) for number, line in values["others"].items()}
    entries = (line_of(entry).encode() for entry in values["entries"])
    count = len(others) + len(values["entries"])
    return [
        others[number] if number in others else next(entries, b"") for number in range(1, count + 1)
    ]


def _end(values: JsonObject) -> End:
    return End(values["end"]["entries"], values["end"]["hash"], values["end"]["log"])


def _end_of(check: LogCheck) -> End:
    entries = check.entries
    return End(len(entries), entries[-1].hash if entries else NO_HASH, log_name(entries))


def _is_signed(values: JsonObject) -> bool:
    return is_signed(str(values.get("key")), entry_hash(values), str(values.get("signature")))


def _not_signed(path: Path, values: JsonObject) -> str:
    key = short(str(values.get("key")))
    return f"{path.name} was changed after it was exported: its signature is not that of {key}."


class _End(BaseModel):
    model_config = ConfigDict(strict=True)

    entries: int = Field(ge=0)
    hash: str
    log: str


class _Export(BaseModel):
    """What is read of an export."""

    model_config = ConfigDict(strict=True)

    format: Literal["cmfnet review log 1"]
    case: str
    contour: str
    classes: list[JsonObject] | None = None  # earlier versions wrote none
    state: str
    end: _End
    entries: list[JsonObject]
    others: dict[
        Annotated[str, Field(pattern="^[1-9][0-9]{0,8}$")],
        Annotated[str, Field(pattern="^([0-9a-f]{2})*$")],
    ]


def _exported(path: Path) -> JsonObject:
    values = read_json(path)
    try:
        _Export.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{path.name} is no review log that was exported as JSON.") from error
    return values
