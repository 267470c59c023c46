"""``cmfnet open`` and ``cmfnet demo``: the window, or why there is none."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.gui import app


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
    code = f"""
import faulthandler
import gc
import sys
faulthandler.dump_traceback_later(170, exit=True)  # where it hangs, if it does
from qtpy.QtCore import QTimer
import napari
from cmfnet_napari.gui import app

def watch():
    viewer = napari.current_viewer()
    docks = viewer.window.dock_widgets if viewer is not None else {{}}
    training = next(iter(docks.values())).workbench.training if docks else None
    if training is not None and training.process_id:
        print("names", [layer.name for layer in viewer.layers], "pid", training.process_id)
        print("kept from the garbage collector", gc.get_freeze_count() > 100_000)
        viewer.close()
        return
    QTimer.singleShot(200, watch)

from cmfnet_napari.gui.training import training
script = {str(os.path.join(os.path.dirname(__file__), "fake_worker.py"))!r}
training.worker_command = lambda case: [sys.executable, script, "endless", str(case)]
run = napari.run
napari.run = lambda: (QTimer.singleShot(0, watch), run())
app.open_window(demo=True)
import cmfnet_napari.gui.plugin.sample_data
print("learning", {{"torch", "monai"}} & set(sys.modules))
print("closed")
"""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **{name: str(place) for name, place in places.items()}},
        capture_output=True,
        encoding="utf-8",
        timeout=180,
    )


def test_no_torch_in_the_window(demo):
    assert "learning set()\n" in demo.stdout


@pytest.mark.slow
def test_demo_opens_and_trains(demo):
    done = demo
    assert "names ['CT', 'MR', 'Contour', 'Scribbles']" in done.stdout, done.stderr
    assert "kept from the garbage collector True" in done.stdout
    assert done.stdout.rstrip().endswith("closed")
    assert done.returncode == 0, done.stderr
    assert "Destroyed while process" not in done.stderr
