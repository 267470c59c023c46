"""The window's end of the worker: a process, JSON lines in and out."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from pydantic import BaseModel
from qtpy.QtCore import QCoreApplication, QObject, QProcess, QTimer, Signal

from cmfnet_napari.core.fit.events import (
    Choose,
    Failed,
    Finished,
    Fit,
    Quit,
    Refine,
    decode_event,
    encode,
)
from cmfnet_napari.core.isolation import python_command

_LOG_LINES = 200
_GRACE_MS = 15_000  # for the last checkpoint, then the process is killed
_END_WORDS = (
    "The training program ended before it was done (code {code}). Your strokes are saved; "
    "continue, or train again. If it happens again, run 'cmfnet doctor' in a terminal."
)
_KILLED_WORDS = (
    "The training program was killed, by you or because the computer's memory ran out. Your "
    "strokes are saved; Continue goes on from its last state, with less memory."
)
_SIGKILL = 9


def worker_command(case: Path) -> list[str]:
    """Program and arguments of the worker of a case folder."""
    return python_command("-m", "cmfnet_napari", "worker", str(case))


class WorkerClient(QObject):
    """One worker process; it outlives its panel until the process has ended.

    Parameters
    ----------
    command : list of str
        Program and arguments.
    """

    received = Signal(object)  # an Event, `Failed` included
    ended_badly = Signal(str, bool)  # ended in the middle of a command: a sentence; killed
    ended = Signal()

    def __init__(self, command: list[str]) -> None:
        super().__init__(QCoreApplication.instance())
        self._settled = True  # no command is being worked on, or nobody listens any more
        self._half_line = b""
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._process = QProcess(self)
        self._killer = QTimer(self, singleShot=True)
        self._killer.timeout.connect(self._process.kill)
        self._process.readyReadStandardOutput.connect(self._read_events)
        self._process.readyReadStandardError.connect(self._read_log)
        self._process.errorOccurred.connect(self._on_error)
        self._process.finished.connect(self._on_end)
        QCoreApplication.instance().aboutToQuit.connect(self.end_now)
        self._process.start(command[0], command[1:])

    @property
    def details(self) -> str:
        """The end of what the worker wrote to its log."""
        return "\n".join(self._log)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.state() != QProcess.ProcessState.NotRunning

    @property
    def process_id(self) -> int:
        """The process's number; 0 when there is none."""
        return int(self._process.processId())

    def send(self, command: BaseModel) -> None:
        """Send a command; a process that has ended is not told."""
        if isinstance(command, Fit | Refine | Choose):
            self._settled = False
        if self.running:
            self._process.write((encode(command) + "\n").encode())

    def close(self) -> None:
        """Ask the worker to leave, and kill it when it does not; returns at once."""
        self._settled = True
        if not self.running:
            self.deleteLater()
            return
        self.send(Quit())
        self._process.closeWriteChannel()
        self._killer.start(_GRACE_MS)

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def end_now(self) -> None:
        """Wait for the end, at most the grace time: the application is closing."""
        if self.running:
            self.send(Quit())
            self._process.closeWriteChannel()
            if not self._process.waitForFinished(_GRACE_MS):
                self._process.kill()
                self._process.waitForFinished(1000)

    def _read_events(self) -> None:
        data = self._half_line + bytes(self._process.readAllStandardOutput())
        *lines, self._half_line = data.split(b"\n")
        for raw in lines:
            line = raw.decode(errors="replace").strip()
            event = decode_event(line)
            if event is None:
                self._log.append(line)
            elif not self._settled:
                self._settled = isinstance(event, Finished | Failed)
                self.received.emit(event)

    def _read_log(self) -> None:
        text = bytes(self._process.readAllStandardError()).decode(errors="replace")
        self._log.extend(line for line in text.splitlines() if line.strip())

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and not self._settled:
            self._settled = True
            self.ended_badly.emit(
                f"The training program could not be started ({self._process.errorString()}). "
                "Install cmfnet-napari again.",
                False,
            )

    def _on_end(self, code: int, status: QProcess.ExitStatus) -> None:
        self._read_events()
        self._read_log()
        if not self._settled:
            self._settled = True
            crashed = status == QProcess.ExitStatus.CrashExit
            killed = crashed and code == _SIGKILL
            self.ended_badly.emit(_KILLED_WORDS if killed else _END_WORDS.format(code=code), killed)
        self.ended.emit()
        self.deleteLater()
