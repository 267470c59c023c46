"""When strokes bring the contour up to date, and who has the worker."""

from __future__ import annotations

import numpy as np
import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.gui.training.refinement import IDLE_SECONDS, QUIET_MS, Refinement
from tests.gui_logic.stand_ins import SHAPE, Client, StandInResult, StandInTraining, finished

REFINE = events.Refine(model="runs/0001-quick", device="cpu")


@pytest.fixture
def refinement(session, clients, background, heard):
    refinement = Refinement(session, StandInResult(), StandInTraining())
    heard.listen(refinement, "state_changed", "finished", "paused", "failed")
    session.open()
    return refinement


@pytest.fixture
def fitted(refinement):
    """After a fit whose worker was handed over."""
    client = Client(["worker"])
    refinement._training.completed.emit(client, finished(), "cpu")
    return client


def test_before_there_is_a_contour_strokes_update_nothing(refinement, session, clients):
    session.strokes_changed.emit()
    assert not refinement._quiet.isActive()
    assert (refinement.state, refinement.run, clients) == ("off", None, [])


def test_a_stroke_is_sent_once_the_hand_rests(refinement, fitted, session, heard):
    assert (refinement.state, refinement.process_id) == ("ready", 4711)
    assert refinement.run == session.folder / "runs" / "0001-quick"
    assert (refinement._quiet.interval, refinement.idle.interval) == (QUIET_MS, 1000 * IDLE_SECONDS)
    for _ in range(3):
        session.strokes_changed.emit()
    assert fitted.sent == []
    refinement._quiet.fire()
    assert fitted.sent == [REFINE]
    assert refinement.state == "updating"
    refinement._quiet.fire()  # the time is up once
    session.strokes_changed.emit()
    refinement._quiet.fire()
    assert fitted.sent == [REFINE]  # one that goes on takes strokes up by itself
    fitted.received.emit(finished(steps=9))
    assert heard[-2:] == [("state_changed", "ready"), ("finished", finished(steps=9))]
    assert refinement._result.told == [finished(steps=9)]
    refinement._quiet.fire()  # that stroke may have come too late
    assert fitted.sent == [REFINE, REFINE]
    fitted.received.emit(finished(steps=9))
    assert refinement._result.told == [finished(steps=9)]  # nothing new to be read
    assert not refinement._quiet.isActive()


def test_what_comes_meanwhile_is_shown_until_the_end(refinement, fitted, session, background):
    labels = np.ones(SHAPE, np.uint8)
    np.save(session.folder / "preview.npy", labels)
    event = events.Preview(step=1, labels="preview.npy", agreement=0.5)
    fitted.received.emit(event)
    assert refinement._result.followed == []  # it is not updating
    session.strokes_changed.emit()
    refinement._quiet.fire()
    fitted.received.emit(event)
    assert len(refinement._result.followed) == 1
    background.held = True
    fitted.received.emit(event)
    fitted.received.emit(finished(steps=9))
    background.catch_up()
    assert len(refinement._result.followed) == 1


def test_a_fit_takes_the_worker_and_the_strokes(refinement, fitted, session):
    session.strokes_changed.emit()
    refinement._training.launching.emit()
    assert (fitted.closed, refinement.process_id) == (True, 0)
    assert not refinement._quiet.isActive()
    refinement._training.running = True
    session.strokes_changed.emit()
    assert not refinement._quiet.isActive()
    assert refinement._late
    refinement._training.stepped.emit(None)  # it was drawn in the course of this step,
    assert refinement._late
    refinement._training.stepped.emit(None)  # and this one began with it
    assert not refinement._late


@pytest.mark.parametrize(("steps", "sent"), [(0, [REFINE]), (1, [REFINE]), (2, [])])
def test_a_stroke_in_the_last_step_of_a_fit_is_learnt_next(refinement, session, steps, sent):
    """A step takes strokes up as it begins and is told of as it ends."""
    session.strokes_changed.emit()  # before the fit: it begins with this one
    refinement._training.launching.emit()
    refinement._training.running = True
    refinement._training.stepped.emit(None)
    assert not refinement._late
    session.strokes_changed.emit()
    for _ in range(steps):
        refinement._training.stepped.emit(None)
    refinement._training.running = False
    client = Client(["worker"])
    refinement._training.completed.emit(client, finished(), "cpu")
    refinement._quiet.fire()
    assert client.sent == sent


def test_a_stroke_after_the_last_step_of_a_fit_is_learnt_next(refinement, session):
    refinement._training.running = True
    session.strokes_changed.emit()
    refinement._training.running = False
    client = Client(["worker"])
    refinement._training.completed.emit(client, finished(), "cpu")
    refinement._quiet.fire()
    assert client.sent == [REFINE]


@pytest.mark.parametrize("switched_off", [True, False])
def test_who_wants_no_updates_gets_the_machine_back(refinement, session, switched_off, clients):
    refinement.enabled = not switched_off
    client = Client(["worker"])
    refinement._training.completed.emit(client, finished(stopped=not switched_off), "cpu")
    assert (client.closed, refinement.state) == (True, "ready")
    session.strokes_changed.emit()
    refinement._quiet.fire()
    assert len(clients) == (0 if switched_off else 1)  # else a stroke starts another


def test_switching_off_ends_an_update(refinement, fitted, session):
    session.strokes_changed.emit()
    refinement._quiet.fire()
    refinement.enable(False)
    assert (fitted.closed, refinement.state) == (True, "ready")
    session.strokes_changed.emit()
    assert not refinement._quiet.isActive()


def test_an_idle_worker_is_let_go_and_the_next_stroke_starts_another(
    refinement, fitted, session, clients
):
    refinement.idle.fire()
    assert fitted.closed
    session.strokes_changed.emit()
    refinement._quiet.fire()
    (client,) = clients
    assert client.command == ["worker"]
    assert client.sent == [REFINE]


def test_a_worker_that_is_lost_is_said_and_started_again(
    refinement, fitted, session, clients, heard
):
    session.strokes_changed.emit()
    refinement._quiet.fire()
    fitted.ended_badly.emit("It ended.", False)
    assert heard[-1][0] == "failed"
    assert "ended unexpectedly" in heard[-1][1]
    assert refinement.state == "ready"
    session.strokes_changed.emit()
    refinement._quiet.fire()
    assert len(clients) == 1


def test_what_the_worker_says_is_passed_on(refinement, fitted, session, heard):
    session.strokes_changed.emit()
    refinement._quiet.fire()
    fitted.received.emit(events.Paused(reason="The disk is full."))
    assert heard[-1] == ("paused", "The disk is full.")
    fitted.received.emit(events.Failed(reason="The model is damaged."))
    assert heard[-2:] == [("state_changed", "ready"), ("failed", "The model is damaged.")]
    fitted.ended.emit()  # while nobody waits: nothing to tell
    assert (refinement.process_id, len(heard)) == (0, heard.index(heard[-1]) + 1)


def test_going_back_to_a_preview(refinement, fitted, session):
    refinement.choose(7)
    assert fitted.sent == [events.Choose(model="runs/0001-quick", step=7, device="cpu")]
    with pytest.raises(UserError, match="being computed"):
        refinement.choose(7)
    fitted.received.emit(finished(steps=7))
    session.case.read_only = True
    with pytest.raises(UserError, match="Another window"):
        refinement.choose(7)


def test_a_case_for_looking_is_never_updated(refinement, fitted, session):
    session.case.read_only = True
    session.strokes_changed.emit()
    refinement._quiet.fire()
    assert fitted.sent == []
    refinement.close()
    session.opened.emit()
    assert refinement.state == "off"


def test_leaving_the_patient_ends_the_worker(refinement, fitted):
    refinement.close()
    assert (fitted.closed, refinement.state, refinement.run) == (True, "off", None)


@pytest.mark.parametrize(("study", "state"), [("0123", "ready"), ("4567", "off")])
def test_a_contour_of_an_earlier_session_counts_with_a_model_of_these_images(
    refinement, session, monkeypatch, study, state
):
    from types import SimpleNamespace

    run = session.folder / "runs" / "0001-quick"
    run.mkdir(parents=True)
    (run / "events.jsonl").write_text(events.encode(finished()))
    monkeypatch.setattr(
        "cmfnet_napari.gui.training.refinement.read_card",
        lambda _path: SimpleNamespace(study=study, labels=2),
    )
    session.opened.emit()
    assert refinement.state == state
