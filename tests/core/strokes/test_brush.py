"""A brush is round in millimetres, whatever the voxels."""

from __future__ import annotations

import numpy as np
import pytest

from cmfnet_napari.core.strokes.brush import enclosed, swept

SPACING = (3.27, 0.98, 0.5)
SHAPE = (9, 40, 60)


def mask(index, shape=SHAPE):
    painted = np.zeros(shape, bool)
    painted[index] = True
    return painted


@pytest.mark.parametrize("axes", [(1, 2), (0, 1), (0, 2), (0, 1, 2)])
def test_a_dab_is_all_voxels_within_half_the_size(axes):
    centre, size = np.array([4.2, 20.3, 30.1]), 9.0
    painted = mask(swept(centre, centre, size, SPACING, SHAPE, axes))
    offset = [(i - c) * s for i, c, s in zip(np.indices(SHAPE), centre, SPACING, strict=True)]
    expected = sum(offset[axis] ** 2 for axis in axes) <= (size / 2) ** 2
    for axis in set(range(3)) - set(axes):
        expected &= np.indices(SHAPE)[axis] == round(centre[axis])
    np.testing.assert_array_equal(painted, expected)


def test_sizes_in_a_sagittal_plane():
    """10 mm are 3 rows of 3.27 mm up and 11 of 0.98 mm across; napari's would be 9.8 mm both."""
    centre = np.array([4.0, 20.0, 30.0])
    painted = mask(swept(centre, centre, 10.0, SPACING, SHAPE, (0, 1)))
    assert painted.any(axis=(1, 2)).sum() == 3
    assert painted.any(axis=(0, 2)).sum() == 11
    assert painted.any(axis=(0, 1)).sum() == 1


def test_a_straight_way_is_covered_at_one_width():
    start, end = np.array([4.0, 10.0, 10.0]), np.array([4.0, 10.0, 50.0])
    painted = mask(swept(start, end, 5.0, SPACING, SHAPE, (1, 2)))[4]
    # 2.5 mm to each side are 2 voxels of 0.98 mm; in front of the start, 5 of 0.5 mm
    assert (painted[:, 10:51].sum(axis=0) == 5).all()
    assert painted[10].nonzero()[0].tolist() == list(range(5, 56))


def test_thin_brushes_leave_no_gap():
    start, end = np.array([0.0, 1.0, 2.0]), np.array([8.0, 37.0, 2.0])
    index = swept(start, end, 0.1, SPACING, SHAPE, (0, 1))
    rows = np.unique(index[1])
    assert rows.tolist() == list(range(1, 38))
    assert set(index[2]) == {2}


@pytest.mark.parametrize("size", [0.1, 30.0])
def test_what_lies_outside_is_left_out(size):
    outside = np.array([4.0, -30.0, 30.0])
    assert not len(swept(outside, outside, size, SPACING, SHAPE, (1, 2))[0])
    partly = swept(outside, np.array([4.0, 10.0, 30.0]), size, SPACING, SHAPE, (1, 2))
    assert partly[1].min() == 0
    beyond = np.array([40.0, 10.0, 10.0])
    assert not len(swept(beyond, beyond, size, SPACING, SHAPE, (1, 2))[0])


@pytest.mark.parametrize(("axes", "across"), [((1, 2), 0), ((2, 0), 1), ((0, 1), 2)])
def test_an_outline_is_filled_in_its_slice(axes, across):
    first, second = sorted(axes)
    outline = np.zeros((4, 3))
    outline[:, first], outline[:, second] = [1.6, 1.6, 5.4, 5.4], [2.6, 6.4, 6.4, 2.6]
    outline[:, across] = 3.3
    painted = mask(enclosed(outline, SHAPE, axes))
    expected = np.zeros(SHAPE, bool)
    part = [slice(3, 4)] * 3
    part[first], part[second] = slice(2, 6), slice(3, 7)
    expected[tuple(part)] = True
    np.testing.assert_array_equal(painted, expected)


def test_an_outline_off_the_image_fills_what_is_on_it():
    outline = np.array([[3, -5, -5], [3, -5, 2], [3, 2, 2], [3, 2, -5]], float)
    painted = mask(enclosed(outline, SHAPE, (1, 2)))
    assert painted[3, :3, :3].all()
    assert painted.sum() == 9
    outline[:, 0] = -1
    assert not mask(enclosed(outline, SHAPE, (1, 2))).any()
