"""What is drawn between drawn slices, and which slices are next."""

from __future__ import annotations

import numpy as np
import pytest

from cmfnet_napari.core.strokes.between import (
    drawn_slices,
    fill_between,
    next_undrawn,
    redraw_between,
)

SPACING = (3.0, 0.9, 1.3)
SHAPE = (11, 24, 30)


def strokes(*parts):
    mask = np.zeros(SHAPE, bool)
    for part in parts:
        mask[part] = True
    return mask


def test_two_equal_shapes_make_a_bar():
    mask = strokes((2, slice(5, 9), slice(4, 12)), (8, slice(5, 9), slice(4, 12)))
    new = fill_between(mask, 0, 5, SPACING)
    np.testing.assert_array_equal(new, strokes((slice(3, 8), slice(5, 9), slice(4, 12))))


def test_a_thin_line_moves_from_one_place_to_the_other():
    """Lines that do not lie over each other: halfway, a line halfway."""
    mask = strokes((2, 4, slice(4, 12)), (6, 12, slice(10, 18)))
    new = fill_between(mask, 0, 3, SPACING)
    assert np.argwhere(new[4]).tolist() == [[8, x] for x in range(7, 15)]
    assert new[3].any()
    assert new[5].any()
    assert drawn_slices(new, 0).tolist() == [3, 4, 5]


def test_a_disc_that_shrinks_has_the_size_between():
    y, x = np.indices(SHAPE[1:])
    far = np.hypot((y - 12) * SPACING[1], (x - 15) * SPACING[2])
    mask = np.zeros(SHAPE, bool)
    mask[0], mask[10] = far <= 8, far <= 4
    halfway = fill_between(mask, 0, 7, SPACING)[5]
    radius = np.sqrt(halfway.sum() * SPACING[1] * SPACING[2] / np.pi)
    assert radius == pytest.approx(6, abs=0.5)


@pytest.mark.parametrize(
    ("here", "filled"), [(1, []), (4, [3, 4, 5]), (6, [3, 4, 5, 7, 8]), (8, [7, 8]), (10, [])]
)
def test_only_the_gaps_around_the_slice(here, filled):
    mask = strokes(*((z, slice(5, 9), slice(4, 12)) for z in (2, 6, 9)))
    assert drawn_slices(fill_between(mask, 0, here, SPACING), 0).tolist() == filled


def test_along_another_axis():
    mask = strokes((slice(2, 5), slice(6, 12), 3), (slice(2, 5), slice(6, 12), 9))
    new = fill_between(mask, 2, 5, SPACING)
    np.testing.assert_array_equal(new, strokes((slice(2, 5), slice(6, 12), slice(4, 9))))


def test_shapes_at_the_border_of_the_image():
    mask = strokes((0, 0, 0), (4, slice(None), slice(None)))
    new = fill_between(mask, 0, 2, SPACING)
    assert drawn_slices(new, 0).tolist() == [1, 2, 3]
    assert not fill_between(np.zeros(SHAPE, bool), 0, 2, SPACING).any()


@pytest.mark.parametrize(
    ("drawn", "here", "step", "found"),
    [
        ([4, 5, 8], 4, 1, 6),
        ([4, 5, 8], 6, 1, 7),
        ([4, 5, 8], 7, 1, 9),
        ([4, 5, 8], 10, 1, None),  # two beyond the last at most
        ([4, 5, 8], 8, -1, 7),
        ([4, 5, 8], 4, -1, 3),
        ([4, 5, 8], 2, -1, None),
        ([4, 5, 8], 19, -1, 10),  # from far away: to the first that is near
        ([4, 5, 8], 0, 1, 2),
        ([0, 19], 19, 1, None),
        ([0], 0, -1, None),
        ([], 3, 1, None),
    ],
)
def test_next_slice_without_a_stroke(drawn, here, step, found):
    assert next_undrawn(np.array(drawn, int), here, step, beyond=2, count=20) == found


def test_a_contour_is_drawn_anew_between_corrected_slices():
    """Slices 2 and 6 were corrected to a small square; the model's large ones between them go."""
    mask = strokes((slice(1, 9), slice(4, 16), slice(4, 16)))
    for z in (2, 6):
        mask[z] = False
        mask[z, 8:12, 8:12] = True
    new = redraw_between(mask, np.array([2, 6]), 0, 4, SPACING)
    expected = mask.copy()
    expected[3:6] = mask[2]
    np.testing.assert_array_equal(new, expected)
    beyond = redraw_between(mask, np.array([2, 6]), 0, 7, SPACING)
    np.testing.assert_array_equal(beyond, mask)


def test_without_corrected_slices_only_empty_ones_are_filled():
    mask = strokes((slice(1, 3), slice(4, 8), slice(4, 8)), (6, slice(4, 8), slice(4, 8)))
    new = redraw_between(mask, np.array([9]), 0, 4, SPACING)
    np.testing.assert_array_equal(new, strokes((slice(1, 7), slice(4, 8), slice(4, 8))))
    np.testing.assert_array_equal(redraw_between(mask, np.array([]), 0, 1, SPACING), mask)
