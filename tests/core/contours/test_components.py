import numpy as np
import pytest

from cmfnet_napari.core.contours.components import (
    drop_unmarked,
    largest_part,
    part_at,
    volumes_ml,
)
from cmfnet_napari.core.images.grid import Grid

SHAPE = (6, 9, 12)


def test_only_parts_with_a_stroke_of_their_class_stay():
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:3, 1:4, 1:4] = 1  # marked
    labels[1:3, 1:4, 7:9] = 1  # not marked
    labels[4, 6, 2:5] = 1  # marked by another class's stroke only
    labels[4:6, 6:8, 8:11] = 2  # marked
    scribbles = np.zeros(SHAPE, np.uint8)
    scribbles[2, 2, 2] = 2
    scribbles[4, 6, 3] = 3
    scribbles[5, 7, 9] = 3
    scribbles[1, 2, 8] = 1

    kept = drop_unmarked(labels, scribbles)

    expected = np.zeros(SHAPE, np.uint8)
    expected[1:3, 1:4, 1:4] = 1
    expected[4:6, 6:8, 8:11] = 2
    np.testing.assert_array_equal(kept, expected)
    assert kept.dtype == np.uint8
    assert labels[1, 1, 7] == 1  # the input is left alone


def test_corners_hold_together_but_a_gap_does_not():
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 1, 1] = labels[2, 2, 2] = labels[4, 4, 4] = 1
    scribbles = np.zeros(SHAPE, np.uint8)
    scribbles[1, 1, 1] = 2
    kept = drop_unmarked(labels, scribbles)
    assert [tuple(p) for p in np.argwhere(kept)] == [(1, 1, 1), (2, 2, 2)]


def test_a_stroke_beside_a_part_does_not_mark_it():
    labels, scribbles = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    labels[3, 3, 3:6] = 1
    scribbles[3, 4, 3:6] = 2
    assert not drop_unmarked(labels, scribbles).any()
    assert not drop_unmarked(labels, np.zeros(SHAPE, np.uint8)).any()


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="differ in shape"):
        drop_unmarked(np.zeros(SHAPE, np.uint8), np.zeros((2, 2, 2), np.uint8))


def test_volumes():
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 2, :10] = 1
    labels[3, 4, :4] = 3
    grid = Grid(SHAPE, (3.0, 2.0, 0.5))  # 3 µl
    assert volumes_ml(labels, grid, ["Tumour", "Node"]) == {
        "Tumour": pytest.approx(0.03), "Node": 0.0, "class 3": pytest.approx(0.012),
    }  # fmt: skip
    assert volumes_ml(np.zeros(SHAPE, np.uint8), grid, ["Tumour"]) == {"Tumour": 0.0}
    assert volumes_ml(np.zeros(SHAPE, np.uint8), grid) == {}


def test_the_largest_part_and_the_part_at_a_voxel():
    """Corners hold a part together; parts are those of the mask alone."""
    mask = np.zeros(SHAPE, bool)
    mask[1, 1:3, 1:3] = mask[2, 3, 3] = True  # five, over a corner
    mask[1:3, 6, 8:10] = True  # four
    kept = largest_part(mask)
    assert np.argwhere(kept).tolist() == [[1, 1, 1], [1, 1, 2], [1, 2, 1], [1, 2, 2], [2, 3, 3]]
    np.testing.assert_array_equal(part_at(mask, (2, 3, 3)), np.flatnonzero(kept))
    np.testing.assert_array_equal(part_at(mask, (1, 6, 9)), np.flatnonzero(mask & ~kept))
    for nowhere in ((0, 0, 0), (-1, 3, 3), (2, 9, 3)):
        assert not part_at(mask, nowhere).size
    assert not largest_part(~np.ones(SHAPE, bool)).any()
