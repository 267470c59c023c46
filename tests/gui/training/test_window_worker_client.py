"""Messages that are none, and a process that cannot answer: each in its own words, at once."""

from __future__ import annotations

import os
import signal
import sys
import time

import psutil
import pytest

from cmfnet_napari.core.fit.events import Fit, Notice, Step, encode
from cmfnet_napari.gui.training.training_panel import clock, minutes_needed
from cmfnet_napari.gui.training.worker_client import WorkerClient

NOTICE = encode(Notice(step=1, text="All is well."))
BEGIN = "import sys, time; out = sys.stdout.buffer; sys.stdin.readline(); "


def client_of(code):
    client = WorkerClient([sys.executable, "-c", BEGIN + code])
    client.send(Fit(config={}))
    return client


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("out.write(b'x' * 60_000_000); out.flush(); time.sleep(60)", "a line of more than 1 MB"),
        ("out.write(b'{' * 60_000_000 + b'\\n'); out.flush(); time.sleep(60)", "more than 1 MB"),
        ('out.write(b\'{"event":"fini\\xff\\xfe\\n\'); out.flush(); time.sleep(60)', "no sense"),
    ],
)
def test_what_cannot_be_read_ends_the_worker_in_words(qtbot, code, words):
    client = client_of(code)
    begin = time.monotonic()
    with qtbot.waitSignal(client.ended), qtbot.waitSignal(client.ended_badly) as said:
        pass
    assert time.monotonic() - begin < 10  # 0.5 s by itself, but others have the processor too
    assert words in said.args[0]
    assert not said.args[1]  # it was not the system that ended it
    assert len(client.details) < 3000


@pytest.mark.parametrize("program", ["", "/nowhere/python"], ids=["at once", "a moment later"])
def test_a_process_that_cannot_be_made_is_said_once(qtbot, program):
    """Without a program, as without pipes, Qt gives up before anybody listens."""
    client, said = WorkerClient([program]), []
    client.ended_badly.connect(lambda *words: said.append(words))
    with qtbot.waitSignal(client.ended_badly):
        client.send(Fit(config={}))
        assert said == []  # not before the caller is done
    qtbot.wait(50)
    ((words, killed),) = said
    assert "could not be started (" in words
    assert "()" not in words
    assert not killed
    assert not client.running
    client.close()


def test_a_fit_whose_process_cannot_be_made_fails(opened, scribble, qtbot):
    scribble()
    training = opened.workbench.training
    training.spare.close()
    training.command = lambda folder: [""]
    with qtbot.waitSignal(training.failed) as failed:
        training.start("quick")
    assert "could not be started" in failed.args[0]
    assert training.state == "idle"


def test_what_a_library_prints_is_for_the_log(qtbot):
    code = f"out.write(b'caf\\xe9\\n' + {NOTICE.encode()!r} + b'\\n'); out.flush(); time.sleep(60)"
    client = client_of(code)
    with qtbot.waitSignal(client.received) as heard:
        pass
    assert heard.args[0].text == "All is well."
    assert client.details == "caf�"
    with qtbot.waitSignal(client.ended):
        client.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="stops with SIGSTOP")
@pytest.mark.parametrize("closing", ["the patient", "napari"])
def test_a_halted_worker_is_not_waited_for(qtbot, closing):
    client = client_of(f"out.write({NOTICE.encode()!r} + b'\\n'); out.flush(); time.sleep(60)")
    with qtbot.waitSignal(client.received):
        pass
    number = client.process_id
    os.kill(number, signal.SIGSTOP)
    psutil.Process(number).status()
    begin = time.monotonic()
    with qtbot.waitSignal(client.ended):
        client.end_now() if closing == "napari" else client.close()
    assert time.monotonic() - begin < 2
    assert not psutil.pid_exists(number)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3725.4, "1:02:05"),
        (-1.0, "0:00"),
        (1e308, "more than 100 hours"),
        (float("inf"), "more than 100 hours"),
        (float("nan"), "an unknown time"),
    ],
)
def test_times_that_are_none_are_words(seconds, words):
    assert clock(seconds) == words
    assert 1 <= minutes_needed(100, 1, seconds) <= 60


def test_figures_that_make_no_sense_stop_nothing(opened):
    panel = opened.training_panel
    for number in (float("nan"), -1e308, 1e308, float("inf")):
        step = Step(step=1, progress=number, elapsed_s=number, remaining_s=number, losses={})
        step = step.model_copy(update={"losses": {"total": number}})
        opened.workbench.training.stepped.emit(step)
        assert 0 <= panel.progress.value() <= 1000
    assert panel.time.text().startswith("Step 1: more than 100 hours elapsed")
