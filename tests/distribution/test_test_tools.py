"""What fetches Orthanc, dciodvfy and sshd for the tests, with scripts for apt and dpkg."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a shell script for Debian")

_NEEDED = ("sh", "mktemp", "mkdir", "rm", "tail", "cat", "chmod", "touch")
_APT = """
echo "$1" >>"{calls}"
for word in "$@"; do case $word in Dir::Cache::archives=*) : >"${{word#*=}}/one.deb";; esac; done
{end}
"""
_DPKG = """
mkdir -p "$3/usr/sbin" "$3/usr/lib/any-linux-gnu" "$3/usr/share/libdcmtk1"
: >"$3/usr/share/libdcmtk1/dicom.dic"
printf '#!/bin/sh\\necho "$LD_LIBRARY_PATH|$DCMDICTPATH|$1"\\n' >"$3/usr/sbin/Orthanc"
chmod +x "$3/usr/sbin/Orthanc"
"""


@pytest.fixture
def fetch(tmp_path: Path, root: Path):
    """Run the script where neither program is installed."""
    tools, venv, calls = tmp_path / "tools", tmp_path / "venv", tmp_path / "calls"
    tools.mkdir()
    (venv / "bin").mkdir(parents=True)
    calls.touch()
    for name in _NEEDED:
        (tools / name).symlink_to(shutil.which(name))

    def run(apt: str = "exit 0"):
        for name, body in {
            "apt-get": _APT.format(calls=calls, end=apt),
            "dpkg-deb": _DPKG,
        }.items():
            (tools / name).write_text(f"#!/bin/sh\n{body}\n")
            (tools / name).chmod(0o755)
        command = ["sh", str(root / "scripts" / "test-tools.sh"), str(venv)]
        done = subprocess.run(
            command, env={"PATH": str(tools)}, capture_output=True, encoding="utf-8"
        )
        return done, venv, calls.read_text().split()

    return run


def test_unpacked_beside_the_packages_and_found_with_its_libraries(fetch) -> None:
    done, venv, calls = fetch()
    assert (done.returncode, done.stderr, calls) == (0, "", ["install"])
    said = subprocess.run([venv / "bin" / "Orthanc", "x"], capture_output=True, encoding="utf-8")
    libraries, names, word = said.stdout.strip().split("|")
    assert f"{venv}/debian/usr/lib/any-linux-gnu" in libraries.split(":")
    assert (names, word) == (f"{venv}/debian/usr/share/libdcmtk1/dicom.dic", "x")
    _, _, calls = fetch()
    assert calls == ["install"]  # once is enough


def test_stale_package_lists_are_fetched(fetch) -> None:
    done, venv, calls = fetch('[ -e "$0.seen" ] || { : >"$0.seen"; exit 100; }')
    assert done.returncode == 0
    assert calls == ["install", "update", "install"]
    assert (venv / "debian" / "complete").exists()


def test_without_a_network_tests_are_skipped_not_failed(fetch) -> None:
    done, venv, _ = fetch("echo no network >&2; exit 100")
    assert done.returncode == 0
    assert "could not be fetched (no network). Tests that need them are skipped." in done.stderr
    assert not (venv / "debian").exists()
