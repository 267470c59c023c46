"""Other computers to train on: what each is called, how one gets there, how long images stay.

A host is what ``ssh`` knows: an alias, user@name. Keys, jump hosts and host keys are its business;
no check of its is ever switched off, and no password is kept.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from platformdirs import user_config_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, private_folder, read_json, write_json
from cmfnet_napari.core.isolation import find_program

HOSTS_VARIABLE, SSH_VARIABLE = "CMFNET_HOSTS", "CMFNET_SSH"
THERE = "${CMFNET_HOME:-$HOME/.local/share/cmfnet-napari}"  # what is installed there
_OPTIONS = ("-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=15", "-o", "ConnectTimeout=15")
_NAME = re.compile(r"[A-Za-z0-9_.:@\[\]%-]{1,255}")
NOT_THERE = "cmfnet: not installed there"  # what `_SERVE` says, for `Line` to hear
_SERVE = (
    f'PATH="{THERE}/venv/bin:$PATH"; export PATH; '
    f'command -v cmfnet >/dev/null 2>&1 || {{ echo "{NOT_THERE}" >&2; exit 127; }}; '
    "exec cmfnet remote-serve"
)


class Host(BaseModel):
    """Another computer.

    Attributes
    ----------
    name : str
        As in ``ssh NAME``.
    via : str
        Command that starts ours there, such as ``srun --gres=gpu:1``.
    forget : bool
        Images are deleted there when the patient is left.
    days : int
        They are deleted in any case after so many days without use.
    minutes : int
        How long the worker lives on without a line.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    via: str = ""
    forget: bool = False
    days: int = Field(7, ge=1, le=365)
    minutes: int = Field(30, ge=1, le=1440)

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if name.startswith("-") or not _NAME.fullmatch(name):  # ssh would take it for an option
            raise ValueError("not the name of a computer, as in ssh NAME")
        return name

    @field_validator("via")
    @classmethod
    def _is_a_command(cls, via: str) -> str:
        shlex.split(via)
        return via


def make_host(name: str, via: str = "", **more: object) -> Host:
    """A host from what a user said.

    Raises
    ------
    UserError
        It is no name, or the command is none.
    """
    try:
        return Host.model_validate({"name": name.strip(), "via": via.strip(), **more})
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{str(first['input'])[:60]!r} cannot be used as the {first['loc'][0]} of a computer "
            f"({first['msg'].removeprefix('Value error, ')})."
        ) from error


def ssh_command() -> list[str]:
    """The system's ssh, or what the variable ``CMFNET_SSH`` says, as ``ssh -F FILE``.

    Raises
    ------
    UserError
        There is none.
    """
    chosen = os.environ.get(SSH_VARIABLE)
    if chosen:
        return shlex.split(chosen)
    program = find_program("ssh")
    if program is None:
        raise UserError(
            "There is no ssh on this computer. Install OpenSSH (Debian, Ubuntu: apt install "
            "openssh-client; Windows: Settings, Optional features, OpenSSH Client)."
        )
    return [program]


def there(host: Host, script: str, via: bool = True) -> list[str]:
    """Command that runs a shell script on a host.

    Parameters
    ----------
    host : Host
        Where.
    script : str
        For ``sh``, without a single quote and in one line: whatever the login shell there is
        (csh ends a quote with the line), it takes it whole.
    via : bool
        Whether the host's command prefix starts it.
    """
    prefix = shlex.split(host.via) if via else []
    words = ["exec", *(shlex.quote(word) for word in prefix), "sh", "-c", f"'{script}'"]
    return [*ssh_command(), *_OPTIONS, "--", host.name, " ".join(words)]


def serve_command(host: Host) -> list[str]:
    """Command that starts our end there."""
    return there(host, _SERVE)


def hosts_file() -> Path:
    """Where known hosts are listed (variable ``CMFNET_HOSTS``)."""
    chosen = os.environ.get(HOSTS_VARIABLE)
    folder = user_config_path("cmfnet-napari", appauthor=False)
    return Path(chosen) if chosen else folder / "hosts.json"


def known_hosts() -> list[Host]:
    """Those that were added, in order; entries that are damaged are left out."""
    path = hosts_file()
    if not path.exists():
        return []
    entries = read_json(path).get("hosts")
    found = []
    for entry in entries if isinstance(entries, list) else []:
        try:
            found.append(Host.model_validate(entry))
        except ValidationError:
            continue
    return found


def host_called(name: str, via: str | None = None) -> Host:
    """The known host of that name, or a new one; `via` in place of its own if it is given."""
    known = next((host for host in known_hosts() if host.name == name.strip()), None)
    if known is None:
        return make_host(name, via or "")
    return known if via is None else make_host(**(known.model_dump() | {"via": via}))


def save_host(host: Host) -> None:
    """Add a host, or change the one of that name.

    Raises
    ------
    UserError
        The list cannot be written.
    """
    _write([*(one for one in known_hosts() if one.name != host.name), host])


def forget_host(name: str) -> None:
    """Take a host from the list; what lies there stays there."""
    _write([one for one in known_hosts() if one.name != name])


def _write(hosts: list[Host]) -> None:
    path = hosts_file()
    listed: JsonObject = {"hosts": [host.model_dump() for host in hosts]}
    try:
        private_folder(path.parent)
    except OSError as error:
        raise UserError(f"The list of computers cannot be written ({error.strerror}).") from error
    write_json(path, listed, private=True)
