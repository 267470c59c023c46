"""Our end on the other computer: answers one window over stdin and stdout, and ends with it.

It listens at no port. What it is told is checked before anything is done: names, sizes, hashes,
voxels; it writes into its own folder alone. The worker is kept by another process, `keeper`.
"""

from __future__ import annotations

import json
import os
import platform
import queue
import sqlite3
import subprocess
import threading
import time
import uuid
import zlib
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import numpy as np
import psutil
from filelock import FileLock

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.case.card import CaseCard
from cmfnet_napari.core.case.case_classes import RUN_CLASSES
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, append_line, private_folder, read_json, write_json
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.preview_file import read_preview
from cmfnet_napari.core.isolation import python_command
from cmfnet_napari.core.privacy import redact
from cmfnet_napari.core.strokes.entries import entry_of
from cmfnet_napari.core.strokes.journal import Journal
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.far_store import (
    BUSY_FILE,
    COMMANDS_FILE,
    LOG_FILE,
    SAID_FILE,
    FarCase,
    FarStore,
    check_card,
    free_bytes,
    is_elsewhere,
    process_noted,
    this_process,
)
from cmfnet_napari.remote.journal_digest import digest_of
from cmfnet_napari.remote.keeper import KEEPER_FILE, keeper_command, keeper_runs
from cmfnet_napari.remote.line_messages import (
    BadFrameError,
    HeldError,
    LineLostError,
    Message,
    Sender,
)
from cmfnet_napari.remote.run_files import base_path, files_of, is_model, is_run, travels

LINE_FILE = "line.json"
_LOOK_S, _CHECK_S, _TOUCH_S = 0.02, 0.5, 2.0
_SILENCE_S = 60.0  # without a word: whoever was there is not there any more
_DISMISS_S = 25.0
_DOCTOR_S = 180.0
_KEEPER_S = 30.0  # for a keeper to begin
_LOG_SHOWN = 2000


class Agent:
    """One conversation.

    Parameters
    ----------
    root : Path
        Where everything lies; see `far_store`.
    source, sink : binary streams
        What is heard, and said.
    """

    def __init__(self, root: Path, source: BinaryIO, sink: BinaryIO) -> None:
        self._store, self._source, self._sender = FarStore(root), source, Sender(sink)
        self._inbox: queue.Queue[tuple[Message, bytes] | Exception] = queue.Queue(64)
        self._client = ""
        self._case: FarCase | None = None
        self._card: CaseCard | None = None
        self._serial = ""
        self._journal: Journal | None = None
        self._next_touch = self._next_check = self._heard = time.monotonic()
        self._position: int | None = None
        self._rest = b""
        self._preview: Codes | None = None
        self._was_kept, self._code = False, 0
        self._ended = threading.Event()

    def serve(self) -> int:
        """Answer until nobody is there any more; return the exit status."""
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            while True:
                self._go_on()
        except (LineLostError, SystemExit):
            return 0
        except BadFrameError as error:
            with suppress(LineLostError):
                self._sender.send(frames.Refused(text=f"It was told {error}, and ends."))
            return 1
        finally:
            self._ended.set()
            self._let_go()

    def _listen(self) -> None:
        try:
            while True:
                self._inbox.put(frames.receive(self._source, frames.TO_THERE))
                self._heard = time.monotonic()
        except (LineLostError, BadFrameError, ValueError, OSError) as error:
            lost = error if isinstance(error, BadFrameError) else LineLostError(str(error))
            self._inbox.put(lost)

    def _watch(self) -> None:
        """End when nothing was heard for long, even where a write hangs in a line that is dead."""
        while not self._ended.wait(1):
            if time.monotonic() - self._heard > _SILENCE_S:
                os._exit(3)

    def _go_on(self) -> None:
        try:
            found = self._inbox.get(timeout=_LOOK_S)
        except queue.Empty:
            found = None
        if isinstance(found, Exception):
            raise found
        if found is not None:
            self._try(self._take, *found)
        if not self._try(self._look):  # and it would not the next time
            raise SystemExit

    def _try(self, work: Callable[..., None], *given: object) -> bool:
        """Whether something could be done; else it is told why not."""
        try:
            work(*given)
        except UserError as error:
            held = isinstance(error, HeldError)
            self._sender.send(frames.Refused(text=str(error)[:4000], held=held))
        except (OSError, sqlite3.Error) as error:
            what = getattr(error, "strerror", None) or str(error)[:80]
            text = f"It cannot be done there ({what}). See whether the disk there is full."
            self._sender.send(frames.Refused(text=text))
        else:
            return True
        return False

    # --- what was heard

    def _take(self, message: Message, payload: bytes) -> None:
        match message:
            case frames.Hello():
                self._hello(message)
            case frames.Ping():
                self._sender.send(frames.Pong())
            case frames.Bye():
                raise SystemExit
            case frames.Doctor():
                self._sender.send(frames.Facts(facts=_facts()))
            case _ if not self._client:
                raise BadFrameError("nothing before a hello")
            case frames.Attach():
                self._attach(message)
            case frames.Delete():
                self._delete(message)
            case _ if self._case is None:
                raise BadFrameError("something of a case before there was one")
            case _:
                self._take_of_case(self._case, message, payload)

    def _take_of_case(self, case: FarCase, message: Message, payload: bytes) -> None:
        match message:
            case frames.Blob():
                data = frames.unpack(payload, message.packed, frames.PART)
                case.note(message.sha)
                if message.offset == 0:
                    self._store.check_room(message.total)
                have = self._store.take(message.sha, message.offset, message.total, data)
                self._sender.send(frames.Stored(sha=message.sha, have=have))
            case frames.Want():
                case.note(message.sha)
                there = self._store.have(message.sha)
                whole = there is None
                self._sender.send(frames.Stored(sha=message.sha, have=there or 0, whole=whole))
            case frames.Ready():
                self._ready(case)
            case frames.Entry():
                self._write_entry(case, message, payload)
            case frames.Anew():
                self._forget_journal(case)
                self._done()
            case frames.Runs():
                self._note_runs(case, message)
            case frames.Put():
                _check_travels(message.name)
                self._store.link(message.sha, case.run(message.run) / message.name)
                self._done()
            case frames.Base():
                self._store.link(message.sha, case.case / base_path(message.sha))
                self._done()
            case frames.Say():
                self._say(case, message)
            case frames.Follow():
                self._follow(case, message)
            case frames.List():
                self._sender.send(frames.Files(files=files_of(case.run(message.run))))
            case frames.Get():
                self._get(case, message)
            case frames.Recover():
                self._done(case.can_go_on(message.run, message.drop))
            case frames.Dismiss():
                self._dismiss(case)
                self._done()
            case _:
                raise BadFrameError("what is said on the other side")

    def _done(self, yes: bool = True, count: int = 0) -> None:
        self._sender.send(frames.Done(yes=yes, count=count))

    def _hello(self, message: frames.Hello) -> None:
        self._client = message.client
        self._store.sweep()
        self._sender.send(
            frames.Welcome(
                version=version("cmfnet-napari"),
                protocol=frames.PROTOCOL,
                time=time.time(),
                python=platform.python_version(),
                memory=int(psutil.virtual_memory().available),
                disk=free_bytes(self._store.root),
                cases=len(self._store.cases()),
            )
        )

    def _attach(self, message: frames.Attach) -> None:
        card = check_card(message.card)
        case = self._store.case(message.case)
        self._let_go()
        known = case.case.is_dir()
        case.begin(card, message.days, message.minutes)
        self._take_line(case)
        _await_keeper(case)
        self._case, self._card, self._registration = case, card, message.registration
        said = _last_said(case, self._client)
        if said is None and keeper_runs(case):
            self._dismiss(case)  # it works for a window that is gone
        if not known and any(self._store.have(sha) is not None for sha in card.images.values()):
            self._store.check_room(0)
        there = {sha: self._store.have(sha) for sha in card.images.values()}
        last, digest = (0, "") if not case.journal.exists() else digest_of(case.journal)
        self._sender.send(
            frames.Attached(
                missing={sha: have for sha, have in there.items() if have is not None},
                last=last,
                digest=digest,
                said=said or 0,
                life=str(case.kept["life"]),
                length=case.path(SAID_FILE).stat().st_size,
                busy=keeper_runs(case) and case.path(BUSY_FILE).exists(),
            )
        )

    def _take_line(self, case: FarCase) -> None:
        """Be the one who speaks for this case.

        Raises
        ------
        HeldError
            Another window does.
        """
        path = case.path(LINE_FILE)
        with FileLock(case.path("line.lock"), timeout=10, mode=0o600):
            holder = _read_line(path)
            if holder is not None and holder.get("client") != self._client and _lives(holder, path):
                raise HeldError(
                    "Another window trains this case there. Close it, or wait a minute if its "
                    "computer was switched off; then try again."
                )
            self._serial = uuid.uuid4().hex
            me = {"client": self._client, "serial": self._serial}
            write_json(path, me | this_process(), private=True)

    def _ready(self, case: FarCase) -> None:
        if self._card is None:
            raise BadFrameError("ready before a card")
        case.write_card(self._card, self._registration)
        self._open_journal(case)
        self._start(case)
        self._done()

    def _open_journal(self, case: FarCase) -> Journal:
        if self._journal is None:
            self._journal = Journal(case.journal)
        return self._journal

    def _forget_journal(self, case: FarCase) -> None:
        self._dismiss(case)
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        for ending in ("", "-wal", "-shm"):
            case.journal.with_name(case.journal.name + ending).unlink(missing_ok=True)

    def _write_entry(self, case: FarCase, message: frames.Entry, payload: bytes) -> None:
        """Write an entry under its own number, once it is proved to be one of this case."""
        if sum(message.sizes) != len(payload):
            raise BadFrameError("an entry of another size than it says")
        first, second, _ = message.sizes
        parts = payload[:first], payload[first : first + second], payload[first + second :]
        source, target, kind = message.source, message.target, message.kind
        journal = self._open_journal(case)
        try:
            entry = entry_of(0.0, "", source, target, kind, "", *parts, message.classes)
            shape = self._card.source_grid.shape if self._card is not None else ()
            journal.check_inside(entry, int(np.prod(shape)))
        except (ValueError, TypeError, zlib.error) as error:
            raise BadFrameError("an entry of the journal that is none") from error
        if message.number > journal.last_id():
            row = (message.number, 0.0, "", source, target, kind, "", *parts, message.classes)
            journal.restore([row])

    def _note_runs(self, case: FarCase, message: frames.Runs) -> None:
        for name, numbers in message.runs.items():
            run = case.run(name)
            if not run.is_dir():
                private_folder(run)
                write_json(run / RUN_CLASSES, {"numbers": numbers})
        self._done()

    def _say(self, case: FarCase, message: frames.Say) -> None:
        """Tell the worker, once; start it if it is not there."""
        if message.number <= (_last_said(case, self._client) or 0):
            return
        _check_command(message.command)
        busy = case.path(BUSY_FILE)
        was_busy = busy.exists()
        if message.command.get("command") not in ("stop", "quit"):
            busy.touch(0o600)
        end = case.path(COMMANDS_FILE).stat().st_size
        line = {"client": self._client, "number": message.number, "command": message.command}
        try:
            append_line(case.path(COMMANDS_FILE), json.dumps(line))
        except UserError:  # nobody will be at what nobody was told
            if not was_busy:
                busy.unlink(missing_ok=True)
            raise
        if message.command.get("command") != "quit":
            self._start(case, end)

    def _start(self, case: FarCase, start: int | None = None) -> None:
        """See to it that a worker is there; one that is new hears what was said from `start` on."""
        if keeper_runs(case):
            self._was_kept = True
            return
        if start is None:
            case.path(BUSY_FILE).unlink(missing_ok=True)
        case.path(KEEPER_FILE).unlink(missing_ok=True)  # of one that was killed
        at = case.path(COMMANDS_FILE).stat().st_size if start is None else start
        command = keeper_command(self._store.root, case.folder.name, at)
        with open(case.path(LOG_FILE), "ab") as log:
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._store.root,
            )
        end = time.monotonic() + _KEEPER_S
        while not case.path(KEEPER_FILE).exists() and time.monotonic() < end:
            time.sleep(_LOOK_S)
        self._was_kept = True

    def _dismiss(self, case: FarCase) -> None:
        """End the worker, and whoever keeps it, its state saved."""
        if not keeper_runs(case):
            return
        line = {"client": "", "number": 0, "command": _QUIT}
        try:
            append_line(case.path(COMMANDS_FILE), json.dumps(line))
        except UserError:  # the disk is full, as it may be when somebody deletes to make room
            keeper = _keeper(case)
            with suppress(psutil.Error):
                if keeper is not None:
                    keeper.terminate()
        end = time.monotonic() + _DISMISS_S
        while keeper_runs(case):
            if time.monotonic() > end:
                _kill_keeper(case)
                break
            time.sleep(_LOOK_S)
        self._was_kept = False

    def _follow(self, case: FarCase, message: frames.Follow) -> None:
        length = case.path(SAID_FILE).stat().st_size
        self._position, self._rest = min(message.position, length), b""
        self._preview = None
        while self._position < length:  # before the answer, so that whoever asks has it all
            before = self._position
            self._tell_lines(case)
            if self._position == before:
                break
        self._done()

    def _get(self, case: FarCase, message: frames.Get) -> None:
        """Send a piece of a file in parts."""
        _check_travels(message.name)
        path = case.run(message.run) / message.name
        try:
            with open(path, "rb") as file:
                file.seek(message.offset)
                left, at = message.count, message.offset
                while left and (data := file.read(min(left, frames.PART))):
                    payload, packed = frames.pack(data)
                    self._sender.send(frames.Part(offset=at, packed=packed), payload)
                    left, at = left - len(data), at + len(data)
        except OSError:
            raise UserError("A file of the run is not there any more. Try again.") from None
        self._done(count=at)

    def _delete(self, message: frames.Delete) -> None:
        cases = self._store.cases()
        if message.case is not None:
            cases = [self._store.case(message.case)]
        count = 0
        for case in cases:
            if case.folder.exists():
                line = _read_line(case.path(LINE_FILE))
                others = line is not None and line.get("serial") != self._serial
                if others and _lives(line or {}, case.path(LINE_FILE)):
                    raise UserError("A window uses a case there. Close the patient first.")
                self._dismiss(case)
                if case.folder == getattr(self._case, "folder", None):
                    self._let_go()
                case.delete()
                count += 1
        if message.case is None:
            self._store.drop_all()
        self._store.sweep()
        self._done(count=count)

    # --- what is told by itself

    def _look(self) -> None:
        """Tell what the worker has said, and that it is gone."""
        case = self._case
        if case is None:
            return
        now = time.monotonic()
        if now > self._next_touch:
            self._next_touch = now + _TOUCH_S
            self._stay(case)
        if self._position is None:
            return
        self._tell_lines(case)
        if now > self._next_check:
            self._next_check = now + _CHECK_S
            if self._was_kept and not keeper_runs(case):
                self._tell_lines(case)
                self._was_kept = False
                self._sender.send(frames.Lost(log=_log_end(case), code=self._code))

    def _stay(self, case: FarCase) -> None:
        """Say that the case is in use; leave when another conversation of this window has it."""
        line = _read_line(case.path(LINE_FILE))
        if line is None or line.get("serial") != self._serial:
            raise SystemExit
        os.utime(case.path(LINE_FILE))
        case.touch()

    def _tell_lines(self, case: FarCase) -> None:
        assert self._position is not None
        with open(case.path(SAID_FILE), "rb") as file:
            file.seek(self._position)
            data = file.read(1 << 22)
        *lines, _ = data.split(b"\n")
        for line in lines:
            self._position += len(line) + 1
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and "keeper" in value:
                self._code = int(value.get("code") or 0)
            elif isinstance(value, dict):
                self._tell(case, value)

    def _tell(self, case: FarCase, value: JsonObject) -> None:
        box, payload, whole = None, b"", False
        if value.get("event") == "preview" and self._card is not None:
            shape = self._card.source_grid.shape
            shape = self._card.grid.shape if self._card.grid is not None else shape
            with suppress(UserError):
                labels = read_preview(case.case / str(value.get("labels")), shape)
                whole = self._preview is None
                box, payload = changed(self._preview, labels)
                self._preview = labels
        message = frames.Said(position=self._position or 0, line=value, box=box, whole=whole)
        self._sender.send(message, payload)

    def _let_go(self) -> None:
        """The case is left; its worker stays."""
        case, self._case = self._case, None
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        self._position = None
        if case is not None and self._serial:
            line = _read_line(case.path(LINE_FILE))
            if line is not None and line.get("serial") == self._serial:
                case.path(LINE_FILE).unlink(missing_ok=True)


_QUIT = {"command": "quit"}


def _check_travels(name: str) -> None:
    if not travels(name):
        raise BadFrameError("a file that stays where it is")


def _check_command(values: JsonObject) -> None:
    """Refuse a command that is none, or names what lies outside of the case's runs and models."""
    command = events.decode_command(json.dumps(values))
    if command is None:
        raise BadFrameError("a command that is none")
    match command:
        case events.Fit():
            inside = not command.resume or is_run(command.resume)
            inside = inside and (not command.base or is_model(command.base))
        case events.Predict():
            inside = is_model(command.model)
        case events.Refine() | events.Choose():
            inside = is_run(command.model)
        case _:
            inside = True
    if not inside:
        raise BadFrameError("a command about what is not of the case")


def changed(before: Codes | None, after: Codes) -> tuple[list[int], bytes]:
    """Where labels (uint8, z y x) have changed: the box's starts and stops, and what is in it."""
    if before is None or before.shape != after.shape:
        box = [0, after.shape[0], 0, after.shape[1], 0, after.shape[2]]
    else:
        where = np.nonzero(before != after)
        if not where[0].size:
            return [0, 0, 0, 0, 0, 0], b""
        box = [int(n) for axis in where for n in (axis.min(), axis.max() + 1)]
    part = after[box[0] : box[1], box[2] : box[3], box[4] : box[5]]
    return box, zlib.compress(np.ascontiguousarray(part).tobytes(), 1)


def _facts() -> JsonObject:
    """What ``cmfnet doctor`` says here."""
    command = python_command("-m", "cmfnet_napari", "doctor", "--json")
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=_DOCTOR_S)
    except subprocess.TimeoutExpired:
        text = f"cmfnet doctor did not end there within {_DOCTOR_S:.0f} s. Try again."
        raise UserError(text) from None
    try:
        facts = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise UserError(f"cmfnet doctor failed there ({redact(done.stderr)[-300:]}).") from None
    return facts if isinstance(facts, dict) else {}


def _last_said(case: FarCase, client: str) -> int | None:
    """Number of the last command of a window; None: it said none yet."""
    last = None
    with open(case.path(COMMANDS_FILE), "rb") as file:
        for line in file:
            with suppress(ValueError, KeyError, TypeError):
                value = json.loads(line)
                if value["client"] == client:
                    last = int(value["number"])
    return last


def _read_line(path: Path) -> JsonObject | None:
    try:
        return read_json(path)
    except UserError:
        return None


def _lives(holder: JsonObject, path: Path) -> bool:
    """Whether who has the line is there, and was heard."""
    try:
        if time.time() - path.stat().st_mtime > _SILENCE_S:
            return False
    except OSError:
        return False
    return is_elsewhere(holder) or process_noted(holder) is not None


def _await_keeper(case: FarCase) -> None:
    """Wait for a keeper that was started before the line was cut; its command is not lost.

    There is none to wait for where one was killed: it has left its file.
    """
    busy, end = case.path(BUSY_FILE), time.monotonic() + _KEEPER_S
    while time.monotonic() < end and not case.path(KEEPER_FILE).exists():
        try:
            young = time.time() - busy.stat().st_mtime < _KEEPER_S
        except FileNotFoundError:
            return
        if not young or keeper_runs(case):
            return
        time.sleep(_LOOK_S)


def _keeper(case: FarCase) -> psutil.Process | None:
    """The process that keeps the worker, if it runs on this node."""
    with suppress(UserError):
        return process_noted(read_json(case.path(KEEPER_FILE)))
    return None


def _kill_keeper(case: FarCase) -> None:
    """End a keeper that does not, and its worker with it."""
    keeper = _keeper(case)
    with suppress(psutil.Error):
        for process in (*keeper.children(recursive=True), keeper) if keeper else ():
            process.kill()


def _log_end(case: FarCase) -> str:
    with suppress(OSError), open(case.path(LOG_FILE), "rb") as file:
        file.seek(max(0, case.path(LOG_FILE).stat().st_size - _LOG_SHOWN))
        return redact(file.read().decode("utf-8", "replace"))
    return ""
