import numpy as np
import pytest

from cmfnet_napari.core.strokes.imitated import draw_strokes


@pytest.fixture
def region():
    mask = np.zeros((6, 30, 25), bool)
    mask[1:5, 4:26, 3:22] = True
    mask[2, 10:20, 8:15] = False
    return mask


@pytest.mark.parametrize("voxels", [1, 7, 200, 1000])
def test_exactly_so_many_and_inside_only(region, voxels):
    drawn = draw_strokes(region, voxels, 12, np.random.default_rng(0))
    assert drawn.sum() == voxels
    assert not (drawn & ~region).any()


def test_all_when_there_is_no_more(region):
    drawn = draw_strokes(region, region.sum() + 5, 12, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn, region)


def test_a_stroke_is_one_line_in_one_slice(region):
    for seed in range(5):
        drawn = draw_strokes(region, 9, 9, np.random.default_rng(seed))
        z, y, x = np.nonzero(drawn)
        assert len(set(z)) == 1
        assert max(np.ptp(y), np.ptp(x)) >= 3
        apart = np.maximum(*(np.abs(np.subtract.outer(a, a)) for a in (y, x)))
        assert ((apart == 1).sum(axis=1) >= 1).all()  # every voxel has a neighbour


def test_narrow_places_are_followed():
    corridor = np.zeros((1, 5, 60), bool)
    corridor[0, 2] = True
    drawn = draw_strokes(corridor, 20, 20, np.random.default_rng(0))
    assert drawn.sum() == 20
    assert not drawn[0, [0, 1, 3, 4]].any()


def test_empty_region():
    empty = np.zeros((2, 3, 4), bool)
    assert not draw_strokes(empty, 5, 3, np.random.default_rng(0)).any()
