"""The set-up's script for Debian, with apt and dpkg played by small scripts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a shell script for Debian")


@pytest.fixture
def machine(tmp_path: Path, root: Path):
    """Run the script on a machine with these packages, as this user."""
    script = root / "scripts" / "system-libraries.sh"
    needed = re.search(r'^needed="(.*?)"', script.read_text(), re.MULTILINE | re.DOTALL)

    def run(
        without: set[str],
        user: int = 0,
        stale: bool = False,
        provides: str = "",
        asked: tuple[str, ...] = ("xauth", "xvfb"),
    ):
        here = {*needed.group(1).split(), "xauth", "xvfb"} - without
        listing = "".join(f"ii |{name}, \n" for name in sorted(here)) + provides
        (tmp_path / "listing").write_text(listing)
        tools = {
            "dpkg-query": f'cat "{tmp_path}/listing"',
            "id": f"echo {user}",
            "apt-get": f'echo "$@" >>"{tmp_path}/calls"\n'
            + (f'[ "$1" = update ] || grep -q update "{tmp_path}/calls"' if stale else ":"),
        }
        for name, body in tools.items():
            tool = tmp_path / name
            tool.write_text(f"#!/bin/sh\n{body}\n")
            tool.chmod(0o755)
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        command = ["sh", str(script), sys.executable, *asked]
        done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8")
        calls = tmp_path / "calls"
        return done, calls.read_text().splitlines() if calls.exists() else []

    return run


def test_nothing_missing_nothing_said(machine) -> None:
    done, calls = machine(without=set(), user=1000)
    assert (done.returncode, done.stdout, done.stderr, calls) == (0, "", "", [])


def test_the_demo_asks_for_no_virtual_screen(machine) -> None:
    done, calls = machine(without={"xvfb", "xauth"}, user=1000, asked=())
    assert (done.returncode, done.stdout, done.stderr, calls) == (0, "", "", [])


def test_a_user_is_told_the_one_line(machine) -> None:
    done, calls = machine(without={"xvfb", "libegl1"}, user=1000)
    assert done.returncode == 1
    assert calls == []
    (line,) = (line for line in done.stderr.splitlines() if "apt-get" in line)
    assert line.strip() == "sudo apt-get install --no-install-recommends libegl1 xvfb"


def test_root_installs_what_is_missing_without_an_update(machine) -> None:
    done, calls = machine(without={"xvfb"})
    assert done.returncode == 0
    (call,) = calls
    assert call.split()[0] == "install"
    assert call.split()[-1] == "xvfb"


def test_stale_package_lists_are_fetched_once(machine) -> None:
    done, calls = machine(without={"xvfb"}, stale=True)
    assert done.returncode == 0, done.stderr
    assert [call.split()[0] for call in calls] == ["install", "update", "install"]


def test_a_package_that_provides_the_name_counts(machine) -> None:
    provides = "ii |libglib2.0-0t64, libglib2.0-0 (= 2.80.0)\n"
    done, calls = machine(without={"libglib2.0-0"}, user=1000, provides=provides)
    assert (done.returncode, calls) == (0, [])


def test_a_removed_package_counts_as_missing(machine) -> None:
    done, _ = machine(without={"xvfb"}, user=1000, provides="rc |xvfb, \n")
    assert done.returncode == 1
