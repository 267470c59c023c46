import pytest
import torch

from cmfnet_napari.learning.cmfnet import map_count
from cmfnet_napari.learning.guide import Clues, find_clues, make_guide, make_maps, with_air
from cmfnet_napari.learning.prepare import make_frame, make_inputs


@pytest.fixture
def inputs(ball):
    return make_inputs(ball.study, make_frame(ball.study.grid, None, ball.config), ball.config)


@pytest.fixture
def clues(ball, inputs):
    body = torch.ones_like(inputs.ct)
    body[..., :2] = 0
    targets = inputs.targets(ball.scribbles)
    return find_clues(inputs, targets, body, 3, ball.study.grid.spacing)


def test_guide_follows_the_strokes_and_sums_to_one(ball, inputs, clues):
    guide, targets = make_guide(clues, softness=5.0), inputs.targets(ball.scribbles)
    torch.testing.assert_close(guide.sum(dim=1), torch.ones_like(guide[:, 0]))
    assert (guide[0, 1][targets[0] == 1] > 0.5).all()
    assert (guide[0, 0][targets[0] == 0] > 0.5).all()
    assert (guide[0, 0][..., :2] > 0.99).all()  # air
    assert guide[0, 2].max() < 1e-6  # a class nobody drew
    truth = torch.from_numpy(ball.truth)
    found = guide[0, 1] > 0.5
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.75


def test_looks_alone_tell_most_of_the_ball_from_the_box(ball, clues):
    truth = torch.from_numpy(ball.truth)
    looks = clues.looks[0]
    torch.testing.assert_close(looks.sum(dim=0), torch.ones_like(looks[0]))
    assert looks[1][truth].mean() > looks[1][~truth].mean() + 0.5
    assert looks[2].max() == 0


def test_what_a_stroke_does_not_look_like_is_further_from_it(ball, clues):
    """The informed race pays more for all edges, but most for paths out of the ball."""
    longer = clues.informed[0, 1] - clues.plain[0, 1]
    truth = torch.from_numpy(ball.truth)
    assert longer[~truth].mean() > 5 * longer[truth].mean()
    assert (clues.plain[0, 2] == clues.informed[0, 2]).all()  # no stroke, no path


def test_maps_are_one_at_strokes_and_one_half_at_thirty_millimetres():
    costs = torch.tensor([0.0, 30.0, 1e4]).view(1, 1, 1, 1, 3).repeat(1, 2, 1, 1, 1)
    costs[:, 1] = costs[:, 1].flip(-1)
    looks = torch.tensor([[0.3], [0.7]]).view(1, 2, 1, 1, 1).expand(1, 2, 1, 1, 3)
    maps = make_maps(Clues(costs, costs, looks))
    assert maps.shape[1] == map_count(2) == 5
    torch.testing.assert_close(maps[0, 0, 0, 0, :2], torch.tensor([1.0, 0.5]))
    assert maps[0, 0, 0, 0, 2] < 0.01
    for chance in (maps[0, 2, 0, 0], maps[0, 3, 0, 0]):
        torch.testing.assert_close(chance[1], torch.tensor(0.5))  # as far from both
        assert chance[0] < 0.01 < 0.99 < chance[2]
    torch.testing.assert_close(maps[0, 4, 0, 0], torch.full((3,), 0.7))


def test_air_is_background_but_no_stroke_is_overruled(inputs, ball):
    targets, body = inputs.targets(ball.scribbles), torch.zeros_like(inputs.ct)
    drawn = targets != 255
    everything = with_air(targets, body)
    assert torch.equal(everything[drawn], targets[drawn])
    assert (everything[~drawn] == 0).all()
