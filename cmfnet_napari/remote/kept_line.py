"""A line that is kept: lost, it is called again; refused, that is said."""

from __future__ import annotations

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from pydantic import ValidationError

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.remote.hosts import Host
from cmfnet_napari.remote.line import Line, UnreachableError
from cmfnet_napari.remote.line_messages import BadFrameError, HeldError, LineLostError

_AGAIN_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
_HELD_S = 75.0  # a window that was closed is let go there by then
_Refusal = UserError | OSError | BadFrameError | ValidationError


class QuitError(Exception):
    """Whoever asked is gone, or has left the patient."""


class AnewError(Exception):
    """The case has changed in what only a new worker sees."""


class KeptLine(ABC):
    """Keeps a line to a host, and tells how it is.

    Parameters
    ----------
    host : Host
        Where the worker is.
    emit : callable
        Takes every event.
    client : str
        Who calls; see `Line`.
    connect : callable, optional
        Makes a line for a client, in place of ssh.
    """

    def __init__(
        self,
        host: Host,
        emit: Callable[[events.Event], None],
        client: str,
        connect: Callable[[str], Line] | None = None,
    ) -> None:
        self._host, self._emit = host, emit
        self._client, self._connect = client, connect or self._call
        self._inbox: deque[events.Work | events.Stop] = deque()
        self._quitting = threading.Event()
        self._line: Line | None = None
        self._was_here = self._is_left = False
        self._leave_by: float | None = None  # nothing more is brought then
        self._held_since: float | None = None

    @abstractmethod
    def _attach(self) -> None:
        """Call, and bring what lies there up to date."""

    @abstractmethod
    def _work(self) -> None:
        """Work as long as the line holds."""

    @abstractmethod
    def _leave(self) -> None:
        """Do what is to be done there before the line is left."""

    @abstractmethod
    def _give_up(self) -> bool:
        """Forget what is worked on; whether there was something."""

    @property
    @abstractmethod
    def _meanwhile(self) -> str:
        """What goes on while the line is lost, in a sentence or two."""

    @abstractmethod
    def _close(self) -> None:
        """Let go of what is open here."""

    # --- what is asked for

    def take(self, command: events.Command) -> None:
        """Take a command; from any thread."""
        if isinstance(command, events.Quit):
            self._is_left = self._is_left or command.left
            self._quitting.set()
        else:
            self._inbox.append(command)

    def run(self) -> int:
        """Work until told to quit; return the exit status."""
        tries = 0
        try:
            while not self._quitting.is_set():
                try:
                    with suppress(QuitError):
                        self._attach()
                        tries = 0
                        self._work()
                    if self._line is not None:
                        self._leave()
                    return 0
                except AnewError:
                    self._hang_up()
                except LineLostError as error:
                    self._hang_up()
                    if self._quitting.is_set():
                        break
                    self._say_away(str(error))
                    self._wait(_AGAIN_S[min(tries, len(_AGAIN_S) - 1)])
                    tries += 1
                except (UserError, OSError, BadFrameError, ValidationError) as error:
                    self._hang_up()
                    if not self._stay_refused(error, tries):
                        return 1
                    tries += 1
            return 0
        finally:
            self._hang_up()
            self._close()

    def _call(self, client: str) -> Line:
        return Line(
            self._host,
            client,
            waiting=lambda said: self._state("waiting", said),
            check=self._check_quit,
        )

    def _check_quit(self) -> None:
        leaving = self._leave_by is not None and time.monotonic() < self._leave_by
        if self._quitting.is_set() and not leaving:
            raise QuitError

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()

    @property
    def _the_line(self) -> Line:
        if self._line is None:
            raise LineLostError("there is no line")
        return self._line

    # --- when there is none

    def _say_away(self, why: str) -> None:
        print(f"the line was lost: {why}", file=sys.stderr)
        self._state("away", f"The line to {self._host.name} was lost. {self._meanwhile}")

    def _words(self, error: _Refusal) -> str:
        if isinstance(error, UserError):
            return str(error)
        if not isinstance(error, OSError):
            print(f"not understood: {type(error).__name__}", file=sys.stderr)
            return (
                f"{self._host.name} and this computer do not understand each other. Nothing was "
                "taken, and nothing is lost. See whether both have the same version of "
                "cmfnet-napari, then try again."
            )
        return (
            f"What came from {self._host.name} could not be written here ({error.strerror}). Free "
            "some disk space, then try again: nothing is lost there."
        )

    def _stay_refused(self, error: _Refusal, tries: int) -> bool:
        """Whether to try again after a refusal: a lost line is tried for ever, a refusal is told.

        A window learns of it when it asks for something; then it is tried once more.
        """
        why = self._words(error)
        if self._is_held(error):
            self._state("connecting", f"{self._host.name} lets an earlier line of this case go …")
            self._wait(_AGAIN_S[min(tries, 2)])
            return True
        if self._was_here and isinstance(error, UnreachableError):
            self._say_away(why)
            self._wait(_AGAIN_S[min(tries, len(_AGAIN_S) - 1)])
            return True
        asked = bool(self._inbox)
        if self._give_up() or asked:
            self._inbox.clear()
            self._emit(events.Failed(reason=why))
        self._state("refused", why)
        while not self._inbox:
            if self._quitting.wait(0.1):
                return False
        return True

    def _is_held(self, error: _Refusal) -> bool:
        """Whether it may be an earlier line of this window that is not let go there yet."""
        if not isinstance(error, HeldError):
            self._held_since = None
            return False
        self._held_since = self._held_since or time.monotonic()
        return time.monotonic() - self._held_since < _HELD_S

    def _wait(self, seconds: float) -> None:
        """Wait, unless told to quit."""
        self._quitting.wait(seconds)

    def _state(self, state: events.LineState, text: str, share: float = 0.0) -> None:
        self._emit(events.LineChanged(state=state, host=self._host.name, text=text, share=share))
