"""The rivals' losses in the one trainer: what they are made of, and what must not go wrong."""

import copy
import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.engine.device import make_fabric
from cmfnet_napari.learning.engine.trainer import Trainer
from cmfnet_napari.learning.model.losses import Batch, soft_dice
from cmfnet_napari.learning.rivals.build_rival import make_network
from cmfnet_napari.learning.rivals.merged import DualVNet
from cmfnet_napari.learning.rivals.rival_loss import (
    RIVAL_TERMS,
    RivalLoss,
    pseudo_labels,
    sure_below,
)
from cmfnet_napari.learning.rivals.settings import METHODS, method_config

VNETS = ("vnet", "dual-vnet")
RIVALS = [name for name, row in METHODS.items() if row.changes.get("architecture") in VNETS]
SMALL = {"width": 2, "batch": 2, "crf_radius": 1, "precision": "float32", "steps": 4}


def small(method, **changes):
    return method_config(method, **{**SMALL, "patch": (16, 16, 32), **changes})


def make_batch(classes=4, guide=False, shape=(16, 16, 32)):
    torch.manual_seed(3)
    ct, mr = torch.rand(2, 2, 1, *shape)
    fov = (torch.rand(2, 1, *shape) > 0.2).float()
    targets = torch.full((2, *shape), IGNORE)
    for code in range(classes):
        targets[code % 2, 2 * code, 3, 2:9] = code
    soft = torch.rand(2, classes, *shape).mul(5).softmax(dim=1) if guide else ct[:, :0]
    return Batch(ct, mr * fov, fov, targets, soft, ct[:, :0])


def make_trainer(config, classes=4):
    torch.manual_seed(config.seed)
    fabric = make_fabric(torch.device("cpu"), torch.float32)
    network = make_network(config, classes)
    return Trainer(network, classes, config, fabric.device, lambda: fabric, RivalLoss(config))


@pytest.mark.parametrize("method", [name for name in RIVALS if name != "nnunet"])
def test_a_network_predicts_with_what_it_was_taught_alone(method):
    """No average over patients seen: the moving average of the weights would have to know it."""
    network = make_network(small(method), 4)
    assert not list(network.buffers())


def ask(config, batch, outputs, teacher=None, progress=0.5):
    loss = RivalLoss(config)
    return loss.terms(outputs, batch, loss.counts(batch, 4), teacher, progress)


@pytest.mark.parametrize("method", RIVALS)
def test_every_rival_trains_in_the_one_trainer(method):
    """Its loss is the sum of its terms, and a step changes every weight that it has."""
    config = small(method)
    trainer = make_trainer(config)
    before = copy.deepcopy(trainer.model.state_dict())
    losses = trainer.step(make_batch(guide=config.pseudo > 0), 0.5)
    whole = losses.pop("total")
    assert math.isfinite(whole)
    expected = [n for n, term in RIVAL_TERMS.items() if getattr(config, term.weight) > 0]
    assert list(losses) == expected
    risen = math.exp(-5 * 0.5**2) if config.ramp else 1.0
    exact = sum(v * (risen if RIVAL_TERMS[n].rises else 1.0) for n, v in losses.items())
    assert whole == pytest.approx(exact, rel=1e-5)
    after = trainer.model.state_dict()
    assert all(not torch.equal(before[name], value) for name, value in after.items())


@pytest.mark.parametrize("method", ["masks", "mumford-shah", "gated-crf", "scribble2label"])
def test_parts_of_a_batch_give_the_loss_of_the_whole(method):
    batch = make_batch(guide=method == "scribble2label")
    both, one = (
        make_trainer(small(method, micro_batch=n, dropout=0.0)).step(batch, 0.5) for n in (2, 1)
    )
    assert one == pytest.approx(both, rel=1e-5)


def test_partial_cross_entropy_is_torchs_over_the_strokes():
    batch, scores = make_batch(), torch.randn(2, 4, 16, 16, 32)
    terms = ask(small("pce"), batch, (scores,))
    exact = cross_entropy(scores.double(), batch.targets, ignore_index=IGNORE).item()
    assert terms["labelled"].item() == pytest.approx(exact, rel=1e-6)


def test_the_bound_learns_every_voxel():
    batch = make_batch()
    dense = Batch(batch.ct, batch.mr, batch.fov, torch.randint(0, 4, batch.targets.shape),
                  batch.guide, batch.maps)  # fmt: skip
    scores = torch.randn(2, 4, 16, 16, 32)
    terms = ask(small("masks"), dense, (scores,))
    assert terms["labelled"].item() == pytest.approx(
        cross_entropy(scores.double(), dense.targets).item(), rel=1e-6
    )
    assert terms["dice"].item() == pytest.approx(soft_dice(scores, dense.targets).item(), rel=1e-6)


def test_mixed_labels_are_soft_and_teach_both_decoders():
    batch = make_batch()
    main, other = (torch.randn(2, 4, 16, 16, 32, requires_grad=True) for _ in range(2))
    torch.manual_seed(11)
    terms = ask(small("dmsps"), batch, (main, other))
    torch.manual_seed(11)
    share = float(torch.rand(()))
    a, b = main.detach().double(), other.detach().double()
    mixture = share * a.softmax(1) + (1 - share) * b.softmax(1)
    exact = 0.5 * (cross_entropy(a, mixture) + cross_entropy(b, mixture))
    assert terms["mixed"].item() == pytest.approx(8 * exact.item(), rel=1e-6)
    strokes = [cross_entropy(s, batch.targets, ignore_index=IGNORE).item() for s in (a, b)]
    assert terms["labelled"].item() == pytest.approx(sum(strokes) / 2, rel=1e-6)
    slopes = torch.autograd.grad(terms["mixed"], (main, other))
    # the mixture is given: the slope of a cross entropy with soft labels is y less the label
    for scores, slope in zip((a, b), slopes, strict=True):
        by_hand = 8 * 0.5 * (scores.softmax(1) - mixture) / batch.targets.numel()
        torch.testing.assert_close(slope.double(), by_hand, rtol=1e-4, atol=1e-10)


def test_labels_of_its_own_only_where_it_is_sure_and_nothing_is_drawn():
    batch = make_batch(guide=True)
    config = small("scribble2label", pseudo_sure=0.6)
    labels = pseudo_labels(batch, 0.6)
    for patch in range(2):
        for z in (0, 2):  # two slices are enough
            for y in range(16):
                for x in range(32):
                    p = [float(v) for v in batch.guide[patch, :, z, y, x]]
                    drawn = int(batch.targets[patch, z, y, x]) != IGNORE
                    sure = max(p) > 0.6 and not drawn
                    assert int(labels[patch, z, y, x]) == (p.index(max(p)) if sure else IGNORE)
    assert (labels != IGNORE).any()
    scores = torch.randn(2, 4, 16, 16, 32)
    terms = ask(config, batch, (scores,))
    exact = 0.5 * cross_entropy(scores.double(), labels, ignore_index=IGNORE).item()
    assert terms["pseudo"].item() == pytest.approx(exact, rel=1e-6)
    early = ask(config, batch, (scores,), progress=0.05)
    assert early["pseudo"].item() == 0


class Constant(torch.nn.Module):
    """A teacher that says what its image shows."""

    classes = 4

    def forward(self, ct, mr, maps=None):
        return (8 * torch.cat([ct, mr, ct - mr, ct + mr], dim=1),)


def test_the_teacher_sees_turned_images_and_is_compared_with_the_turned_answer():
    """Without noise a student that says the same as the teacher has nothing to learn."""
    batch = make_batch()
    teacher = Constant()
    (scores,) = teacher(batch.ct, batch.mr)
    config = small("ustm", teacher_noise=0.0, teacher_passes=2)
    for seed in range(6):  # all quarters of a turn
        torch.manual_seed(seed)
        assert ask(config, batch, (scores,), teacher)["teacher"].item() < 1e-10
        assert ask(config, batch, (scores.flip(3),), teacher)["teacher"].item() > 1e-3


def test_a_teacher_is_unsure_by_the_number_of_classes():
    """With the threshold of two classes, 0.69 nats, a flat answer to four is never sure."""
    assert sure_below(2, 1.0) == pytest.approx(math.log(2))
    assert sure_below(4, 1.0) == pytest.approx(math.log(4))
    assert sure_below(4, 0.0) == pytest.approx((0.75 + 0.25 * math.exp(-5)) * math.log(4))
    scores = torch.tensor([1.2, 0.0, 0.0, 0.0]).reshape(1, 4, 1, 1, 1).expand(2, -1, 16, 16, 32)
    y = [math.exp(s) for s in (1.2, 0, 0, 0)]
    unsure = -sum(p / sum(y) * math.log(p / sum(y)) for p in y)
    assert math.log(2) < unsure < sure_below(4, 1.0)

    class Fixed(torch.nn.Module):
        def forward(self, ct, mr, maps=None):
            return (scores,)

    config = small("ustm", teacher_passes=1)
    term = ask(config, make_batch(), (-scores,), Fixed(), progress=1.0)["teacher"]
    y_student = (-scores).double().softmax(1)
    exact = (y_student - scores.double().softmax(1)).square().mean().item()
    assert term.item() == pytest.approx(exact, rel=1e-6)


def test_the_teachers_average_is_taken_in_place():
    """Where it is not, a teacher decays to zero. Here it is the mean that is written down."""
    trainer = make_trainer(small("ustm", learning_rate=0.01, teacher_passes=1))
    name = "body.encoder.stages.0.residual.weight"
    mean = trainer.averaged.state_dict()[name].double().clone()
    for step in range(1, 4):
        trainer.step(make_batch(), step / 4)
        decay = min(0.99, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * trainer.model.state_dict()[name].double()
        averaged = trainer.averaged.state_dict()[name]
        torch.testing.assert_close(averaged.double(), mean, rtol=1e-5, atol=1e-7)
        assert not torch.equal(averaged, trainer.model.state_dict()[name])
    assert all(p.grad is None for p in trainer.averaged.parameters())


def test_images_are_merged_as_channels_whatever_their_size():
    network = make_network(small("pce"), 3)
    ct, mr = torch.rand(2, 1, 1, 5, 17, 33)
    (scores,) = network.eval()(ct, mr)
    assert scores.shape == (1, 3, 5, 17, 33)
    assert torch.equal(network.fused(ct, mr), scores)
    assert not torch.equal(network.fused(ct, mr.flip(4)), scores)
    assert not torch.equal(network.fused(ct.flip(4), mr), scores)


@torch.no_grad()
def test_two_decoders_predict_with_the_mean_of_their_probabilities():
    network = make_network(small("dmsps"), 3)
    assert isinstance(network, DualVNet)
    ct, mr = torch.rand(2, 1, 1, 16, 16, 32)
    main, other = network.eval()(ct, mr)
    mean = (main.softmax(1) + other.softmax(1)) / 2
    torch.testing.assert_close(network.fused(ct, mr).softmax(1), mean)
    assert not torch.equal(main, other)


@pytest.mark.parametrize(
    ("method", "changes", "words"),
    [
        ("pse", {}, "no method 'pse'; choose cmfnet, pce"),
        ("pce", {"entropie": 1.0}, "Method pce, entropie: .*not permitted"),
        ("entropy", {"entropy": -1.0}, "Method entropy, entropy: .*greater than or equal to 0"),
        ("ustm", {"average": 0.0}, "a teacher needs average"),
        ("pce", {"mixed": 1.0}, "two decoders"),
        ("pce", {"stroke_maps": True}, "stroke_maps is for CmFNet alone"),
        ("cmfnet", {"entropy": 0.1}, "entropy is for the rivals"),
    ],
)
def test_wrong_settings_of_a_method_are_named(method, changes, words):
    with pytest.raises(UserError, match=words):
        method_config(method, **changes)


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_says_where_it_comes_from(name):
    method = METHODS[name]
    assert method.words
    assert method.source
    config = method_config(name)
    assert (config.steps, config.batch, config.learning_rate) == (2000, 16, 1e-5)  # one budget
