import numpy as np
import pytest

from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.core.strokes.subsets import fewer_strokes

SPACING = (3.0, 1.0, 1.5)


@pytest.fixture
def drawn():
    """Strokes of two classes on eight slices, background around and beyond both ends."""
    targets = np.full((20, 30, 26), IGNORE, np.uint8)
    for z in range(6, 14):
        targets[z, 10, 5:20] = 1
        targets[z, 16, 5:20] = 2
        targets[z, 3, 2:24] = targets[z, 25, 2:24] = 0
    targets[3, 12, 8:18] = targets[17, 12, 8:18] = 0
    return targets


@pytest.mark.parametrize("seed", range(40))
def test_a_part_of_what_was_drawn_with_every_code(drawn, seed):
    fewer = fewer_strokes(drawn, SPACING, np.random.default_rng(seed))
    kept = fewer != IGNORE
    np.testing.assert_array_equal(fewer[kept], drawn[kept])
    np.testing.assert_array_equal(np.unique(fewer), [0, 1, 2, IGNORE])


def test_users_differ_and_the_same_seed_is_the_same_user(drawn):
    users = [fewer_strokes(drawn, SPACING, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(users[0], users[1])
    assert (users[0] != users[2]).any()


def test_mostly_much_is_left_out(drawn):
    users = [fewer_strokes(drawn, SPACING, np.random.default_rng(seed)) for seed in range(60)]
    shares = [(u != IGNORE).sum() / (drawn != IGNORE).sum() for u in users]
    assert np.median(shares) < 0.6


def test_the_ends_are_mostly_kept(drawn):
    users = [fewer_strokes(drawn, SPACING, np.random.default_rng(seed)) for seed in range(60)]
    both = [(u[3] != IGNORE).any() and (u[17] != IGNORE).any() for u in users]
    assert 0.5 < np.mean(both) < 1


def test_a_single_voxel_of_each_code_is_never_lost():
    targets = np.full((4, 5, 6), IGNORE, np.uint8)
    targets[0, 0, 0], targets[3, 4, 5] = 0, 1
    for seed in range(20):
        fewer = fewer_strokes(targets, SPACING, np.random.default_rng(seed))
        np.testing.assert_array_equal(fewer, targets)
