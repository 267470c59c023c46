"""kill -9 of the real worker: training goes on. Windows are killed by tests/faults/kills.py."""

from __future__ import annotations

import psutil
import pytest

from tests.gui.conftest import real_command

TINY = {"width": 4, "steps": 60, "precision": "float32", "device": "cpu"}


@pytest.mark.slow
def test_a_killed_worker_is_gone_on_with(opened, scribble, qtbot, monkeypatch):
    monkeypatch.setenv("CMFNET_SAVE_SECONDS", "0")
    scribble()
    opened.tabs.setCurrentIndex(2)
    training, panel = opened.workbench.training, opened.training_panel.goes_on
    training.command = real_command
    begun, told = [], []
    training.started.connect(begun.append)
    training.noticed.connect(told.append)
    with qtbot.waitSignal(training.stepped, timeout=60000):
        training.start("quick", **TINY)
    state = opened.session.case.folder / begun[0].run / "state.pt"
    first = state.stat().st_ino  # of before the first step, or later
    qtbot.waitUntil(lambda: state.stat().st_ino != first, timeout=20000)
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
