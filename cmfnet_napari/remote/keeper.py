"""The process that keeps a worker alive on the other computer while nobody is on the line.

It tells the worker what is added to ``commands.jsonl``, and writes all that the worker says into
``events.jsonl``. So whoever comes back reads on where he was, and nothing is said into the void.
When nobody was on the line for as long as the case allows, the worker saves its state and ends.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, append_line
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.isolation import python_command
from cmfnet_napari.remote.far_store import (
    BUSY_FILE,
    COMMANDS_FILE,
    KEPT_FILE,
    LOG_FILE,
    SAID_FILE,
    FarCase,
    FarStore,
    this_process,
)
from cmfnet_napari.remote.run_files import is_run, note_maker
from cmfnet_napari.remote.tickets import Ticket, Turn

LOCK_FILE, KEEPER_FILE = "keeper.lock", "keeper.json"
_LOOK_S = 0.02
_ABANDONED_S = 1.0  # how often it is asked whether anybody still comes
_PATIENCE_S = 2.0
_QUEUE_S = 1.0  # between looks at the queue
_LAST_S = 20.0  # for the worker to save its state
_LONGEST_LOG = 1 << 20
_ROOM_TO_RUN_BESIDE = 8 << 30  # bytes of memory, of the GPU's or else the computer's


def keeper_command(root: Path, case: str, start: int) -> list[str]:
    """Command of a case's keeper; it tells the worker what was added after `start` bytes."""
    return python_command("-m", "cmfnet_napari", "remote-keep", str(root), case, str(start))


def worker_of(case: FarCase) -> list[str]:
    """Command of the worker of a case, or of a cohort."""
    name = "train-worker" if case.is_cohort else "worker"
    return python_command("-m", "cmfnet_napari", name, str(case.case))


def keep(root: Path, name: str, start: int) -> int:
    """Keep the worker of a case until it ends; return the exit status."""
    os.umask(0o077)
    case = FarStore(root).case(name)
    lock = FileLock(case.path(LOCK_FILE), timeout=0, mode=0o600)
    try:
        lock.acquire(timeout=_PATIENCE_S)  # who only looks whether it is held lets go at once
    except Timeout:
        return 0  # another one is at work
    try:
        case.path(KEEPER_FILE).write_text(json.dumps(this_process()), encoding="utf-8")
        return Keeper(case, worker_of(case), start).run()
    finally:
        case.path(BUSY_FILE).unlink(missing_ok=True)
        case.path(KEEPER_FILE).unlink(missing_ok=True)
        lock.release()


def keeper_runs(case: FarCase) -> bool:
    """Whether a case's worker is kept by somebody."""
    lock = FileLock(case.path(LOCK_FILE), timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False


class Keeper:
    """Between the files of a case and its worker.

    Parameters
    ----------
    case : FarCase
        Where the files are.
    command : list of str
        The worker's.
    start : int
        Bytes of commands that others were told.
    free : callable, optional
        Bytes of memory that are free for another fit.
    """

    def __init__(
        self,
        case: FarCase,
        command: list[str],
        start: int,
        free: Callable[[], int] | None = None,
    ) -> None:
        self._case, self._at = case, start
        self._free = free or free_memory
        self._unwritten: deque[str] = deque()
        self._writing = threading.Lock()
        self._queue: queue.Queue[tuple[str, events.Work]] = queue.Queue()
        self._known = ended_commands(case)  # and those that it was told here
        self._at_work = ""  # the command that the worker was told last
        self._is_at_work = False
        self._marking = threading.Lock()
        self._ticket: Ticket | None = None
        self._asked = 0.0
        self._looked = 0.0
        self._told = ""
        with open(case.path(LOG_FILE), "ab") as log:
            if log.tell() > _LONGEST_LOG:
                log.truncate(0)
            self._worker = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        signal.signal(signal.SIGTERM, lambda _number, _frame: self._leave())

    def run(self) -> int:
        """Work until the worker has ended."""
        try:
            while self._worker.poll() is None:
                self._hear()
                self._go_on()
                self._write_on()
                if time.monotonic() - self._asked > _ABANDONED_S:
                    self._asked = time.monotonic()
                    self._look_after()
                time.sleep(_LOOK_S)
            self._reader.join(_LAST_S)
            code = self._worker.wait()
            self._write({"keeper": "ended", "code": code})
            while not self._write_on() and not self._abandoned:  # it waits for room on the disk
                time.sleep(_PATIENCE_S)
            return 0
        finally:
            self._settle()
            with suppress(OSError):
                self._worker.kill()

    def _hear(self) -> None:
        """Take commands that were added."""
        with open(self._case.path(COMMANDS_FILE), "rb") as file:
            file.seek(self._at)
            data = file.read()
        *lines, rest = data.split(b"\n")
        self._at += len(data) - len(rest)  # what is half there may be taken back, see `append_line`
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):
                said = json.loads(line)
                self._take(str(said["id"]), events.decode_command(json.dumps(said["command"])))

    def _take(self, name: str, command: events.Command | None) -> None:
        """Take a command, unless it was told before: one that was said twice is done once."""
        match command:
            case events.Quit():
                self._leave()
            case None:
                pass
            case _ if name in self._known:
                self._mark()
            case events.Stop() if not self._queue.empty():
                stopped, _ = self._queue.get()
                reason = "You stopped it while it waited for its turn."
                self._write_event(events.Failed(reason=reason), stopped)
                self._give_back()
                self._mark()
            case events.Stop():
                self._tell(command)
            case _:
                self._queue.put((name, command))
                self._mark()
        self._known.add(name)

    def _go_on(self) -> None:
        """Let the first command that waits go to the worker when it has the turn."""
        if self._queue.empty():
            return
        name, first = self._queue.queue[0]
        is_long = isinstance(first, events.Fit | events.Train)
        # A cohort is read into the computer's memory whole: two of them may be too much for it.
        if is_long and not self._has_turn(name, beside=isinstance(first, events.Fit)):
            return
        self._told, self._is_at_work = "", True
        self._at_work, command = self._queue.get()
        self._tell(command)

    def _has_turn(self, name: str, beside: bool) -> bool:
        if time.monotonic() - self._looked < _QUEUE_S:
            return False
        self._looked = time.monotonic()
        try:
            self._ticket = self._ticket or Ticket()
            before = self._ticket.before()
        except OSError:
            return True  # where nobody can queue, nobody waits
        if before is None or (beside and self._free() >= _ROOM_TO_RUN_BESIDE):
            self._looked = 0.0
            return True
        words = turn_words(before)
        if words != self._told:
            self._told = words
            self._write_event(events.Paused(reason=words), name)
        return False

    def _tell(self, command: events.Command) -> None:
        with suppress(OSError, ValueError):  # it was told to leave, and saves its state
            assert self._worker.stdin is not None
            self._worker.stdin.write((events.encode(command) + "\n").encode())

    def _leave(self) -> None:
        """Let the worker save its state and end, and end it if it does not."""
        if self._worker.stdin is not None and not self._worker.stdin.closed:
            with suppress(OSError):
                self._worker.stdin.close()
            timer = threading.Timer(_LAST_S, self._worker.kill)
            timer.daemon = True
            timer.start()

    def _look_after(self) -> None:
        """Let the worker end when nobody comes any more; a cohort is trained on to the end."""
        if self._case.is_cohort and self._case.path(BUSY_FILE).exists():
            with suppress(OSError):
                self._case.touch()
        if self._abandoned:
            self._leave()

    @property
    def _abandoned(self) -> bool:
        """Whether nobody was on the line for as long as the case allows, or the case is gone."""
        try:
            age = time.time() - self._case.path(KEPT_FILE).stat().st_mtime
            return age > 60 * int(self._case.kept["minutes"])
        except (OSError, UserError, KeyError, ValueError):
            return True

    def _read(self) -> None:
        stream = self._worker.stdout
        assert stream is not None
        for line in iter(lambda: stream.readline(events.LONGEST_LINE), b""):
            event = events.decode_event(line)
            if event is not None:
                name = self._at_work
                self._note_maker(event, name)
                self._write_event(event, name)  # first: who sees it at rest knows how it ended
                if isinstance(event, events.End):
                    self._settle()

    def _note_maker(self, event: events.Event, name: str) -> None:
        """Note what made a run, so that one that is only called the same is told from it."""
        is_new = isinstance(event, events.Started) and not event.from_step
        if isinstance(event, events.Started) and is_new and is_run(event.run):
            with suppress(UserError):
                note_maker(self._case.case / event.run, name)

    def _settle(self) -> None:
        """A command is done: the next in the queue has its turn."""
        self._is_at_work = False
        self._give_back()
        self._mark()

    def _mark(self) -> None:
        """Mark whether there is anything to do."""
        with self._marking:
            if self._is_at_work or not self._queue.empty():
                self._case.path(BUSY_FILE).touch(0o600)
            else:
                self._case.path(BUSY_FILE).unlink(missing_ok=True)

    def _give_back(self) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.give_back()

    def _write_event(self, event: events.Event, name: str) -> None:
        self._write({**event.model_dump(mode="json"), "of": name})

    def _write(self, line: JsonObject) -> None:
        self._unwritten.append(json.dumps(line))
        self._write_on()

    def _write_on(self) -> bool:
        """Write what was said, in order; on a full disk it is tried again. Whether all of it is."""
        with self._writing, suppress(UserError):
            while self._unwritten:
                append_line(self._case.path(SAID_FILE), self._unwritten[0])
                self._unwritten.popleft()
        return not self._unwritten


def ended_commands(case: FarCase) -> set[str]:
    """Commands that a case's record says were ended: none of them is done again."""
    found = set()
    with suppress(OSError), open(case.path(SAID_FILE), "rb") as file:
        for line in file:
            with suppress(ValueError, TypeError, AttributeError):
                value = json.loads(line)
                if value.get("event") in ("finished", "trained", "failed"):
                    found.add(str(value.get("of")))
    return found


def turn_words(turn: Turn) -> str:
    """Who is before, in words."""
    since = f"for {turn.minutes:.0f} min" if turn.minutes >= 1 else "since a moment ago"
    return (
        f"The computer is at work for {turn.account} {since}. Your training begins by itself "
        "when that ends."
    )


def free_memory() -> int:
    """Bytes that are free: of the first GPU where there is one, else of the computer."""
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=10)
        return int(said.stdout.splitlines()[0]) << 20
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return int(psutil.virtual_memory().available)
