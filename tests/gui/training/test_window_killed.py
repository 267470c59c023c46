"""kill -9 of the real worker and of a real window: nothing is lost, and training goes on."""

from __future__ import annotations

import sys
import time

import psutil
import pytest

from cmfnet_napari.core.case.folder import open_case
from cmfnet_napari.core.fit.runs import interrupted_run
from tests.faults import kills
from tests.gui.training.test_window_real_worker import ended

TINY = {"width": 4, "steps": 12, "precision": "float32", "device": "cpu"}
ORPHAN_SECONDS = 120


@pytest.mark.slow
def test_a_killed_worker_is_gone_on_with(opened, scribble, qtbot, monkeypatch):
    monkeypatch.setenv("CMFNET_SAVE_SECONDS", "0")
    scribble()
    opened.tabs.setCurrentIndex(2)
    training, panel = opened.workbench.training, opened.training_panel.goes_on
    begun, told = [], []
    training.started.connect(begun.append)
    training.noticed.connect(told.append)
    with qtbot.waitSignal(training.stepped, timeout=60000):
        training.start("quick", **TINY)
    state = opened.session.case.folder / begun[0].run / "state.pt"
    qtbot.waitUntil(state.exists, timeout=20000)
    assert training.running
    with qtbot.waitSignal(training.failed, timeout=10000):
        psutil.Process(training.process_id).kill()
    qtbot.waitUntil(panel.continue_button.isVisible, timeout=2000)
    with qtbot.waitSignal(training.finished, timeout=60000) as finished:
        panel.continue_button.click()
    assert begun[1].run == begun[0].run
    assert begun[1].from_step > 0
    assert finished.args[0].steps == TINY["steps"]
    assert training.interrupted is None
    qtbot.waitUntil(lambda: not state.exists(), timeout=5000)  # the worker tells first
    assert not panel.continue_button.isVisible()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
def test_a_killed_window_leaves_strokes_a_state_and_no_worker(display, tmp_path, monkeypatch):
    monkeypatch.setenv("CMFNET_SAVE_SECONDS", "0")
    kills.write_patient(tmp_path)
    window = kills.Window(tmp_path, seed=1, fit=True)
    worker = window.wait_for("fit", kills.START_SECONDS)["worker"]
    drawn = window.wait_for("stroke", kills.START_SECONDS)
    promised = drawn["time"] + kills.PROMISE_SECONDS
    while window.wait_for("stroke", kills.START_SECONDS)["time"] < promised:
        pass
    end = time.monotonic() + kills.START_SECONDS
    while not list((tmp_path / "cases").glob("*/runs/*/state.pt")) and time.monotonic() < end:
        time.sleep(0.05)
    window.kill()
    end = time.monotonic() + ORPHAN_SECONDS
    while not ended(worker) and time.monotonic() < end:
        time.sleep(0.2)
    assert ended(worker)
    (folder,) = (tmp_path / "cases").iterdir()
    case = open_case(folder)
    try:
        assert case.unclean
        assert drawn["sum"] in {strokes for strokes, _ in kills._states(case)}
        assert interrupted_run(case.runs()) is not None
    finally:
        case.close()
