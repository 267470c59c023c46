"""One step: parts of a batch, non-finite gradients, going on from a state."""

import copy
import math
from functools import partial

import pytest
import torch

from cmfnet_napari.learning.data.sampling import Sampler
from cmfnet_napari.learning.engine.device import make_fabric
from cmfnet_napari.learning.engine.trainer import DivergedError, Trainer
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.model.losses import Batch

CPU = torch.device("cpu")


def make_trainer(config, precision=torch.float32):
    torch.manual_seed(config.seed)
    return Trainer(build(config, 2), 2, config, CPU, partial(make_fabric, CPU, precision))


def uneven_batch():
    """Three patches with 5, 1 and 0 strokes of class 1, and an MR that misses parts."""
    torch.manual_seed(2)
    ct, mr = torch.rand(2, 3, 1, 16, 16, 16)
    fov = torch.ones_like(ct)
    fov[0, ..., 8:] = 0
    fov[2] = 0
    targets = torch.full((3, 16, 16, 16), 255)
    targets[:, 3, 3, 3:7] = 0
    targets[0, 8, 8, 4:9] = 1
    targets[1, 8, 8, 4] = 1
    guide = torch.rand(3, 2, 16, 16, 16).softmax(dim=1)
    return Batch(ct, mr * fov, fov, targets, guide, ct[:, :0])


def gradients(config, batch):
    trainer = make_trainer(config)
    return trainer.step(batch, 0.3), [p.grad for p in trainer.model.parameters()]


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({"class_balance": 0.0}, (1, 2)),
        ({"class_balance": 1.0, "lambda_ct": 0.2, "lambda_mr": 0.2, "crf_half": True}, (2,)),
        ({"variance": 1.0, "crf_ramp": 0.5, "dice_weight": 1.0}, (2,)),
    ],
)
def test_parts_of_a_batch_give_the_gradient_of_the_whole(ball, settings, sizes):
    # without normalisation: over the few voxels at the bottoms it blows rounding up
    changes = {"dropout": 0.0, "normalisation": "none", "width": 2, "crf_radius": 2, **settings}
    config = ball.config.model_copy(update=changes)
    batch = uneven_batch()
    results = [
        gradients(config.model_copy(update={"micro_batch": size}), batch) for size in (3, *sizes)
    ]
    losses, whole = results[0]
    for other_losses, parts in results[1:]:
        assert other_losses == pytest.approx(losses, rel=1e-5)
        scale = max(float(g.abs().max()) for g in whole)
        for a, b in zip(whole, parts, strict=True):
            assert (a - b).abs().max() < 1e-4 * scale


def test_crf_and_variance_rise_at_their_own_pace(ball):
    changes = {"width": 2, "variance": 1.0, "lambda_ct": 0.2, "crf_radius": 1, "ramp": 0.0}
    config = ball.config.model_copy(update=changes)
    for over, share in ((0.0, 1.0), (0.5, math.exp(-5 * (1 - 0.2 / 0.5) ** 2)), (0.1, 1.0)):
        trainer = make_trainer(config.model_copy(update={"crf_ramp": over}))
        terms = trainer.step(uneven_batch(), 0.2)
        whole = terms.pop("total")
        risen = {"imr": share, "variance": share}
        exact = sum(risen.get(name, 1.0) * value for name, value in terms.items())
        assert terms["variance"] > 0.001
        assert whole == pytest.approx(exact, rel=1e-5)


def test_only_steps_ask_for_what_takes_seconds_to_import(ball):
    made = []

    def fabric():
        made.append(make_fabric(CPU, torch.float32))
        return made[-1]

    trainer = Trainer(build(ball.config, 2), 2, ball.config, CPU, fabric)
    trainer.load(trainer.averaged.state_dict())
    assert not made
    trainer.step(uneven_batch(), 0.1)
    assert len(made) == 1


def test_a_step_without_finite_gradient_changes_no_weight(ball, monkeypatch):
    monkeypatch.setattr("cmfnet_napari.learning.engine.trainer.MAX_SKIPPED", 3)  # else twenty
    trainer = make_trainer(ball.config.model_copy(update={"width": 2}))
    before = copy.deepcopy(trainer.model.state_dict())
    ct = torch.full((1, 1, 16, 16, 16), float("nan"))
    targets = torch.zeros(1, 16, 16, 16, dtype=torch.int64)
    batch = Batch(ct, ct, torch.ones_like(ct), targets, ct[:, :0], ct[:, :0])
    for _ in range(2):
        trainer.step(batch, 0.1)
    with pytest.raises(DivergedError):
        trainer.step(batch, 0.1)
    assert trainer.skipped == 3
    assert all(torch.equal(before[n], t) for n, t in trainer.model.state_dict().items())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_going_on_from_a_state_changes_no_bit(ball, tmp_path, precision):
    config = ball.config.model_copy(
        update={"dropout": 0.5, "augment": True, "average": 0.9, "batch": 2, "width": 2}
    )
    volume = uneven_batch()
    cases = [Batch(*(part[i : i + 1] for part in volume)) for i in range(2)]
    sampler = Sampler(cases, config)

    def run(trainer, steps):
        for step in steps:
            trainer.step(sampler.draw(step), step / 4)
        return trainer

    straight = run(make_trainer(config, precision), range(2))
    torch.save(straight.state(), tmp_path / "state.pt")
    run(straight, range(2, 4))
    torch.manual_seed(99)  # another process has other chance behind it
    resumed = make_trainer(config, precision)
    resumed.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    run(resumed, range(2, 4))
    assert resumed.steps == 4
    for name in ("model", "averaged"):
        for key, value in straight.state()[name].items():
            assert torch.equal(value, resumed.state()[name][key]), key


def test_averaged_weights_lag_behind_the_network(ball):
    trainer = make_trainer(ball.config.model_copy(update={"average": 0.9}))
    first = copy.deepcopy(trainer.averaged.state_dict())
    trainer.step(uneven_batch(), 0.0)
    # 2/11 of the first weights stay after one step: min(0.9, (1 + 1) / (10 + 1))
    for name, mean in trainer.averaged.state_dict().items():
        now = trainer.model.state_dict()[name]
        torch.testing.assert_close(mean, first[name] * 2 / 11 + now * 9 / 11)
