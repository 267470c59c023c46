"""Where trainings run: what a worker's command says, and what is told of the line."""

from __future__ import annotations

import json

import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.runs import ELSEWHERE_FILE, RunRecord, read_run
from cmfnet_napari.gui.training.training import Training
from cmfnet_napari.remote.forgotten import noted
from cmfnet_napari.remote.hosts import Host, known_hosts
from cmfnet_napari.remote.travelling_case import Remembered
from tests.gui_logic.stand_ins import StandInResult

AWAY = events.LineChanged(state="away", host="gpu", text="The line to gpu was lost.")


@pytest.fixture(autouse=True)
def hosts(tmp_path, monkeypatch):
    monkeypatch.setenv("CMFNET_HOSTS", str(tmp_path / "hosts.json"))


@pytest.fixture
def training(session, clients, background, timers):
    training = Training(session, StandInResult())
    training.command = lambda folder: ["worker", folder.name]
    session.open()
    return training


def test_another_computer_is_part_of_the_command(training, session, clients):
    training.spare._timer.fire()
    (here,) = clients
    training.where.add(Host(name="gpu", via="srun"))
    assert here.closed  # what was ready is ready in the wrong place
    training.start("quick")
    assert clients[-1].command == ["worker", session.folder.name, "--on", "gpu", "--via", "srun"]
    training.close()
    training.where.choose("")
    session.open()
    training.start("quick")
    assert clients[-1].command == ["worker", session.folder.name]
    assert training.where.hosts == [Host(name="gpu", via="srun")] == known_hosts()
    training.where.forget("gpu")
    assert training.where.hosts == []


def test_what_was_sent_is_to_be_deleted_when_the_patient_is_left(training, session, clients):
    """Also where no worker runs any more that could be told."""
    session.folder.mkdir(exist_ok=True)
    kept = Remembered(session.folder, "gpu")
    kept.write()
    training.where.add(Host(name="gpu"))
    training.close()
    assert noted("gpu") == []
    training.where.add(Host(name="cpu", forget=True))
    training.close()
    assert noted("cpu") == []  # nothing ever went there
    training.where.add(Host(name="gpu", forget=True))
    training.close()
    assert noted("gpu") == [kept.case]
    assert noted("cpu") == []


def test_a_name_that_ssh_would_take_for_an_option(training):
    with pytest.raises(UserError, match="name of a computer"):
        training.where.choose("-oProxyCommand=x")


def test_who_is_away_is_not_silent(training, clients, heard, monkeypatch):
    """A lost line is told, and is no sign of a worker that hangs."""
    training.where.choose("gpu")
    heard.listen(training.where, "line_changed")
    waits = []
    monkeypatch.setattr(training.watchdog, "heard", lambda waits_=False, **k: waits.append(k))
    training.start("quick")
    clients[-1].line_changed.emit(AWAY)
    clients[-1].line_changed.emit(AWAY.model_copy(update={"host": "another"}))
    clients[-1].line_changed.emit(AWAY.model_copy(update={"state": "here"}))
    assert [event.state for _, event in heard] == ["away", "here"]
    assert waits == [{"waits": True}, {"waits": False}]
    assert training.state == "starting"  # it goes on


def test_a_training_goes_on_where_it_was_begun(training, session, tmp_path, clients):
    run = tmp_path / "runs" / "0001-quick"
    run.mkdir(parents=True)
    (run / ELSEWHERE_FILE).write_text(json.dumps({"host": "gpu"}))
    (run / "events.jsonl").write_text(
        events.encode(
            events.Started(
                run="runs/0001-quick", device="cuda", precision="float32", steps=9, parameters=1
            )
        )
        + "\n"
    )
    assert read_run(run).interrupted
    training.interrupted = RunRecord(run)
    with pytest.raises(UserError, match="begun on gpu"):
        training.resume()
    training.where.choose("gpu")
    training.interrupted = RunRecord(run)
    training.resume()
    assert clients[-1].sent[0].resume == "runs/0001-quick"
    (run / ELSEWHERE_FILE).unlink()
    training.close()
    training.interrupted = RunRecord(run)
    with pytest.raises(UserError, match="begun on this computer"):
        training.resume()
