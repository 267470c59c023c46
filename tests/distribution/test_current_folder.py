"""No code from the current folder: it is a patient's, and others put files there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core import isolation
from cmfnet_napari.core.case.folder import create_case
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.gui.app import _check_qt
from cmfnet_napari.gui.training.worker_client import worker_command

MODULES = (
    "PyQt6 cmfnet_napari email html json logging matplotlib monai napari numpy platform psutil "
    "pydantic qtpy random rich scipy secrets skimage socket subprocess tempfile torch typer uuid "
    "vispy"
)
POISON = "open({!r}, 'a').write({!r} + chr(10))\nraise SystemExit('poison')\n"
PACKAGE = Path(isolation.__file__).parents[2]


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """File that gets the name of every poisoned module that runs."""
    return tmp_path / "marker"


@pytest.fixture
def poisoned(tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with modules that must not run."""
    folder = tmp_path / "patient"
    folder.mkdir()
    for name in MODULES.split():
        file = folder / name / "__init__.py" if name == "cmfnet_napari" else folder / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(POISON.format(str(marker), name), encoding="utf-8")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "PYTHONPATH", "PYTHONSAFEPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CMFNET_CASES", str(tmp_path / "cases"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def cmfnet() -> str:
    """The installed command."""
    path = Path(sys.executable).with_name("cmfnet.exe" if os.name == "nt" else "cmfnet")
    if not path.exists():
        pytest.skip("the command is not installed beside this Python")
    return str(path)


def run(*command: str, words: str = "", **environment: str) -> str:
    """Run a command in the current folder for what it prints."""
    done = subprocess.run(
        command, input=words, capture_output=True, encoding="utf-8", timeout=300,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def ran(marker: Path) -> set[str]:
    return set(marker.read_text(encoding="utf-8").split()) if marker.exists() else set()


def test_the_poison_works(poisoned: Path, marker: Path) -> None:
    subprocess.run([sys.executable, "-c", "import torch"], check=False, capture_output=True)
    assert ran(marker) == {"torch"}


def test_help(poisoned: Path, marker: Path, cmfnet: str) -> None:
    assert "doctor" in run(cmfnet, "--help")
    assert not ran(marker)


@pytest.mark.window
@pytest.mark.skipif(sys.platform != "linux", reason="Xvfb is a Linux program")
def test_doctor_and_the_opengl_it_asks(
    poisoned: Path, marker: Path, cmfnet: str, xvfb: str
) -> None:
    facts = json.loads(run(cmfnet, "doctor", "--json", DISPLAY=xvfb).splitlines()[-1])
    assert not ran(marker)
    assert facts["torch"]["version"]
    assert "llvmpipe" in facts["window"]["opengl"]["renderer"]


@pytest.mark.window
@pytest.mark.skipif(sys.platform != "linux", reason="Xvfb is a Linux program")
def test_doctor_by_python_m_and_a_python_path_with_an_empty_entry(
    poisoned: Path, marker: Path, xvfb: str
) -> None:
    """Either of the two makes Python look in the current folder."""
    (poisoned / "cmfnet_napari" / "__init__.py").unlink()  # Python obeys before our first line
    (poisoned / "cmfnet_napari").rmdir()
    command = [sys.executable, "-m", "cmfnet_napari", "doctor", "--json"]
    facts = json.loads(run(*command, DISPLAY=xvfb, PYTHONPATH=os.pathsep).splitlines()[-1])
    assert not ran(marker)
    assert facts["torch"]["version"]
    assert "llvmpipe" in facts["window"]["opengl"]["renderer"]


def test_worker_as_the_window_starts_it(poisoned: Path, marker: Path, tmp_path: Path) -> None:
    ct = np.random.default_rng(0).integers(-100, 200, (4, 6, 8)).astype(np.int16)
    create_case(tmp_path / "case", study_from_images(sitk.GetImageFromArray(ct))).close()
    fit = json.dumps({"command": "fit", "config": {"preset": "quick"}, "device": "cpu"})
    out = run(*worker_command(tmp_path / "case"), words=fit + "\n")
    assert not ran(marker)
    events = [json.loads(line) for line in out.splitlines()]
    assert events[-1]["event"] == "failed"
    assert "stroke" in events[-1]["reason"] or "scribble" in events[-1]["reason"].lower()


@pytest.mark.window
@pytest.mark.skipif(sys.platform != "linux", reason="Xvfb is a Linux program")
def test_the_windows_trial_of_qt(
    poisoned: Path, marker: Path, xvfb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", xvfb)
    _check_qt()
    assert not ran(marker)


def test_every_python_is_started_in_one_place() -> None:
    files = (PACKAGE / "cmfnet_napari").rglob("*.py")
    users = {file.name for file in files if "sys.executable" in file.read_text(encoding="utf-8")}
    assert users == {"isolation.py"}


@pytest.fixture
def this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search path and environment come back after the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("PYTHONPATH", "PYTHONSAFEPATH", "NODEFAULTCURRENTDIRECTORYINEXEPATH"):
        monkeypatch.setenv(name, "")


@pytest.mark.usefixtures("this_process")
def test_what_is_started_later_looks_elsewhere_too(poisoned: Path, marker: Path) -> None:
    os.environ["PYTHONPATH"] = os.pathsep.join(["", str(PACKAGE), ".", str(poisoned)])
    sys.path[:0] = ["", str(poisoned)]
    isolation.leave_current_folder()
    assert not {"", str(poisoned)} & set(sys.path)
    assert os.environ["PYTHONPATH"] == str(PACKAGE)
    run(sys.executable, "-c", "import psutil")  # as a library would start it
    assert not ran(marker)


@pytest.mark.usefixtures("this_process")
def test_a_checkout_stays_importable_from_within(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PACKAGE)
    sys.path.insert(0, str(PACKAGE))
    isolation.leave_current_folder()
    assert sys.path[0] == str(PACKAGE)


@pytest.mark.usefixtures("this_process")
@pytest.mark.skipif(os.name == "nt", reason="Windows removes no folder that is in use")
def test_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    sys.path.insert(0, "")
    isolation.leave_current_folder()
    assert "" not in sys.path


def program(path: Path) -> Path:
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_programs_are_found_on_path_but_not_here(
    poisoned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(poisoned / "dciodvfy")
    program(poisoned / "dciodvfy.exe")
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", str(poisoned), str(bin_)]))
    assert isolation.find_program("dciodvfy") is None
    theirs = program(bin_ / "dciodvfy.exe")
    assert isolation.find_program("dciodvfy") == str(theirs)
