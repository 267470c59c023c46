"""The set-up's script: what a failing pip says becomes one line. pip is played by a script."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a shell script")

_NAMES = (
    "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError("
    "\"HTTPSConnection(host='pypi.org', port=443): Failed to establish a new connection\")'\n"
    "ERROR: Could not find a version that satisfies the requirement napari (from versions: none)\n"
    "ERROR: No matching distribution found for napari"
)
_HALF = (
    "ERROR: Exception:\nTraceback (most recent call last):\n  File response.py, line 561\n"
    "pip._vendor.urllib3.exceptions.ProtocolError: ('Connection broken: IncompleteRead(100 bytes "
    "read, 900 more expected)', IncompleteRead(100 bytes read, 900 more expected))"
)
_CUT = "error: incomplete-download\n× Download failed after 6 attempts because not enough bytes"
_NONE = (
    "ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: "
    "2.14.0)\nERROR: No matching distribution found for torch==2.13.0"
)
_OLD = (
    "ERROR: Cannot install cmfnet-napari because these package versions have conflicting "
    "dependencies.\n    mkdocs-material 9.8.2 depends on pymdown-extensions>=11.0.1\n    The user "
    "requested (constraint) pymdown-extensions==13.1.2\nERROR: ResolutionImpossible: for help visit"
)
_FULL = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
_ELSE = "lots of words\nerror: invalid command 'bdist_wheel'\nmore words"


@pytest.fixture
def install(tmp_path: Path, root: Path):
    """Run the script with a pip that says something and fails, so many times."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    calls, words = tmp_path / "calls", tmp_path / "words"

    def run(said: str, failures: int = 9):
        words.write_text(said, encoding="utf-8")
        python.write_text(
            f'#!/bin/sh\n[ "$1" = -m ] || {{ echo 3.14.0 on x86_64; exit; }}\n'
            f'echo "$@" >>"{calls}"\ncat "{words}"\n'
            f'[ "$(wc -l <"{calls}")" -gt {failures} ]\n'
        )
        python.chmod(0o755)
        command = ["sh", str(root / "scripts" / "install.sh"), str(python), "'.[all]'"]
        done = subprocess.run(command, capture_output=True, encoding="utf-8")
        return done, calls.read_text().splitlines()

    return run


@pytest.mark.parametrize(
    ("said", "words", "attempts"),
    [
        (_NAMES, "A download broke off", 3),
        (_HALF, "A download broke off (pip._vendor.urllib3.exceptions.ProtocolError", 3),
        (_CUT, "A download broke off", 3),
        (_NONE, "found for torch==2.13.0) for Python 3.14.0 on x86_64. Choose another Python", 1),
        (_OLD, "(constraint) pymdown-extensions==13.1.2) for Python 3.14.0 on x86_64.", 1),
        (_FULL, "The disk is full", 1),
        (_ELSE, "pip failed (error: invalid command 'bdist_wheel')", 1),
    ],
)
def test_one_line_says_what_is_wrong(install, tmp_path: Path, said, words, attempts) -> None:
    done, calls = install(said)
    assert (done.returncode, done.stdout, len(calls)) == (1, "", attempts)
    (line,) = done.stderr.splitlines()
    assert words in line
    log = tmp_path / "venv" / "install.log"
    assert line.endswith(f"Details: {log}")
    assert said in log.read_text()


def test_a_download_that_broke_off_is_begun_again(install) -> None:
    done, calls = install(_HALF, failures=1)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(calls) == 2


def test_packages_are_pinned(install) -> None:
    _, (call,) = install("", failures=0)
    assert call.startswith("-m pip install ")
    assert "--constraint constraints.txt '.[all]'" in call
