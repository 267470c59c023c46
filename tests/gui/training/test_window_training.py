"""Train, watch, stop, fail: with a worker that only speaks the protocol."""

from __future__ import annotations

import threading
import time

import numpy as np
import psutil
import pytest
from napari.layers import Layer
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QApplication

from cmfnet_napari.gui.patient.layers import OPENED, case_layers
from cmfnet_napari.gui.patient.opened import open_files
from cmfnet_napari.gui.training import worker_client
from tests.gui.training.test_window_real_worker import ended


def train(opened, qtbot, until="finished", timeout=30000):
    training = opened.workbench.training
    with qtbot.waitSignal(getattr(training, until), timeout=timeout) as blocker:
        opened.training_panel.train_button.click()
    return blocker.args


def gone(qtbot, number, timeout=8000):
    qtbot.waitUntil(lambda: ended(number), timeout=timeout)


def test_what_goes_wrong_is_said_and_one_can_go_on(opened, fake, scribble, qtbot):
    missing_strokes_are_said_before_anything_starts(opened, fake)
    scribble()
    failure_in_words(opened, fake, qtbot)
    program_that_is_not_there(opened, qtbot)
    sudden_end_is_a_failure_with_details(opened, fake, qtbot)
    killed_worker_is_a_failure(opened, fake, qtbot)


def missing_strokes_are_said_before_anything_starts(opened, fake):
    fake("good")
    notification_manager.records.clear()
    opened.training_panel.train_button.click()
    assert "no tumour stroke" in notification_manager.records[-1].message
    opened.session.recorder.add(_one(2), "import")
    opened.training_panel.train_button.click()
    assert "no background stroke" in notification_manager.records[-1].message
    assert opened.workbench.training.process_id == 0
    assert opened.workbench.training.state == "idle"


def _one(code):
    from tests.gui.conftest import SHAPE

    strokes = np.zeros(SHAPE, np.uint8)
    strokes[5, 10, 8] = code
    return strokes


def failure_in_words(opened, fake, qtbot):
    fake("refuses")
    reason, _ = train(opened, qtbot, until="failed")
    assert reason == "The GPU is full. Choose the quick preset."
    assert reason in opened.training_panel.message.text()
    assert opened.workbench.training.state == "idle"


def program_that_is_not_there(opened, qtbot):
    opened.workbench.training.command = lambda _case: ["/no/such/python"]
    reason, _ = train(opened, qtbot, until="failed")
    assert "could not be started" in reason


def sudden_end_is_a_failure_with_details(opened, fake, qtbot):
    fake("dies")
    opened.tabs.setCurrentIndex(2)
    panel = opened.training_panel
    reason, details = train(opened, qtbot, until="failed")
    assert "ended before it was done (code 3)" in reason
    assert details == "CUDA error: the driver fell over"
    assert panel.details_button.isVisible()
    assert not panel.details.isVisible()
    panel.details_button.click()
    assert panel.details.isVisible()
    assert panel.details.toPlainText() == details
    fake("good")
    train(opened, qtbot)  # one can go on
    assert not panel.details_button.isVisible()


def killed_worker_is_a_failure(opened, fake, qtbot):
    fake("endless")
    train(opened, qtbot, until="stepped")
    with qtbot.waitSignal(opened.workbench.training.failed, timeout=5000) as blocker:
        psutil.Process(opened.workbench.training.process_id).kill()
    assert "was killed" in blocker.args[0]
    assert "Preview" not in [layer.name for layer in opened.session.viewer.layers]


def test_fit_from_button_to_prediction_and_one_that_is_stopped(opened, fake, scribble, qtbot):
    fake("good")
    scribble()
    panel, session = opened.training_panel, opened.session
    states = []
    opened.workbench.training.state_changed.connect(states.append)
    previews = []
    opened.workbench.training.previewed.connect(lambda _e: previews.append(_preview(session)))
    train(opened, qtbot)
    assert states == ["starting", "training", "idle"]
    qtbot.waitUntil(lambda: opened.workbench.result.prediction is not None, timeout=5000)
    terms = panel.plot.terms
    assert set(terms) == {"total", "ssl", "imr", "imc"}
    assert terms["total"] == ([1, 2, 3, 4, 5], [1.0, 0.5, pytest.approx(1 / 3), 0.25, 0.2])
    assert panel.time.text() == "Step 5: 0:00 elapsed"
    assert panel.progress.value() == panel.progress.maximum()
    assert "Done after 5 steps" in panel.message.text()
    assert "agreement with your strokes 90.0 %." in panel.message.text()
    assert previews
    assert previews[0].sum() == 4 * 6 * 5 + 2 * 3 * 3
    names = [layer.name for layer in session.viewer.layers]
    assert names == ["CT", "MR", "Probability", "Prediction", "Scribbles"]
    assert opened.workbench.result.prediction.contour > 0
    assert opened.tabs.currentIndex() == 3
    assert opened.workbench.training.process_id == 0
    qtbot.waitUntil(lambda: "ml" in opened.result_panel.volumes.text(), timeout=5000)
    ml = (4 * 6 * 5 + 2 * 3 * 3) * 3.0 * 0.9 * 1.1 / 1000
    assert opened.result_panel.volumes.text() == f"Tumour: <b>{ml:.1f} ml</b>"
    stop_keeps_the_best_so_far(opened, fake, qtbot)


def _preview(session):
    (layer,) = [layer for layer in session.viewer.layers if layer.name == "Preview"]
    return np.array(layer.data)


def stop_keeps_the_best_so_far(opened, fake, qtbot):
    fake("endless")
    train(opened, qtbot, until="stepped")
    number = opened.workbench.training.process_id
    assert not opened.training_panel.train_button.isEnabled()
    with qtbot.waitSignal(opened.workbench.training.finished, timeout=10000) as blocker:
        opened.training_panel.stop_button.click()
        assert opened.workbench.training.state == "stopping"
    assert blocker.args[0].stopped
    assert "Stopped after" in opened.training_panel.message.text()
    assert opened.training_panel.train_button.isEnabled()
    gone(qtbot, number)


def test_nothing_that_is_opened_meanwhile_ends_a_fit(opened, fake, scribble, patient, qtbot):
    fake("endless")
    scribble()
    a_patient_that_is_being_read_when_it_begins(opened, patient, qtbot)
    another_patient_is_not_opened(opened)
    nor_by_its_layers(opened, patient, qtbot)


def a_patient_that_is_being_read_when_it_begins(opened, patient, qtbot):
    session, own, ready = opened.session, opened.session.patient, threading.Event()
    others = []

    def load():
        ready.wait(20)
        others.append(open_files(patient.ct))
        return others[0]

    session.open(load)
    train(opened, qtbot, until="started")
    notification_manager.records.clear()
    ready.set()
    qtbot.waitUntil(lambda: bool(others) and others[0].case.closed, timeout=10000)
    assert "Stop it before" in notification_manager.records[-1].message
    assert session.patient is own
    assert opened.workbench.training.running


def another_patient_is_not_opened(opened):
    notification_manager.records.clear()
    opened.open_panel.synthetic.click()
    assert "Stop it before" in notification_manager.records[-1].message


def nor_by_its_layers(opened, patient, qtbot):
    session, own = opened.session, opened.session.patient
    other = open_files(patient.ct)
    notification_manager.records.clear()
    for data, shown, kind in case_layers(other):  # as napari adds a sample's
        session.viewer.add_layer(Layer.create(data, shown, kind))
    qtbot.waitUntil(lambda: other.case.closed, timeout=3000)
    assert "Stop it before" in notification_manager.records[-1].message
    shown = [layer.metadata.get(OPENED) for layer in session.viewer.layers]
    assert own in shown
    assert other not in shown
    assert opened.workbench.training.running
    session.recorder.add(_one(1), "hand")  # the patient is still written


@pytest.fixture
def waits(monkeypatch):
    """The times that somebody waited for a worker's end."""
    waits = []
    monkeypatch.setattr(worker_client.QProcess, "waitForFinished", lambda *args: waits.append(args))
    return waits


@pytest.mark.canvas
def test_closing_the_dock_leaves_no_orphan(opened, fake, scribble, qtbot, waits):
    fake("endless")
    scribble()
    train(opened, qtbot, until="started")
    number = opened.workbench.training.process_id
    assert psutil.pid_exists(number)
    opened.session.viewer.window.remove_dock_widget(opened)
    assert waits == []  # nobody waits for the worker
    gone(qtbot, number)


def test_closing_the_window_ends_a_worker_that_does_not_listen(
    own_window, opened, fake, scribble, qtbot, waits
):
    """Who looks after it outlives the window."""
    fake("stubborn")
    scribble()
    train(opened, qtbot, until="started")
    number = opened.workbench.training.process_id
    own_window.close()
    assert waits == []
    assert not ended(number)
    clients = QApplication.instance().findChildren(worker_client.WorkerClient)
    (client,) = [client for client in clients if client.process_id == number]
    assert client._looking.isActive()
    left = client._end - time.monotonic()
    assert worker_client._GRACE_S - 5 < left <= worker_client._GRACE_S
    client._end = 0.0  # now it has had its time
    gone(qtbot, number)
