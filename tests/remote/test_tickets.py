"""Who trains on a computer, and who waits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from cmfnet_napari.core.fit import events
from cmfnet_napari.remote.far_store import FarStore
from cmfnet_napari.remote.keeper import Keeper, ended_commands, turn_words
from cmfnet_napari.remote.tickets import Ticket, Turn
from cmfnet_napari.remote.travelling_case import TravellingCase

QUEUE = """
import sys, time
from pathlib import Path
from cmfnet_napari.remote.tickets import Ticket
ticket = Ticket(Path(sys.argv[1]))
print("mine", flush=True)
sys.stdin.read()
"""
ECHO = """
import sys
for line in sys.stdin:
    print('{"event":"notice","step":0,"text":"told"}', flush=True)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that has its turn."""
    folder = tmp_path / "queue"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", QUEUE, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout.readline() == "mine\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_the_oldest_that_lives_has_the_turn(other, tmp_path):
    import getpass

    mine = Ticket(tmp_path / "queue")
    before = mine.before()
    assert before is not None
    assert before.account == getpass.getuser()
    assert before.minutes < 1
    other.kill()
    other.wait()
    assert mine.before() is None  # a process that is gone waits for nothing
    late = Ticket(tmp_path / "queue")
    assert late.before() is not None
    mine.give_back()
    assert late.before() is None
    late.give_back()
    assert "for mueller for 12 min" in turn_words(Turn("mueller", 12.2))


def test_a_fit_waits_and_says_for_whom(other, case, tmp_path, monkeypatch):
    monkeypatch.setenv("CMFNET_QUEUE", str(tmp_path / "queue"))
    monkeypatch.setattr("cmfnet_napari.remote.keeper._QUEUE_S", 0.05)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    far = FarStore(tmp_path / "there").case("b" * 32)
    far.begin(TravellingCase(case).images, 7, 30)
    said = far.path("events.jsonl")

    def until(word):
        end = time.monotonic() + 20
        while word not in said.read_text():
            assert time.monotonic() < end, said.read_text()
            keeper._hear()
            keeper._go_on()
            time.sleep(0.02)

    def tell(command, name):
        with open(far.path("commands.jsonl"), "a") as file:
            line = '{"client": "c", "number": 1, "id": "%s", "command": %s}\n'
            file.write(line % (name, events.encode(command)))

    keeper = Keeper(far, [sys.executable, "-c", ECHO], 0, free=lambda: 0)
    tell(events.Fit(config={}), "one")
    until("paused")
    assert f"at work for {os.environ.get('USER', '')}" in said.read_text()
    tell(events.Stop(), "stop")
    until("You stopped it while it waited")
    tell(events.Fit(config={}), "one")  # as that was stopped, it is not done
    keeper._hear()
    keeper._go_on()
    tell(events.Fit(config={}), "two")
    tell(events.Fit(config={}), "two")  # told again: done once
    keeper._free = lambda: 1 << 40  # there is room to run beside
    until("told")
    keeper._hear()
    keeper._go_on()
    os.utime(far.path("kept.json"), (0, 0))
    assert keeper._abandoned
    (far.case / "cohort.csv").touch()
    far.path("busy").touch()
    keeper._look_after()  # a cohort is trained on to the end, whoever is on the line
    assert not keeper._abandoned
    keeper._leave()
    tell(events.Refine(model="runs/0001-quick"), "three")
    keeper._hear()
    keeper._go_on()  # too late: the worker is on its way out, and saves its state in peace
    assert keeper._worker.wait(20) == 0
    keeper._reader.join(20)
    lines = [json.loads(line) for line in said.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["paused", "failed", "notice"]
    assert [line["of"] for line in lines][:2] == ["one", "one"]
    assert ended_commands(far) == {"one"}  # the next keeper knows, too
    keeper._settle()
    keeper._worker.stdout.close()


def test_a_cohort_runs_beside_nobody_and_leaves_no_mark(other, case, tmp_path, monkeypatch):
    """It is read into memory whole. What is told again once it is done marks nobody as at work."""
    monkeypatch.setenv("CMFNET_QUEUE", str(tmp_path / "queue"))
    monkeypatch.setattr("cmfnet_napari.remote.keeper._QUEUE_S", 0.0)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    far = FarStore(tmp_path / "there").case("b" * 32)
    far.begin(TravellingCase(case).images, 7, 30)
    busy, said = far.path("busy"), far.path("events.jsonl")
    keeper = Keeper(far, [sys.executable, "-c", ECHO.replace("told", "x")], 0, lambda: 1 << 40)
    marked = []
    write = keeper._write_event

    def note(event, name):
        marked.append((event.event, busy.exists()))
        write(event, name)

    monkeypatch.setattr(keeper, "_write_event", note)
    monkeypatch.setattr(events, "End", events.Notice)  # as ECHO says no other

    def tell():
        busy.touch()  # as our end there does
        with open(far.path("commands.jsonl"), "a") as file:
            line = '{"client": "c", "number": 1, "id": "one", "command": %s}\n'
            file.write(line % events.encode(events.Train(config={})))
        keeper._hear()
        keeper._go_on()

    tell()
    assert "paused" in said.read_text()
    other.kill()
    other.wait()
    end = time.monotonic() + 20
    while "notice" not in said.read_text() or busy.exists():
        assert time.monotonic() < end, said.read_text()
        keeper._go_on()
        time.sleep(0.02)
    assert marked == [("paused", True), ("notice", True)]  # told before the mark is gone
    tell()
    assert not busy.exists()
    keeper._leave()
    assert keeper._worker.wait(20) == 0
    keeper._reader.join(20)
    keeper._settle()
    keeper._worker.stdout.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size")
def test_a_full_disk_loses_nothing_that_was_said(case, tmp_path, monkeypatch):
    """What did not fit is written when there is room, by a worker that has ended too."""
    import resource

    monkeypatch.setattr("cmfnet_napari.remote.keeper._PATIENCE_S", 0.02)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    far = FarStore(tmp_path / "there").case("b" * 32)
    far.begin(TravellingCase(case).images, 7, 30)
    talk = 'input()\nfor _ in range(3): print(\'{"event":"paused","reason":"x"}\', flush=True)'
    keeper = Keeper(far, [sys.executable, "-c", talk], 0, free=lambda: 0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))  # "full" in the middle of a line
    try:
        running = threading.Thread(target=keeper.run, daemon=True)
        running.start()
        keeper._tell(events.Stop())
        assert keeper._worker.wait(20) == 0
        running.join(0.3)
        assert running.is_alive()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    running.join(20)
    said = [json.loads(line) for line in far.path("events.jsonl").read_text().splitlines()]
    assert [line.get("event", "ended") for line in said] == ["paused"] * 3 + ["ended"]
    keeper._worker.stdout.close()
    keeper._worker.stdin.close()
