"""Whether a review log is as it was written: each line follows the one before, and is signed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.review.log_entry import (
    NO_HASH,
    Entry,
    entry_hash,
    line_of,
    lines_hash,
    log_lines,
    log_name,
)
from cmfnet_napari.core.review.signer import End, Signer, is_signed, known_ends, own_signer, short

_BEGINS = b'{"account": "'  # names are sorted


@dataclass(frozen=True)
class LogCheck:
    """What was found.

    Attributes
    ----------
    entries : tuple of Entry
        Those that are as written: up to where the log was changed, and from where it went on with
        a line that tells of that. They alone count.
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
    size : int
        Bytes up to the end of the last of the entries, without that line's end.
    notes : tuple of str
        Sentences about an export.
    """

    entries: tuple[Entry, ...]
    broken: str = ""
    missing: str = ""
    halves: int = 0
    keys: tuple[tuple[str, int], ...] = ()
    own: str = ""
    remembered: bool = False
    size: int = 0
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was changed, as far as can be told."""
        return not self.fault

    @property
    def fault(self) -> str:
        """What is wrong with it, in a sentence; empty where nothing is, as far as can be told."""
        return self.broken or self.missing

    @property
    def nothing(self) -> bool:
        """Whether there is no log, and none is known to have been."""
        return self.ok and not self.entries

    @property
    def sentences(self) -> list[str]:
        """What to say of it, the worst first."""
        said, count = [self.fault], len(self.entries)
        entries = f"{count} {'entry' if count == 1 else 'entries'}"
        said.append(f"{entries}, as written." if self.ok else f"What counts: {entries}.")
        if self.halves:
            lines = "1 line is a half one" if self.halves == 1 else f"{self.halves} lines are half"
            said.append(f"{lines}, as a kill or a power cut leaves it; that is no change.")
        for key, count in self.keys:
            said.append(f"The key {short(key)} ({whose(key, self.own)}) signed {count}.")
        if not self.remembered:
            said.append(
                "Whether entries are missing at the end, this computer cannot tell; an export "
                "that was kept elsewhere can (--against)."
            )
        return [sentence for sentence in (*said, *self.notes) if sentence]


def check_log(folder: Path, case: str, against: Sequence[End] = ()) -> LogCheck:
    """Check the log of a case; where there is none, whether there was one.

    Parameters
    ----------
    folder : Path
        The case folder.
    case : str
        `Case.key`.
    against : sequence of End
        How far it had come by exports that were kept elsewhere.

    Raises
    ------
    UserError
        It cannot be read.
    """
    known = known_ends(case)  # first: the window may go on writing meanwhile
    return check_lines(log_lines(folder), case, known, against)


def check_lines(
    lines: Sequence[bytes], case: str, known: Sequence[End] = (), against: Sequence[End] = ()
) -> LogCheck:
    """Check a log line by line; the last one is empty in a file that ends with a line's end.

    Parameters are as in `check_log`; `known`: how far logs of the case had come by this computer.
    """
    entries: list[Entry] = []
    unread: list[bytes] = []  # since the last entry
    faults: list[str] = []
    halves = size = read = 0
    for number, line in enumerate(lines, start=1):
        if not line and number == len(lines):
            break
        entry, values = _read(line)
        fault = _fault(entry, values, line, entries, unread, number, case)
        read += len(line) + 1
        if entry is None or fault:
            unread.append(line)
            halves += not fault
        else:
            entries.append(entry)
            unread, size = [], read - 1
        faults += [fault] if fault else []
    if unread and not faults and not lines[-1]:  # half lines have no end
        faults.append(f"{_changed_at(len(lines) - 1)}: it is no entry.")
    return LogCheck(
        tuple(entries),
        broken=faults[0] if faults else "",
        missing="" if faults else _missing(entries, against, known),
        halves=halves,
        keys=tuple(Counter(entry.key for entry in entries).items()),
        own=_own_key() if entries else "",  # asking for it makes one
        remembered=bool([*against, *known]),
        size=size,
    )


def _read(line: bytes) -> tuple[Entry | None, JsonObject]:
    try:
        return Entry.model_validate_json(line), json.loads(line)
    except (ValidationError, ValueError, RecursionError):
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
    entry: Entry | None,
    values: JsonObject,
    line: bytes,
    entries: Sequence[Entry],
    unread: Sequence[bytes],
    number: int,
    case: str,
) -> str:
    """What is wrong with a line after those before, in a sentence; empty when it is right."""
    where = _changed_at(number)
    if entry is None:
        return "" if _is_half(line) else f"{where}: it is no entry."
    if unread and entry.cut != lines_hash(unread):
        return f"{_changed_at(number - len(unread))}: it is no entry."
    expected = len(entries) + 1
    if entry.n != expected:
        return f"{where}: entry {entry.n} stands where entry {expected} belongs."
    if entry.before != (entries[-1].hash if entries else NO_HASH):
        return f"{where}: entry {entry.n} does not follow the one before it."
    if entry_hash(values) != entry.hash or line_of(values).encode() != line:
        return f"{where}: entry {entry.n} is not what was written on {entry.moment}."
    if not is_signed(entry.key, entry.hash, entry.signature):
        return f"{where}: the signature of entry {entry.n} is not that of its key."
    if not entries and (entry.what != "began" or entry.detail.get("case") != case):
        return f"{where}: it is the log of another case."
    if entry.cut and not unread:
        return f"{where}: a half line before it was taken out."
    return ""


def _changed_at(number: int) -> str:
    return f"The review log was changed at line {number}"


def _missing(entries: Sequence[Entry], against: Sequence[End], known: Sequence[End]) -> str:
    """What a log lacks against how far it, or another one of its case, had come."""
    name = log_name(entries)
    if known and name not in {end.log for end in known}:
        most = max(end.entries for end in known)
        return (
            f"A review log of this case with {most} entries, which this computer has written, is "
            "not here. It was removed or replaced, or this is another case of the same images."
        )
    lacks = (_lack(entries, end) for end in (*against, *known) if end.log == name)
    others = (
        f"An export is of another review log, of {end.entries} entries: it is of another case, or "
        "the log was replaced."
        for end in against
        if end.log != name
    )
    return next((sentence for sentence in (*others, *lacks) if sentence), "")


def _lack(entries: Sequence[Entry], end: End) -> str:
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


def whose(key: str, own: str) -> str:
    """Whose key it is, as far as this computer knows."""
    return "this account's on this computer" if key == own else "of another account or computer"


def _own_key() -> str:
    """The user's key on this computer; empty where it cannot be read."""
    try:
        signer: Signer = own_signer()
    except UserError:
        return ""
    return signer.key
