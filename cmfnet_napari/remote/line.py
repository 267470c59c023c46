"""Our end of the line to another computer: ssh started, versions compared, questions answered."""

from __future__ import annotations

import json
import queue
import re
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from typing import IO, TypeVar

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.privacy import printable
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.hosts import NOT_THERE, Host, serve_command
from cmfnet_napari.remote.line_messages import (
    BadFrameError,
    HeldError,
    LineLostError,
    Message,
    Sender,
)

T = TypeVar("T", bound=Message)

HELLO_S = 60.0  # until the other side is started; with a queue of jobs before it, for ever
SILENCE_S = 20.0
PING_S = 5.0
_SKEW_S, _LAST_WORDS_S = 120.0, 2.0
_MOST_NOISE = 1 << 16  # bytes that a login script may say before our end does


class UnreachableError(UserError):
    """The network has no way to a host at present, which may come back."""


_SENTENCES: tuple[tuple[type[UserError], str, str], ...] = (
    (
        UnreachableError,
        r"could not resolve hostname|name or service not known",
        "{host} is not known here ({said}). Check its name with 'ssh {host}' in a terminal, or "
        "give it one in ~/.ssh/config.",
    ),
    (
        UserError,
        r"host key verification failed|identification has changed",
        "The key of {host} is not the one that is known, or none is known yet ({said}). Type "
        "'ssh {host}' in a terminal, compare the fingerprint with the one that the administrator "
        "names, and only then accept it.",
    ),
    (
        UserError,
        r"permission denied|too many authentication failures",
        "{host} does not let you in without a password ({said}). Give it your key: 'ssh-copy-id "
        "{host}' in a terminal; 'ssh {host}' then has to ask for nothing.",
    ),
    (
        UnreachableError,
        r"connection refused|timed out|no route to host|network is unreachable|connection reset"
        r"|connection closed",
        "{host} does not answer ({said}). See whether it is on, and whether this network or VPN "
        "reaches it: 'ssh {host}' in a terminal tells.",
    ),
    (
        UserError,
        re.escape(NOT_THERE),
        "cmfnet is not installed on {host}. Install it with 'cmfnet on {host} install'.",
    ),
    (
        UserError,
        r"bad interpreter|modulenotfounderror|importerror|no such command|python.*not found",
        "The cmfnet on {host} cannot start ({said}). Install it again: 'cmfnet on {host} install'.",
    ),
)


class Line:
    """A conversation with our end on a host.

    Parameters
    ----------
    host : Host
        Which.
    client : str
        Who calls: 32 hexadecimal digits, the same after a line was lost.
    command : list of str, optional
        What starts the other end, in place of ssh.
    waiting : callable, optional
        Takes what is said before the other end is there, as of a queue of jobs.
    check : callable, optional
        Called until the other end is there; what it raises ends the call.

    Attributes
    ----------
    welcome : Welcome
        What the other side said of itself.

    Raises
    ------
    UserError
        The host cannot be reached, lets nobody in, has no cmfnet or another version of it.
    UnreachableError
        The first of these.
    """

    def __init__(
        self,
        host: Host,
        client: str,
        command: list[str] | None = None,
        waiting: Callable[[str], None] | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        self.host = host
        self._check = check
        self._words: deque[str] = deque(maxlen=50)
        self._waiting = waiting
        self._inbox: queue.Queue[tuple[Message, bytes] | Exception] = queue.Queue(256)
        self._later: deque[tuple[Message, bytes]] = deque()
        self._heard = self._pinged = time.monotonic()
        self._greeted = False
        try:
            self._process = subprocess.Popen(
                command or serve_command(host),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is ours to understand
            )
        except OSError as error:
            raise UserError(f"ssh cannot be started ({error.strerror}).") from error
        self._sender = Sender(_pipe(self._process.stdin))
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._listen_to_errors, daemon=True).start()
        try:
            self.welcome = self._greet(client)
        except BaseException:
            self.close()
            raise

    @property
    def process_id(self) -> int:
        """Of ssh."""
        return self._process.pid

    @property
    def waiting(self) -> bool:
        """Whether something was said while an answer was awaited."""
        return bool(self._later)

    @property
    def skew(self) -> str:
        """That the two clocks differ, in a sentence; else empty."""
        apart = self._ahead
        if abs(apart) < _SKEW_S:
            return ""
        how = "ahead of" if apart > 0 else "behind"
        return (
            f"The clock of {self.host.name} is {abs(apart) / 60:.0f} min {how} this computer's. "
            "Nothing is lost by it, but files that are made there bear that time: let an "
            "administrator set it by the network (NTP)."
        )

    def send(self, message: Message, payload: bytes = b"") -> None:
        """Say something that needs no answer; LineLostError where nobody hears it."""
        self._sender.send(message, payload)

    def ask(
        self, message: Message, kind: type[T], payload: bytes = b"", patience: float | None = None
    ) -> T:
        """Say something and wait for the answer; what else is said meanwhile is kept.

        Raises
        ------
        UserError
            It was refused; the sentence says why.
        LineLostError
            Nobody answers.
        """
        self.send(message, payload)
        return self.answer(kind, patience)[0]

    def answer(
        self,
        kind: type[T],
        patience: float | None = None,
        check: Callable[[], None] | None = None,
    ) -> tuple[T, bytes]:
        """The next message of a kind, or of a refusal, with its bytes; as `ask`.

        `check` is called while it is awaited.
        """
        while True:
            message, payload = self._next(patience, check)
            if isinstance(message, frames.Refused):
                raise refusal(self.host, message)
            if isinstance(message, kind):
                return message, payload
            if isinstance(message, frames.Said | frames.Lost):
                self._later.append((message, payload))
            elif not isinstance(
                message, frames.Pong | frames.Stored
            ):  # of a file that was left off
                raise LineLostError("an answer to another question")

    def part(self) -> tuple[frames.Part | frames.Done, bytes]:
        """The next part of a file, or its end; as `answer`."""
        while True:
            message, payload = self._next(None)
            if isinstance(message, frames.Part | frames.Done):
                return message, payload
            if isinstance(message, frames.Refused):
                raise refusal(self.host, message)
            if isinstance(message, frames.Said | frames.Lost):
                self._later.append((message, payload))

    def heard(self, timeout: float) -> tuple[Message, bytes] | None:
        """What the other side says by itself; None when it said nothing for so many seconds.

        Raises
        ------
        LineLostError
            It is not heard any more.
        """
        if self._later:
            return self._later.popleft()
        self._ping()
        try:
            found = self._inbox.get(timeout=timeout)
        except queue.Empty:
            self._check_silence(SILENCE_S)
            return None
        if isinstance(found, Exception):
            raise self._lost(found)
        return None if isinstance(found[0], frames.Pong) else found

    def close(self) -> None:
        """Hang up; the worker stays."""
        with suppress(LineLostError):
            self._sender.send(frames.Bye())
        with suppress(OSError):
            _pipe(self._process.stdin).close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _next(
        self, patience: float | None, check: Callable[[], None] | None = None
    ) -> tuple[Message, bytes]:
        """The next of what the other side says."""
        while True:
            if check is not None:
                check()
            self._ping()
            try:
                found = self._inbox.get(timeout=0.5)
            except queue.Empty:
                self._check_silence(patience or 4 * SILENCE_S)
                continue
            if isinstance(found, Exception):
                raise self._lost(found)
            return found

    def _ping(self) -> None:
        if self._greeted and time.monotonic() - self._pinged > PING_S:
            self._pinged = time.monotonic()
            self._sender.send(frames.Ping())

    def _check_silence(self, limit: float) -> None:
        if self._greeted and time.monotonic() - self._heard > limit:
            self._process.kill()
            raise LineLostError("nothing was heard")

    def _greet(self, client: str) -> frames.Welcome:
        ours = version("cmfnet-napari")
        hello = frames.Hello(
            version=ours, protocol=frames.PROTOCOL, client=client, time=time.time()
        )
        with suppress(LineLostError):  # why, ssh says by itself
            self._sender.send(hello)
        end = time.monotonic() + HELLO_S
        while True:
            try:
                found = self._inbox.get(timeout=0.2)
            except queue.Empty:
                if self._check is not None:
                    self._check()
                if self._waiting is not None and self.host.via and self._words:
                    self._waiting(self._words[-1])
                if not self.host.via and time.monotonic() > end:
                    raise self._why_not("it said nothing for a minute") from None
                continue
            if isinstance(found, Exception):
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_LAST_WORDS_S)
                time.sleep(0.1)  # for what it said last
                raise self._why_not(str(found))
            break
        welcome, _ = found
        if isinstance(welcome, frames.Refused):
            raise refusal(self.host, welcome)
        if not isinstance(welcome, frames.Welcome):
            raise self._why_not("it answers another question")
        if (welcome.version, welcome.protocol) != (ours, frames.PROTOCOL):
            raise UserError(other_version(self.host.name, welcome.version, ours))
        self._ahead = welcome.time - time.time()
        self._greeted = True
        return welcome

    def _listen(self) -> None:
        stream = _pipe(self._process.stdout)
        try:
            self._skip_noise(stream)
            while True:
                found = frames.receive(stream, frames.FROM_THERE)
                self._heard = time.monotonic()
                self._inbox.put(found)
        except (LineLostError, BadFrameError, OSError, ValueError) as error:
            self._inbox.put(error)

    def _skip_noise(self, stream: IO[bytes]) -> None:
        """Pass over what login scripts say before our end does."""
        noise = 0
        while noise < _MOST_NOISE:
            line = stream.readline(frames.LONGEST_HEADER)
            if line.lstrip().startswith(b'{"') or not line:
                if line:
                    message = _first(line)
                    self._heard = time.monotonic()
                    self._inbox.put((message, b""))
                    return
                raise LineLostError("the line ended")
            noise += len(line)
        raise BadFrameError("words that are no message")

    def _listen_to_errors(self) -> None:
        stream = _pipe(self._process.stderr)
        while line := stream.readline(4096):
            if text := printable(line.decode("utf-8", "replace").strip()):
                self._words.append(text[:300])

    def _lost(self, error: Exception) -> Exception:
        if isinstance(error, BadFrameError):
            self._process.kill()
            return UserError(
                f"{self.host.name} said what cannot be understood ({error}). Nothing of it was "
                "taken. See whether both computers have the same version of cmfnet-napari."
            )
        return LineLostError(self._words[-1] if self._words else str(error))

    def _why_not(self, otherwise: str) -> UserError:
        """Why there is no conversation, by what ssh said."""
        everything = "\n".join(self._words).lower()
        for kind, pattern, sentence in _SENTENCES:
            if re.search(pattern, everything):
                lines = [word for word in self._words if re.search(pattern, word.lower())]
                said = (lines or list(self._words))[-1].strip(". ")
                return kind(sentence.format(host=self.host.name, said=said))
        said = self._words[-1].strip(". ") if self._words else otherwise
        return UnreachableError(
            f"There is no conversation with {self.host.name} ({said}). Try 'ssh {self.host.name}' "
            "in a terminal, then 'cmfnet doctor --on "
            f"{self.host.name}'."
        )


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    """A pipe of a process that was started with it."""
    if stream is None:
        raise ValueError("a process without its pipes")
    return stream


def _first(line: bytes) -> Message:
    try:
        return frames.FROM_THERE.validate_json(line)
    except ValueError:
        return _another_version(line)


def _another_version(line: bytes) -> Message:
    """The welcome of a version whose messages are others."""
    with suppress(ValueError, RecursionError):
        value = json.loads(line)
        if isinstance(value, dict) and value.get("op") == "welcome":
            number = str(value.get("version"))[:40]
            return frames.Welcome(
                version=number, protocol=0, time=0, python="", memory=0, disk=0, cases=0
            )
    raise BadFrameError("a first word that is none")


def refusal(host: Host, message: frames.Refused) -> UserError:
    """What a host would not do, and why, in its words."""
    kind = HeldError if message.held else UserError
    return kind(f"{host.name}: {printable(message.text)}")


def other_version(host: str, theirs: str, ours: str) -> str:
    """What to do about two versions, in a sentence."""
    return (
        f"{host} has cmfnet-napari {printable(theirs)[:40]}, this computer {ours}: both need the "
        f"same. Install {ours} there: 'cmfnet on {host} install'."
    )
