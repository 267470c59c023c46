"""The window's end of the worker: a process, JSON lines in and out."""

from __future__ import annotations

import math
import time
from collections import deque
from pathlib import Path

import psutil
from pydantic import BaseModel
from qtpy.QtCore import QCoreApplication, QObject, QProcess, QTimer, Signal

from cmfnet_napari.core.fit.events import (
    LONGEST_LINE,
    Choose,
    Failed,
    Finished,
    Fit,
    LineChanged,
    Quit,
    Refine,
    decode_event,
    encode,
)
from cmfnet_napari.core.isolation import python_command

_LOG_LINES, _LOG_CHARACTERS = 200, 2000  # lines of the log that are kept, and of each
_LOOK_MS = 200  # between looks at a process that is to end
_GRACE_S = 15.0  # for the last checkpoint, then the process is killed
_END_WORDS = (
    "The training program ended before it was done (code {code}). Your strokes are saved; "
    "continue, or train again. If it happens again, run 'cmfnet doctor' in a terminal."
)
_KILLED_WORDS = (
    "The training program was killed, by you or because the computer's memory ran out. Your "
    "strokes are saved."
)
_UNREADABLE_WORDS = (
    "The training program sent what cannot be read ({what}) and was ended. Your strokes are saved; "
    "continue, or train again. If it happens again, run 'cmfnet doctor' in a terminal."
)
_NOT_STARTED_WORDS = (
    "The training program could not be started ({why}). Close other programs and try again; if it "
    "happens again, install cmfnet-napari again."
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
    line_changed = Signal(object)  # LineChanged: of one whose work is done on another computer

    def __init__(self, command: list[str]) -> None:
        super().__init__(QCoreApplication.instance())
        self._settled = True  # no command is being worked on, or nobody listens any more
        self._half_line = b""
        self._broken = False  # it sent what is no line of ours: nothing more is read
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._process = QProcess(self)
        self._end = math.inf  # when it has to have left
        self._looking = QTimer(self, interval=_LOOK_MS)
        self._looking.timeout.connect(self._look)
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
        """Send a command; that there is no process to tell is said when the caller is done."""
        if isinstance(command, Fit | Refine | Choose):
            self._settled = False
        if self.running:
            self._process.write((encode(command) + "\n").encode())
        else:  # without pipes or memory for a process, Qt gives up within `start`
            QTimer.singleShot(0, self._tell_not_started)

    def close(self, left: bool = False) -> None:
        """Ask the worker to leave, and kill it when it does not, or cannot; returns at once.

        `left` says that the patient is left: what lies on another computer may be deleted then.
        """
        self._settled = True
        if not self.running:
            self.deleteLater()
            return
        self.send(Quit(left=left))
        self._process.closeWriteChannel()
        self._end = time.monotonic() + _GRACE_S
        self._looking.start()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def end_now(self) -> None:
        """Wait for the end, at most the grace time: the application is closing.

        A process that the system has halted (SIGSTOP) cannot save anything: it is not waited for.
        """
        if not self.running:
            return
        self.send(Quit())
        self._process.closeWriteChannel()
        self._end = min(self._end, time.monotonic() + _GRACE_S)
        while not self._process.waitForFinished(_LOOK_MS) and self.running:
            self._look()
            if time.monotonic() > self._end + 1:  # it was killed: there is no more to be done
                return

    def _look(self) -> None:
        """End a process that has not left in time, or that cannot."""
        try:
            halted = str(psutil.Process(self.process_id).status()) == psutil.STATUS_STOPPED
        except psutil.Error:
            halted = False
        if halted or time.monotonic() > self._end:
            self._process.kill()

    def _read_events(self) -> None:
        data = bytes(self._process.readAllStandardOutput())
        if self._broken:
            return
        *lines, self._half_line = (self._half_line + data).split(b"\n")
        for line in lines:
            event = decode_event(line) if len(line) <= LONGEST_LINE else None
            if event is None and (len(line) > LONGEST_LINE or line.startswith(b"{")):
                self._give_up(line)
                return
            if event is None:
                self._note(line)
            elif isinstance(event, LineChanged):
                if self._end == math.inf:  # nobody minds the line of one that is to leave
                    self.line_changed.emit(event)
            elif not self._settled:
                self._settled = isinstance(event, Finished | Failed)
                self.received.emit(event)
        if len(self._half_line) > LONGEST_LINE:
            self._give_up(self._half_line)

    def _give_up(self, line: bytes) -> None:
        """End a process whose messages cannot be read: nobody knows what it said."""
        self._broken, self._half_line = True, b""
        self._note(line)
        self._process.kill()
        if not self._settled:
            self._settled = True
            size = f"a line of more than {LONGEST_LINE >> 20} MB"
            what = size if len(line) > LONGEST_LINE else "a message that makes no sense"
            self.ended_badly.emit(_UNREADABLE_WORDS.format(what=what), False)

    def _read_log(self) -> None:
        for line in bytes(self._process.readAllStandardError()).splitlines():
            self._note(line)

    def _note(self, line: bytes) -> None:
        if text := line[:_LOG_CHARACTERS].decode(errors="replace").strip():
            self._log.append(text)

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._tell_not_started()

    def _tell_not_started(self) -> None:
        if not self._settled:
            self._settled = True
            words = _NOT_STARTED_WORDS.format(why=self._process.errorString())
            self.ended_badly.emit(words, False)

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
