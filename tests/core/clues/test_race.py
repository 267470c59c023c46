import numpy as np
import pytest
from skimage.graph import MCP_Geometric

from cmfnet_napari.core.clues.race import EDGE_MM, FAR_MM, edge_strength, grown, race


def test_without_edges_the_cost_is_the_distance_in_mm():
    flat = np.zeros((3, 9, 11))
    targets = np.full(flat.shape, 255)
    targets[1, 4, 2], targets[1, 4, 9] = 0, 1
    costs = race([flat], targets, 2, (3.0, 2.0, 1.0))
    assert costs[0, 1, 4, 8] == pytest.approx(6.0)  # 6 voxels of 1 mm along x
    assert costs[0, 1, 0, 2] == pytest.approx(8.0)  # 4 voxels of 2 mm along y
    assert costs[0, 2, 4, 2] == pytest.approx(3.0)
    assert costs[1, 1, 4, 9] == 0


def test_strokes_grow_by_a_share_of_the_longest_path_in_their_box():
    """On a flat image paths are distances: the middle of the box is 10 mm along x away."""
    flat = np.zeros((2, 3, 16), dtype=np.float32)
    targets = np.full(flat.shape, 255, dtype=np.uint8)
    targets[0, 1, 0], targets[0, 1, 10], targets[0, 1, 13] = 1, 1, 0
    found = grown([flat], targets, 2, (1.0, 1.0, 2.0), 0.41)  # less than 4.1 mm: two voxels
    assert found[0, 1, :16].tolist() == [1, 1, 1, *[255] * 5, 1, 1, 1, 255, 255, 0, 255, 255]
    assert (found[0, [0, 2]] == 255).all()  # not in the box around the strokes
    assert (found[1] == 255).all()
    assert targets[0, 1, 1] == 255  # what was given stays


def test_strokes_do_not_grow_over_what_is_nearer_to_others_or_drawn():
    flat = np.zeros((2, 2, 12), dtype=np.float32)
    targets = np.full(flat.shape, 255, dtype=np.uint8)
    targets[0, 0, [0, 11]], targets[0, 0, 4], targets[0, 0, 7] = 1, 0, 2
    found = grown([flat], targets, 4, (1.0, 1.0, 1.0), 0.99)  # class 3: no stroke; ties stay
    assert found[0, 0].tolist() == [1, 1, 255, 255, 0, 255, 255, 2, 255, 255, 1, 1]


def test_an_edge_decides_the_race():
    """The image changes at x = 22, the middle between the strokes is at x = 15."""
    image = np.zeros((4, 12, 30))
    image[:, :, 22:] = 1.0
    targets = np.full(image.shape, 255)
    targets[2, 6, 2], targets[2, 6, 28] = 0, 1
    costs = race([image], targets, 2, (2.0, 1.0, 1.0), edge=100.0)
    assert (costs[0] < costs[1])[2, 6, :21].all()
    assert (costs[1] < costs[0])[2, 6, 24:].all()


def test_edge_strength_of_a_ramp_is_its_slope_per_mm():
    ramp = np.broadcast_to(np.arange(60) / 20, (6, 8, 60))
    inner = edge_strength([ramp, ramp], (3.0, 2.0, 0.5))[:, :, 25:35]
    np.testing.assert_allclose(inner, np.sqrt(2) * 0.05 / 0.5, rtol=1e-6)


def test_a_class_without_a_stroke_is_never_reached():
    targets = np.full((3, 4, 5), 255)
    targets[1, 1, 1] = 0
    assert (race([np.zeros((3, 4, 5))], targets, 2, (1.0, 1.0, 1.0))[1] == FAR_MM).all()


def test_what_does_not_look_like_the_class_costs_more():
    """A path of 6 mm, half of which does not look like class 0 at all."""
    flat = np.zeros((3, 9, 11))
    targets = np.full(flat.shape, 255)
    targets[1, 4, 2] = 0
    looks = np.zeros((1, *flat.shape))
    looks[..., :5] = 1.0
    costs = race([flat], targets, 1, (3.0, 2.0, 1.0), looks=looks, unlike=3.0)
    # between neighbours the mean of both: 2 steps at 1, one at (1 + 4) / 2, 3 at 4
    assert costs[0, 1, 4, 8] == pytest.approx(2 * 1 + 2.5 + 3 * 4)


def test_strokes_that_fill_a_part_cost_what_all_their_voxels_would():
    """Paths begin at the rim of a stroke; the same from every voxel of it, one by one."""
    rng = np.random.default_rng(0)
    image, spacing = rng.random((6, 9, 10)), (3.0, 1.5, 1.0)
    targets = np.full(image.shape, 255)
    targets[1:5, 2:7, :4] = 0
    targets[2, 4, 8] = 1
    cost = 1 + EDGE_MM * edge_strength([image], spacing)
    starts = np.argwhere(targets == 0)
    each = [MCP_Geometric(cost, sampling=spacing).find_costs([start])[0] for start in starts]
    outside = targets != 0
    found = race([image], targets, 2, spacing)[0]
    np.testing.assert_allclose(found[outside], np.min(each, axis=0)[outside], rtol=1e-5)
    assert (found[~outside] == 0).all()
