"""The relay with an other end that a test speaks for: no ssh, no worker."""

from __future__ import annotations

import json
import time
from collections import deque

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.runs import ELSEWHERE_FILE
from cmfnet_napari.remote import forgotten, kept_line, travelling_case
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.hosts import Host
from cmfnet_napari.remote.line import Line
from cmfnet_napari.remote.line_messages import HeldError, LineLostError
from cmfnet_napari.remote.pulling import NotTakenError, Pulling
from cmfnet_napari.remote.relay import Relay
from cmfnet_napari.remote.run_files import CaseFiles, check_arrived
from cmfnet_napari.remote.sending import send_runs
from cmfnet_napari.remote.told import Job
from cmfnet_napari.remote.travelling_case import Remembered, TravellingCase, note_forget
from tests.learning.conftest import fit_command

STARTED = {
    "run": "runs/0001-quick",
    "device": "cpu",
    "precision": "float32",
    "steps": 4,
    "parameters": 1,
}
FINISHED = {
    "model": "runs/0001-quick/model.safetensors",
    "labels": "runs/0001-quick/prediction.nii.gz",
    "probabilities": "runs/0001-quick/probabilities.nii.gz",
    "steps": 4,
    "seconds": 1.0,
    "volumes_ml": {"Class 1": 1.0},
}


class StandInLine:
    """Answers what it is asked from a table by kind, and remembers what it was told."""

    skew, waiting = "", False

    def __init__(self, answers=None):
        self.host = Host(name="box")
        self.answers, self.told, self.parts = answers or {}, [], deque()

    def send(self, message, payload=b""):
        self.told.append(message)

    def ask(self, message, kind, payload=b"", patience=None):
        self.send(message)
        answer = self.answers[type(message)] if type(message) in self.answers else kind()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def answer(self, kind, patience=None, check=None):
        return kind(), b""

    def part(self):
        return self.parts.popleft()

    def close(self):
        pass


@pytest.fixture
def said():
    return []


@pytest.fixture
def relay(case, said, monkeypatch, tmp_path):
    monkeypatch.setenv("CMFNET_HOSTS", str(tmp_path / "user" / "hosts.json"))
    relay = Relay(case.folder, Host(name="box", forget=True), said.append)
    relay._line = StandInLine({frames.List: frames.Files(files=[])})
    yield relay
    relay._case.close()


def says(relay, event, values, position=1, of=""):
    line = {"event": event, **values}
    relay._on_said(frames.Said(position=position, of=of, line=line), b"")


def run_of(case, host=""):
    run = case.folder / "runs/0001-quick"
    run.mkdir(parents=True)
    (run / "prediction.nii.gz").write_text("of here")
    if host:
        (run / ELSEWHERE_FILE).write_text(json.dumps({"host": host}))
    return run


@pytest.mark.parametrize("host", ["", "another"])
def test_what_nobody_asked_for_does_not_replace_a_run_of_here(relay, case, host):
    run = run_of(case, host)
    before = sorted(path.name for path in run.iterdir())
    says(relay, "started", STARTED)
    says(relay, "saved", {"model": "runs/0001-quick/model.safetensors", "step": 1})
    says(relay, "finished", FINISHED, 7)
    assert not [m for m in relay._line.told if isinstance(m, frames.List)]  # nothing was fetched
    assert sorted(path.name for path in run.iterdir()) == before
    assert relay._remembered.position == 7  # it does not come again
    relay._told.job = Job(events.Fit(config={}))
    with pytest.raises(UserError, match="made on another computer"):
        says(relay, "started", STARTED, 8)


def test_a_run_that_goes_on_there_comes_home(relay, case):
    says(relay, "started", STARTED)  # of a window that was lost: nothing is called so here
    run = case.folder / "runs/0001-quick"
    assert json.loads((run / ELSEWHERE_FILE).read_text()) == {"host": "box"}
    says(relay, "finished", FINISHED, 7)
    assert [m for m in relay._line.told if isinstance(m, frames.List)]
    assert not (run / ELSEWHERE_FILE).exists()


def test_late_news_of_another_command_is_not_of_this_one(relay, case, said):
    """It was told twice, as a worker seemed to be lost, and has ended twice."""
    run_of(case)
    job = relay._told.job = Job(events.Refine(model="runs/0001-quick"))
    relay._told.say(job.asked)
    says(relay, "finished", FINISHED, 7, of="f" * 32)
    says(relay, "failed", {"reason": "x"}, 8, of="f" * 32)
    assert relay._told.job is job
    assert said == []
    says(relay, "finished", FINISHED, 9, of=job.id)
    assert relay._told.job is None
    assert [event.event for event in said] == ["finished"]


def test_a_command_is_the_same_when_it_is_told_again(relay):
    job = relay._told.job = Job(events.Refine(model="runs/0001-quick"))
    relay._told.say(job.asked)
    relay._recover(0)
    relay._told.say_again(1)  # the second telling was not heard
    told = [(m.number, m.id) for m in relay._line.told if isinstance(m, frames.Say)]
    assert told == [(1, job.id), (2, job.id), (2, job.id)]


def test_what_was_deleted_there_meanwhile_is_sent_again(relay, case):
    """Else a refine would find no run there."""
    job = relay._told.job = Job(events.Refine(model="runs/0001-quick"))
    relay._arrivals.same.add("0001-quick")
    relay._told.say(job.asked)
    attached = frames.Attached(
        missing={}, last=0, digest="", said=0, life="c" * 32, length=0, busy=False
    )
    relay._catch_up(attached, relay._is_another(attached))
    assert relay._told.job is None
    assert list(relay._inbox) == [job.asked]
    assert relay._arrivals.same == set()


def test_only_a_patient_that_is_left_is_deleted_there(relay, case):
    mine, other = run_of(case, "box"), case.folder / "runs/0002-quick"
    other.mkdir()
    (other / ELSEWHERE_FILE).write_text('{"host": "another"}')
    relay.take(events.Quit())
    relay._leave()
    assert [type(m) for m in relay._line.told] == [frames.Dismiss]
    assert (mine / ELSEWHERE_FILE).exists()
    relay.take(events.Quit(left=True))
    relay._line.answers[frames.Delete] = LineLostError("cut")
    relay._leave()
    relay._note_forget()
    assert (mine / ELSEWHERE_FILE).exists()
    assert forgotten.noted("box") == [relay._remembered.case]  # to be done at the next call
    del relay._line.answers[frames.Delete]
    relay._leave()
    assert not (mine / ELSEWHERE_FILE).exists()
    assert (other / ELSEWHERE_FILE).exists()
    assert forgotten.noted("box") == []


def test_a_patient_that_was_left_is_deleted_at_the_next_call_for_whomever(relay, case, said):
    """Its worker had rested, or the line was away: nobody calls there for it again."""
    for name, host in (("1" * 32, "box"), ("2" * 32, "another")):
        forgotten.note(host, name)
    line = relay._line
    line.answers[frames.Attach] = UserError("enough of it")
    relay._connect = lambda _client: line
    with pytest.raises(UserError, match="enough"):
        relay._attach()
    assert [m.case for m in line.told if isinstance(m, frames.Delete)] == ["1" * 32]
    assert forgotten.noted("box") == []
    assert forgotten.noted("another") == ["2" * 32]
    note_forget(case.folder, "another")  # as a window does; nothing of it was ever there
    assert forgotten.noted("another") == ["2" * 32]
    note_forget(case.folder, "box")
    assert forgotten.noted("box") == [relay._remembered.case]


def test_what_cannot_be_taken_is_told_once(relay, case):
    run_of(case, "box")
    file = frames.FileOf(name="prediction.nii.gz", size=1 << 35, sha="0" * 64)
    relay._line.answers[frames.List] = frames.Files(files=[file])
    with pytest.raises(NotTakenError):
        says(relay, "finished", FINISHED, 9)
    assert Remembered(case.folder, "box").position == 9


def test_a_stop_is_said_again_to_a_worker_that_was_lost(relay, ball):
    relay._told.job = Job(fit_command(ball.config))
    relay._told.say(relay._told.job.asked)
    relay._take_up(events.Stop())
    relay._line.told.clear()
    relay._recover(0)
    words = [m.command["command"] for m in relay._line.told if isinstance(m, frames.Say)]
    assert words == ["fit", "stop"]


def test_previews_that_are_still_to_come_come_before_the_line_is_left(relay, monkeypatch):
    file = frames.FileOf(name="previews/00000001.npz", size=1, sha="0" * 64)
    relay._arrivals.later.append(("0001-quick", file))
    pulled = []
    pulling = relay._arrivals.pulling
    monkeypatch.setattr(pulling, "pull", lambda line, run, file: pulled.append(file))
    relay.take(events.Quit())
    relay._leave()
    assert pulled == [file]


def test_a_line_that_is_not_let_go_yet_is_waited_for(relay, said, monkeypatch):
    why = HeldError("box: it is another window's")
    monkeypatch.setattr(relay, "_wait", lambda seconds: None)
    relay._quitting.set()  # else a refusal waits for what is asked next
    assert relay._stay_refused(why, 0)
    assert said[-1].state == "connecting"
    monkeypatch.setattr(kept_line, "_HELD_S", 0.0)
    assert not relay._stay_refused(why, 1)
    assert said[-1].state == "refused"


def test_words_from_there_do_not_steer_a_terminal(relay, said, ball, capsys):
    relay._told.job = Job(fit_command(ball.config))
    says(relay, "failed", {"reason": "\x1b]0;title\x07gone"})
    assert "\x1b" not in said[-1].reason
    assert "gone" in said[-1].reason


def test_a_user_s_copy_of_a_run_is_passed_over(relay, case):
    (case.folder / "runs/0001-quick").mkdir(parents=True)
    (case.folder / "runs/0001-quick copy").mkdir()
    send_runs(relay._line, case)
    assert list(relay._line.told[-1].runs) == ["0001-quick"]


def test_what_is_not_understood_is_a_sentence(case, said):
    def connect(_client):
        raise frames.BadFrameError("x")

    relay = Relay(case.folder, Host(name="box"), said.append, connect)
    relay.take(events.Predict(model="runs/0001-quick"))
    relay._quitting.wait = lambda _seconds: True
    assert relay.run() == 1
    assert "do not understand each other" in said[-1].text


@pytest.mark.parametrize(
    ("payload", "packed"), [(b"too much", False), (b"damaged", True)], ids=["more", "damaged"]
)
def test_parts_that_are_none_end_the_line(case, payload, packed):
    line, written = StandInLine(), []
    line.parts.append((frames.Part(offset=0, packed=packed), payload))
    with pytest.raises(LineLostError):
        Pulling(case.folder, CaseFiles(case.study), lambda: None)._parts(line, written.append, 0, 4)
    assert written == []  # never more than was asked for


def test_an_image_is_measured_before_it_is_unpacked(case, tmp_path, monkeypatch):
    path = tmp_path / "large.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((50, 90, 90), np.uint8)), str(path))
    unpacked = "cmfnet_napari.remote.run_files.load_values"
    monkeypatch.setattr(unpacked, lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(UserError, match="90, 90, 50"):
        check_arrived(path, "prediction.nii.gz", case.study)
    path.write_text("[1")
    with pytest.raises(UserError):
        check_arrived(path, "config.json", case.study)
    np.savez_compressed(tmp_path / "bomb.npz", labels=np.zeros(1 << 23, np.uint8))
    with pytest.raises(UserError, match="8 MB"):
        check_arrived(tmp_path / "bomb.npz", "previews/00000001.npz", case.study)


def test_images_are_hashed_once(case, monkeypatch):
    read, real = [], travelling_case.hash_file
    monkeypatch.setattr(travelling_case, "hash_file", lambda path: read.append(path) or real(path))
    first, second = TravellingCase(case), TravellingCase(case)
    assert first.images == second.images
    assert len(read) == len(set(read)) > 0


def test_a_call_can_be_given_up():
    """A login that hangs, such as one behind a network that swallows everything."""

    class _GivenUpError(Exception):
        pass

    def check():
        raise _GivenUpError

    began = time.monotonic()
    with pytest.raises(_GivenUpError):
        Line(Host(name="box"), "0" * 32, ["sleep", "60"], check=check)
    assert time.monotonic() - began < 10
