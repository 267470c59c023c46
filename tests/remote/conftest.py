"""A real sshd on loopback, with keys and a configuration of its own; skipped without one."""

from __future__ import annotations

import getpass
import os
import queue
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from cmfnet_napari.core.case.folder import Case
from cmfnet_napari.core.fit import events
from cmfnet_napari.remote.hosts import Host
from cmfnet_napari.remote.relay import Relay
from tests import forked
from tests.forked import CAN_FORK
from tests.learning.conftest import Ball, Worker, case_of, coarse_ball, fit_command

HOST = "gpu-box"
PARTS = "labels", "probabilities", "disagreement"
_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/keys
PidFile {folder}/pid
UsePAM no
StrictModes no
PasswordAuthentication no
MaxStartups 100
SetEnv PATH={path} CMFNET_REMOTE={folder}/there OMP_NUM_THREADS=1 {variables}
"""
_CLIENT = """
Host {host}-refused
  IdentityFile {folder}/refused
Host {host}-without
  IdentityFile {folder}/without
Host {host}-foreign
  HostKeyAlias another
Host {host}-off
  Port 9
Host {host} {host}-foreign {host}-off
  IdentityFile {folder}/me
Host {host}*
  HostName 127.0.0.1
  Port {port}
  User {user}
  UserKnownHostsFile {folder}/known
  IdentitiesOnly yes
"""
# Whoever comes with the second key finds no cmfnet.
_KEYS = (
    "{me}"
    'command="PATH=/usr/bin:/bin CMFNET_HOME=/none; export PATH CMFNET_HOME; '
    'eval \\"$SSH_ORIGINAL_COMMAND\\"" {without}'
)
# What starts cmfnet there, and what our end starts in turn: see tests/forked.py.
_FORKED = {
    "cmfnet": '#!/bin/sh\nexec {command} "$@"\n',
    "python": (
        '#!/bin/sh\n[ "$1 $2 $3" = "-P -m cmfnet_napari" ] || exit 9\n'
        'shift 3\nexec {command} "$@"\n'
    ),
}
# As root, sshd gives privileges up to an account that is not installed: it is in a list of
# accounts that this sshd alone sees. Any other user runs it as it is.
_AS_ROOT = (
    "mount --bind {folder}/passwd /etc/passwd && mount -t tmpfs none /run && "
    'mkdir -m 755 /run/sshd && exec "$@"'
)


@dataclass
class Sshd:
    """The server, and how to reach it.

    Attributes
    ----------
    folder : Path
        Its keys and configurations; ``there`` is where our end keeps cases.
    process : Popen
        The listening one.
    """

    folder: Path
    process: subprocess.Popen

    @property
    def there(self) -> Path:
        return self.folder / "there" / "cmfnet-remote"

    def of_lines(self) -> list[psutil.Process]:
        """Processes of connections: sshd's children, and our end. Workers outlive them."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [one for one in children if one.name() == "sshd" or "remote-serve" in one.cmdline()]


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    program = shutil.which("sshd")
    if program is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no sshd: 'make test-tools' unpacks Debian's openssh-server into .venv")
    folder = tmp_path_factory.mktemp("ssh")
    (folder / "programs").mkdir()
    for name in ("host", "me", "without", "refused"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    bin_ = Path(sys.executable).parent
    # Its own queue; a state after every step, so that what is killed has one.
    variables = f"CMFNET_HOME={folder}/home CMFNET_QUEUE={folder}/queue CMFNET_SAVE_SECONDS=0"
    variables += f" CMFNET_TEST_PYTHON={folder}/forked/python"
    path = f"{folder}/programs:{folder}/forked:{bin_}:/usr/local/bin:/usr/bin:/bin"
    if CAN_FORK:
        _write_forked(folder / "forked")
    (folder / "sshd_config").write_text(
        _CONFIG.format(folder=folder, port=port, path=path, variables=variables)
    )
    (folder / "config").write_text(
        _CLIENT.format(folder=folder, port=port, host=HOST, user=getpass.getuser())
    )
    keys = {name: (folder / f"{name}.pub").read_text() for name in ("me", "without")}
    (folder / "keys").write_text(_KEYS.format(**keys))
    public = (folder / "host.pub").read_text()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {public}")
    command = [str(Path(program).absolute()), "-f", str(folder / "sshd_config"), "-D", "-e"]
    if os.geteuid() == 0:
        own = f"root:x:0:0:root:{folder}/programs:/bin/sh"  # without what root's own shell does
        accounts = re.sub(r"(?m)^root:.*$", own, Path("/etc/passwd").read_text())
        if "\nsshd:" not in accounts:
            accounts += "sshd:x:990:65534::/run/sshd:/usr/sbin/nologin\n"
        (folder / "passwd").write_text(accounts)
        command = ["unshare", "-m", "sh", "-c", _AS_ROOT.format(folder=folder), "sh", *command]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log)
    end = time.monotonic() + 20
    while True:
        if process.poll() is not None or time.monotonic() > end:
            pytest.skip(f"sshd does not run here: {(folder / 'log').read_text()[-300:]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield Sshd(folder, process)
    process.terminate()
    process.wait()
    end_keepers(folder / "there" / "cmfnet-remote")


def _write_forked(folder: Path) -> None:
    command = shlex.join(forked.command("training", "tests.learning.programs:cmfnet_there"))
    folder.mkdir()
    for name, text in _FORKED.items():
        (folder / name).write_text(text.format(command=command))
        (folder / name).chmod(0o755)


@pytest.fixture
def started(ssh: Sshd) -> Iterator[None]:
    """What runs there is started as on any other computer, not forked."""
    found, away = ssh.folder / "forked", ssh.folder / "away"
    if CAN_FORK:
        found.rename(away)
    yield
    if CAN_FORK:
        away.rename(found)


def end_keepers(root: Path) -> None:
    """End keepers and workers of a folder: those that this test run has started."""
    ours = {"remote-keep", "worker", "train-worker"}
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if ours & {*words} and any(Path(word).is_relative_to(root) for word in words):
            with suppress(psutil.Error):  # it ends at this moment
                process.kill()


@pytest.fixture
def ssh(sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sshd:
    """The server without a case, and ssh told of it as a user's own configuration would."""
    end_keepers(sshd.there)
    shutil.rmtree(sshd.there, ignore_errors=True)
    monkeypatch.setenv("CMFNET_SSH", f"ssh -F {sshd.folder / 'config'}")
    monkeypatch.setenv("CMFNET_HOSTS", str(tmp_path / "hosts.json"))
    return sshd


@pytest.fixture
def ball() -> Ball:
    return coarse_ball()


@pytest.fixture
def case(ball: Ball, tmp_path: Path) -> Iterator[Case]:
    case = case_of(ball, tmp_path / "case")
    yield case
    case.close()


@pytest.fixture
def at_home(ball, tmp_path, one_thread):
    """The same fit by a worker here: its contour, as bytes of its files."""
    case = case_of(ball, tmp_path / "at home")

    def fit(**changes):
        worker = Worker(case.folder)
        worker.say(fit_command(ball.config, **changes))
        finished = worker.until("finished")[-1]
        worker.end()
        for pipe in (worker.process.stdout, worker.process.stderr):
            pipe.close()
        return finished, {
            part: (case.folder / getattr(finished, part)).read_bytes() for part in PARTS
        }

    yield fit
    case.close()


@dataclass
class Ear:
    """A relay at work in a thread, and what it said."""

    relay: Relay
    said: list[events.Event] = field(default_factory=list)
    new: queue.Queue = field(default_factory=queue.Queue)
    thread: threading.Thread | None = None

    def start(self) -> Ear:
        self.thread = threading.Thread(target=self.relay.run, daemon=True)
        self.thread.start()
        return self

    def hear(self, event: events.Event) -> None:
        self.said.append(event)
        self.new.put(event)

    def until(self, kind: str, state: str = "", seconds: float = 120) -> events.Event:
        end = time.monotonic() + seconds
        while True:
            try:
                event = self.new.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {kind} {state} in {self.said[-8:]}") from None
            if event.event == "failed" and kind != "failed":
                raise AssertionError(event.reason)
            if event.event == kind and (not state or event.state == state):
                return event

    def quit(self, left: bool = False) -> None:
        self.relay.take(events.Quit(left=left))
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture
def listen() -> Iterator[Callable[..., Ear]]:
    """Start a relay; all end with the test."""
    ears: list[Ear] = []

    def make(folder: Path, host: Host | None = None) -> Ear:
        ear = Ear(None)
        ear.relay = Relay(folder, host or Host(name=HOST), ear.hear)
        ears.append(ear.start())
        return ear

    yield make
    for ear in ears:
        ear.quit()


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)
