"""An entry of review-log.jsonl, one line of JSON: what happened, by whom, hashed and signed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject

LOG_FILE = "review-log.jsonl"
NO_HASH = "0" * 64  # before the first entry
_UNSIGNED = ("hash", "signature")

What = Literal[
    "began",  # the log; detail: case, what review.json said before
    "looked",  # at a slice: plane, index
    "accepted",  # a place: voxel, ml
    "corrected",
    "dismissed",
    "opened",  # a place is open again
    "reviewed",  # the contour: unseen, open, reading, classes
    "peer-reviewed",  # besides: first (entry), difference
    "changed",  # the contour or its classes, since it was signed off
    "withdrawn",  # whoever signed it off takes that back
    "noticed",  # something about this log
]

_Count = Annotated[int, Field(ge=0, le=1_000_000_000)]


class _Difference(BaseModel):
    """Of two readers in a class."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    dice: float
    added_ml: float
    removed_ml: float


class _Before(BaseModel):
    """What review.json said before there was a log."""

    model_config = ConfigDict(strict=True)

    slices: dict[str, _Count] = {}
    decisions: _Count = 0


class _Class(BaseModel):
    """A class of a contour that was signed off."""

    model_config = ConfigDict(strict=True)

    label: _Count
    number: _Count
    name: str


class _Detail(BaseModel):
    """What may stand in a detail; a name means the same whatever happened."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    log: str = ""
    case: str = ""
    before: _Before | None = None
    plane: str = ""
    index: _Count = 0
    voxel: Annotated[list[_Count], Field(min_length=3, max_length=3)] | None = None
    ml: float = 0.0
    unseen: _Count = 0
    open: _Count = 0
    reading: str = ""
    first: _Count = 0
    slices: _Count = 0
    difference: dict[str, _Difference] = Field(default_factory=dict)
    classes: list[_Class] = Field(default_factory=list)
    since: _Count = 0
    fault: str = ""


class Entry(BaseModel):
    """One line.

    Attributes
    ----------
    n : int
        1, 2, …
    time : str
        ISO 8601, UTC.
    account : str
        The system's user; empty where the system knows none.
    reader : str
        Who read, as it was typed; else the account.
    what : str
        What happened.
    detail : dict
        Of what; see `What`.
    contour : str
        Digest of the contour, of a slice's or of a place's, that was looked at.
    before : str
        Hash of the entry before.
    cut : str
        SHA-256 of what lies between the entry before and this one: a half line, which a kill or a
        power cut has left, or lines that somebody has changed or put in.
    key, hash, signature : str
        Public key, SHA-256 of all the rest as JSON with sorted names, and its signature.
    """

    model_config = ConfigDict(frozen=True)

    n: int = Field(ge=1)
    time: str
    account: str
    reader: str
    what: What
    detail: dict[str, Any] = {}
    contour: str = ""
    before: str
    cut: str = ""
    key: str = ""
    hash: str
    signature: str = ""

    @field_validator("detail")
    @classmethod
    def _as_it_may_be(cls, detail: dict[str, Any]) -> dict[str, Any]:
        """A line is a file's word: what people read of it must not be able to fail."""
        _Detail.model_validate(detail)
        return detail

    @property
    def moment(self) -> str:
        """Its time on this computer's clock, for people."""
        try:
            return datetime.fromisoformat(self.time).astimezone().strftime("%Y-%m-%d %H:%M")
        except (ValueError, OSError, OverflowError):  # years that a system does not know
            return self.time

    @property
    def who(self) -> str:
        """The reader, with the account where that is another name."""
        if self.reader == self.account or not self.account:
            return self.reader or "somebody"
        return f"{self.reader} (at the account {self.account})"


def no_log(folder: Path) -> UserError:
    """What to say of a case without a log."""
    return UserError(
        f"{folder.name} has no review log: nobody has looked at its contour in this version. Cases "
        "of earlier versions have none; it begins with the next look, and nothing else of the case "
        "changes."
    )


def log_lines(folder: Path) -> list[bytes]:
    """The lines of a case's log as they lie in the file, the last one perhaps a half.

    Raises
    ------
    UserError
        The file cannot be read.
    """
    try:
        return (folder / LOG_FILE).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{LOG_FILE} of {folder.name} cannot be read.") from error


def log_name(entries: Sequence[Entry]) -> str:
    """The name that a log was given when it began."""
    return str(entries[0].detail.get("log", "")) if entries else ""


def line_of(values: JsonObject) -> str:
    """An entry as it stands in the file."""
    return json.dumps(values, sort_keys=True)


def entry_hash(values: JsonObject) -> str:
    """SHA-256 of an entry without hash and signature, as JSON with sorted names."""
    rest = {name: value for name, value in values.items() if name not in _UNSIGNED}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def unread_hash(path: Path, size: int) -> str:
    """What the next entry says of lines behind the last one; empty where there are none.

    Parameters
    ----------
    path : Path
        The log.
    size : int
        Bytes up to the end of the last entry, without the line's end.

    Raises
    ------
    UserError
        The file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            file.seek(size)
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UserError(f"{path.name} cannot be read.") from error
    if size:
        lines.pop(0)
    if lines and not lines[-1]:
        lines.pop()
    return lines_hash(lines) if lines else ""


def lines_hash(lines: Sequence[bytes]) -> str:
    """SHA-256 of lines that are no entries."""
    return hashlib.sha256(b"\n".join(lines)).hexdigest()
