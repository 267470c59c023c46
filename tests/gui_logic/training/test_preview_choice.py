"""Looking back at a training's previews, and choosing one."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.kept_previews import kept_path
from cmfnet_napari.gui.training.preview_choice import PreviewChoice
from tests.gui_logic.stand_ins import SHAPE, StandInResult, StandInTraining, finished


class Refinement(QObject):
    state_changed = Signal(str)
    finished = Signal(object)

    def __init__(self):
        super().__init__()
        self.state, self.run, self.chosen = "off", None, []

    def choose(self, step):
        self.chosen.append(step)


@pytest.fixture
def preview_choice(session, background):
    preview_choice = PreviewChoice(session, StandInResult(), StandInTraining(), Refinement())
    session.open()
    return preview_choice


def keep(session, step):
    """A preview that the run keeps; its labels are its step."""
    run = session.folder / "runs" / "0001-quick"
    kept_path(run, step).parent.mkdir(parents=True, exist_ok=True)
    kept_path(run, step).touch()
    np.savez(kept_path(run, step, ".npz"), labels=np.full(SHAPE, step, np.uint8))
    return events.Preview(step=step, labels="preview.npy", agreement=0.5)


def steps(preview_choice):
    return [kept.event.step for kept in preview_choice.previews]


@pytest.fixture
def trained(preview_choice, session):
    """A fit with previews after 2, 4 and 6 steps; the last is its contour."""
    training, told = preview_choice._training, [keep(session, step) for step in (2, 4, 6)]
    training.running = True
    training.started.emit(
        events.Started(
            run="runs/0001-quick", device="cpu", precision="float32", steps=6, parameters=1
        )
    )
    for event in told:
        training.previewed.emit(event)
        assert preview_choice.at_newest  # who looks at the newest goes on to do so
    assert steps(preview_choice) == [2, 4]
    training.running = False
    preview_choice._refinement.state = "ready"
    preview_choice._refinement.run = session.folder / "runs" / "0001-quick"
    training.finished.emit(finished(steps=6))
    return preview_choice


def test_the_newest_is_not_among_those_to_go_back_to(trained):
    assert steps(trained) == [2, 4]
    assert trained.place == 2
    assert not trained.can_choose
    with pytest.raises(UserError, match="shown already"):
        trained.choose()


def test_an_earlier_one_is_looked_at_and_chosen(trained, session):
    trained.show(0)
    assert (trained._result.preview == 2).all()
    assert not trained._training.follow
    assert trained.can_choose
    trained.choose()
    assert trained._refinement.chosen == [2]
    session.case.read_only = True
    assert not trained.can_choose
    session.case.read_only = False
    trained._refinement.state = "updating"
    assert not trained.can_choose


def test_back_at_the_newest_the_preview_goes_and_new_ones_are_followed(trained):
    trained.show(1)
    trained.show(2)
    assert trained._result.preview is None
    assert trained._training.follow


def test_only_the_one_that_is_looked_at_last_is_shown(trained, background):
    background.held = True
    trained.show(0)
    trained.show(1)
    background.catch_up()
    assert (trained._result.preview == 4).all()


def test_what_is_looked_at_stays_while_others_come(trained, session):
    trained.show(0)
    trained._training.running = True
    trained._training.previewed.emit(keep(session, 8))
    assert trained.place == 0
    trained._refinement.finished.emit(finished(steps=8))  # a new contour takes its place
    assert trained.at_newest


def test_a_run_of_an_earlier_session_is_read(preview_choice, session, trained):
    told = [keep(session, step) for step in (2, 4, 6)]
    lines = [events.encode(event) for event in (*told, finished(steps=6))]
    (session.folder / "runs" / "0001-quick" / "events.jsonl").write_text("\n".join(lines))
    session.close()
    assert (preview_choice.previews, preview_choice.place) == ([], 0)
    assert preview_choice._training.follow
    session.open()
    assert steps(preview_choice) == [2, 4]
    preview_choice._refinement.run = None
    preview_choice._training.failed.emit("It failed.", "")
    assert preview_choice.previews == []
