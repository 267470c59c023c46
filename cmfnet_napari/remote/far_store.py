"""What lies on the other computer: files by their hash, and cases that are made of them.

::

    blobs/SHA256            images and models; a case's files are links to them, or copies
    cases/ID/parts/SHA256   those that are on their way; two that send the same do not mix
    cases/ID/line.json      who has the line, and since when nothing was heard
             kept.json      how long it stays; blobs.txt which of the files above came for it
             commands.jsonl what the worker was told; events.jsonl what it said; log.txt
             case/          a case folder as any other, without a name, a note or a date; or a
                            cohort: cohort.csv, images/, runs/

All of it is the account's alone. A case goes when it is told to, or after days without use.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil
from platformdirs import user_data_path

from cmfnet_napari.core.case.card import CaseCard, parse_card
from cmfnet_napari.core.case.folder import CARD_FILE, JOURNAL_FILE
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, append_line, private_folder, read_json, write_json
from cmfnet_napari.core.fit.runs import STATE_FILE
from cmfnet_napari.core.registration.registrations import FILE as REGISTRATION_FILE
from cmfnet_napari.core.registration.registrations import parse_registrations

REMOTE_VARIABLE = "CMFNET_REMOTE"
COMMANDS_FILE, SAID_FILE, LOG_FILE, KEPT_FILE = (
    "commands.jsonl",
    "events.jsonl",
    "log.txt",
    "kept.json",
)
BLOBS_FILE = "blobs.txt"
COHORT_FILE = "cohort.csv"  # in place of a card
BUSY_FILE = "busy"  # the worker is at a command
_ID = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_IMAGE = re.compile(r"[a-z_]{1,30}\.nrrd")
_ROOM = 1 << 28  # bytes that are left free besides


def remote_folder() -> Path:
    """Where it lies: in the folder that the variable ``CMFNET_REMOTE`` names, if it is set."""
    chosen = os.environ.get(REMOTE_VARIABLE)
    if chosen:
        return Path(chosen) / "cmfnet-remote"  # that one may be others', too
    return user_data_path("cmfnet-napari", appauthor=False) / "remote"


def free_bytes(folder: Path) -> int:
    """Room on the disk of a folder, which need not be there."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def this_process() -> JsonObject:
    """What tells this process from all others, of other nodes of a cluster too."""
    started = psutil.Process().create_time()
    return {"host": socket.gethostname(), "process": os.getpid(), "started": started}


def is_elsewhere(noted: JsonObject) -> bool:
    """Whether a process that was noted is one of another node, where nothing is known of it."""
    return noted.get("host") != socket.gethostname()


def process_noted(noted: JsonObject) -> psutil.Process | None:
    """The process that was noted, if it is still there: a number alone may be another's by now."""
    if is_elsewhere(noted):
        return None
    try:
        process = psutil.Process(int(noted["process"]))
        started: float = process.create_time()
        return process if abs(started - float(noted["started"])) < 1 else None
    except (psutil.Error, KeyError, ValueError, TypeError):
        return None


class FarStore:
    """The files of this account.

    Parameters
    ----------
    root : Path
        Made if it is not there, for the account alone.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("blobs", "cases"):
            private_folder(root / name)
        root.chmod(0o700)

    def case(self, name: str) -> FarCase:
        """The case of that name, which need not be there."""
        if not _ID.fullmatch(name):
            raise UserError("This is not the name of a case.")
        return FarCase(self, self.root / "cases" / name)

    def cases(self) -> list[FarCase]:
        """All there are."""
        folders = (self.root / "cases").iterdir()
        return [FarCase(self, path) for path in folders if _ID.fullmatch(path.name)]

    def blob(self, sha: str) -> Path:
        """The file of that hash, which need not be there."""
        if not _DIGEST.fullmatch(sha):
            raise UserError("This is not the hash of a file.")
        return self.root / "blobs" / sha

    def check_room(self, need: int) -> None:
        """Raise UserError unless so many bytes can be taken."""
        free = free_bytes(self.root)
        if need + _ROOM > free:
            raise UserError(
                f"There is no room for the images there: {need / 2**30:.1f} GiB are needed, "
                f"{max(0, free - _ROOM) / 2**30:.1f} GiB are free. Free some there ('cmfnet on "
                f"HOST delete' removes all patients' images), or name another disk's folder in the "
                f"variable {REMOTE_VARIABLE} there."
            )

    def link(self, sha: str, target: Path) -> None:
        """Put a file where it is needed, too."""
        source = self.blob(sha)
        if not source.exists():
            raise UserError("A file that is needed did not arrive. Try again.")
        private_folder(target.parent)
        part = target.with_name(f".{uuid.uuid4().hex}")
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
            part.chmod(0o600)
        os.replace(part, target)

    def drop(self, shas: Iterable[str]) -> None:
        """Delete files."""
        for sha in shas:
            self.blob(sha).unlink(missing_ok=True)

    def drop_all(self) -> None:
        """Delete all files once there is no case that could need one."""
        if not self.cases():
            for path in (self.root / "blobs").iterdir():
                path.unlink(missing_ok=True)

    def sweep(self, caller: str = "") -> None:
        """Delete what is out of use: old cases, and files that no case has.

        Who comes for a cohort calls by its name: what lies there for him is not out of use.
        """
        for case in self.cases():
            if case.outdated and case.folder.name != caller:
                with suppress(OSError, UserError):  # tried again at the next call
                    case.delete()
        # What is gathered for days is linked at the end alone, and on some disks never.
        needed = set().union(*(case.blobs for case in self.cases()))
        for path in (self.root / "blobs").iterdir():
            with suppress(OSError):
                found = path.stat()
                old = time.time() - found.st_mtime > 86_400
                if old and found.st_nlink == 1 and path.name not in needed:
                    path.unlink()


class FarCase:
    """One case there.

    Attributes
    ----------
    folder, case : Path
        All that belongs to it; its case folder.
    """

    def __init__(self, store: FarStore, folder: Path) -> None:
        self.store, self.folder, self.case = store, folder, folder / "case"

    def path(self, name: str) -> Path:
        """Of one of the files beside the case folder."""
        return self.folder / name

    def begin(self, files: Iterable[str], days: int, minutes: int) -> None:
        """Make the folder, or note that it is used; its files need not be there yet."""
        private_folder(self.case / "runs")
        if not self.path(KEPT_FILE).exists():
            kept = {"days": days, "minutes": minutes, "life": uuid.uuid4().hex}
            write_json(self.path(KEPT_FILE), kept, private=True)
        elif (self.kept["days"], self.kept["minutes"]) != (days, minutes):
            kept = {**self.kept, "days": days, "minutes": minutes}
            write_json(self.path(KEPT_FILE), kept, private=True)
        for name in (COMMANDS_FILE, SAID_FILE, LOG_FILE):
            self.path(name).touch(0o600)
        self.note(*files)
        self.touch()

    @property
    def is_cohort(self) -> bool:
        """Whether it is a cohort, which is trained on, and no patient's case."""
        return (self.case / COHORT_FILE).exists()

    @property
    def kept(self) -> JsonObject:
        """How long it stays, how long its worker waits, and the name of its record."""
        return read_json(self.path(KEPT_FILE))

    def touch(self) -> None:
        """It is in use."""
        os.utime(self.path(KEPT_FILE))

    @property
    def outdated(self) -> bool:
        """Whether nobody used it for as long as it stays."""
        try:
            age = time.time() - self.path(KEPT_FILE).stat().st_mtime
            return age > 86_400 * int(self.kept["days"])
        except (OSError, UserError, KeyError, ValueError, TypeError):
            with suppress(OSError):
                return time.time() - self.folder.stat().st_mtime > 86_400
            return False

    def write_card(self, card: CaseCard, registration: JsonObject | None) -> None:
        """Write what the case says of itself, and link its images."""
        for name, sha in card.images.items():
            self.store.link(sha, self.case / "study" / name)
        place = self.case / REGISTRATION_FILE
        if registration is not None:
            write_json(place, parse_registrations(registration, "sent").model_dump(mode="json"))
        else:
            place.unlink(missing_ok=True)
        write_json(self.case / CARD_FILE, card.model_dump(mode="json"))

    def have(self, sha: str) -> int | None:
        """How much of a file is there; None: all of it."""
        if self.store.blob(sha).exists():
            return None
        with suppress(OSError):
            return self._part(sha).stat().st_size
        return 0

    def take(self, sha: str, offset: int, total: int, data: bytes) -> int:
        """Add a part of a file; return how much is there.

        Raises
        ------
        UserError
            It is no part of that file, which begins anew then.
        """
        part = self._part(sha)
        if self.store.blob(sha).exists():  # it came for another case, too
            part.unlink(missing_ok=True)
            return total
        private_folder(part.parent)
        with open(part, "ab") as file:
            os.chmod(part, 0o600)
            have = file.tell()
            if offset != have or have + len(data) > total:
                raise UserError(f"A part of a file came out of order ({offset} after {have}).")
            file.write(data)
            have += len(data)
            if have == total:
                file.flush()
                os.fsync(file.fileno())
        if have == total:
            with open(part, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != sha:
                part.unlink()
                raise UserError("A file arrived damaged. It is sent again at the next try.")
            os.replace(part, self.store.blob(sha))
        return have

    def _part(self, sha: str) -> Path:
        return self.folder / "parts" / self.store.blob(sha).name

    @property
    def journal(self) -> Path:
        """Its strokes."""
        return self.case / JOURNAL_FILE

    def run(self, name: str) -> Path:
        """Folder of a run, which need not be there; its name was checked."""
        return self.case / "runs" / name

    def can_go_on(self, name: str, drop: bool) -> bool:
        """Whether a run has a state to go on from; `drop`: one without goes."""
        folder = self.run(name)
        if (folder / STATE_FILE).is_file():
            return True
        if drop:
            shutil.rmtree(folder, ignore_errors=True)
        return False

    def note(self, *shas: str) -> None:
        """Remember that files are there for its sake, before they are."""
        known = self.blobs
        for sha in shas:
            if sha not in known:
                append_line(self.path(BLOBS_FILE), sha)

    @property
    def blobs(self) -> set[str]:
        """Hashes of the files that came for it, in whole or in part."""
        try:
            lines = self.path(BLOBS_FILE).read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return set()
        return {line for line in lines if _DIGEST.fullmatch(line)}

    def delete(self) -> None:
        """Delete it, and what no other case has of its files.

        Links tell nothing of who needs a file: some file systems have none, and what was not sent
        to its end is not linked yet.

        Raises
        ------
        OSError, UserError
            Something of it is still there.
        """
        others = (case.blobs for case in self.store.cases() if case.folder != self.folder)
        self.store.drop(self.blobs.difference(*others))  # first: the folder knows which they are
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.exists():
            raise UserError(
                "Something of a case could not be deleted there. See that no other program uses "
                "it, and delete it again."
            )


def check_card(values: JsonObject) -> CaseCard:
    """A card that was sent; its images are called as a case's are.

    Raises
    ------
    UserError
        It is none.
    """
    card = parse_card(values, "sent")
    if card.model_extra:
        raise UserError("The case says more of itself than may be sent.")
    for name, sha in card.images.items():
        if not _IMAGE.fullmatch(name) or not _DIGEST.fullmatch(sha):
            raise UserError("The case names an image that is none.")
    if not 1 <= len(card.images) <= 4:
        raise UserError("The case has no image, or too many.")
    return card
