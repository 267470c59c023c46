import numpy as np
import pytest

from cmfnet_napari.core.strokes.held_out import deal_strokes

SPACING = (3.0, 1.0, 1.5)
GROUPS = 5


@pytest.fixture
def scribbles():
    drawn = np.zeros((20, 60, 50), np.uint8)
    drawn[4, 5, 3:45] = drawn[9, 50, 3:45] = drawn[15, 5:55, 3] = 1
    drawn[9, 20:45, 20] = drawn[5, 30, 10:35] = 2
    drawn[2, 2, 2] = 3
    return drawn


def test_every_stroke_but_a_single_piece_is_held_out_once(scribbles):
    dealt = deal_strokes(scribbles, SPACING, GROUPS)
    assert set(np.unique(dealt)) == set(range(GROUPS + 1))
    assert (dealt[scribbles == 0] == 0).all()
    assert (dealt[(scribbles == 1) | (scribbles == 2)] > 0).all()
    assert dealt[2, 2, 2] == 0


@pytest.mark.parametrize("seed", range(5))
def test_no_code_is_ever_without_a_stroke(scribbles, seed):
    dealt = deal_strokes(scribbles, SPACING, GROUPS, seed)
    for group in range(1, GROUPS + 1):
        assert set(np.unique(scribbles[dealt != group])) == {0, 1, 2, 3}


def test_pieces_are_a_centimetre_or_two_not_voxels(scribbles):
    dealt = deal_strokes(scribbles, SPACING, GROUPS)
    line = dealt[4, 5, 3:45]  # 63 mm
    assert 2 <= (np.diff(line.astype(int)) != 0).sum() <= 5


def test_nothing_drawn_nothing_dealt():
    assert not deal_strokes(np.zeros((3, 4, 5), np.uint8), SPACING, GROUPS).any()
