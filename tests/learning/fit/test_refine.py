"""Learning while drawing: a refine after a fit, in the worker and without it."""

import io
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.kept_previews import kept_previews
from cmfnet_napari.core.fit.model_card import MODEL_FILE, read_card
from cmfnet_napari.core.fit.preview_file import read_preview
from cmfnet_napari.core.fit.runs import read_run
from cmfnet_napari.core.images.study import load_labels
from cmfnet_napari.core.strokes.entries import difference
from cmfnet_napari.learning import worker as worker_module
from cmfnet_napari.learning.fit import refine as refining
from cmfnet_napari.learning.fit.callbacks import Hooks
from cmfnet_napari.learning.fit.loop import agreement
from cmfnet_napari.learning.fit.model_in_memory import keep_learnt, load_learnt
from cmfnet_napari.learning.fit.refine import refine
from cmfnet_napari.learning.fit.run_folder import RunFolder
from cmfnet_napari.learning.fit.schedule import Pace
from cmfnet_napari.learning.fit.start import fit
from cmfnet_napari.learning.fit.training_data import Material
from cmfnet_napari.learning.worker import Desk
from tests.learning.conftest import coarse_ball, fit_command

RUN = "runs/0001-quick"
PLACE = np.s_[8:11, 12:15, 12:16]  # inside the ball; a stroke says that it is background


@pytest.fixture(scope="module")
def ball():
    """The ball on coarse voxels, where a refine makes many steps in its time, learnt fast."""
    return coarse_ball(patch=(16, 32, 32), steps=12, learning_rate=5e-3, average=0.0)


def corrected(scribbles):
    """The strokes, with one more that the network does not expect."""
    more = scribbles.copy()
    more[PLACE] = 1
    return more


def draw(case, scribbles):
    case.journal.append(difference(case.scribbles(), scribbles))


def ended(worker):
    """Events up to the end of a command; its last one."""
    seen = []
    for line in worker.process.stdout:
        seen.append(events.decode_event(line))
        if isinstance(seen[-1], events.Finished | events.Failed):
            return seen
    raise AssertionError(worker.process.stderr.read()[-2000:])


# --- in the worker


def test_a_new_stroke_changes_its_place_without_a_reload(ball, case, worker):
    worker.say(fit_command(ball.config))
    first = ended(worker)[-1]
    grid = ball.study.grid
    before = load_labels(case.folder / first.labels, grid)
    assert before[PLACE].mean() > 0.5
    (case.folder / RUN / MODEL_FILE).write_bytes(b"gone: who reads it again fails")
    draw(case, corrected(ball.scribbles))
    worker.say(events.Refine(model=RUN))
    seen = ended(worker)
    assert {event.event for event in seen} == {"preview", "finished"}
    finished = seen[-1]
    assert isinstance(finished, events.Finished), seen
    after = load_labels(case.folder / finished.labels, grid)
    assert after[PLACE].mean() < 0.5
    card = read_card(case.folder / RUN)
    assert card.steps == finished.steps > first.steps
    assert card.seconds == finished.seconds > first.seconds
    assert card.agreement == finished.agreement == agreement(after, case.scribbles())
    assert seen[0].agreement < finished.agreement
    assert read_run(case.folder / RUN).finished == finished
    assert worker.end() == 0


def test_a_worker_that_has_just_begun_takes_the_run_from_disk(ball, fitted, case, worker):
    shutil.copytree(fitted.run.folder, case.folder / RUN)
    first, again = fitted.finished, worker
    draw(case, corrected(ball.scribbles))
    again.say(events.Refine(model=RUN))
    finished = ended(again)[-1]
    assert isinstance(finished, events.Finished), finished
    assert load_labels(case.folder / finished.labels, ball.study.grid)[PLACE].mean() < 0.5
    assert finished.steps > first.steps
    again.say(events.Refine(model="runs/none"))
    assert "holds no model" in ended(again)[-1].reason
    again.say(events.Refine(model="../elsewhere"))
    assert "outside its folder" in ended(again)[-1].reason
    draw(case, np.where(ball.scribbles == 2, 0, ball.scribbles))
    again.say(events.Refine(model=RUN))
    assert "no tumour stroke" in ended(again)[-1].reason
    assert again.end() == 0


def test_quit_in_the_middle_leaves_the_run_as_it_was(ball, fitted, case, worker):
    shutil.copytree(fitted.run.folder, case.folder / RUN)
    files = {path.name: path.read_bytes() for path in (case.folder / RUN).iterdir()}
    draw(case, corrected(ball.scribbles))
    worker.say(events.Refine(model=RUN))
    worker.until("preview")
    assert worker.end() == 0  # by itself: who hangs is ended, with another status
    rest = [events.decode_event(line).event for line in worker.process.stdout]
    assert set(rest) <= {"preview"}  # it was broken off
    for name in (MODEL_FILE, "prediction.nii.gz", "probabilities.nii.gz"):
        assert (case.folder / RUN / name).read_bytes() == files[name]


# --- without it


@pytest.fixture(scope="module")
def fitted(ball, tmp_path_factory):
    """What a short fit leaves in memory."""
    kept, folder = [], tmp_path_factory.mktemp("case")
    run = RunFolder(folder / RUN, folder)
    run.folder.mkdir(parents=True)
    hooks = Hooks(keep=lambda *what: kept.append(keep_learnt(run, *what)))
    finished = fit(ball.study, ball.scribbles, run.folder, ball.config, hooks=hooks, root=folder)
    return replace(kept[0], finished=finished)


@pytest.fixture
def learnt(ball, fitted, tmp_path):
    """The same for each test, which may change it."""
    shutil.copytree(fitted.run.folder, tmp_path / "0001-quick")
    return replace(
        fitted,
        run=RunFolder(tmp_path / "0001-quick", tmp_path),
        material=Material(ball.study, ball.scribbles, ball.config),
    )


def test_weights_that_agree_less_are_not_kept(ball, learnt, monkeypatch):
    monkeypatch.setattr(refining, "LEARNING_RATE", 0.9)  # ruins the network
    monkeypatch.setattr(refining, "CPU_SECONDS", 0.5)
    weights = {name: value.clone() for name, value in learnt.weights.items()}
    steps, labels = learnt.card.steps, learnt.prediction.labels
    strokes = corrected(ball.scribbles)
    finished = refine(learnt, strokes)
    assert all((learnt.weights[name] == value).all() for name, value in weights.items())
    assert finished.steps == read_card(learnt.run.folder).steps == steps
    assert finished.agreement == agreement(labels, strokes)
    kept = load_labels(learnt.run.root / finished.labels, ball.study.grid)
    np.testing.assert_array_equal(kept, labels)


@pytest.mark.parametrize("what", ["save_prediction", "log"])
def test_what_could_not_be_written_is_not_told_as_the_answer_later(ball, learnt, monkeypatch, what):
    """Also where the prediction is written and only its end is not."""
    monkeypatch.setattr(refining, "CPU_SECONDS", 0.5)
    strokes, write = corrected(ball.scribbles), getattr(RunFolder, what)

    def held(run, *said):
        if what == "log" and not isinstance(said[0], events.Finished):
            return write(run, *said)
        raise UserError("It is open in another program.")

    monkeypatch.setattr(RunFolder, what, held)
    with pytest.raises(UserError, match="open in another"):
        refine(learnt, strokes)
    monkeypatch.setattr(RunFolder, what, write)
    said = []
    finished = refine(learnt, strokes, hooks=Hooks(said.append))
    assert "preview" in [event.event for event in said]
    labels = load_labels(learnt.run.root / finished.labels, ball.study.grid)
    np.testing.assert_array_equal(labels, learnt.prediction.labels)
    assert read_run(learnt.run.folder).finished == finished
    assert refine(learnt, strokes, hooks=Hooks(said.append)) is said[-1] is finished


def test_a_choice_that_could_not_be_written_leaves_nothing_to_answer_with(ball, case, monkeypatch):
    monkeypatch.setattr(Pace, "preview_due", lambda pace: True)
    said = io.StringIO()
    desk = Desk(case, SimpleNamespace(request=lambda: "", quit=lambda: None), said)
    desk.work(fit_command(ball.config, steps=2, width=2))
    (*_, kept) = kept_previews(case.folder / RUN)

    def held(*_args, **_options):
        raise UserError("It is open in another program.")

    monkeypatch.setattr(worker_module, "choose", held)
    with pytest.raises(UserError, match="open in another"):
        desk.work(events.Choose(model=RUN, step=kept.event.step))
    monkeypatch.setattr(refining, "CPU_SECONDS", 0.1)
    said.truncate(0)
    desk.work(events.Refine(model=RUN))
    assert '"event":"preview"' in said.getvalue()  # not only what the fit had said


def test_a_stop_ends_the_steps_and_keeps_what_was_learnt(ball, learnt, monkeypatch):
    monkeypatch.setattr(refining, "CPU_SECONDS", 1000.0)
    step, steps, said = refining.Trainer.step, [], []

    def counted(self, batch, progress):
        losses = step(self, batch, progress)
        steps.append(self.steps)
        return losses

    monkeypatch.setattr(refining.Trainer, "step", counted)
    hooks = Hooks(said.append, lambda: "stop" if len(steps) >= 3 else "")
    finished = refine(learnt, corrected(ball.scribbles), hooks=hooks)
    assert len(steps) == 3  # none after the stop
    assert said[-1] == finished
    assert finished.steps == ball.config.steps + 3


def test_strokes_that_come_meanwhile_are_learnt_too(ball, learnt, monkeypatch):
    monkeypatch.setattr(refining, "CPU_SECONDS", 0.5)  # it ends before a second preview is due
    first, second = corrected(ball.scribbles), corrected(ball.scribbles)
    second[9, 20:23, 22:26] = 1
    said, coming = [], [second, None]

    def new_scribbles():
        """Strokes once: in the middle of the last prediction."""
        learnt_enough = len(said) > 1
        return coming.pop(0) if coming and learnt_enough else None

    refine(learnt, first, hooks=Hooks(said.append, new_scribbles=new_scribbles))
    assert not coming or coming == [None]
    np.testing.assert_array_equal(learnt.scribbles, second)
    assert said[-1].agreement == agreement(learnt.prediction.labels, second)


def test_no_new_stroke_costs_nothing(ball, learnt):
    said = []
    steps = learnt.card.steps
    assert refine(learnt, ball.scribbles, hooks=Hooks(said.append)) == learnt.finished
    assert said == [learnt.finished]
    assert learnt.card.steps == steps


def test_an_erased_class_is_said_before_and_passed_over_meanwhile(ball, learnt, monkeypatch):
    monkeypatch.setattr(refining, "CPU_SECONDS", 0.5)
    nothing = np.where(ball.scribbles == 2, 0, ball.scribbles)
    with pytest.raises(UserError, match="no tumour stroke"):
        refine(learnt, nothing)
    coming = [nothing]
    hooks = Hooks(new_scribbles=lambda: coming.pop() if coming else None)
    strokes = corrected(ball.scribbles)
    refine(learnt, strokes, hooks=hooks)
    np.testing.assert_array_equal(learnt.scribbles, strokes)


@pytest.fixture(scope="module")
def reads_maps(ball, tmp_path_factory):
    """A run of two steps whose network reads maps."""
    folder = tmp_path_factory.mktemp("reads-maps")
    config = ball.config.model_copy(update={"stroke_maps": True, "steps": 2})
    fit(ball.study, ball.scribbles, folder, config)
    return folder


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_network_that_reads_maps_answers_and_learns_only_if_it_does_not_follow(
    ball, reads_maps, tmp_path, monkeypatch, stubborn
):
    monkeypatch.setattr(refining, "CPU_SECONDS", 0.5)
    shutil.copytree(reads_maps, tmp_path, dirs_exist_ok=True)
    learnt = load_learnt(tmp_path, tmp_path, ball.study, ball.scribbles)
    assert learnt.run == RunFolder(tmp_path, tmp_path)
    np.testing.assert_array_equal(learnt.scribbles, ball.scribbles)
    if stubborn:  # tumour everywhere, whatever the maps say
        learnt.weights["mm.decoder.head.2.bias"] = torch.tensor([-20.0, 20.0])
    said = []
    finished = refine(learnt, corrected(ball.scribbles), hooks=Hooks(said.append))
    assert said[0].step == 2  # nothing was learnt yet
    assert finished.agreement >= said[0].agreement
    assert (finished.steps > 2) is stubborn


def test_the_place_of_a_stroke_is_shown_first(ball, learnt, monkeypatch):
    """With a patch that is small beside the images, previews change around the stroke alone."""
    monkeypatch.setattr(refining, "SHOW_SECONDS", 0.0)
    monkeypatch.setattr(refining, "CPU_SECONDS", 30.0)  # until something changes
    small = learnt.card.config.model_copy(update={"patch": (16, 16, 16), "spacing": 2.0})
    learnt.card = learnt.card.model_copy(update={"config": small})
    learnt.material = Material(ball.study, ball.scribbles, small)
    learnt.prediction = None  # at this spacing
    strokes, seen, changed = ball.scribbles.copy(), [], []
    strokes[4:6, 4:7, 32:36] = 2

    def hear(event):
        if isinstance(event, events.Preview):
            seen.append(read_preview(learnt.run.root / event.labels, ball.study.grid.shape))
            rows = (seen[-1] != seen[0]).any(axis=(0, 2))
            if event.step > first and rows.any():
                changed.append(rows)

    first = learnt.card.steps
    refine(learnt, strokes, hooks=Hooks(hear, lambda: "stop" if changed else ""))
    far = 7 + 16
    assert not changed[0][far:].any()  # y: the stroke and its patch are in front
