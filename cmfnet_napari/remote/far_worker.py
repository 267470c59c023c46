"""The worker of a case there, as our end sees it: told, started, ended, heard of."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import suppress

import psutil

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, append_line, read_json
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.privacy import redact
from cmfnet_napari.remote.far_store import (
    BUSY_FILE,
    COMMANDS_FILE,
    LOG_FILE,
    FarCase,
    process_noted,
)
from cmfnet_napari.remote.keeper import KEEPER_FILE, keeper_command, keeper_runs
from cmfnet_napari.remote.line_messages import BadFrameError, Say
from cmfnet_napari.remote.run_files import is_model, is_run

_LOOK_S = 0.02
_DISMISS_S = 25.0
_KEEPER_S = 30.0  # for a keeper to begin
_LOG_SHOWN = 2000
_QUIT = {"command": "quit"}


class FarWorker:
    """What keeps the worker of a case, which need not be there.

    Parameters
    ----------
    case : FarCase
        Whose.

    Attributes
    ----------
    was_kept : bool
        It was there when it was last looked for: once it is not, it was lost.
    """

    def __init__(self, case: FarCase) -> None:
        self._case, self.was_kept = case, False

    @property
    def runs(self) -> bool:
        """Whether it is there."""
        return keeper_runs(self._case)

    @property
    def busy(self) -> bool:
        """Whether it is at a command."""
        return self.runs and self._case.path(BUSY_FILE).exists()

    def write(self, message: Say, client: str) -> int:
        """Write down what it is to be told; return from where on that is new to it."""
        case, command = self._case, message.command
        busy, commands = case.path(BUSY_FILE), case.path(COMMANDS_FILE)
        was_busy = busy.exists()
        if command.get("command") not in ("stop", "quit"):
            busy.touch(0o600)
        end = commands.stat().st_size
        line = {"client": client, "number": message.number, "id": message.id, "command": command}
        try:
            append_line(commands, json.dumps(line))
        except UserError:  # nobody will be at what nobody was told
            if not was_busy:
                busy.unlink(missing_ok=True)
            raise
        return end

    def start(self, start: int | None = None) -> None:
        """See to it that it is there; one that is new hears what was said from `start` on."""
        case = self._case
        if self.runs:
            self.was_kept = True
            return
        if start is None:
            case.path(BUSY_FILE).unlink(missing_ok=True)
        case.path(KEEPER_FILE).unlink(missing_ok=True)  # of one that was killed
        at = case.path(COMMANDS_FILE).stat().st_size if start is None else start
        command = keeper_command(case.store.root, case.folder.name, at)
        with open(case.path(LOG_FILE), "ab") as log:
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=case.store.root,
            )
        end = time.monotonic() + _KEEPER_S
        while not case.path(KEEPER_FILE).exists() and time.monotonic() < end:
            time.sleep(_LOOK_S)
        self.was_kept = True

    def dismiss(self) -> None:
        """End it, and whoever keeps it, its state saved."""
        if not self.runs:
            return
        line = {"client": "", "number": 0, "id": "", "command": _QUIT}
        try:
            append_line(self._case.path(COMMANDS_FILE), json.dumps(line))
        except UserError:  # the disk is full, as it may be when somebody deletes to make room
            keeper = _keeper(self._case)
            with suppress(psutil.Error):
                if keeper is not None:
                    keeper.terminate()
        end = time.monotonic() + _DISMISS_S
        while self.runs:
            if time.monotonic() > end:
                kill_keeper(self._case)
                break
            time.sleep(_LOOK_S)
        self.was_kept = False

    def last_said(self, client: str) -> int | None:
        """Number of the last command of a window; None: it said none yet."""
        last = None
        with open(self._case.path(COMMANDS_FILE), "rb") as file:
            for line in file:
                with suppress(ValueError, KeyError, TypeError):
                    value = json.loads(line)
                    if value["client"] == client:
                        last = int(value["number"])
        return last

    def wait_for_keeper(self) -> None:
        """Wait for a keeper that was started before the line was cut; its command is not lost.

        There is none to wait for where one was killed: it has left its file.
        """
        case, end = self._case, time.monotonic() + _KEEPER_S
        while time.monotonic() < end and not case.path(KEEPER_FILE).exists():
            try:
                young = time.time() - case.path(BUSY_FILE).stat().st_mtime < _KEEPER_S
            except FileNotFoundError:
                return
            if not young or self.runs:
                return
            time.sleep(_LOOK_S)

    @property
    def last_words(self) -> str:
        """The end of its log."""
        path = self._case.path(LOG_FILE)
        with suppress(OSError), open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_SHOWN))
            return redact(file.read().decode("utf-8", "replace"))
        return ""


def check_command(values: JsonObject, is_cohort: bool) -> None:
    """Refuse a command that is none, or names what lies outside of the case's runs and models."""
    command = events.decode_command(json.dumps(values))
    if command is None:
        raise BadFrameError("a command that is none")
    match command:
        case events.Stop() | events.Quit():
            fits = True
        case events.Train():
            fits = is_cohort
        case _ if is_cohort:
            fits = False
        case events.Fit():
            fits = not command.resume or is_run(command.resume)
            fits = fits and (not command.base or is_model(command.base))
        case events.Predict():
            fits = is_model(command.model)
        case events.Refine() | events.Choose():
            fits = is_run(command.model)
    if not fits:
        raise BadFrameError("a command about what is not of the case")


def kill_keeper(case: FarCase) -> None:
    """End a keeper that does not, and its worker with it."""
    keeper = _keeper(case)
    with suppress(psutil.Error):
        for process in (*keeper.children(recursive=True), keeper) if keeper else ():
            process.kill()


def _keeper(case: FarCase) -> psutil.Process | None:
    """The process that keeps the worker, if it runs on this node."""
    with suppress(UserError):
        return process_noted(read_json(case.path(KEEPER_FILE)))
    return None
