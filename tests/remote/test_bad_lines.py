"""What goes wrong on the way to another computer is a sentence with what to do."""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.remote.hosts import Host, host_called, make_host, save_host, serve_command
from cmfnet_napari.remote.line import Line
from cmfnet_napari.remote.line_messages import PROTOCOL

from .conftest import HOST

ME = "0" * 32


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no-such-computer.invalid", "is not known here .*Check its name with 'ssh no-such"),
        (f"{HOST}-refused", "does not let you in without a password .*ssh-copy-id"),
        (f"{HOST}-foreign", "compare the fingerprint"),
        (f"{HOST}-off", "does not answer .*refused.*whether it is on"),
        (f"{HOST}-without", f"cmfnet is not installed on .*'cmfnet on {HOST}-without install'"),
    ],
)
def test_no_conversation(ssh, name, says):
    with pytest.raises(UserError, match=says):
        Line(Host(name=name), ME)


def other_end(code):
    """A program that is started in place of ssh."""
    return [sys.executable, "-c", f"import sys, json, time\n{code}\nsys.stdin.read()"]


def welcome(**changes):
    said = {
        "bytes": 0,
        "op": "welcome",
        "version": version("cmfnet-napari"),
        "protocol": PROTOCOL,
        "time": time.time(),
        "python": "3.12.1",
        "memory": 1,
        "disk": 1,
        "cases": 0,
    }
    return f"print({json.dumps(said | changes)!r}, flush=True)"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (welcome(version="0.0.9"), "has cmfnet-napari 0.0.9, this computer .*install"),
        (welcome(version="9.9", more="x"), "has cmfnet-napari 9.9, this computer .*install"),
        ("sys.exit(print('cmfnet: bad interpreter: no file', file=sys.stderr) or 126)", "again"),
        ("sys.exit(print('ModuleNotFoundError: torch', file=sys.stderr) or 1)", "Install it again"),
        ('print(\'{"op": "dance"}\', flush=True)', "There is no conversation with"),
    ],
)
def test_the_other_end_is_another(code, says):
    with pytest.raises(UserError, match=says):
        Line(Host(name="box"), ME, other_end(code))


def test_a_talkative_login_and_a_clock_that_is_wrong():
    code = "print('Welcome to Box!', flush=True)\n" + welcome(time=time.time() + 600)
    line = Line(Host(name="box"), ME, other_end(code))
    line.close()
    assert "The clock of box is 10 min ahead of this computer's." in line.skew


def test_what_a_queue_of_jobs_says_is_shown():
    queued = "print('srun: job 7 queued and waiting for resources', file=sys.stderr, flush=True)"
    code, said = f"{queued}\ntime.sleep(0.7)\n{welcome()}", []
    Line(Host(name="box", via="srun"), ME, other_end(code), waiting=said.append).close()
    assert set(said) == {"srun: job 7 queued and waiting for resources"}


@pytest.mark.parametrize("name", ["-oProxyCommand=x", "", "a b", "a;b", "a$(b)", "x" * 300])
def test_names_that_are_none(name):
    with pytest.raises(UserError, match="name of a computer"):
        make_host(name)


def test_what_ssh_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("CMFNET_SSH", "ssh -F file")
    command = serve_command(make_host("me@box", "srun --comment 'two words'"))
    options = ["-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=15"]
    options += ["-o", "ConnectTimeout=15", "--"]
    assert command[:-1] == ["ssh", "-F", "file", *options, "me@box"]
    assert command[-1].startswith("exec srun --comment 'two words' sh -c '")
    assert not any("StrictHostKeyChecking" in word for word in command)
    monkeypatch.setenv("CMFNET_HOSTS", str(tmp_path / "hosts.json"))
    save_host(make_host("box", "srun", days=3))
    assert host_called("box") == Host(name="box", via="srun", days=3)
    assert host_called("box", "").days == 3
    assert host_called("other") == Host(name="other")
