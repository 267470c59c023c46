"""Programs of ours as processes that need not import anything: forked from one that has done so."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

CAN_FORK = sys.platform == "linux"  # elsewhere libraries do not stand it
_FROM = multiprocessing.get_context("forkserver" if CAN_FORK else "spawn")
_MODES = ("r", "w", "w")  # stdin, stdout, stderr


class Forked:
    """Calls a function of a module in a new process; as much of `subprocess.Popen` as tests use.

    Parameters
    ----------
    module, function : str
        What is called; its result is the exit status.
    arguments : Path, str or int
        What it is called with.
    stderr : bool
        Keep what it says there; else it is thrown away.
    environment : dict, optional
        In place of ours.
    """

    def __init__(
        self,
        module: str,
        function: str,
        *arguments: Path | str | int,
        stderr: bool = True,
        environment: dict[str, str] | None = None,
    ) -> None:
        pipes = [_FROM.Pipe(duplex=False) for _ in _MODES[: 3 if stderr else 2]]
        theirs = [pipes[0][0], *(write for _, write in pipes[1:])]
        ours = [pipes[0][1], *(read for read, _ in pipes[1:])]
        _FROM.set_forkserver_preload([module, __name__])  # of no effect once there is one
        what = (theirs, environment or dict(os.environ), module, function, arguments)
        self._process = _FROM.Process(target=_call, args=what)
        self._process.start()
        files = [
            os.fdopen(os.dup(end.fileno()), "r" if number else "w", encoding="utf-8")
            for number, end in enumerate(ours)
        ]
        for end in (*ours, *theirs):
            end.close()
        self.stdin, self.stdout = files[:2]
        self.stderr = files[2] if stderr else None
        self.pid = self._process.pid
        self.kill, self.terminate = self._process.kill, self._process.terminate

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked process", timeout)
        return self._process.exitcode


def _call(
    pipes: list[Connection],
    environment: dict[str, str],
    module: str,
    function: str,
    arguments: tuple[object, ...],
) -> None:
    for number, pipe in enumerate(pipes):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    if len(pipes) < len(_MODES):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, encoding="utf-8", closefd=False)
        for number, mode in enumerate(_MODES)
    )
    os.environ.clear()
    os.environ.update(environment)
    sys.exit(getattr(importlib.import_module(module), function)(*arguments))
