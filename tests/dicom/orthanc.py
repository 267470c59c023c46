"""A real PACS on loopback: Orthanc, with accounts, DICOMweb and DIMSE."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

PROGRAM = "Orthanc"
PLUGIN = "usr/share/orthanc/plugins/libOrthancDicomWeb.so"  # below / or the folder of test-tools.sh
USER, PASSWORD = "doctor", "a pass-word"
OUR_TITLE = "CMFNET"


@dataclass(frozen=True)
class Orthanc:
    """Where it listens, and where it sends what we ask for."""

    http_port: int
    dicom_port: int
    our_port: int

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def rest(self, path: str, method: str = "get") -> object:
        """Its own interface, by which tests look at what it holds."""
        url = f"http://127.0.0.1:{self.http_port}{path}"
        answer = requests.request(method, url, auth=(USER, PASSWORD), timeout=20)
        answer.raise_for_status()
        return answer.json()

    def empty(self) -> None:
        for study in self.rest("/studies"):
            self.rest(f"/studies/{study}", "delete")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_settings(folder: Path, orthanc: Orthanc, plugin: Path, extra: dict[str, object]) -> Path:
    us = {
        "AET": OUR_TITLE,
        "Host": "127.0.0.1",
        "Port": orthanc.our_port,
        "UseDicomTls": extra.get("DicomTlsEnabled", False),
    }
    settings = {
        "Name": "test",
        "Locale": "C",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(plugin)],
        "HttpPort": orthanc.http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "DicomAet": "ORTHANC",
        "DicomPort": orthanc.dicom_port,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomModalities": {"us": us},
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps({**settings, **extra}))
    return path


@contextmanager
def running(folder: Path, extra: dict[str, object] | None = None) -> Iterator[Orthanc]:
    """Start it, wait until it answers, and end it."""
    program = shutil.which(PROGRAM)
    places = [Path("/")] if program is None else [Path(program).parents[1] / "debian", Path("/")]
    plugins = [place / PLUGIN for place in places if (place / PLUGIN).exists()]
    if program is None or not plugins:
        pytest.skip("no PACS to test with; `make test` fetches Orthanc on Debian and Ubuntu")
    orthanc = Orthanc(free_port(), free_port(), free_port())
    settings = write_settings(folder, orthanc, plugins[0], extra or {})
    with open(folder / "orthanc.log", "w") as log:
        server = subprocess.Popen([program, str(settings)], stdout=log, stderr=log)
    try:
        _wait(orthanc, server, folder / "orthanc.log")
        yield orthanc
    finally:
        server.terminate()
        try:
            server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(orthanc: Orthanc, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        try:
            orthanc.rest("/system")
            return
        except requests.RequestException:
            time.sleep(0.1)
    pytest.fail(f"Orthanc did not start:\n{log.read_text()[-2000:]}")
