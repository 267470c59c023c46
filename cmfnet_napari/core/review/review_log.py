"""review-log.jsonl of a case: who looked at what, decided what, and when; one line an entry.

Every entry holds the hash of the one before and is signed, so that a line that is changed, taken
out, put in or moved shows (`check_log`). An entry is in the file when `append` returns: killing
the program loses none. Readers are named here and nowhere else; nothing names the patient.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, append_line
from cmfnet_napari.core.privacy import account
from cmfnet_napari.core.review.signer import End, Signer, own_signer, remember_end
from cmfnet_napari.core.words import clean

LOG_FILE = "review-log.jsonl"
NO_HASH = "0" * 64  # before the first entry
LONGEST_NAME = 64
_UNSIGNED = ("hash", "signature")

What = Literal[
    "began",  # the log; detail: case, what review.json said before
    "looked",  # at a slice: plane, index
    "accepted",  # a place: voxel, ml
    "corrected",
    "dismissed",
    "opened",  # a place is open again
    "reviewed",  # the contour: unseen, open, reading
    "peer-reviewed",  # besides: first (entry), difference
    "changed",  # the contour, since it was signed off
    "withdrawn",  # whoever signed it off takes that back
    "noticed",  # something about this log
]


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
        SHA-256 of a half line before this one, which a kill or a power cut has left.
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

    @property
    def moment(self) -> str:
        """Its time on this computer's clock, for people."""
        try:
            return datetime.fromisoformat(self.time).astimezone().strftime("%Y-%m-%d %H:%M")
        except ValueError:
            return self.time

    @property
    def who(self) -> str:
        """The reader, with the account where that is another name."""
        if self.reader == self.account or not self.account:
            return self.reader or "somebody"
        return f"{self.reader} (at the account {self.account})"


class ReviewLog:
    """The log of a case, to be written. Only who holds the case's lock may.

    Parameters
    ----------
    folder : Path
        The case folder.
    case : str
        `Case.key`.
    earlier : dict, optional
        What the first entry says of a review without a log.

    Attributes
    ----------
    entries : list of Entry
        Those that can be read.

    Raises
    ------
    UserError
        It cannot be read, or its key cannot.
    """

    def __init__(self, folder: Path, case: str, earlier: JsonObject | None = None) -> None:
        self._path = folder / LOG_FILE
        self._case, self._earlier = case, earlier or {}
        self._account = account()
        self._signer: Signer | None = None
        self.entries = read_entries(folder)

    @property
    def name(self) -> str:
        """The log's own name, 32 hex digits; empty while nothing was written."""
        return log_name(self.entries)

    def append(
        self, what: What, detail: JsonObject | None = None, contour: str = "", reader: str = ""
    ) -> Entry:
        """Write an entry; the first one of a log says that it began.

        Raises
        ------
        UserError
            The disk is full, or the key cannot be used; nothing was written.
        """
        if not self.entries:
            self._write("began", {"log": uuid.uuid4().hex, "case": self._case, **self._earlier})
        return self._write(what, detail or {}, contour, reader)

    def to_disk(self) -> None:
        """Bring what was written to the disk, then remember how far it has come.

        Raises
        ------
        UserError
            It cannot be written.
        """
        if not self.entries:
            return
        last = self.entries[-1]  # another thread may go on
        try:
            with open(self._path, "rb+") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f"{LOG_FILE} could not be written.") from error
        remember_end(self.name, End(last.n, last.hash))

    def _write(self, what: What, detail: JsonObject, contour: str = "", reader: str = "") -> Entry:
        cut = ""
        if self._signer is None:  # what others have left, this one does not leave
            self._signer, cut = own_signer(), _half_line(self._path)
        last = self.entries[-1] if self.entries else None
        values: JsonObject = {
            "n": 1 if last is None else last.n + 1,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "account": self._account,
            "reader": reader or self._account,
            "what": what,
            "detail": detail,
            "contour": contour,
            "before": NO_HASH if last is None else last.hash,
            "cut": cut,
            "key": self._signer.key,
        }
        values["hash"] = entry_hash(values)
        values["signature"] = self._signer.sign(values["hash"])
        append_line(self._path, line_of(values))
        entry = Entry.model_validate(values)
        self.entries.append(entry)
        return entry


def reader_name(typed: str) -> str:
    """A reader's name on one line.

    Raises
    ------
    UserError
        There is none, or it is longer than 64 characters.
    """
    name = clean(typed)
    if not name:
        raise UserError("Say who reads: type a name. The account of this computer has none.")
    if len(name) > LONGEST_NAME:
        raise UserError(f"A reader's name has {LONGEST_NAME} characters at most; this has more.")
    return name


def read_entries(folder: Path) -> list[Entry]:
    """The entries of a case's log that can be read; empty where there is no log.

    Whether the log is as it was written says `check_log`.

    Raises
    ------
    UserError
        The file cannot be read.
    """
    found = []
    for line in log_lines(folder):
        try:
            found.append(Entry.model_validate_json(line))
        except ValidationError:
            continue
    return found


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


def log_name(entries: list[Entry]) -> str:
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


def _half_line(path: Path) -> str:
    """SHA-256 of the lines after the last entry, which a kill or a power cut has left; or empty."""
    lines = log_lines(path.parent)
    while lines and not lines[-1]:
        lines.pop()
    unread: list[bytes] = []
    for line in reversed(lines):
        try:
            Entry.model_validate_json(line)
            break
        except ValidationError:
            unread.insert(0, line)
    return hashlib.sha256(b"\n".join(unread)).hexdigest() if unread else ""
