"""A worker that waits: for the open case, until it is taken, and never for another case."""

from __future__ import annotations

import pytest

from cmfnet_napari.core.fit import events
from cmfnet_napari.gui.training.training import Training
from tests.gui_logic.stand_ins import StandInResult


@pytest.fixture
def training(session, clients, background, timers):
    training = Training(session, StandInResult())
    training.command = lambda folder: ["worker", folder.name]
    return training


def test_a_fit_takes_the_worker_that_is_ready(training, session, clients):
    spare = training.spare
    session.open()
    assert clients == []  # the window comes first
    spare._timer.fire()
    (ready,) = clients
    assert ready.command == ["worker", session.folder.name]
    assert ready.sent == []
    training.start("quick")
    assert clients == [ready]
    assert [type(command) for command in ready.sent] == [events.Fit]
    ready.ended.emit()  # whoever has it now hears of its end, not the spare
    spare.prepare()
    assert clients == [ready]  # one worker is enough


def test_a_worker_that_has_ended_or_is_another_s_is_not_taken(training, session, clients):
    session.open()
    training.spare._timer.fire()
    clients[0].running = False
    training.start("quick")
    assert len(clients) == 2
    training.close()
    assert clients[1].closed
    assert clients[1].left  # what lies on another computer may go with the patient

    session.open()
    training.spare._timer.fire()
    training.command = lambda folder: ["another", folder.name]
    training.start("quick")
    assert clients[2].closed
    assert clients[3].command[0] == "another"


def test_it_goes_with_the_patient_and_after_a_while_and_comes_back_with_a_stroke(
    training, session, clients
):
    session.open()
    training.spare._timer.fire()
    training.spare._idle.fire()
    assert clients[0].closed
    assert not clients[0].left  # it only rests: a training there can be gone on with
    session.strokes_changed.emit()
    training.spare._timer.fire()
    assert not clients[1].closed
    training.close()
    assert clients[1].closed
    assert clients[1].left
    session.strokes_changed.emit()
    training.spare._timer.fire()
    assert len(clients) == 2


def test_who_only_looks_on_needs_none(training, session, clients):
    session.open()
    session.case.read_only = True
    training.spare._on_opened()
    training.spare._timer.fire()
    assert clients == []
