"""The contour follows the strokes: with a worker that only speaks the protocol."""

from __future__ import annotations

import json

import numpy as np
import psutil
import pytest
from napari.utils.notifications import notification_manager

from cmfnet_napari.gui.training import refinement as gui_refining
from tests.gui.conftest import SHAPE
from tests.gui.training.test_window_real_worker import ended

PLACE = np.s_[6, 2:5, 9:12]  # background in the fake worker's prediction


@pytest.fixture
def fitted(opened, fake, scribble, qtbot):
    """The dock after a fit, in one of the fake worker's modes."""

    def do(mode="good"):
        fake(mode)
        scribble()
        with qtbot.waitSignal(opened.workbench.training.finished, timeout=30000):
            opened.training_panel.train_button.click()
        qtbot.waitUntil(lambda: "ml" in opened.result_panel.volumes.text(), timeout=10000)
        return opened

    return do


def stroke(dock, place=PLACE, code=2):
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[place] = code
    dock.session.recorder.add(strokes, "hand")


def refines(dock):
    """The commands that the fake worker got."""
    path = dock.session.case.folder / "refines.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def shown(dock, place=PLACE):
    return np.asarray(dock.workbench.result.prediction.data)[place]


def updated(dock, qtbot, action):
    with qtbot.waitSignal(dock.workbench.refinement.finished, timeout=15000) as blocker:
        action()
    return blocker.args[0]


def test_a_stroke_changes_the_contour_in_place(fitted, opened, qtbot):
    dock = fitted()
    refinement, layer = dock.workbench.refinement, dock.workbench.result.prediction
    number = refinement.process_id
    assert psutil.pid_exists(number)  # it stays after the fit
    assert dock.workbench.training.process_id == 0
    assert refinement.state == "ready"
    opened.tabs.setCurrentIndex(1)
    dock.session.select_class(2)
    layer.opacity, dock.workbench.result.probability.visible = 0.3, True
    names = [one.name for one in dock.session.viewer.layers]
    view = dock.session.viewer.scene.camera.center, dock.session.viewer.scene.camera.zoom
    states, status = [], []
    refinement.state_changed.connect(states.append)
    refinement.state_changed.connect(lambda _s: status.append(opened.update_status.label.text()))
    updated(dock, qtbot, lambda: stroke(dock))
    qtbot.waitUntil(lambda: (shown(dock) == 1).all(), timeout=5000)
    assert states == ["updating", "ready"]
    assert "Updating …" in status
    assert opened.update_status.label.text() == "Updated: agreement with your strokes 97 %."
    assert opened.update_status.label.isVisible()
    command = {"command": "refine", "model": "runs/0001-quick", "device": "auto"}
    assert refines(dock) == [command | {"corrections": True}]
    assert refinement.process_id == number
    # nothing else has moved
    assert dock.workbench.result.prediction is layer
    assert (layer.opacity, dock.workbench.result.probability.visible) == (0.3, True)
    assert [one.name for one in dock.session.viewer.layers] == names
    assert dock.session.viewer.layers.selection.active == dock.session.scribbles
    assert (dock.session.scribbles.mode, dock.session.scribbles.selected_label) == ("paint", 2)
    assert (dock.session.viewer.scene.camera.center, dock.session.viewer.scene.camera.zoom) == view
    assert opened.tabs.currentIndex() == 1
    np.testing.assert_array_equal(dock.session.case.scribbles(), dock.session.scribbles.data)
    updated(dock, qtbot, dock.session.undo)  # undo and redo count as strokes
    qtbot.waitUntil(lambda: (shown(dock) == 0).all(), timeout=5000)
    updated(dock, qtbot, dock.session.redo)
    qtbot.waitUntil(lambda: (shown(dock) == 1).all(), timeout=5000)


def test_an_undo_during_an_update_is_not_lost(fitted, qtbot):
    dock = fitted("slow")
    stroke(dock)
    qtbot.waitUntil(lambda: (shown(dock) == 1).all(), timeout=10000)  # the preview
    assert dock.workbench.refinement.state == "updating"
    dock.session.undo()
    qtbot.waitUntil(lambda: (shown(dock) == 0).all(), timeout=10000)
    qtbot.waitUntil(lambda: dock.workbench.refinement.state == "ready", timeout=10000)
    qtbot.waitUntil(lambda: len(refines(dock)) == 2, timeout=10000)  # to be sure
    qtbot.waitUntil(lambda: dock.workbench.refinement.state == "ready", timeout=10000)
    qtbot.wait(300)
    assert (shown(dock) == 0).all()


def test_the_box_switches_it_off_and_on(fitted, opened, qtbot):
    dock = fitted()
    box, number = opened.training_panel.update_box, dock.workbench.refinement.process_id
    assert box.isChecked()
    box.click()
    qtbot.waitUntil(lambda: ended(number), timeout=8000)  # its memory is free
    stroke(dock)
    qtbot.wait(800)
    assert refines(dock) == []
    assert (shown(dock) == 0).all()
    box.click()
    updated(dock, qtbot, dock.session.undo)
    assert len(refines(dock)) == 1


def test_a_worker_is_replaced_when_it_idles_is_killed_or_another_fit_begins(fitted, opened, qtbot):
    dock = fitted()
    killed_while_idle_it_is_not_missed(dock, opened, qtbot)
    updated(dock, qtbot, dock.session.undo)
    it_goes_when_nobody_draws_and_comes_back(dock, qtbot)
    a_new_fit_ends_the_old_worker(dock, opened, qtbot)
    leaving_the_patient_ends_it(dock, qtbot)


def killed_while_idle_it_is_not_missed(dock, opened, qtbot):
    said, number = [], dock.workbench.refinement.process_id
    dock.workbench.refinement.failed.connect(said.append)
    dock.workbench.training.failed.connect(lambda *words: said.append(words))
    notification_manager.records.clear()
    psutil.Process(number).kill()
    qtbot.waitUntil(lambda: dock.workbench.refinement.process_id == 0, timeout=8000)
    assert opened.update_status.label.text() == ""
    updated(dock, qtbot, lambda: stroke(dock))
    qtbot.waitUntil(lambda: (shown(dock) == 1).all(), timeout=5000)
    assert said == []
    assert not [r for r in notification_manager.records if r.severity.value in ("error", "warning")]


def it_goes_when_nobody_draws_and_comes_back(dock, qtbot):
    number = dock.workbench.refinement.process_id
    assert dock.workbench.refinement.idle.interval() == 1000 * gui_refining.IDLE_SECONDS
    dock.workbench.refinement.idle.timeout.emit()
    qtbot.waitUntil(lambda: ended(number), timeout=8000)
    assert dock.workbench.refinement.state == "ready"
    updated(dock, qtbot, lambda: stroke(dock))
    assert dock.workbench.refinement.process_id not in (0, number)


def a_new_fit_ends_the_old_worker(dock, opened, qtbot):
    number = dock.workbench.refinement.process_id
    with qtbot.waitSignal(dock.workbench.training.finished, timeout=30000):
        opened.training_panel.train_button.click()
        stroke(dock, np.s_[8, 2:5, 9:12])  # while it trains: nothing for a refine
        qtbot.waitUntil(lambda: ended(number), timeout=8000)
    assert dock.workbench.refinement.process_id not in (0, number)


def leaving_the_patient_ends_it(dock, qtbot):
    number = dock.workbench.refinement.process_id
    dock.session.viewer.layers.remove(dock.session.scribbles)
    assert dock.workbench.refinement.state == "off"
    qtbot.waitUntil(lambda: ended(number), timeout=8000)


@pytest.mark.parametrize(
    ("mode", "words"), [("hesitates", "The model is damaged."), ("falls", "ended unexpectedly")]
)
def test_a_failure_is_one_sentence_and_the_contour_stays(fitted, opened, qtbot, mode, words):
    dock = fitted(mode)
    before = dock.workbench.result.prediction
    with qtbot.waitSignal(dock.workbench.refinement.failed, timeout=15000):
        stroke(dock)
    text = opened.update_status.label.text()
    assert text.startswith("The contour was not updated.")
    assert words in text
    assert dock.workbench.refinement.state == "ready"
    assert dock.workbench.result.prediction is before
    assert before in dock.session.viewer.layers
    with qtbot.waitSignal(dock.workbench.refinement.failed, timeout=15000):  # and it is tried again
        dock.session.undo()
