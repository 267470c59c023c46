"""Labels that a method makes while it trains: averaged predictions, and strokes that grow."""

import math

import pytest
import torch

from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.model.losses import Batch
from cmfnet_napari.learning.rivals.own_labels import OwnLabels, sure_labels
from cmfnet_napari.learning.rivals.settings import method_config

SHAPE = (2, 3, 8)


def volume():
    image = torch.rand(1, 1, *SHAPE)
    targets = torch.full((1, *SHAPE), IGNORE, dtype=torch.uint8)
    targets[0, 0, 0, :2] = 0
    return Batch(image, image, torch.ones_like(image), targets, image[:, :0], image[:, :0])


def certain(labels):
    """Probabilities of a network that is sure of some labels (z, y, x) of 3 classes."""
    return (8.0 * torch.nn.functional.one_hot(labels, 3)).movedim(-1, 0).softmax(0)[None]


def test_predictions_are_averaged_when_they_are_due():
    config = method_config("scribble2label", pseudo_every=0.25, pseudo_share=0.2)
    labels = OwnLabels([volume(), volume()], config, 3)
    assert all(v.guide.shape == (1, 3, *SHAPE) for v in labels.volumes)
    assert not any(v.guide.any() for v in labels.volumes)
    answers = [torch.rand(1, 3, *SHAPE).softmax(1) for _ in range(2)]
    assert not labels.renew(0.2, answers.__getitem__)
    assert labels.renew(0.25, answers.__getitem__)
    assert not labels.renew(0.3, answers.__getitem__)
    assert labels.renew(0.55, answers.__getitem__)
    for known, answer in zip(labels.volumes, answers, strict=True):
        by_hand = 0.2 * answer + 0.8 * (0.2 * answer)
        torch.testing.assert_close(known.guide.float(), by_hand, rtol=2e-3, atol=1e-4)

    again = OwnLabels([volume(), volume()], config, 3)
    again.restore(labels.state())
    assert not again.renew(0.6, answers.__getitem__)
    for one, other in zip(again.volumes, labels.volumes, strict=True):
        assert torch.equal(one.guide, other.guide)


def test_strokes_grow_once_to_what_is_sure_and_stay():
    config = method_config("dmsps", relabel_at=0.5)
    known = volume()
    labels = OwnLabels([known], config, 3)
    wanted = torch.zeros(SHAPE, dtype=torch.int64)
    wanted[1, 1, 2:5] = 1
    answer = certain(wanted)
    assert not labels.renew(0.49, lambda n: answer)
    assert torch.equal(labels.volumes[0].targets, known.targets)
    assert labels.renew(0.5, lambda n: answer)
    assert not labels.renew(0.9, lambda n: answer)
    assert torch.equal(labels.volumes[0].targets[0].long(), wanted)
    assert labels.volumes[0].targets.dtype == torch.uint8
    again = OwnLabels([known], config, 3)
    again.restore(labels.state())
    assert torch.equal(again.volumes[0].targets, labels.volumes[0].targets)
    assert not again.renew(0.9, lambda n: answer)


def test_what_is_unsure_has_no_label_and_strokes_win():
    """Public code makes the unsure background, which shrinks what is learnt from."""
    wanted = torch.ones(SHAPE, dtype=torch.int64)
    y = certain(wanted)[0]
    y[:, 1, 2] = 1 / 3  # a row that the network cannot tell
    targets = torch.full(SHAPE, IGNORE, dtype=torch.uint8)
    targets[0, 0, 0], targets[1, 2, 5] = 2, 0
    found = sure_labels(y, targets, 0.1)
    assert found[0, 0, 0] == 2
    assert found[1, 2, 5] == 0
    row = found[1, 2].tolist()
    assert row == [IGNORE] * 5 + [0] + [IGNORE] * 2
    assert (found[1, :2] == 1).all()


def test_only_the_largest_part_of_a_class_counts_but_all_background():
    wanted = torch.zeros(1, 1, 12, dtype=torch.int64)
    wanted[0, 0, 1:4], wanted[0, 0, 6] = 1, 1
    targets = torch.full((1, 1, 12), IGNORE)
    found = sure_labels(certain(wanted)[0], targets, 0.1)[0, 0].tolist()
    assert found == [0, 1, 1, 1, 0, 0, IGNORE, 0, 0, 0, 0, 0]


def test_how_sure_is_a_share_of_the_largest_entropy():
    p = torch.tensor([0.9, 0.05, 0.05])
    share = float(-(p * p.log()).sum()) / math.log(3)
    y = p.reshape(3, 1, 1, 1)
    targets = torch.full((1, 1, 1), IGNORE)
    assert sure_labels(y, targets, share + 1e-3).item() == 0
    assert sure_labels(y, targets, share - 1e-3).item() == IGNORE


def test_other_methods_make_no_labels():
    labels = OwnLabels([volume()], method_config("pce"), 3)
    assert not labels.renew(1.0, lambda n: pytest.fail("nobody asks"))
    assert labels.volumes[0].guide.shape[1] == 0
