"""Whether a review log is as it was written: each line follows the one before, and is signed."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.review.review_log import (
    LOG_FILE,
    NO_HASH,
    Entry,
    entry_hash,
    line_of,
    log_lines,
    log_name,
    no_log,
)
from cmfnet_napari.core.review.signer import End, Signer, is_signed, known_end, own_signer, short

_BEGINS = b'{"account": "'  # names are sorted


@dataclass(frozen=True)
class LogCheck:
    """What was found.

    Attributes
    ----------
    entries : tuple of Entry
        Those up to where the log was changed.
    broken : str
        Where and how it was changed, in a sentence; empty where it was not.
    missing : str
        What is missing at its end, in a sentence; empty where nothing is known to be.
    halves : int
        Half lines, as a kill or a power cut leaves them.
    keys : dict of str to int
        Entries by the key that signed them.
    own : str
        This user's key on this computer; empty where it cannot be read.
    remembered : bool
        This computer knows how far the log had come, or an export was given that does.
    """

    entries: tuple[Entry, ...]
    broken: str = ""
    missing: str = ""
    halves: int = 0
    keys: tuple[tuple[str, int], ...] = ()
    own: str = ""
    remembered: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing was changed, as far as can be told."""
        return not self.broken and not self.missing

    @property
    def sentences(self) -> list[str]:
        """What to say of it, the worst first."""
        said = [self.broken, self.missing]
        if self.ok:
            count = len(self.entries)
            said.append(f"{count} {'entry' if count == 1 else 'entries'}, as written.")
        if self.halves:
            lines = "1 line is a half one" if self.halves == 1 else f"{self.halves} lines are half"
            said.append(f"{lines}, as a kill or a power cut leaves it; that is no change.")
        for key, count in self.keys:
            own = "this account's on this computer"
            whose = own if key == self.own else "of another account or computer"
            said.append(f"The key {short(key)} ({whose}) signed {count}.")
        if not self.remembered:
            said.append(
                "Whether entries are missing at the end, this computer cannot tell, since it did "
                "not write them; an export can (--against)."
            )
        return [sentence for sentence in said if sentence]


def check_log(folder: Path, against: Sequence[End] = ()) -> LogCheck:
    """Check the log of a case.

    Parameters
    ----------
    folder : Path
        The case folder.
    against : sequence of End
        How far it had come by exports that were kept elsewhere.

    Raises
    ------
    UserError
        There is none, or it cannot be read.
    """
    if not (folder / LOG_FILE).exists():
        raise no_log(folder)
    return check_lines(log_lines(folder), against)


def check_lines(
    lines: Sequence[bytes], against: Sequence[End] = (), exported: bool = False
) -> LogCheck:
    """Check a log line by line; the last one is empty in a file that ends with a line's end.

    Parameters are as in `check_log`; `exported`: half lines were left out.
    """
    entries: list[Entry] = []
    unread: list[bytes] = []
    halves, broken = 0, ""
    for number, line in enumerate(lines, start=1):
        if not line and number == len(lines):
            break
        entry, values = _read(line)
        if entry is not None:
            broken = _fault(entry, values, line, entries, unread, number)
            if not broken and entry.cut and not unread and not exported:
                broken = (
                    f"The review log was changed at line {number}: a half line before it was "
                    "taken out."
                )
            halves, unread = halves + len(unread), []
        elif _is_half(line):
            unread.append(line)
        else:
            broken = f"The review log was changed at line {number}: it is no entry."
        if broken:
            break
        if entry is not None:
            entries.append(entry)
    if unread and not lines[-1] and not broken:  # half lines have no end
        broken = f"The review log was changed at line {len(lines) - 1}: it is no entry."
    halves += len(unread)
    own = _own_key()
    ends = [*against, *([known] if (known := known_end(log_name(entries))) else [])]
    keys = Counter(entry.key for entry in entries)
    missing = "" if broken else next(filter(None, (_missing(entries, end) for end in ends)), "")
    return LogCheck(
        tuple(entries), broken, missing, halves, tuple(keys.items()), own, remembered=bool(ends)
    )


def _read(line: bytes) -> tuple[Entry | None, JsonObject]:
    try:
        return Entry.model_validate_json(line), json.loads(line)
    except (ValidationError, ValueError):
        return None, {}


def _is_half(line: bytes) -> bool:
    """Whether a line is the beginning of an entry, or zeros, as a power cut leaves them."""
    if not line.strip(b"\0"):
        return True
    depth, quoted, escaped = 0, False, False
    for byte in line.rstrip(b"\0").decode("utf-8", "replace"):
        if quoted:
            quoted = escaped or byte != '"'
            escaped = byte == "\\" and not escaped
        else:
            depth += (byte == "{") - (byte == "}")
            quoted = byte == '"'
    return line.startswith(_BEGINS[: len(line)]) and (quoted or depth > 0)


def _fault(
    entry: Entry,
    values: JsonObject,
    line: bytes,
    entries: Sequence[Entry],
    unread: Sequence[bytes],
    number: int,
) -> str:
    """What is wrong with an entry after those before, in a sentence; empty when it is right."""
    where = f"The review log was changed at line {number}"
    expected = len(entries) + 1
    if unread and entry.cut != hashlib.sha256(b"\n".join(unread)).hexdigest():
        return f"The review log was changed at line {number - len(unread)}: it is no entry."
    if entry.n != expected:
        return f"{where}: entry {entry.n} stands where entry {expected} belongs."
    if entry.before != (entries[-1].hash if entries else NO_HASH):
        return f"{where}: entry {entry.n} does not follow the one before it."
    if entry_hash(values) != entry.hash or line_of(values).encode() != line:
        return f"{where}: entry {entry.n} is not what was written on {entry.moment}."
    if not is_signed(entry.key, entry.hash, entry.signature):
        return f"{where}: the signature of entry {entry.n} is not that of its key."
    return ""


def _missing(entries: Sequence[Entry], end: End) -> str:
    """What a log lacks against how far it had come."""
    if len(entries) < end.entries:
        lost = end.entries - len(entries)
        return (
            f"The review log ends early: {lost} of {end.entries} entries are missing at its end. "
            "It was cut off, or the case was brought back from an older copy."
        )
    if end.entries and entries[end.entries - 1].hash != end.hash:
        return (
            f"The review log was written anew: its entry {end.entries} is another one than was "
            "written first. Or this is a copy of the case that went on by itself."
        )
    return ""


def _own_key() -> str:
    try:
        signer: Signer = own_signer()
    except UserError:
        return ""
    return signer.key
