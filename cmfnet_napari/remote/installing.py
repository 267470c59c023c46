"""cmfnet put on another computer, into an environment of its own, and taken from there."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.privacy import printable, printable_values
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.hosts import THERE, Host, there
from cmfnet_napari.remote.line import Line
from cmfnet_napari.remote.line_messages import LineLostError

_WHEEL = re.compile(r"[A-Za-z0-9_.+-]{1,120}\.whl")
_NO_PYTHON = "cmfnet: no Python there"
_MINUTES = 60
# A shell's script without a single quote and in one line, see `hosts.there`.
_SCRIPT = (
    "for python in python3 python3.14 python3.13 python3.12 python3.11; do "
    'if "$python" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; '
    "then break; fi; python=; done; "
    f'if [ -z "$python" ]; then echo "{_NO_PYTHON}" >&2; exit 3; fi; umask 077; '
    f'mkdir -p "{THERE}" && {{SEND}}"$python" -m venv "{THERE}/venv" && '
    f'"{THERE}/venv/bin/python" -m pip --disable-pip-version-check install --quiet {{WHAT}}'
)
_DOCTOR_S, _STOP_S = 240.0, 120.0


def lines_to_type(host: Host) -> str:
    """What a user can type on the host in place of `install`."""
    make = "python3 -m venv ~/.local/share/cmfnet-napari/venv"
    fill = "~/.local/share/cmfnet-napari/venv/bin/python -m pip install cmfnet-napari=="
    return f"{make}\n{fill}{version('cmfnet-napari')}"


def install(host: Host, wheel: Path | None = None) -> None:
    """Make an environment on a host and put this version into it.

    Parameters
    ----------
    host : Host
        Where.
    wheel : Path, optional
        The package, which is sent along; else the host's pip fetches it from its registry.

    Raises
    ------
    UserError
        There is no Python there, or pip failed; the sentence says why, and what to type there.
    """
    what, send, data = f"cmfnet-napari=={version('cmfnet-napari')}", "", b""
    if wheel is not None:
        if not _WHEEL.fullmatch(wheel.name) or not wheel.is_file():
            raise UserError(f"{wheel.name} is no wheel (cmfnet_napari-….whl). Choose another file.")
        what = f'"{THERE}/{wheel.name}"'
        send, data = f"cat > {what} && ", wheel.read_bytes()
    script = _SCRIPT.replace("{SEND}", send).replace("{WHAT}", what)
    command = there(host, script, via=False)
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=60 * _MINUTES)
    except subprocess.TimeoutExpired:
        raise UserError(f"pip on {host.name} did not end within an hour.") from None
    if done.returncode == 0:
        return
    words = [w for w in done.stderr.decode("utf-8", "replace").splitlines() if w.strip()]
    errors = [w for w in words if "error" in w.lower()] or words or [f"code {done.returncode}"]
    said = printable(errors[-1][:300])
    if _NO_PYTHON in said:
        raise UserError(
            f"There is no Python 3.11 or newer on {host.name}. Ask its administrator for one, or "
            "install it in your account (with uv: 'uv python install 3.12')."
        )
    raise UserError(
        f"cmfnet could not be installed on {host.name} ({said}). On that computer, type:\n"
        f"{lines_to_type(host)}\nor send the wheel along: cmfnet on {host.name} install --wheel "
        "cmfnet_napari-….whl"
    )


def delete(host: Host) -> int:
    """Delete all cases of this account on a host; return how many there were.

    Raises
    ------
    UserError
        A window uses one, or the host cannot be reached.
    """
    with _called(host) as line:
        return line.ask(frames.Delete(), frames.Done).count


def stop(host: Host) -> int:
    """End all trainings of this account on a host that nobody follows; return how many.

    Raises
    ------
    UserError
        The host cannot be reached.
    """
    with _called(host) as line:
        return line.ask(frames.Rest(), frames.Done, patience=_STOP_S).count


def ask_doctor(host: Host) -> tuple[frames.Welcome, JsonObject, str]:
    """What a host says of itself, what ``cmfnet doctor`` says there, and of its clock.

    Raises
    ------
    UserError
        It cannot be reached, or has no cmfnet of this version.
    """
    with _called(host) as line:
        facts = line.ask(frames.Doctor(), frames.Facts, patience=_DOCTOR_S).facts
        return line.welcome, printable_values(facts), line.skew


@contextmanager
def _called(host: Host) -> Iterator[Line]:
    """A line for a question."""
    line = Line(host, uuid.uuid4().hex)
    try:
        yield line
    except LineLostError as error:
        raise UserError(f"The line to {host.name} was lost ({error}). Try again.") from error
    finally:
        line.close()


def useful_sentences(facts: JsonObject) -> list[str]:
    """What its doctor said, but for the first: of the window, which nobody opens there."""
    said = facts.get("sentences")
    return [str(sentence) for sentence in said[1:]] if isinstance(said, list) else []


def found_words(host: Host, welcome: frames.Welcome, facts: JsonObject, skew: str) -> str:
    """What a test of a host found, in sentences."""
    parts = [
        f"{host.name} answers, with cmfnet-napari {welcome.version} as here.",
        *useful_sentences(facts),
        f"{welcome.memory / 2**30:.0f} GiB of memory and {welcome.disk / 2**30:.0f} GiB of disk "
        "are free there.",
        skew,
    ]
    return printable(" ".join(filter(None, parts)))
