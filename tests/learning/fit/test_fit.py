import json

import numpy as np
import pytest
import torch

from cmfnet_napari.api import run_folder
from cmfnet_napari.core.contours.components import drop_unmarked
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.model_card import Card, read_card, start_config
from cmfnet_napari.core.folder_lock import alone
from cmfnet_napari.core.images.study import load_labels, load_values
from cmfnet_napari.learning.fit import loop as fit_loop
from cmfnet_napari.learning.fit.callbacks import Hooks
from cmfnet_napari.learning.fit.loop import agreement
from cmfnet_napari.learning.fit.start import fit, go_on
from cmfnet_napari.learning.model.checkpoint import load_model, save_model
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.predict.predictor import predict_study
from tests.learning.conftest import coarse_ball, dice

CPU = torch.device("cpu")


@pytest.fixture
def ball():
    return coarse_ball()


def weights(run):
    return load_model(run, CPU)[0].state_dict()


def test_a_fit_finds_the_ball_and_leaves_a_whole_run(ball, tmp_path, monkeypatch):
    due = iter([True])  # one preview, however fast this is
    monkeypatch.setattr(fit_loop.Pace, "preview_due", lambda _pace: next(due, False))
    changes = {"learning_rate": 3e-3, "steps": 20}
    seen, config = [], ball.config.model_copy(update=changes)
    finished = fit(
        ball.study, ball.scribbles, tmp_path, config, names=["Ball"], hooks=Hooks(seen.append)
    )
    labels = load_labels(tmp_path / finished.labels, ball.study.grid)
    assert dice(labels > 0, ball.truth) > 0.85
    assert finished.volumes_ml == {"Ball": pytest.approx((labels > 0).sum() * 4.5 / 1000)}
    assert not finished.stopped
    assert finished.steps == 20
    assert finished.agreement == agreement(labels, ball.scribbles)

    probability = load_values(tmp_path / finished.probabilities, ball.study.grid)
    assert probability.dtype == np.float32
    assert ((probability > 0.5) >= (labels > 0)).mean() > 0.999
    apart = load_values(tmp_path / finished.disagreement, ball.study.grid)
    assert apart.dtype == np.uint8  # percent
    assert 0 < apart.max() <= 100

    step = next(event for event in seen if event.event == "step")
    terms = [value for name, value in step.losses.items() if name != "total"]
    assert set(step.losses) == {"ssl", "imr", "imc", "guide", "total"}
    assert step.losses["total"] == pytest.approx(sum(terms), rel=1e-5)
    kinds = [event.event for event in seen]
    assert kinds[0] == "started"
    assert kinds[-1] == "finished"
    assert {"step", "preview", "saved"} <= set(kinds)
    written = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [events.decode_event(line) for line in written] == seen
    frozen = json.loads((tmp_path / "config.json").read_text())
    assert frozen["config"]["steps"] == 20
    assert frozen["study"] == ball.study.content_hash


@pytest.mark.parametrize("trained", [0.9, 0.95])
def test_training_counts_only_where_held_out_strokes_agree_better(
    ball, tmp_path, monkeypatch, trained
):
    """Five groups before training, then six rounds of ten steps."""
    told = iter([0.9] * 5 + [trained] * 6)
    monkeypatch.setattr(fit_loop.FitLoop, "_agreement_with", lambda _self, _group: next(told))
    monkeypatch.setattr(fit_loop.Pace, "preview_due", lambda _pace: False)
    changes = {"stroke_maps": True, "keep_marked": False, "learning_rate": 3e-2}
    began = []

    def hear(event):
        if isinstance(event, events.Preview):
            began.append(np.load(tmp_path / event.labels))

    config = ball.config.model_copy(update=changes)
    finished = fit(ball.study, ball.scribbles, tmp_path, config, hooks=Hooks(hear))
    assert (finished.steps, finished.held_out) == (60, pytest.approx(trained))
    labels = load_labels(tmp_path / finished.labels, ball.study.grid)
    in_vain = trained == 0.9
    assert np.array_equal(labels, began[0]) == in_vain
    said = "After 60 steps the network agreed no better with strokes that were held out"
    assert finished.warning.startswith(said) == in_vain


def test_who_stops_a_training_has_the_contour_that_was_seen(ball, tmp_path, monkeypatch):
    """Stopped when five rounds are over, none of which agreed better than before training."""
    judged, began = [], []

    def judge(_fit, group):
        judged.append(group)
        return 0.9

    def hear(event):
        if isinstance(event, events.Preview):
            began.append(np.load(tmp_path / event.labels))

    monkeypatch.setattr(fit_loop.FitLoop, "_agreement_with", judge)
    monkeypatch.setattr(fit_loop.Pace, "preview_due", lambda _pace: False)
    changes = {"stroke_maps": True, "keep_marked": False, "learning_rate": 3e-2}
    config = ball.config.model_copy(update=changes)
    hooks = Hooks(hear, request=lambda: "stop" if len(judged) == 10 else "")
    finished = fit(ball.study, ball.scribbles, tmp_path, config, hooks=hooks)
    assert judged == [1, 2, 3, 4, 5] * 2
    assert (finished.stopped, finished.warning) == (True, "")
    labels = load_labels(tmp_path / finished.labels, ball.study.grid)
    assert not np.array_equal(labels, began[0])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A run of two steps to start from."""
    ball, run = coarse_ball(), tmp_path_factory.mktemp("models") / "base"
    run.mkdir()
    fit(ball.study, ball.scribbles, run, ball.config.model_copy(update={"steps": 2}))
    return run


def test_same_seed_same_weights_other_seed_other_weights(ball, base, tmp_path):
    found = []
    for seed in (ball.config.seed, ball.config.seed + 1):
        run = tmp_path / str(seed)
        run.mkdir()
        config = ball.config.model_copy(update={"steps": 2, "seed": seed})
        fit(ball.study, ball.scribbles, run, config)
        found.append(weights(run))
    before, (same, other) = weights(base), found
    assert all(torch.equal(same[key], before[key]) for key in before)
    assert any(not torch.equal(other[key], before[key]) for key in before)


def test_stop_keeps_what_was_learnt_and_predicts(ball, tmp_path):
    steps = []
    hooks = Hooks(request=lambda: "stop" if steps else "")
    hooks.emit = lambda event: steps.append(event) if event.event == "step" else None
    finished = fit(ball.study, ball.scribbles, tmp_path, ball.config, hooks=hooks)
    assert finished.stopped
    assert finished.steps < 60
    assert finished.warning == ""  # it is not the time that ended it
    assert (tmp_path / finished.labels).exists()


def test_quit_saves_the_model_and_predicts_nothing(ball, tmp_path):
    assert (
        fit(ball.study, ball.scribbles, tmp_path, ball.config, hooks=Hooks(request=lambda: "quit"))
        is None
    )
    assert weights(tmp_path)
    assert not (tmp_path / "prediction.nii.gz").exists()


def test_strokes_drawn_during_training_count_from_then_on(ball, tmp_path, monkeypatch):
    drawn = ball.scribbles.copy()
    drawn[12, 17, 19] = 2
    pending = [None, drawn]
    targets = []
    step = fit_loop.Trainer.step
    monkeypatch.setattr(
        fit_loop.Trainer,
        "step",
        lambda self, batch, progress: targets.append(batch.targets) or step(self, batch, progress),
    )
    whole = {"steps": 3, "width": 2, "augment": False, "patch": (32, 32, 16), "batch": 1}
    config = ball.config.model_copy(update=whole)
    hooks = Hooks(new_scribbles=lambda: pending.pop(0) if pending else None)
    fit(ball.study, ball.scribbles, tmp_path, config, hooks=hooks)
    # 3 voxels along y and 3 along x, each of 2 × 3 of the CT's
    assert [(t == 1).sum().item() for t in targets] == [6, 7, 7]


def test_divergence_stops_and_keeps_the_last_good_model(ball, tmp_path, monkeypatch):
    gradient, finite = fit_loop.Trainer._gradient, fit_loop.Trainer._finite

    def spoilt(self, batch, progress):
        """The first step's only: what the others would find is not looked at."""
        return {"total": torch.tensor(1.0)} if self.steps else gradient(self, batch, progress)

    monkeypatch.setattr(fit_loop.Trainer, "_gradient", spoilt)
    monkeypatch.setattr(fit_loop.Trainer, "_finite", lambda self: self.steps == 1 and finite(self))
    with pytest.raises(UserError, match=r"diverged at step 21.*learning rate"):
        fit(ball.study, ball.scribbles, tmp_path, ball.config.model_copy(update={"width": 2}))
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path).values())


@pytest.mark.parametrize(("code", "words"), [(2, "no tumour stroke"), (1, "no background stroke")])
def test_missing_strokes_are_said_before_anything_is_trained(ball, tmp_path, code, words):
    scribbles = np.where(ball.scribbles == code, 0, ball.scribbles)
    with pytest.raises(UserError, match=words):
        fit(ball.study, scribbles, tmp_path, ball.config)
    assert not list(tmp_path.iterdir())


def test_a_gpu_that_is_not_there_is_said(ball, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match=r"GPU cuda was asked for.*0 CUDA"):
        fit(ball.study, ball.scribbles, tmp_path, ball.config, device="cuda")


def test_a_base_model_gives_the_first_weights_and_network_and_input(ball, base, tmp_path):
    still = {"steps": 1, "learning_rate": 1e-12, "average": 0.0, "seed": 9}
    other = {"width": 6, "ct_stages": 4, "ct_high": 500.0}
    config = ball.config.model_copy(update=still | other)
    fit(ball.study, ball.scribbles, tmp_path, config, base=base)
    model, card = load_model(tmp_path, CPU)
    before, after = weights(base), model.state_dict()
    assert all(torch.allclose(before[key], after[key], atol=1e-9) for key in before)
    assert (card.config.width, card.config.ct_stages, card.config.ct_high) == (4, 3, 240)
    assert card.config.steps == 1
    assert card.data == (ball.study.content_hash,)  # both were fitted to the same study
    frozen = json.loads((tmp_path / "config.json").read_text())
    assert frozen["config"] == card.config.model_dump(mode="json")


def test_a_base_model_with_other_classes_is_refused_before_anything_is_written(
    ball, base, tmp_path
):
    scribbles = ball.scribbles.copy()
    scribbles[12, 17, 19] = 3
    with pytest.raises(UserError, match=r"model base knows 1 class, .* mark 2 classes"):
        fit(ball.study, scribbles, tmp_path, ball.config, base=base)
    assert not list(tmp_path.iterdir())


def test_a_base_model_that_reads_strokes_contours_at_once(ball, tmp_path):
    """No step is trained; its contour is what it predicts from these strokes."""
    config = ball.config.model_copy(update={"stroke_maps": True, "normalisation": "none"})
    base, run = tmp_path / "base", tmp_path / "run"
    base.mkdir(), run.mkdir()
    seen = []
    short = config.model_copy(update={"steps": 1})
    fit(ball.study, ball.scribbles, base, short, hooks=Hooks(seen.append))
    kinds = [event.event for event in seen]
    assert kinds.index("preview") < kinds.index("step")  # its own contour too comes first
    first = seen[kinds.index("preview")]
    assert (first.step, first.agreement > 0.9) == (0, True)
    quick = start_config("quick", read_card(base), precision="float32", spacing=None)
    seen = []
    finished = fit(ball.study, ball.scribbles, run, quick, base=base, hooks=Hooks(seen.append))
    assert finished.steps == 0
    assert all(torch.equal(a, b) for a, b in zip(*map(values, (base, run)), strict=True))
    assert [event.event for event in seen if event.event in ("preview", "step")] == ["preview"]
    model, card = load_model(run, CPU)
    again = predict_study(model, card, ball.study, scribbles=ball.scribbles)
    labels = load_labels(run / finished.labels, ball.study.grid)
    np.testing.assert_array_equal(drop_unmarked(again.labels, ball.scribbles), labels)
    assert labels.any()
    with pytest.raises(UserError, match="reads strokes"):
        predict_study(model, card, ball.study)


def values(run):
    return weights(run).values()


def test_no_steps_from_nothing_is_refused(ball, tmp_path):
    with pytest.raises(UserError, match="0 steps says nothing without a base model"):
        fit(ball.study, ball.scribbles, tmp_path, ball.config.model_copy(update={"steps": 0}))
    assert not any(tmp_path.iterdir())


@pytest.fixture
def timed(monkeypatch):
    """Let the time be over after so many steps."""

    def over(steps):
        progress = (lambda pace, done: done / steps) if steps else lambda pace, done: 1.0
        monkeypatch.setattr(fit_loop.Pace, "progress", progress)

    return over


@pytest.mark.parametrize(("steps", "said"), [(1, True), (2, False)])
def test_it_is_said_when_time_ends_a_fit_before_half_of_its_steps(
    ball, tmp_path, timed, steps, said
):
    timed(steps)
    config = ball.config.model_copy(update={"steps": 4})
    finished = fit(ball.study, ball.scribbles, tmp_path, config)
    assert finished.steps == steps
    words = "Only 1 of 4 steps fitted into the time, in float32 on the processor."
    assert finished.warning.startswith(words) == said
    assert bool(finished.warning) == said


def base_of(config, path):
    return save_model(build(config, 2), Card(config=config, classes=2), path)


@pytest.mark.parametrize(
    ("begins_with", "words"),
    [
        ("nothing", "the network has learnt little, and the contour may be wrong anywhere."),
        ("strokes", "the contour is mostly what the strokes tell by themselves."),
        ("a model", "mostly what the model says that training began with."),
    ],
)
def test_what_a_contour_of_few_steps_rests_on_is_said(ball, tmp_path, timed, begins_with, words):
    timed(1)
    config = ball.config.model_copy(
        update={"steps": 4, "width": 2, "stroke_maps": begins_with == "strokes"}
    )
    base = base_of(config, tmp_path / "a.safetensors") if begins_with == "a model" else None
    run = tmp_path / "run"
    run.mkdir()
    finished = fit(ball.study, ball.scribbles, run, config, base=base)
    assert words in finished.warning


@pytest.mark.parametrize(
    ("request_", "words"),
    [("", "time for training was over .*with more minutes"), ("stop", "was stopped .*Train again")],
)
def test_a_network_that_has_learnt_nothing_contours_nothing(ball, tmp_path, timed, request_, words):
    if not request_:
        timed(0)
    config = ball.config.model_copy(update={"steps": 4, "width": 2})
    said = []
    with pytest.raises(UserError, match=words):
        fit(
            ball.study,
            ball.scribbles,
            tmp_path,
            config,
            hooks=Hooks(said.append, lambda: request_),
        )
    assert {event.event for event in said} == {"started"}
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"config.json", "events.jsonl", "fit.lock"}  # no contour, no model, no state


@pytest.mark.parametrize("begins_with", ["strokes", "a model"])
def test_what_knows_something_contours_without_a_step(ball, tmp_path, begins_with):
    config = ball.config.model_copy(
        update={"steps": 4, "width": 2, "stroke_maps": begins_with == "strokes"}
    )
    base = base_of(config, tmp_path / "a.safetensors") if begins_with == "a model" else None
    run = tmp_path / "run"
    run.mkdir()
    hooks = Hooks(request=lambda: "stop")
    finished = fit(ball.study, ball.scribbles, run, config, base=base, hooks=hooks)
    assert (finished.steps, finished.stopped) == (0, True)
    assert (run / finished.labels).exists()


def test_a_second_fit_into_one_folder_is_refused(ball, tmp_path):
    config = ball.config.model_copy(update={"steps": 1})
    with alone(tmp_path):
        assert run_folder(tmp_path) == tmp_path  # a lock alone holds nothing
        for begin in (
            lambda: fit(ball.study, ball.scribbles, tmp_path, config),
            lambda: go_on(ball.study, ball.scribbles, tmp_path),
        ):
            with pytest.raises(UserError, match="Another process is writing into"):
                begin()
    (tmp_path / "config.json").write_text("{}")  # the first one, which ended meanwhile
    with pytest.raises(UserError, match="already holds something"):
        fit(ball.study, ball.scribbles, tmp_path, config)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "fit.lock"]
