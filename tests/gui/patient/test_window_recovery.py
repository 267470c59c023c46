"""What comes back when a case is opened again: views, prediction, a training broken off."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial

import numpy as np
import psutil
import pytest
from napari.utils.notifications import notification_manager

from cmfnet_napari.core.case.folder import open_case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.gui.patient.opened import open_files
from tests.gui.conftest import SHAPE

HOLD = """
import sys
from pathlib import Path
from cmfnet_napari.core.case.lock import CaseLock
lock = CaseLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def said():
    return [record.message for record in notification_manager.records]


@pytest.fixture
def again(opened, patient, qtbot):
    """Leave the patient and open it again."""

    def reopen():
        notification_manager.records.clear()
        with qtbot.waitSignal(opened.session.opened, timeout=20000):
            opened.session.open(partial(open_files, patient.ct, patient.mr))
        qtbot.wait(100)

    return reopen


@pytest.fixture
def broken_off(opened, scribble):
    """A run of the open case that was killed at step 3."""
    scribble()
    run = opened.session.case.new_run("quick")
    started = events.Started(run="r", device="cpu", precision="float32", steps=9, parameters=1)
    step = events.Step(
        step=3, progress=0.3, elapsed_s=1, remaining_s=2, losses={"ssl": 1.0, "total": 1.0}
    )
    lines = [events.encode(started), events.encode(step), '{"event":"st']
    (run / "events.jsonl").write_text("\n".join(lines))
    (run / "state.pt").write_bytes(b"state")
    return run


def test_views_come_back(opened, again):
    session = opened.session
    opened.workbench.planes.show("coronal")
    session.viewer.dims.current_step = (3, 7, 5)
    session.viewer.scene.camera.zoom = 7.5
    layers = session.viewer.layers
    layers["CT"].contrast_limits = (-50.0, 150.0)
    layers["MR"].visible, layers["MR"].opacity = True, 0.4
    session.select_class(1)
    session.scribbles.brush_size = 5
    opened.scribble_panel.tools.protect.setChecked(True)
    preset = opened.training_panel.begin.preset
    preset.setCurrentIndex(preset.findData("standard"))
    opened.workbench.last_view.close()
    preset.setCurrentIndex(preset.findData("quick"))
    opened.workbench.last_view._kept = (
        opened.workbench.last_view._views()
    )  # so that this one is not kept
    again()
    layers = session.viewer.layers
    assert opened.workbench.planes.plane == "coronal"
    assert session.viewer.dims.current_step == (3, 7, 5)
    assert session.viewer.scene.camera.zoom == pytest.approx(7.5)
    assert tuple(layers["CT"].contrast_limits) == (-50.0, 150.0)
    assert (layers["MR"].visible, layers["MR"].opacity) == (True, 0.4)
    assert (session.scribbles.selected_label, session.scribbles.brush_size) == (1, 5)
    assert opened.scribble_panel.tools.protect.isChecked()
    assert session.scribbles.preserve_labels
    assert preset.currentData() == "standard"
    assert not said()  # after a proper end nothing is said


def test_damaged_views_are_no_hindrance(opened, again):
    folder, last_view = opened.session.case.folder, opened.workbench.last_view
    for views in ("{", "[1]", '{"plane": 3}', '{"brush": "thick"}'):
        last_view.close()
        (folder / "views.json").write_text(views)
        last_view._kept = last_view._views()
        again()
        assert opened.session.patient is not None, views
        assert not said(), views


def test_other_classes_are_kept_when_one_says_so(opened, hand, qtbot):
    session = opened.session
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[5, 8, 8:10] = 1
    session.recorder.add(strokes, "import")
    hand.look_at("axial", (5, 8, 6))
    session.select_class(2)
    session.scribbles.brush_size = 1
    opened.scribble_panel.tools.protect.setChecked(True)
    hand.drag((5, 8, 6), (5, 8, 12))
    np.testing.assert_array_equal(session.scribbles.data[5, 8, 6:13], [2, 2, 1, 1, 2, 2, 2])
    opened.scribble_panel.tools.protect.setChecked(False)
    hand.drag((5, 8, 6), (5, 8, 12))
    assert set(session.scribbles.data[5, 8, 6:13]) == {2}


def test_the_prediction_comes_back(opened, fake, scribble, again, qtbot):
    scribble()
    fake("good")
    with qtbot.waitSignal(opened.workbench.result.changed, timeout=20000):
        opened.workbench.training.start("quick")
        qtbot.waitUntil(lambda: opened.workbench.result.prediction is not None, timeout=20000)
    run = opened.session.case.folder / "runs" / "0001-quick"
    finished = events.Finished(
        model="runs/0001-quick/model.safetensors",
        labels="runs/0001-quick/prediction.nrrd",
        probabilities="runs/0001-quick/probabilities.nrrd",
        volumes_ml={},
    )
    (run / "events.jsonl").write_text(events.encode(finished) + "\n")
    shown = opened.workbench.result.prediction.data.copy()
    again()
    qtbot.waitUntil(lambda: opened.workbench.result.prediction is not None, timeout=20000)
    np.testing.assert_array_equal(opened.workbench.result.prediction.data, shown)
    (run / "prediction.nrrd").unlink()
    again()
    qtbot.waitUntil(lambda: any("not shown" in text for text in said()), timeout=20000)
    assert opened.session.patient is not None


def test_a_training_that_was_broken_off_is_offered(opened, broken_off, again, fake, qtbot):
    again()
    panel = opened.training_panel.goes_on
    opened.tabs.setCurrentIndex(2)
    assert panel.continue_button.isVisible()
    assert panel.label.text() == "A training was broken off at step 3 of 9."
    fake("good")
    with qtbot.waitSignal(opened.workbench.training.finished, timeout=20000):
        panel.continue_button.click()
    command = json.loads((opened.session.case.folder / "command.json").read_text())
    assert (command["resume"], command["lighter"]) == ("runs/0001-quick", False)


def test_a_worker_that_is_silent_or_killed(opened, broken_off, fake, qtbot, monkeypatch):
    with monkeypatch.context() as patch:
        without_a_sign_of_life_it_can_be_ended(opened, fake, qtbot, patch)
    killed_it_can_be_continued_with_less(opened, broken_off, fake, qtbot)


def without_a_sign_of_life_it_can_be_ended(opened, fake, qtbot, monkeypatch):
    training, panel = opened.workbench.training, opened.training_panel.goes_on
    monkeypatch.setattr(training.watchdog, "limit", 1.0)
    fake("stubborn")
    opened.tabs.setCurrentIndex(2)
    training.start("quick")
    qtbot.waitUntil(panel.end_button.isVisible, timeout=20000)
    assert "No sign of life" in panel.silence.text()
    with qtbot.waitSignal(training.failed, timeout=20000):
        panel.end_button.click()
    assert not panel.end_button.isVisible()
    assert panel.continue_button.isVisible()


def killed_it_can_be_continued_with_less(opened, broken_off, fake, qtbot):
    fake("endless")
    training = opened.workbench.training
    with qtbot.waitSignal(training.previewed, timeout=20000):
        training.start("quick")
    with qtbot.waitSignal(training.failed, timeout=20000) as failed:
        psutil.Process(training.process_id).kill()
    assert "was killed" in failed.args[0]
    assert training.interrupted.folder == broken_off
    fake("good")
    with qtbot.waitSignal(training.finished, timeout=20000):
        training.resume()
    command = json.loads((opened.session.case.folder / "command.json").read_text())
    assert command["lighter"]


def test_what_was_recovered_is_said(opened, broken_off, patient, qtbot, again):
    holder = opened.session.case.folder / "in-use.json"
    note = holder.read_text()
    opened.session.scribbles.brush_size = 4
    opened.session._leave()
    holder.write_text(note)  # as a killed window leaves it
    again()
    (sentence,) = said()
    assert "Recovered: 1 stroke (the last of 20" in sentence
    assert "), 2 classes, the views and a training that was broken off at step 3 (" in sentence


def test_a_second_window_looks_on(opened, patient, scribble, qtbot, again):
    session = opened.session
    scribble()
    folder = session.case.folder
    session._leave()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        assert holder.stdout.readline() == "held\n"
        again()
        assert any(f"process {holder.pid}" in text for text in said())
        assert session.scribbles.data.any()
        assert not session.scribbles.editable
        assert f"process {holder.pid}" in opened.notice.text()
        assert opened.notice.isVisible()
        assert not opened.training_panel.train_button.isEnabled()
        assert not opened.scribble_panel.auto.isEnabled()
        session.undo()
        session.select_class(1)
        assert session.scribbles.mode == "pan_zoom"
        session.viewer.dims.current_step = (1, 1, 1)
        opened.workbench.close()
        assert (
            not (folder / "views.json").exists()
            or "1, 1, 1" not in (folder / "views.json").read_text()
        )
    finally:
        holder.communicate()
    case = open_case(folder)
    assert case.journal.last_id() == 1
    case.close()


def test_strokes_that_are_not_saved_are_said_until_they_are(opened, qtbot, monkeypatch):
    from cmfnet_napari.gui.patient import layer_recorder

    monkeypatch.setattr(layer_recorder, "_RETRY_MS", 300)
    journal, panel = opened.session.case.journal, opened.scribble_panel
    append = journal.append

    def full(_stroke):
        raise UserError("The stroke could not be saved (disk full).")

    monkeypatch.setattr(journal, "append", full)
    opened.session.scribbles.paint((5, 8, 8), 2)
    qtbot.waitUntil(panel.unsaved.isVisible, timeout=2000)
    assert "Not saved yet" in panel.unsaved.text()
    monkeypatch.setattr(journal, "append", append)
    qtbot.waitUntil(lambda: not panel.unsaved.isVisible(), timeout=5000)
    assert journal.last_id() == 1


@pytest.mark.canvas
def test_a_window_asks_before_it_closes_over_strokes_that_are_not_saved(opened, monkeypatch):
    asked, journal = [], opened.session.case.journal
    monkeypatch.setattr("cmfnet_napari.gui.dock.ask_sure", lambda *words: asked.append(words[-1]))

    def full(_stroke):
        raise UserError("The stroke could not be saved (disk full).")

    with monkeypatch.context() as broken:
        broken.setattr(journal, "append", full)
        opened.session.scribbles.data[5, 8, 8] = 2
        window = opened.window()
        assert not window.close()
        assert window.isVisible()
        assert not opened.session.ended
    assert asked == [
        "What was drawn last is not saved yet. The stroke could not be saved (disk full).\n\n"
        "Close the window all the same, and lose it?"
    ]
    assert not opened.session.unsaved()  # there is room again
    assert journal.last_id() == 1
