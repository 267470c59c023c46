"""A fit that was broken off goes on as if nothing had happened; and what it does about memory,
a full disk and impatience."""

import errno
import json
import os
import shutil
import threading

import numpy as np
import pytest
import torch

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.fit.model_card import Card
from cmfnet_napari.core.fit.runs import STATE_FILE
from cmfnet_napari.core.strokes.held_out import deal_strokes
from cmfnet_napari.learning.engine.out_of_memory import lighter
from cmfnet_napari.learning.engine.state import SAVE_VARIABLE
from cmfnet_napari.learning.fit import loop as fit_loop
from cmfnet_napari.learning.fit import output, rounds, schedule
from cmfnet_napari.learning.fit.callbacks import Hooks
from cmfnet_napari.learning.fit.loop import CLASS_ADDED
from cmfnet_napari.learning.fit.start import fit, go_on
from cmfnet_napari.learning.model.checkpoint import load_model, save_model
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.model.loss_terms import CmFNetLoss
from tests.learning.conftest import coarse_ball

CPU = torch.device("cpu")
FINE = {"spacing": None, "patch": (16, 32, 32)}  # where patches can become smaller


@pytest.fixture
def ball():
    return coarse_ball()


def weights(run):
    return load_model(run, CPU)[0].state_dict()


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture
def config(ball):
    """Three steps with dropout and augmentation; no previews, whose times would differ."""
    changes = {"steps": 3, "width": 2, "dropout": 0.2, "augment": True}
    return ball.config.model_copy(update=changes)


class Counted(Hooks):
    """Hooks that collect events and make a request after so many steps."""

    def __init__(self, request="", after=0):
        super().__init__()
        self.seen, self.steps = [], 0
        self.emit = self.seen.append
        self.request = lambda: request if request and self.steps >= after else ""

    def kinds(self):
        return [event.event for event in self.seen]


@pytest.fixture
def counting(monkeypatch):
    """Make `Counted.steps` follow the trainer."""
    step = fit_loop.Trainer.step

    def use(hooks):
        def counted(self, batch, progress):
            losses = step(self, batch, progress)
            hooks.steps = self.steps
            return losses

        monkeypatch.setattr(fit_loop.Trainer, "step", counted)
        return hooks

    return use


def test_broken_off_and_gone_on_is_the_same_to_the_bit(
    ball, config, tmp_path, counting, monkeypatch
):
    monkeypatch.setattr(rounds, "_LEAST_STEPS", 3)  # of a round of strokes that are held out
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    config = config.model_copy(update={"steps": 3})
    whole = fit(ball.study, ball.scribbles, tmp_path / "whole", config)
    parts = tmp_path / "parts"
    fit(ball.study, ball.scribbles, parts, config, hooks=counting(Counted("quit", 1)))
    assert not (parts / "prediction.nii.gz").exists()
    hooks = counting(Counted("quit", 2))
    assert go_on(ball.study, ball.scribbles, parts, hooks=hooks) is None
    assert next(e for e in hooks.seen if e.event == "started").from_step == 1
    finished = go_on(ball.study, ball.scribbles, parts, hooks=counting(Counted()))

    assert finished.steps == whole.steps == 3
    assert finished.seconds > 0
    assert same(weights(parts), weights(tmp_path / "whole"))
    for name in ("prediction.nii.gz", "probabilities.nii.gz"):
        assert (parts / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (parts / STATE_FILE).exists()
    started = [
        json.loads(line)
        for line in (parts / "events.jsonl").read_text().splitlines()
        if '"started"' in line
    ]
    assert [event["from_step"] for event in started] == [0, 1, 2]


def test_state_is_saved_while_it_trains(ball, config, tmp_path, counting, monkeypatch):
    monkeypatch.setenv(SAVE_VARIABLE, "0")
    monkeypatch.setattr(schedule, "SAVE_SHARE", 1e9)

    def crash(self):
        raise KeyboardInterrupt  # as little as a kill: nothing more is written

    monkeypatch.setattr(fit_loop.FitLoop, "_quit", crash)
    with pytest.raises(KeyboardInterrupt):
        fit(ball.study, ball.scribbles, tmp_path, config, hooks=counting(Counted("quit", 2)))
    assert torch.load(tmp_path / STATE_FILE, weights_only=True)["trainer"]["steps"] == 2


def test_who_is_killed_in_the_first_step_has_a_state(ball, config, tmp_path, monkeypatch):
    class KilledError(BaseException):
        """As little as a kill: nothing more is written."""

    def killed(self, batch, progress):
        raise KilledError

    step = fit_loop.Trainer._gradient
    monkeypatch.setattr(fit_loop.Trainer, "_gradient", killed)
    with pytest.raises(KilledError):
        fit(ball.study, ball.scribbles, tmp_path, config)
    assert torch.load(tmp_path / STATE_FILE, weights_only=True)["trainer"]["steps"] == 0
    monkeypatch.setattr(fit_loop.Trainer, "_gradient", step)
    finished = go_on(ball.study, ball.scribbles, tmp_path, less_memory=True)
    assert finished.steps == 3


def test_a_fit_from_a_base_model_is_still_one_after_a_break(ball, config, tmp_path, monkeypatch):
    base = save_model(build(config, 2), Card(config=config, classes=2), tmp_path / "a.safetensors")
    run = tmp_path / "run"
    run.mkdir()
    fit(ball.study, ball.scribbles, run, config, base=base, hooks=Counted("quit"))
    assert gone_on_with(monkeypatch, ball.study, ball.scribbles, run).from_base


def test_a_run_of_another_patient_or_without_state_is_not_gone_on_with(ball, config, tmp_path):
    with pytest.raises(UserError, match="missing or damaged"):
        go_on(ball.study, ball.scribbles, tmp_path)
    fit(ball.study, ball.scribbles, tmp_path, config, hooks=Counted("quit"))
    (tmp_path / STATE_FILE).write_bytes(b"no state")
    with pytest.raises(UserError, match=r"is damaged\. Delete"):
        go_on(ball.study, ball.scribbles, tmp_path)
    (tmp_path / STATE_FILE).unlink()
    with pytest.raises(UserError, match="holds no state"):
        go_on(ball.study, ball.scribbles, tmp_path)
    frozen = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(frozen | {"study": "other"}))
    with pytest.raises(UserError, match="other images"):
        go_on(ball.study, ball.scribbles, tmp_path)


# --- memory


def test_out_of_memory_goes_on_lighter_from_the_same_step(ball, config, tmp_path, monkeypatch):
    gradient, sizes, failures = fit_loop.Trainer._gradient, [], [1, 1, 1]

    def fails(self, batch, progress):
        sizes.append((self.steps, self._config.micro_batch, tuple(batch.ct.shape[2:])))
        if failures and self.steps == failures[0]:
            failures.pop(0)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return gradient(self, batch, progress)

    monkeypatch.setattr(fit_loop.Trainer, "_gradient", fails)
    heavy = config.model_copy(
        update={"batch": 2, "micro_batch": 2, "precision": "bfloat16", **FINE}
    )
    hooks = Counted()
    finished = fit(ball.study, ball.scribbles, tmp_path, heavy, hooks=hooks)
    assert finished.steps == 3
    said = [event.text for event in hooks.seen if event.event == "notice"]
    assert [text.split("goes on ")[1] for text in said] == [
        "1 patch at a time.",
        "computing features twice.",
        "with patches of 16×16×32 voxels.",
    ]
    whole, small = (16, 32, 32), (16, 16, 32)
    tried = [(1, 2, whole), (1, 1, whole), (1, 1, whole), (1, 1, small)]
    assert [entry for entry in sizes if entry[0] == 1] == tried
    assert sizes[-1] == (2, 1, small)


def test_out_of_memory_with_nothing_left_is_said_and_the_state_is_kept(
    ball, config, tmp_path, monkeypatch
):
    def fails(self, batch, progress):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 GB")

    monkeypatch.setattr(fit_loop.Trainer, "_gradient", fails)
    with pytest.raises(UserError, match="even with the smallest patches"):
        fit(ball.study, ball.scribbles, tmp_path, config)
    assert torch.load(tmp_path / STATE_FILE, weights_only=True)["trainer"]["steps"] == 0


def test_the_order_of_what_is_given_up(config):
    changes, now = [], config.model_copy(update={"batch": 4, "micro_batch": 3, **FINE})
    while (found := lighter(now, CPU)) is not None:
        changes.append({k for k in Config.model_fields if getattr(now, k) != getattr(found[0], k)})
        now = found[0]
    flat = [name for change in changes for name in change]
    assert [n for n in flat if n != "precision"] == ["micro_batch", "checkpointing"] + ["patch"] * 2
    assert now.patch == (16, 16, 16)
    assert now.micro_batch == 1


def test_prediction_out_of_memory_takes_a_smaller_budget(ball, config, tmp_path, monkeypatch):
    predict, budgets = fit_loop.predict, []

    def fails(*args, **options):
        budgets.append(args[-1])
        if len(budgets) < 3:
            raise MemoryError
        return predict(*args, **options)

    monkeypatch.setattr(fit_loop, "predict", fails)
    fit(ball.study, ball.scribbles, tmp_path, config)
    assert budgets[0] is None
    assert budgets[2] == budgets[1] / 2


# --- disk


def test_a_full_disk_is_waited_for(ball, config, tmp_path, monkeypatch):
    monkeypatch.setattr(output, "LOOK_SECONDS", 0.05)
    full = threading.Event()
    save = fit_loop.RunFolder.save_model

    def fails(self, model, card):
        if not full.is_set():
            threading.Timer(0.3, full.set).start()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(self, model, card)

    monkeypatch.setattr(fit_loop.RunFolder, "save_model", fails)
    hooks = Counted()
    finished = fit(ball.study, ball.scribbles, tmp_path, config, hooks=hooks)
    assert finished.steps == 3
    (paused,) = [event for event in hooks.seen if event.event == "paused"]
    assert "The disk is full" in paused.reason
    assert "goes on by itself" in paused.reason


def test_room_is_looked_for_before_it_is_needed(ball, config, tmp_path, monkeypatch):
    usage = shutil.disk_usage

    class Little:
        free = 3 * 2**20

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Little)
    hooks = Counted()
    hooks.request = lambda: "quit" if "paused" in hooks.kinds() else ""
    words = r"(\d+) MB are needed, 3 MB are free.*continue or train again then"
    with pytest.raises(UserError, match=words):
        fit(ball.study, ball.scribbles, tmp_path, config, hooks=hooks)
    assert hooks.kinds()[-1] == "paused"
    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


# --- impatience


@pytest.mark.parametrize("phase", ["forward", "backward"])
def test_a_stop_in_the_middle_of_a_step_undoes_it(ball, config, tmp_path, monkeypatch, phase):
    hooks = Counted()
    wish = [""]
    hooks.request = lambda: wish[0]
    step, total = fit_loop.Trainer.step, CmFNetLoss.total

    def stop_at_total(self, terms, progress):
        wish[0] = "stop"
        return total(self, terms, progress)

    def slow(self, batch, progress):
        if self.steps == 1:
            before = {k: v.clone() for k, v in self.model.state_dict().items()}
            wish[0] = "stop" if phase == "forward" else ""
            if phase == "backward":
                next(self.model.parameters()).register_hook(lambda _g: None)
                monkeypatch.setattr(CmFNetLoss, "total", stop_at_total)
            try:
                return step(self, batch, progress)
            finally:
                assert self.steps == 1
                assert same(before, self.model.state_dict())
        return step(self, batch, progress)

    monkeypatch.setattr(fit_loop.Trainer, "step", slow)
    finished = fit(ball.study, ball.scribbles, tmp_path, config, hooks=hooks)
    assert finished.stopped
    assert finished.steps == 1
    assert hooks.kinds().index("stopping") < hooks.kinds().index("finished")


def test_quit_breaks_a_prediction_off_and_it_is_made_later(ball, config, tmp_path, monkeypatch):
    hooks, predict = Counted(), fit_loop.predict

    def at_the_end(*args, **options):
        hooks.request = lambda: "quit"
        work.interrupter._request = hooks.request
        return predict(*args, **options)

    work = None
    go = fit_loop.FitLoop.go

    def remember(self):
        nonlocal work
        work = self
        return go(self)

    monkeypatch.setattr(fit_loop.FitLoop, "go", remember)
    monkeypatch.setattr(fit_loop, "predict", at_the_end)
    assert fit(ball.study, ball.scribbles, tmp_path, config, hooks=hooks) is None
    assert not (tmp_path / "prediction.nii.gz").exists()
    monkeypatch.setattr(fit_loop, "predict", predict)
    finished = go_on(ball.study, ball.scribbles, tmp_path)
    assert (finished.steps, (tmp_path / "prediction.nii.gz").exists()) == (3, True)


class Clock:
    """A clock that stands still."""

    now = 1000.0

    def monotonic(self):
        return self.now


def test_time_is_counted_over_breaks(ball, config, tmp_path, counting, monkeypatch):
    clock, gradient = Clock(), fit_loop.Trainer._gradient
    monkeypatch.setattr(schedule, "time", clock)

    def timed(self, batch, progress):
        clock.now += 1.0
        return gradient(self, batch, progress)

    monkeypatch.setattr(fit_loop.Trainer, "_gradient", timed)
    limited = config.model_copy(update={"minutes": 0.05, "steps": 100_000})
    fit(ball.study, ball.scribbles, tmp_path, limited, hooks=counting(Counted("quit", 1)))
    before = torch.load(tmp_path / STATE_FILE, weights_only=True)["seconds"]
    clock.now += 100  # a break
    finished = go_on(ball.study, ball.scribbles, tmp_path, hooks=counting(Counted()))
    assert finished.seconds == 3.0
    assert finished.steps == 3
    assert before == 1.0


def test_a_class_that_was_added_in_the_break_waits_and_it_is_said(ball, config, tmp_path, counting):
    fit(ball.study, ball.scribbles, tmp_path, config, hooks=counting(Counted("quit", 1)))
    more = ball.scribbles.copy()
    more[2, 3, 4] = 3
    assert go_on(ball.study, more, tmp_path, hooks=counting(Counted("quit", 2))) is None
    finished = go_on(ball.study, more, tmp_path, hooks=counting(Counted()))  # after another break
    assert finished.steps == 3
    assert finished.warning == CLASS_ADDED
    assert np.isfinite(finished.agreement)


def test_a_class_that_was_added_and_erased_again_is_not_missed(ball, config, tmp_path, counting):
    more = ball.scribbles.copy()
    more[2, 3, 4] = 3
    hooks = counting(Counted("quit", 1))
    hooks.new_scribbles = [None, more].pop
    fit(ball.study, ball.scribbles, tmp_path, config, hooks=hooks)
    finished = go_on(ball.study, ball.scribbles, tmp_path, hooks=counting(Counted()))
    assert "class" not in finished.warning


def test_a_class_without_strokes_is_asked_for(ball, config, tmp_path, counting):
    three = ball.scribbles.copy()
    three[2, 3, 4:9] = 3
    fit(ball.study, three, tmp_path, config, hooks=counting(Counted("quit", 1)))
    with pytest.raises(UserError, match=r"has 2 classes, the strokes 1\. Draw the missing ones"):
        go_on(ball.study, ball.scribbles, tmp_path)


@pytest.fixture
def judged(ball, config, tmp_path):
    """A fit that was broken off when its rounds had come to like weights of ones best."""
    fit(ball.study, ball.scribbles, tmp_path, config, hooks=Counted("quit"))
    state = torch.load(tmp_path / STATE_FILE, weights_only=True)
    ones = {key: torch.ones_like(value) for key, value in weights(tmp_path).items()}
    state["rounds"] = {"done": 6, "agreed": [1.0] * 5 + [0.5], "best": (1.0, ones)}
    torch.save(state, tmp_path / STATE_FILE)
    return state


def gone_on_with(monkeypatch, study, scribbles, run):
    """A fit as it is when it goes on."""
    seen = []
    monkeypatch.setattr(fit_loop.FitLoop, "go", lambda self: seen.append(self))
    go_on(study, scribbles, run)
    return seen[0]


def test_what_was_drawn_in_the_break_counts_at_once(ball, judged, tmp_path, monkeypatch):
    same_strokes = gone_on_with(monkeypatch, ball.study, ball.scribbles, tmp_path)
    assert same_strokes.rounds.agreement == pytest.approx(0.9)
    assert same_strokes.rounds.better[1].keys() == judged["rounds"]["best"][1].keys()
    dealt = deal_strokes(ball.scribbles, ball.study.grid.spacing, rounds.GROUPS, 0)
    np.testing.assert_array_equal(same_strokes.material.groups, dealt)

    drawn = ball.scribbles.copy()
    drawn[9, 5, 8:20] = 1
    work = gone_on_with(monkeypatch, ball.study, drawn, tmp_path)
    assert (work.rounds.agreement, work.rounds.better) == (None, None)  # of other strokes
    np.testing.assert_array_equal(work.material.scribbles, drawn)
    np.testing.assert_array_equal(work.material.groups, dealt)  # the new ones: never held out
    assert not dealt[9, 5, 8:20].any()


def test_what_was_drawn_before_the_break_stays_never_held_out(
    ball, config, tmp_path, counting, monkeypatch
):
    drawn = ball.scribbles.copy()
    drawn[9, 5, 8:20] = 1
    hooks = counting(Counted("quit", 1))
    hooks.new_scribbles = [None, drawn].pop
    fit(ball.study, ball.scribbles, tmp_path, config, hooks=hooks)
    work = gone_on_with(monkeypatch, ball.study, drawn, tmp_path)
    assert not work.material.groups[9, 5, 8:20].any()
    dealt = deal_strokes(ball.scribbles, ball.study.grid.spacing, rounds.GROUPS, 0)
    np.testing.assert_array_equal(work.material.groups, dealt)


def test_a_state_of_an_earlier_version_says_nothing_of_its_strokes(
    ball, judged, tmp_path, monkeypatch
):
    del judged["strokes"], judged["groups"]
    torch.save(judged | {"warning": ""}, tmp_path / STATE_FILE)
    work = gone_on_with(monkeypatch, ball.study, ball.scribbles, tmp_path)
    assert (work.rounds.agreement, work.rounds.better) == (None, None)
    np.testing.assert_array_equal(work.material.scribbles, ball.scribbles)


def test_strokes_in_a_damaged_state_are_said_to_be_damaged(ball, judged, tmp_path):
    judged["groups"] = {"begins": torch.tensor([0, 9, 4]), "codes": judged["groups"]["codes"][:3]}
    torch.save(judged, tmp_path / STATE_FILE)
    with pytest.raises(UserError, match=r"is damaged\. Delete"):
        go_on(ball.study, ball.scribbles, tmp_path)


def test_the_same_fit_into_the_same_folder_goes_on(ball, config, tmp_path, counting):
    fit(ball.study, ball.scribbles, tmp_path, config, hooks=counting(Counted("quit", 1)))
    other = config.model_copy(update={"seed": 5})
    with pytest.raises(UserError, match="another training that was broken off"):
        fit(ball.study, ball.scribbles, tmp_path, other)
    # as an earlier version left it, whose consistency was a sum and no setting
    frozen, state = tmp_path / "config.json", torch.load(tmp_path / STATE_FILE)
    settings = json.loads(frozen.read_text())
    del settings["config"]["consistency"], state["config"]["consistency"]
    frozen.write_text(json.dumps(settings))
    torch.save(state, tmp_path / STATE_FILE)
    mean = config.model_copy(update={"consistency": "mean"})
    with pytest.raises(UserError, match=r"to go on with it, add --set consistency=sum\)"):
        fit(ball.study, ball.scribbles, tmp_path, mean)
    hooks = counting(Counted())
    finished = fit(ball.study, ball.scribbles, tmp_path, config, hooks=hooks)
    assert (hooks.seen[0].from_step, finished.steps) == (1, 3)
    assert load_model(tmp_path, CPU)[1].config.consistency == "sum"
