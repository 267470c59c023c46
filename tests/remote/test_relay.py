"""Fits on another computer, over a real sshd."""

from __future__ import annotations

import time

import numpy as np
import pytest

from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.kept_previews import kept_previews
from cmfnet_napari.core.fit.runs import newest_prediction
from cmfnet_napari.core.strokes.entries import Stroke
from cmfnet_napari.remote.hosts import Host
from cmfnet_napari.remote.journal_digest import digest_of
from tests.learning.conftest import fit_command

from .conftest import HOST, PARTS


@pytest.mark.slow
def test_a_fit_there_is_the_fit_here(ssh, case, ball, listen, at_home):
    ear = listen(case.folder)
    ear.until("line", "here")
    assert [e.state for e in ear.said][:2] == ["connecting", "sending"]
    assert ear.said[-2].share == 1.0
    ear.relay.take(fit_command(ball.config, steps=4, preview_seconds=0.1, stroke_maps=True))
    preview = ear.until("preview")
    shown = np.load(case.folder / preview.labels)
    assert shown.dtype == np.uint8
    assert shown.shape == ball.study.grid.shape
    finished = ear.until("finished")
    here, files = at_home(steps=4, preview_seconds=0.1, stroke_maps=True)
    assert finished == here.model_copy(update={"seconds": finished.seconds})
    for part in PARTS:
        assert (case.folder / getattr(finished, part)).read_bytes() == files[part]
    assert newest_prediction(case.runs()) == finished  # as the next session finds it
    run = case.folder / "runs/0001-quick"
    assert not list(run.glob("*.pt"))  # no pickle comes from there
    ear.relay.take(events.Refine(model="runs/0001-quick"))
    drawn = np.array([9 * 34 * 38 + 17 * 38 + 21], np.int64)
    case.journal.append(Stroke(drawn, np.zeros(1, np.uint8), np.full(1, 2, np.uint8)))
    ear.until("finished")
    ear.relay.take(events.Choose(model="runs/0001-quick", step=preview.step))
    assert ear.until("finished").steps == preview.step
    end = time.monotonic() + 30
    while not kept_previews(run) and time.monotonic() < end:  # they come when nothing is said
        time.sleep(0.05)
    assert kept_previews(run)
    ear.relay.take(fit_command(ball.config, steps=100_000, width=2))
    ear.until("step")
    ear.relay.take(events.Stop())
    stopped = ear.until("finished")
    assert stopped.stopped
    assert (case.folder / stopped.labels).is_file()
    ear.quit()
    (there,) = (ssh.there / "cases").glob("*/case/strokes.sqlite")
    assert digest_of(there) == digest_of(case.folder / "strokes.sqlite")
    again = listen(case.folder, Host(name=HOST, forget=True))  # as another window, days later
    again.until("line", "here")
    assert [event.state for event in again.said] == ["connecting", "here"]  # nothing is sent twice
    again.quit(left=True)
    assert [path for path in ssh.there.rglob("*") if path.is_file()] == []
