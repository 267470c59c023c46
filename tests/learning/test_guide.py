import torch

from cmfnet_napari.learning.guide import make_guide
from cmfnet_napari.learning.prepare import make_frame, make_inputs


def test_guide_follows_the_strokes_and_sums_to_one(ball):
    inputs = make_inputs(ball.study, make_frame(ball.study.grid, None, ball.config), ball.config)
    targets = inputs.targets(ball.scribbles)
    body = torch.ones_like(inputs.ct)
    body[..., :2] = 0
    guide = make_guide(inputs, targets, body, 3, ball.study.grid.spacing, softness=5.0)
    torch.testing.assert_close(guide.sum(dim=1), torch.ones_like(guide[:, 0]))
    assert (guide[0, 1][targets[0] == 1] > 0.5).all()
    assert (guide[0, 0][targets[0] == 0] > 0.5).all()
    assert (guide[0, 0][..., :2] > 0.99).all()  # air
    assert guide[0, 2].max() < 1e-6  # a class nobody drew
    truth = torch.from_numpy(ball.truth)
    found = guide[0, 1] > 0.5
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.75
