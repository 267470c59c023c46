"""Masks grown and shrunk in mm, against brute force on an anisotropic grid."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from cmfnet_napari.core.geometry.margin import all_round, grown, shrunk

SPACING = (3.0, 0.9, 1.3)
SHAPE = (7, 13, 11)
UNEVEN = ((0.0, 7.0), (2.0, 4.5), (1.3, 0.0))  # mm to the low and the high end of z, y, x


def blob():
    mask = np.random.default_rng(0).random(SHAPE) > 0.985
    mask[2:5, 4:9, 3:8] = True
    return mask


def in_ellipsoid(offset, margins):
    """Whether a step (voxels, z y x) stays within the margins; computed one by one."""
    total = 0.0
    for step, mm, (low, high) in zip(offset, SPACING, margins, strict=True):
        margin = high if step > 0 else low
        if step and margin == 0:
            return False
        total += (step * mm / margin) ** 2 if step else 0.0
    return total <= 1.0 + 1e-9


def brute_force(mask, margins):
    larger = np.zeros_like(mask)
    steps = [range(-n, n + 1) for n in SHAPE]
    reach = [s for s in itertools.product(*steps) if in_ellipsoid(s, margins)]
    for voxel in np.argwhere(mask):
        for step in reach:
            at = voxel + step
            if ((at >= 0) & (at < SHAPE)).all():
                larger[tuple(at)] = True
    return larger


@pytest.mark.parametrize("margins", [UNEVEN, all_round(2.7), all_round(0.0)])
def test_growing_is_what_brute_force_says(margins):
    np.testing.assert_array_equal(grown(blob(), SPACING, margins), brute_force(blob(), margins))


def test_growing_all_round_is_a_distance_in_mm():
    mask = blob()
    away = ndimage.distance_transform_edt(~mask, SPACING)
    for mm in (0.9, 2.6, 6.1):
        np.testing.assert_array_equal(grown(mask, SPACING, all_round(mm)), away <= mm + 1e-5)


def test_a_margin_moves_the_side_that_it_names():
    """Low z is the feet, high y the back, high x the patient's left."""
    mask = np.zeros(SHAPE, bool)
    mask[3, 6, 5] = True
    for axis, steps in enumerate(((0, 2), (2, 5), (1, 0))):
        margins = [(0.0, 0.0)] * 3
        margins[axis] = UNEVEN[axis]
        at = np.argwhere(grown(mask, SPACING, tuple(margins)))[:, axis] - (3, 6, 5)[axis]
        assert (-at.min(), at.max()) == steps


def test_shrinking_takes_from_the_side_that_is_named():
    mask = np.zeros(SHAPE, bool)
    mask[1:6, 2:11, 2:9] = True
    smaller = shrunk(mask, SPACING, ((0.0, 6.0), (1.8, 0.0), (0.0, 0.0)))
    expected = np.zeros(SHAPE, bool)
    expected[1:4, 4:11, 2:9] = True  # 6 mm off the head's end, 1.8 mm off the front
    expected[1:4, 2:4] = False
    np.testing.assert_array_equal(smaller, expected)
    away = ndimage.distance_transform_edt(mask, SPACING)
    np.testing.assert_array_equal(shrunk(mask, SPACING, all_round(1.9)), away > 1.9)


def test_at_the_ends_of_the_image_and_without_a_mask():
    whole = np.ones(SHAPE, bool)
    np.testing.assert_array_equal(shrunk(whole, SPACING, all_round(5.0)), whole)
    np.testing.assert_array_equal(grown(whole, SPACING, all_round(5.0)), whole)
    assert not grown(~whole, SPACING, all_round(5.0)).any()
    assert not shrunk(~whole, SPACING, all_round(5.0)).any()
    thin = np.ones((1, 4, 4), bool)
    np.testing.assert_array_equal(grown(thin, SPACING, all_round(9.0)), thin)
    with pytest.raises(ValueError, match="0 mm or more"):
        grown(whole, SPACING, all_round(-1.0))
