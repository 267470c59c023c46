import torch

from cmfnet_napari.learning.guide import make_guide, make_maps, map_count, stroke_costs
from cmfnet_napari.learning.prepare import make_frame, make_inputs


def test_guide_follows_the_strokes_and_sums_to_one(ball):
    inputs = make_inputs(ball.study, make_frame(ball.study.grid, None, ball.config), ball.config)
    targets = inputs.targets(ball.scribbles)
    body = torch.ones_like(inputs.ct)
    body[..., :2] = 0
    costs = stroke_costs(inputs, targets, body, 3, ball.study.grid.spacing)
    guide = make_guide(costs, softness=5.0)
    torch.testing.assert_close(guide.sum(dim=1), torch.ones_like(guide[:, 0]))
    assert (guide[0, 1][targets[0] == 1] > 0.5).all()
    assert (guide[0, 0][targets[0] == 0] > 0.5).all()
    assert (guide[0, 0][..., :2] > 0.99).all()  # air
    assert guide[0, 2].max() < 1e-6  # a class nobody drew
    truth = torch.from_numpy(ball.truth)
    found = guide[0, 1] > 0.5
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.75


def test_maps_are_near_one_at_strokes_and_one_half_at_thirty_millimetres():
    costs = torch.tensor([0.0, 30.0, 1e4]).view(1, 1, 1, 1, 3).repeat(1, 2, 1, 1, 1)
    costs[:, 1] = costs[:, 1].flip(-1)
    maps = make_maps(costs)
    assert maps.shape[1] == map_count(2) == 3
    torch.testing.assert_close(maps[0, 0, 0, 0, :2], torch.tensor([1.0, 0.5]))
    assert maps[0, 0, 0, 0, 2] < 0.01
    torch.testing.assert_close(maps[0, 2, 0, 0, 1], torch.tensor(0.5))  # as far from both
    assert maps[0, 2, 0, 0, 0] < 0.01 < 0.99 < maps[0, 2, 0, 0, 2]
