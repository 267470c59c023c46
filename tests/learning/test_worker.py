"""The worker as the window meets it: a process, JSON lines, a case folder."""

import io
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from cmfnet_napari.core.case.case_classes import OTHER_CLASSES, RUN_CLASSES
from cmfnet_napari.core.case.folder import open_case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import read_json, write_json
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.kept_previews import kept_previews, read_kept
from cmfnet_napari.core.fit.model_card import Card, read_card
from cmfnet_napari.core.fit.runs import STATE_FILE
from cmfnet_napari.core.images.study import load_labels
from cmfnet_napari.core.strokes.entries import difference
from cmfnet_napari.learning.engine.state import SAVE_VARIABLE
from cmfnet_napari.learning.model.checkpoint import save_model
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.worker import Inbox

from .conftest import Worker, coarse_ball, fit_command


@pytest.fixture
def ball():
    return coarse_ball()


def test_fit_predict_and_leave(ball, case, worker):
    worker.say(fit_command(ball.config, steps=3))
    finished = worker.until("finished")[-1]
    assert finished.model == "runs/0001-quick/model.safetensors"
    assert finished.volumes_ml.keys() == {"Tumour"}
    first = load_labels(case.folder / finished.labels, ball.study.grid)
    worker.say(events.Predict(model="runs/0001-quick"))
    again = worker.until("finished")[-1]
    kept = load_labels(case.folder / again.labels, ball.study.grid)
    assert ((first > 0) <= (kept > 0)).all()  # the fit dropped parts without a stroke
    assert worker.end() == 0


def test_stop_ends_within_a_second_and_keeps_a_prediction(ball, case, worker):
    worker.say(fit_command(ball.config, steps=100_000))
    worker.until("step")
    before = worker.processor_seconds()
    worker.say(events.Stop())
    finished = worker.until("finished")[-1]
    assert finished.stopped
    assert worker.processor_seconds() - before < 10
    assert (case.folder / finished.labels).exists()


def test_stop_is_answered_within_a_second(ball, case, worker):
    heavy = {"width": 16, "patch": (32, 32, 32), "batch": 16, "steps": 1000}
    worker.say(fit_command(ball.config, **heavy))  # a step takes many seconds
    worker.until("started")
    begun = worker.processor_seconds()
    while worker.processor_seconds() - begun < 1:
        time.sleep(0.02)
    before = worker.processor_seconds()
    worker.say(events.Stop())
    seen = worker.until("failed")  # it was in the middle of its first step
    assert worker.processor_seconds() - before < 1.5
    assert [event.event for event in seen] == ["failed"]
    assert "before its first step was done" in seen[-1].reason


def test_a_killed_fit_goes_on_to_the_same_result(ball, case, worker, monkeypatch):
    same = {"steps": 40, "width": 2, "dropout": 0.2}
    worker.say(fit_command(ball.config, **same))
    whole = worker.until("finished")[-1]
    assert worker.end() == 0

    monkeypatch.setenv(SAVE_VARIABLE, "0")
    killed = Worker(case.folder)
    killed.say(fit_command(ball.config, **same))
    run = case.folder / killed.until("started")[-1].run
    killed.until("step")
    first = (run / STATE_FILE).stat().st_ino  # of before the first step, or later
    while (run / STATE_FILE).stat().st_ino == first:
        time.sleep(0.02)
    killed.kill()

    again = Worker(case.folder)
    again.say(events.Fit(config={}, resume=f"runs/{run.name}"))
    assert again.until("started")[-1].from_step > 0
    finished = again.until("finished")[-1]
    assert again.end() == 0
    again.close()
    assert (finished.steps, finished.agreement) == (whole.steps, whole.agreement)
    for part in ("labels", "probabilities", "disagreement"):
        one, other = (case.folder / getattr(event, part) for event in (whole, finished))
        assert one.read_bytes() == other.read_bytes()


def test_a_kept_preview_becomes_the_contour(ball, case, worker):
    worker.say(fit_command(ball.config, steps=4, preview_seconds=0.1, stroke_maps=True))
    last = worker.until("finished")[-1]
    run = case.folder / "runs" / "0001-quick"
    kept = kept_previews(run)[0]
    assert kept.event.step < last.steps
    worker.say(events.Choose(model="runs/0001-quick", step=kept.event.step))
    chosen = worker.until("finished")[-1]
    assert chosen.steps == kept.event.step
    assert read_card(run / "model.safetensors").steps == kept.event.step
    labels = load_labels(case.folder / chosen.labels, ball.study.grid)
    shown = read_kept(kept.labels, ball.study.grid.shape)
    assert (labels <= shown).all()  # what is kept drops parts without a stroke
    assert labels.any()
    worker.say(events.Choose(model="runs/0001-quick", step=999))
    assert "not kept any more" in worker.until("failed")[-1].reason
    assert read_json(run / RUN_CLASSES) == {"numbers": [1, 2]}
    write_json(run / RUN_CLASSES, {"numbers": [1, 7]})  # as if the second had been removed
    for command in (
        events.Choose(model="runs/0001-quick", step=kept.event.step),
        events.Refine(model="runs/0001-quick"),
        events.Predict(model="runs/0001-quick"),
        events.Fit(config={}, resume="runs/0001-quick"),
    ):
        worker.say(command)
        assert worker.until("failed")[-1].reason == OTHER_CLASSES
    worker.say(fit_command(ball.config, steps=1))
    worker.until("finished")
    assert worker.end() == 0
    assert kept_previews(run) == []  # only the newest run is gone back in


def test_sigterm_saves_the_state(ball, case, worker):
    worker.say(fit_command(ball.config, steps=100_000))
    worker.until("step")
    worker.process.terminate()
    assert worker.process.wait(timeout=60) == 0
    (run,) = open_case(case.folder, read_only=True).runs()
    assert (run / STATE_FILE).exists()


def test_a_worker_that_nobody_hears_saves_its_state(ball, case, worker):
    worker.say(fit_command(ball.config, steps=100_000))
    worker.until("step")
    worker.process.stdout.close()
    assert worker.process.wait(timeout=60) == 0
    (run,) = open_case(case.folder, read_only=True).runs()
    assert (run / STATE_FILE).exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"command":"caf\xe9"}\n', "no command"),
        (b'{"command":"' + b"x" * 60_000_000 + b'"}\n', "1 MB or more"),
    ],
    ids=["not UTF-8", "60 MB"],
)
def test_a_line_that_is_no_command_is_answered(line, words, monkeypatch):
    monkeypatch.setattr("cmfnet_napari.learning.worker.LAST_SECONDS", 1e6)  # then it would exit
    predict = events.Predict(model="runs/0001-quick")
    begin = time.monotonic()
    inbox = Inbox(io.BytesIO(line + events.encode(predict).encode() + b"\n"))
    with pytest.raises(UserError, match=words):
        inbox.next()
    assert inbox.next() == predict
    assert inbox.next() == events.Quit()
    assert time.monotonic() - begin < 2


def test_a_stop_is_meant_for_the_work_that_was_asked_for_before_it(monkeypatch):
    """Whether that has begun or not: a worker that still starts has read both."""
    monkeypatch.setattr("cmfnet_napari.learning.worker.LAST_SECONDS", 1e6)  # then it would exit
    source, sink = os.pipe()
    predict = events.Predict(model="runs/0001-quick")
    with open(source, "rb") as stream, open(sink, "wb", buffering=0) as window:

        def say(*commands):
            window.write("".join(events.encode(one) + "\n" for one in commands).encode())

        inbox = Inbox(stream)
        say(events.Stop(), predict)  # of what had ended by itself
        inbox.next()
        assert inbox.request() == ""
        say(predict, events.Stop(), events.Stopping(step=1))
        inbox.next()
        with pytest.raises(UserError):  # by then all three are read
            inbox.next()
        assert inbox.request() == "stop"
        say(predict)
        inbox.next()
        assert inbox.request() == ""


def test_a_fit_that_is_stopped_while_the_worker_starts_is_stopped(ball, case, worker):
    worker.say(fit_command(ball.config, steps=100_000, stroke_maps=True))
    worker.say(events.Stop())
    finished = worker.until("finished")[-1]
    assert finished.stopped
    assert finished.steps == 0
    worker.say(fit_command(ball.config, steps=1))  # that stop is over
    assert worker.until("finished")[-1].steps == 1


def test_two_workers_make_two_runs(ball, case, worker):
    other = Worker(case.folder)
    for one in (worker, other):
        one.say(fit_command(ball.config, steps=1, width=2))
    runs = {one.until("finished")[-1].model.split("/")[1] for one in (worker, other)}
    assert runs == {"0001-quick", "0002-quick"}
    other.end()
    other.close()


def test_closing_stdin_writes_a_checkpoint_and_ends(ball, case, worker):
    worker.say(fit_command(ball.config, steps=100_000))
    worker.until("step")
    assert worker.end() == 0
    (run,) = open_case(case.folder, read_only=True).runs()
    assert (run / "model.safetensors").exists()


def test_strokes_drawn_meanwhile_are_taken(ball, case, worker):
    slow = {"patch": (16, 32, 32), "steps": 100_000}  # learns little from preview to preview
    worker.say(fit_command(ball.config, preview_seconds=0.2, **slow))
    worker.until("preview")
    case.journal.append(
        difference(case.scribbles(), np.where(ball.scribbles == 2, 0, ball.scribbles))
    )
    one = np.where(ball.scribbles == 2, 0, ball.scribbles)
    one[9, 5, 8:20] = 2  # the user now says the tumour is elsewhere
    case.journal.append(difference(case.scribbles(), one))
    worker.until("preview")
    agreed = worker.until("preview")[-1].agreement  # of the new strokes, learnt only a moment
    assert agreed < 1
    worker.say(events.Stop())
    worker.until("finished")


def test_strokes_bring_the_next_preview_forward(ball, case, worker):
    worker.say(fit_command(ball.config, steps=100_000))
    worker.until("step")
    more = ball.scribbles.copy()
    more[9, 5, 8:20] = 1
    case.journal.append(difference(ball.scribbles, more))
    before = worker.processor_seconds()
    worker.until("preview")  # else in an hour
    assert worker.processor_seconds() - before < 15
    worker.say(events.Stop())
    worker.until("finished")


def base_model(config, classes, path):
    return save_model(build(config, classes), Card(config=config, classes=classes), path)


def test_a_fit_starts_from_a_base_model(ball, case, worker, tmp_path):
    base = base_model(ball.config.model_copy(update={"width": 2}), 2, tmp_path / "a.safetensors")
    worker.say(fit_command(ball.config, base, steps=1))
    finished = worker.until("finished")[-1]
    assert read_card(case.folder / finished.model).config.width == 2
    assert worker.end() == 0


def test_a_base_model_that_does_not_fit_is_said_and_no_step_is_made(ball, case, worker, tmp_path):
    other = base_model(ball.config, 3, tmp_path / "organs.safetensors")
    worker.say(fit_command(ball.config, other, steps=1))
    assert "organs knows 2 classes" in worker.until("failed")[-1].reason
    worker.say(fit_command(ball.config, tmp_path / "gone.safetensors", steps=1))
    failed = worker.until("failed")
    assert "holds no model" in failed[-1].reason
    assert len(failed) == 1
    assert worker.end() == 0


def test_what_cannot_be_done_is_said_and_the_worker_lives_on(ball, case, worker):
    worker.process.stdin.write("no json\n")
    worker.process.stdin.flush()
    assert "cannot read (no command)" in worker.until("failed")[-1].reason
    worker.say(events.Predict(model="runs/none"))
    assert "holds no model" in worker.until("failed")[-1].reason
    bad = ball.config.model_dump(mode="json") | {"steps": 0}
    worker.say(events.Fit(config=bad))
    assert "steps" in worker.until("failed")[-1].reason
    case.journal.append(difference(case.scribbles(), np.zeros_like(ball.scribbles)))
    worker.say(fit_command(ball.config, steps=1))
    assert "no tumour stroke" in worker.until("failed")[-1].reason
    assert worker.end() == 0


def test_a_folder_that_is_no_case_is_said(tmp_path):
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cmfnet_napari", "worker", str(tmp_path)],
        input="",
        capture_output=True,
        encoding="utf-8",
        timeout=180,
    )
    assert result.returncode == 1
    assert "no case folder" in json.loads(result.stdout)["reason"]
    # What only a training needs is imported while there is nothing else to do.
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "cmfnet_napari.learning.worker" in imported
    assert not {"monai", "lightning_fabric", "torch._dynamo", "matplotlib.pyplot"} & imported
