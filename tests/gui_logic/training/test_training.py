"""A fit's states, what is told of it and in which order; the worker is a stand-in."""

from __future__ import annotations

import numpy as np
import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.gui.training.training import Training
from tests.gui_logic.stand_ins import SHAPE, StandInResult, finished

STARTED = events.Started(
    run="runs/0001-quick", device="cpu", precision="float32", steps=4, parameters=9
)
STEP = events.Step(step=1, progress=0.25, elapsed_s=1, remaining_s=3, losses={"total": 1.0})
FINISHED = finished()
SIGNALS = ("state_changed", "launching", "started", "stepped", "previewed", "noticed", "paused")
ENDS = ("completed", "finished", "failed")


@pytest.fixture
def training(session, clients, background, heard):
    training = Training(session, StandInResult())
    training.command = lambda folder: ["worker", folder.name]
    heard.listen(training, *SIGNALS, *ENDS)
    session.open()
    return training


def preview(session, step=2):
    labels = np.zeros(SHAPE, np.uint8)
    labels[1] = step
    np.save(session.folder / "preview.npy", labels)
    return events.Preview(step=step, labels="preview.npy", agreement=0.5)


def test_a_fit_from_start_to_end(training, session, clients, heard):
    training.start("quick", steps=4)
    (client,) = clients
    assert client.command == ["worker", session.folder.name]
    assert client.sent[0].config["steps"] == 4
    assert (training.running, training.process_id) == (True, 4711)
    for event in (STARTED, STEP, FINISHED):
        client.received.emit(event)
    assert heard == [
        ("launching",),  # before the worker is there: others give their memory back
        ("state_changed", "starting"),
        ("state_changed", "training"),
        ("started", STARTED),
        ("stepped", STEP),
        ("state_changed", "idle"),
        ("completed", client, FINISHED, "auto"),
        ("finished", FINISHED),
    ]
    assert training._result.told == [FINISHED]
    assert (training.running, training.process_id) == (False, 0)
    assert not client.closed  # it is handed on
    client.received.emit(STEP)  # and what it says is no longer the fit's
    assert heard[-1] == ("finished", FINISHED)


def test_a_fit_holds_the_patient_and_others_back(training, session, clients):
    assert [hold() for hold in session.holds] == [""]
    training.start("quick")
    assert [hold() for hold in session.holds] == [
        "Training is running. Stop it before you open another patient."
    ]
    with pytest.raises(UserError, match="running already"):
        training.start("quick")
    assert len(clients) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.close(), "No patient is open"),
        (lambda s: setattr(s.case, "read_only", True), "Another window"),
        (lambda s: setattr(s.recorder, "present", np.array([0, 1], np.uint8)), "stroke"),
    ],
    ids=["no patient", "for looking only", "one class"],
)
def test_what_a_fit_needs(training, session, clients, change, words):
    change(session)
    with pytest.raises(UserError, match=words):
        training.start("quick")
    assert clients == []
    assert training.state == "idle"


def test_a_stop_is_sent_once(training, clients, heard):
    training.stop()  # nothing runs
    training.start("quick")
    training.stop()
    training.stop()
    assert [type(command) for command in clients[0].sent] == [events.Fit, events.Stop]
    clients[0].received.emit(STARTED)
    assert training.state == "stopping"
    clients[0].received.emit(events.Stopping(step=3))
    assert heard[-1] == ("noticed", "Stopped at step 3. The prediction is being made …")


def test_previews_are_shown_while_the_newest_is_looked_at(training, session, clients, heard):
    training.start("quick")
    clients[0].received.emit(preview(session, 2))
    assert training._result.preview[1].min() == 2
    training.follow = False
    clients[0].received.emit(preview(session, 3))
    assert training._result.preview[1].min() == 2
    assert [name for name, *_ in heard].count("previewed") == 2


def test_a_preview_that_comes_too_late_is_not_shown(training, session, clients, heard, background):
    background.held = True
    training.start("quick")
    clients[0].received.emit(preview(session))
    clients[0].received.emit(FINISHED)
    background.catch_up()
    assert training._result.preview is None
    assert "previewed" not in [name for name, *_ in heard]


def test_a_failure_takes_the_preview_away_and_is_told_with_the_log(
    training, clients, session, heard
):
    training.start("quick")
    clients[0].received.emit(preview(session))
    clients[0].received.emit(events.Failed(reason="The disk is full."))
    assert training._result.preview is None
    assert heard[-1] == ("failed", "The disk is full.", "the end of its log")
    assert (training.state, clients[0].closed) == ("idle", True)


def broken_off(session, number=1):
    """A run with a state."""
    run = session.folder / "runs" / f"{number:04d}-quick"
    run.mkdir(parents=True)
    (run / "state.pt").touch()
    return run


def test_after_a_kill_it_goes_on_with_less_memory(training, session, clients, heard):
    with pytest.raises(UserError, match="no training to go on with"):
        training.resume()
    training.start("quick")
    run = broken_off(session)
    clients[0].received.emit(STARTED)
    clients[0].ended_badly.emit("It was killed.", True)
    assert heard[-1][1] == (
        "It was killed. Continue goes on from its last state, with less memory."
    )
    assert training.interrupted.folder == run
    training.resume()
    command = clients[1].sent[0]
    assert (command.resume, command.lighter) == ("runs/0001-quick", True)
    clients[1].ended_badly.emit("It was killed.", True)  # before it had begun to go on
    training.resume()
    assert clients[2].sent[0].lighter


def test_after_a_kill_before_it_learnt_nothing_is_promised(training, session, clients, heard):
    training.start("quick")
    clients[0].ended_badly.emit("It was killed.", True)
    assert heard[-1][1] == (
        "It was killed. It had not begun to learn: close other programs, then train again."
    )
    assert training.interrupted is None
    earlier = broken_off(session)
    (session.folder / "runs" / "0002-quick").mkdir()
    training.start("quick")
    clients[1].received.emit(STARTED.model_copy(update={"run": "runs/0002-quick"}))
    clients[1].ended_badly.emit("It was killed.", True)
    assert "train again" in heard[-1][1]
    assert training.interrupted.folder == earlier  # which needs no less memory than it had
    training.resume()
    assert not clients[2].sent[0].lighter


def test_a_case_for_looking_has_nothing_to_go_on_with(training, session):
    run = session.folder / "runs" / "0001-quick"
    run.mkdir(parents=True)
    (run / "state.pt").touch()
    session.opened.emit()
    assert training.interrupted is not None
    session.case.read_only = True
    session.opened.emit()
    assert training.interrupted is None


def test_leaving_lets_the_worker_go(training, clients, session):
    training.start("quick")
    clients[0].received.emit(preview(session))
    training.close()
    assert (clients[0].closed, training.state, training._result.preview) == (True, "idle", None)
    assert not training.watchdog._timer.isActive()


def test_waiting_is_told_and_a_worker_that_hangs_is_ended(training, clients, heard):
    training.end_now()  # none is there
    training.start("quick")
    clients[0].received.emit(events.Paused(reason="The disk is full."))
    assert heard[-1] == ("paused", "The disk is full.")
    clients[0].received.emit(events.Notice(step=1, text="Less memory."))
    assert heard[-1] == ("noticed", "Less memory.")
    training.end_now()
    assert clients[0].killed
