"""Programs of ours as processes that need not import anything: forked from one that has done so.

``python -m tests.forked KIND RUN`` is the one that others are forked from, for all processes of a
test run: it ends with the run, whose first process has that number. ``forked.py KIND RUN TARGET
ARGUMENTS...`` stands in for a program: whoever ends it ends what was forked, too.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

CAN_FORK = sys.platform == "linux"  # elsewhere libraries do not stand it
# The first process of the run: all tests share those that others are forked from.
_FIRST = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
RUN = int(os.environ.setdefault("CMFNET_TEST_RUN", str(_FIRST)))
ROOT = Path(__file__).parents[1]
# What is imported before anything is forked.
KINDS = {
    "core": ["tests.gui.fake_worker", "tests.faults.journal_session"],
    "training": [
        "tests.learning.programs",
        "tests.faults.mutate_reader",
        "cmfnet_napari.learning.worker",
        "cmfnet_napari.learning.study.run_study",
        "lightning_fabric",
        "torch._dynamo",
        "distributed.cli.dask_scheduler",
        "distributed.cli.dask_worker",
        "distributed.nanny",
        "sklearn.ensemble",
    ],
    "window": [
        "sklearn.ensemble",
        "tests.faults.window_session",
        "tests.gui.demo_window",
        "cmfnet_napari.gui.dock",
    ],
}
_STARTS_S = 240.0  # at most, on a machine that has much else to do
_started: list[subprocess.Popen] = []


class _Forked:
    """Calls a function of a module in a new process; as much of `subprocess.Popen` as tests use.

    Parameters
    ----------
    kind : str
        Which of `KINDS` it is forked from.
    target : str
        ``module:function``; its result is the exit status.
    arguments : Path, str or int
        What it is called with.
    stderr : bool
        Keep what it says there; else it is thrown away.
    environment : dict, optional
        In place of ours.
    folder : Path, optional
        In place of our current one.
    """

    def __init__(
        self,
        kind: str,
        target: str,
        *arguments: Path | str | int,
        stderr: bool = True,
        environment: dict[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        (stdin, self_in), (self_out, stdout), (self_error, error) = (os.pipe() for _ in range(3))
        self.stdin = os.fdopen(self_in, "w", encoding="utf-8")
        self.stdout, self.stderr = (
            os.fdopen(number, encoding="utf-8") for number in (self_out, self_error)
        )
        if not stderr:
            os.close(error)
            error = os.open(os.devnull, os.O_WRONLY)
        self._status: int | None = None
        self._line = _connected(kind)
        files = [stdin, stdout, error]
        self.pid = _ask(self._line, target, arguments, files, environment, folder)
        for number in files:
            os.close(number)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def poll(self) -> int | None:
        """Its exit status, or None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended."""
        if self._status is None:
            self._line.settimeout(timeout)
            try:
                self._status = _number(self._line)
            except (TimeoutError, BlockingIOError) as error:
                raise subprocess.TimeoutExpired("a forked process", timeout or 0) from error
        return self._status

    def close(self) -> None:
        """Close what leads to it."""
        for end in (self.stdin, self.stdout, self.stderr, self._line):
            with suppress(BrokenPipeError):  # what was to be said to who has ended
                end.close()

    def _signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it ends at this moment
                os.kill(self.pid, number)


class _Started(subprocess.Popen):
    """The same where nothing can be forked."""

    def __init__(
        self,
        _kind: str,
        target: str,
        *arguments: Path | str | int,
        stderr: bool = True,
        environment: dict[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        code = (
            "import importlib, json, sys\n"
            "module, _, function = sys.argv[1].partition(':')\n"
            "call = getattr(importlib.import_module(module), function)\n"
            "sys.exit(call(*json.loads(sys.argv[2])))"
        )
        pipe = subprocess.PIPE
        super().__init__(
            [sys.executable, "-c", code, target, json.dumps(arguments, default=str)],
            env={**(environment or os.environ), "PYTHONPATH": str(ROOT)},
            cwd=folder,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe if stderr else subprocess.DEVNULL,
            encoding="utf-8",
        )

    def close(self) -> None:
        for pipe in filter(None, (self.stdin, self.stdout, self.stderr)):
            pipe.close()


Forked = _Forked if CAN_FORK else _Started


def start(kind: str) -> None:
    """Start what others are forked from, where it is not there yet."""
    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(_address(kind))
    except ConnectionRefusedError:
        command = [sys.executable, "-m", "tests.forked", kind, str(RUN)]
        nothing = subprocess.DEVNULL
        _started.append(subprocess.Popen(command, cwd=ROOT, stdin=nothing, stdout=nothing))
    finally:
        line.close()


def command(kind: str, target: str, *arguments: str) -> list[str]:
    """A command line that does what `Forked` does, for who starts programs."""
    start(kind)
    return [sys.executable, "-I", "-S", __file__, kind, str(RUN), target, *arguments]


def _address(kind: str) -> str:
    """Of a socket that has no file; only its own user is answered there."""
    return f"\0cmfnet-forked-{RUN}-{kind}"


def _connected(kind: str) -> socket.socket:
    start(kind)
    deadline = time.monotonic() + _STARTS_S
    while True:
        line = socket.socket(socket.AF_UNIX)
        try:
            line.connect(_address(kind))
            return line
        except ConnectionRefusedError:
            line.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _ask(
    line: socket.socket,
    target: str,
    arguments: Sequence[Path | str | int],
    files: list[int],
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
) -> int:
    """Have a process forked, with these for its stdin, stdout and stderr; return its number."""
    environment = dict(os.environ) if environment is None else environment
    folder = folder or Path.cwd()
    request = json.dumps([target, arguments, environment, folder], default=str).encode()
    socket.send_fds(line, [struct.pack("q", len(request))], files)
    line.sendall(request)
    return _number(line)


def _number(line: socket.socket) -> int:
    data = b""
    while len(data) < 8:
        if not (more := line.recv(8 - len(data))):
            raise EOFError("what others are forked from has ended")
        data += more
    return struct.unpack("q", data)[0]


class Server:
    """Forks, says how it ended, and ends what nobody waits for any more."""

    def __init__(self, kind: str, run: int) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            self._listener.bind(_address(kind))
        except OSError:  # another was faster
            sys.exit(0)
        self._listener.listen(64)
        self._run = os.pidfd_open(run)
        for module in KINDS[kind]:
            importlib.import_module(module)
        gc.freeze()  # what is looked through there is copied
        self._children: dict[int, socket.socket] = {}
        self._asks = selectors.DefaultSelector()
        self._asks.register(self._listener, selectors.EVENT_READ)
        self._asks.register(self._run, selectors.EVENT_READ)
        self._ended, told = os.pipe()
        self._told = told
        os.set_blocking(told, False)
        self._asks.register(self._ended, selectors.EVENT_READ)
        signal.set_wakeup_fd(told)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def serve(self) -> tuple[str, list[str | int]]:
        """Return, in each process that is forked, what it is to do."""
        while True:
            for key, _ in self._asks.select():
                if key.fileobj == self._run:
                    os._exit(0)
                elif key.fileobj == self._ended:
                    os.read(self._ended, 4096)
                    self._count()
                elif key.fileobj is not self._listener:
                    self._left(key.fileobj)
                elif (what := self._fork()) is not None:
                    return what

    def _fork(self) -> tuple[str, list[str | int]] | None:
        line, _ = self._listener.accept()
        files, request = self._asked(line)
        if request is None:
            for number in files:
                os.close(number)
            line.close()
            return None
        if pid := os.fork():
            for number in files:
                os.close(number)
            with suppress(OSError):  # who asked was ended meanwhile: that is noticed next
                line.sendall(struct.pack("q", pid))
            self._children[pid] = line
            self._asks.register(line, selectors.EVENT_READ)
            return None
        line.close()
        target, arguments, environment, folder = json.loads(request)
        self._become(files, environment, folder)
        return target, arguments

    def _asked(self, line: socket.socket) -> tuple[list[int], bytes | None]:
        """Files and request of who asks; None from a stranger and who is gone before it is said."""
        files: list[int] = []
        with suppress(OSError):
            credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            if struct.unpack("3i", credentials)[1] != os.getuid():
                return files, None
            size, files, *_ = socket.recv_fds(line, 8, 3)
            if len(size) == 8:
                (left,), request = struct.unpack("q", size), b""
                while len(request) < left and (more := line.recv(left - len(request))):
                    request += more
                return files, request if len(request) == left else None
        return files, None

    def _become(self, files: list[int], environment: dict[str, str], folder: str) -> None:
        """In a process that was just forked."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._asks.close()
        for number in (self._run, self._ended, self._told):
            os.close(number)
        for end in (self._listener, *self._children.values()):
            end.close()
        for number, (file, mode) in enumerate(zip(files, "rww", strict=True)):
            os.dup2(file, number)
            os.close(file)
            name = ("stdin", "stdout", "stderr")[number]
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)

    def _count(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            line = self._children.pop(pid)
            self._asks.unregister(line)
            with suppress(OSError):  # nobody waits for it
                line.sendall(struct.pack("q", os.waitstatus_to_exitcode(status)))
            line.close()

    def _left(self, line: socket.socket) -> None:
        """Who asked for it has ended or closed the line; it may have been counted just now."""
        for pid, other in self._children.items():
            if other is line:
                os.kill(pid, signal.SIGKILL)  # again and again, until it is counted


def _do(target: str, arguments: list[str | int]) -> NoReturn:
    """Call it and end, without taking apart all that was imported: that takes seconds."""
    module, _, function = target.partition(":")
    status = 1
    try:
        status = getattr(importlib.import_module(module), function)(*arguments) or 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _stand_in(kind: str, target: str, arguments: list[str]) -> int:
    """Be what was forked, for who has started this."""
    line = _connected(kind)
    pid = _ask(line, target, arguments, [0, 1, 2])
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    signal.signal(signal.SIGINT, lambda *_: os.kill(pid, signal.SIGINT))
    for number in (0, 1):
        os.close(number)
    return _number(line)


if __name__ == "__main__":
    kind, RUN = sys.argv[1], int(sys.argv[2])
    if len(sys.argv) > 3:
        status = _stand_in(kind, sys.argv[3], sys.argv[4:])
        if status < 0:
            signal.signal(-status, signal.SIG_DFL)
            os.kill(os.getpid(), -status)
        os._exit(status)
    _do(*Server(kind, RUN).serve())
