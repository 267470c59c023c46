"""The contour follows the strokes: with a worker that only speaks the protocol."""

from __future__ import annotations

import json

import numpy as np
import psutil
import pytest
from conftest import SHAPE
from napari.utils.notifications import notification_manager
from test_window_real_worker import ended

from cmfnet_napari.gui import refining as gui_refining

PLACE = np.s_[6, 2:5, 9:12]  # background in the fake worker's prediction


@pytest.fixture
def fitted(opened, fake, scribble, qtbot):
    """The dock after a fit, in one of the fake worker's modes."""

    def do(mode="good"):
        fake(mode)
        scribble()
        with qtbot.waitSignal(opened.session.training.finished, timeout=30000):
            opened.training_panel.train_button.click()
        qtbot.waitUntil(lambda: "ml" in opened.result_panel.volumes.text(), timeout=10000)
        return opened.session

    return do


def stroke(session, place=PLACE, code=2):
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[place] = code
    session.recorder.add(strokes, "hand")


def refines(session):
    """The commands that the fake worker got."""
    path = session.case.folder / "refines.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def shown(session, place=PLACE):
    return np.asarray(session.result.prediction.data)[place]


def updated(session, qtbot, action):
    with qtbot.waitSignal(session.refining.finished, timeout=15000) as blocker:
        action()
    return blocker.args[0]


def test_a_stroke_changes_the_contour_in_place(fitted, opened, qtbot):
    session = fitted()
    refining, layer = session.refining, session.result.prediction
    number = refining.process_id
    assert psutil.pid_exists(number)  # it stays after the fit
    assert session.training.process_id == 0
    assert refining.state == "ready"
    opened.tabs.setCurrentIndex(1)
    session.select_class(2)
    layer.opacity, session.result.probability.visible = 0.3, True
    names = [one.name for one in session.viewer.layers]
    view = session.viewer.scene.camera.center, session.viewer.scene.camera.zoom
    states, status = [], []
    refining.state_changed.connect(states.append)
    refining.state_changed.connect(lambda _s: status.append(opened.update_status.label.text()))
    updated(session, qtbot, lambda: stroke(session))
    qtbot.waitUntil(lambda: (shown(session) == 1).all(), timeout=5000)
    assert states == ["updating", "ready"]
    assert "Updating …" in status
    assert opened.update_status.label.text() == "Updated: agreement with your strokes 97 %."
    assert opened.update_status.label.isVisible()
    assert refines(session) == [{"command": "refine", "model": "runs/0001-quick", "device": "auto"}]
    assert refining.process_id == number
    # nothing else has moved
    assert session.result.prediction is layer
    assert (layer.opacity, session.result.probability.visible) == (0.3, True)
    assert [one.name for one in session.viewer.layers] == names
    assert session.viewer.layers.selection.active == session.scribbles
    assert (session.scribbles.mode, session.scribbles.selected_label) == ("paint", 2)
    assert (session.viewer.scene.camera.center, session.viewer.scene.camera.zoom) == view
    assert opened.tabs.currentIndex() == 1
    np.testing.assert_array_equal(session.case.scribbles(), session.scribbles.data)


def test_undo_and_redo_count_as_strokes(fitted, qtbot):
    session = fitted()
    updated(session, qtbot, lambda: stroke(session))
    qtbot.waitUntil(lambda: (shown(session) == 1).all(), timeout=5000)
    updated(session, qtbot, session.undo)
    qtbot.waitUntil(lambda: (shown(session) == 0).all(), timeout=5000)
    updated(session, qtbot, session.redo)
    qtbot.waitUntil(lambda: (shown(session) == 1).all(), timeout=5000)


def test_strokes_in_a_row_wait_for_a_quiet_moment(fitted, qtbot):
    session = fitted()

    quiet = session.refining._quiet
    assert quiet.interval() == gui_refining.QUIET_MS

    def three():
        quiet.setInterval(3_600_000)  # however slow this machine is, they follow one another
        for row in (2, 3, 4):
            stroke(session, np.s_[6, row, 9:12])
            qtbot.wait(20)
            assert quiet.isActive()
        quiet.setInterval(gui_refining.QUIET_MS)

    updated(session, qtbot, three)
    qtbot.wait(800)
    assert len(refines(session)) == 1


def test_an_undo_during_an_update_is_not_lost(fitted, qtbot):
    session = fitted("slow")
    stroke(session)
    qtbot.waitUntil(lambda: (shown(session) == 1).all(), timeout=10000)  # the preview
    assert session.refining.state == "updating"
    session.undo()
    qtbot.waitUntil(lambda: (shown(session) == 0).all(), timeout=10000)
    qtbot.waitUntil(lambda: session.refining.state == "ready", timeout=10000)
    qtbot.waitUntil(lambda: len(refines(session)) == 2, timeout=10000)  # to be sure
    qtbot.waitUntil(lambda: session.refining.state == "ready", timeout=10000)
    qtbot.wait(300)
    assert (shown(session) == 0).all()


def test_the_box_switches_it_off_and_on(fitted, opened, qtbot):
    session = fitted()
    box, number = opened.training_panel.update_box, session.refining.process_id
    assert box.isChecked()
    box.click()
    qtbot.waitUntil(lambda: ended(number), timeout=8000)  # its memory is free
    stroke(session)
    qtbot.wait(800)
    assert refines(session) == []
    assert (shown(session) == 0).all()
    box.click()
    updated(session, qtbot, session.undo)
    assert len(refines(session)) == 1


def test_the_worker_goes_when_nobody_draws_and_comes_back(fitted, qtbot):
    session = fitted()
    number = session.refining.process_id
    assert session.refining.idle.interval() == 1000 * gui_refining.IDLE_SECONDS
    session.refining.idle.timeout.emit()
    qtbot.waitUntil(lambda: ended(number), timeout=8000)
    assert session.refining.state == "ready"
    updated(session, qtbot, lambda: stroke(session))
    assert session.refining.process_id not in (0, number)


def test_an_idle_worker_that_is_killed_is_not_missed(fitted, opened, qtbot):
    session = fitted()
    said, number = [], session.refining.process_id
    session.refining.failed.connect(said.append)
    session.training.failed.connect(lambda *words: said.append(words))
    notification_manager.records.clear()
    psutil.Process(number).kill()
    qtbot.waitUntil(lambda: session.refining.process_id == 0, timeout=8000)
    assert opened.update_status.label.text() == ""
    updated(session, qtbot, lambda: stroke(session))
    qtbot.waitUntil(lambda: (shown(session) == 1).all(), timeout=5000)
    assert said == []
    assert not [r for r in notification_manager.records if r.severity.value in ("error", "warning")]


@pytest.mark.parametrize(
    ("mode", "words"), [("hesitates", "The model is damaged."), ("falls", "ended unexpectedly")]
)
def test_a_failure_is_one_sentence_and_the_contour_stays(fitted, opened, qtbot, mode, words):
    session = fitted(mode)
    before = session.result.prediction
    with qtbot.waitSignal(session.refining.failed, timeout=15000):
        stroke(session)
    text = opened.update_status.label.text()
    assert text.startswith("The contour was not updated.")
    assert words in text
    assert session.refining.state == "ready"
    assert session.result.prediction is before
    assert before in session.viewer.layers
    with qtbot.waitSignal(session.refining.failed, timeout=15000):  # and it is tried again
        session.undo()


def test_a_new_fit_ends_the_old_worker(fitted, opened, qtbot):
    session = fitted()
    number = session.refining.process_id
    with qtbot.waitSignal(session.training.finished, timeout=30000):
        opened.training_panel.train_button.click()
        stroke(session)  # while it trains: nothing for a refine
        qtbot.waitUntil(lambda: ended(number), timeout=8000)
    assert session.refining.process_id not in (0, number)


def test_leaving_the_patient_ends_the_worker(fitted, qtbot):
    session = fitted()
    number = session.refining.process_id
    session.viewer.layers.remove(session.scribbles)
    assert session.refining.state == "off"
    qtbot.waitUntil(lambda: ended(number), timeout=8000)


def test_nothing_is_updated_before_there_is_a_contour(opened, fake, scribble, qtbot):
    fake("good")
    scribble()
    qtbot.wait(800)
    assert opened.session.refining.state == "off"
    assert refines(opened.session) == []


def test_a_case_for_looking_is_never_updated(fitted, qtbot, monkeypatch):
    session = fitted()
    monkeypatch.setattr(session.case, "read_only", True)
    session.strokes_changed.emit()
    qtbot.wait(800)
    assert refines(session) == []
    session.refining.close()
    session.opened.emit()
    assert session.refining.state == "off"
