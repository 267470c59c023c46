"""review-log.jsonl of a case: who looked at what, decided what, and when; one line an entry.

Every entry holds the hash of the one before and is signed, so that a line that is changed, taken
out, put in or moved shows (`check_log`). An entry is in the file when `append` returns: killing
the program loses none. Readers are named here and in what is made from it; nothing names the
patient.
"""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, append_line
from cmfnet_napari.core.privacy import account
from cmfnet_napari.core.review.check_log import LogCheck, check_log
from cmfnet_napari.core.review.log_entry import (
    LOG_FILE,
    NO_HASH,
    Entry,
    What,
    entry_hash,
    line_of,
    log_name,
    unread_hash,
)
from cmfnet_napari.core.review.signer import End, Signer, own_signer, remember_end
from cmfnet_napari.core.words import clean

LONGEST_NAME = 64


class ReviewLog:
    """The log of a case, to be written. Only who holds the case's lock may.

    It goes on from the last entry that is as it was written; whatever lies behind that one stays,
    and the next entry says so by its hash (`Entry.cut`).

    Parameters
    ----------
    folder : Path
        The case folder.
    case : str
        `Case.key`.
    earlier : dict, optional
        What the first entry says of a review without a log.
    check : LogCheck, optional
        What `check_log` found before, which takes long for a long log; found anew where the log
        has grown since.

    Attributes
    ----------
    check : LogCheck
        Whether it was as written when it was opened.
    entries : list of Entry
        Those that are as written.

    Raises
    ------
    UserError
        It cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        case: str,
        earlier: JsonObject | None = None,
        check: LogCheck | None = None,
    ) -> None:
        self._path = folder / LOG_FILE
        self._case, self._earlier = case, earlier or {}
        self._account = account()
        self._signer: Signer | None = None
        if check is None or check.size + bool(check.entries) != self._bytes:  # with its line's end
            check = check_log(folder, case)
        self.check = check
        self.entries = list(self.check.entries)
        self._noting, self._noted = Lock(), len(self.entries)
        self._size = self.check.size

    @property
    def _bytes(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

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
        with self._noting:  # two calls that pass each other would note the older end last
            if self._noted == len(self.entries):
                return
            last = self.entries[-1]  # another thread may go on
            try:
                with open(self._path, "rb+") as file:
                    os.fsync(file.fileno())
            except OSError as error:
                raise UserError(f"{LOG_FILE} could not be written.") from error
            remember_end(self._case, End(last.n, last.hash, self.name))
            self._noted = last.n

    def _write(self, what: What, detail: JsonObject, contour: str = "", reader: str = "") -> Entry:
        if self._signer is None:
            self._signer = own_signer()
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
            "cut": unread_hash(self._path, self._size),
            "key": self._signer.key,
        }
        values["hash"] = entry_hash(values)
        values["signature"] = self._signer.sign(values["hash"])
        entry = Entry.model_validate(values)
        self._size = append_line(self._path, line_of(values)) - 1  # of the line without its end
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
