"""``cmfnet open`` and ``cmfnet demo``: the window, or why there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.gui import app
from tests.forked import CAN_FORK, Forked, start


def test_without_a_display(monkeypatch):
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(UserError, match="no display"):
        app.check_window()


def test_display_that_is_not_there(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    with pytest.raises(UserError, match="Qt cannot open a window here"):
        app.check_window()


def test_without_napari(monkeypatch):
    monkeypatch.setattr(app, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install \"cmfnet-napari\[all\]\""):
        app.check_window()


def test_window_can_be_shown_here():
    app.check_window()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The real `open_window` in a process of its own, ended when the fit has begun."""
    folder = tmp_path_factory.mktemp("demo")
    places = {"CMFNET_CASES": folder / "cases", "CMFNET_MODELS": folder / "models"}
    places |= {"CMFNET_PREFERENCES": folder / "window.json", "CMFNET_REVIEW": folder / "review"}
    places = {name: str(place) for name, place in places.items()}
    if CAN_FORK:
        start("core")  # else it is started by the window, whose stderr it keeps open
    process = Forked("window", "tests.gui.demo_window:main", environment={**os.environ, **places})
    said = {"stdout": process.stdout.read(), "stderr": process.stderr.read()}
    said["returncode"] = process.wait(20)
    process.close()
    return SimpleNamespace(**said)


def test_no_torch_in_the_window(demo):
    assert "learning set()\n" in demo.stdout


def test_the_window_starts_without_what_writes_reports_and_dicom():
    """A second of imports that nothing needs before something is exported."""
    late = {"highdicom", "matplotlib.figure", "pynetdicom", "dicomweb_client", "sklearn", "torch"}
    code = f"import sys, cmfnet_napari.gui.dock; print(sorted({late} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.slow
def test_demo_opens_and_trains(demo):
    done = demo
    assert "names ['CT', 'MR', 'Contour', 'Scribbles']" in done.stdout, done.stderr
    assert "kept from the garbage collector True" in done.stdout
    assert done.stdout.rstrip().endswith("closed")
    assert done.returncode == 0, done.stderr
    assert "Destroyed while process" not in done.stderr
