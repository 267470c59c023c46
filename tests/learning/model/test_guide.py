import numpy as np
import pytest
import torch

from cmfnet_napari.core.clues.chances import Clues
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.model.guide import first_scores, make_guide, make_maps, map_count


@pytest.fixture
def clues():
    """Three voxels: at a background stroke, as far from both strokes, at a tumour stroke."""
    costs = np.array([[0.0, 30.0, 1e4], [1e4, 30.0, 0.0]], np.float32).reshape(2, 1, 1, 3)
    looks = np.broadcast_to(np.array([0.3, 0.7], np.float32).reshape(2, 1, 1, 1), costs.shape)
    chances = np.array([[0.9, 0.4, 0.2], [0.1, 0.6, 0.8]], np.float32).reshape(costs.shape)
    return Clues(costs, costs, looks, chances)


def test_maps_are_one_at_strokes_and_one_half_at_thirty_millimetres(clues):
    maps = make_maps(clues)
    assert maps.shape[1] == map_count(2) == 6
    torch.testing.assert_close(maps[0, 0, 0, 0, :2], torch.tensor([1.0, 0.5]))
    assert maps[0, 0, 0, 0, 2] < 0.01
    for chance in (maps[0, 2, 0, 0], maps[0, 3, 0, 0]):
        torch.testing.assert_close(chance[1], torch.tensor(0.5))  # as far from both
        assert chance[0] < 0.01 < 0.99 < chance[2]
    torch.testing.assert_close(maps[0, 4, 0, 0], torch.full((3,), 0.7))
    torch.testing.assert_close(maps[0, 5, 0, 0], torch.tensor([0.1, 0.6, 0.8]))


def test_guide_is_the_chances(clues):
    np.testing.assert_allclose(make_guide(clues)[0], clues.chances)


def test_scores_begin_with_the_chances_of_all_classes():
    maps = torch.zeros(1, map_count(3), 1, 1, 2)
    maps[0, -2:, 0, 0] = torch.tensor([[0.2, 0.0], [0.5, 1.0]])
    scores = first_scores(maps, 3)[0, :, 0, 0].exp()
    torch.testing.assert_close(
        scores, torch.tensor([[0.3, 1e-3], [0.2, 1e-3], [0.5, 1.0]]), rtol=1e-4, atol=1e-5
    )


def test_an_untrained_network_that_reads_strokes_says_what_they_say(ball):
    model = build(ball.config.model_copy(update={"stroke_maps": True}), 2).eval()
    maps = torch.rand(1, map_count(2), 16, 16, 32, generator=torch.Generator().manual_seed(0))
    image = torch.rand(1, 1, 16, 16, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        outputs = model(image, image, maps)
        fused = model.fused(image, image, maps)
    for scores in (*outputs, fused):
        torch.testing.assert_close(scores.softmax(dim=1)[:, 1], maps[:, -1], atol=2e-3, rtol=0)
