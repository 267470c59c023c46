"""The part around a place: where it lies on both grids, and what is shown of it."""

import numpy as np
import pytest
import torch

from cmfnet_napari.learning.data.prepare import Frame, Inputs
from cmfnet_napari.learning.fit.crop import around, cut, paste

PATCH = (16, 16, 16)
SHAPE, REGION = (50, 70, 90), (slice(2, 50), slice(3, 70), slice(10, 90))
FACTORS = (1, 2, 3)
WORKING = (48, 34, 27)  # what these make, rounded up


@pytest.fixture
def inputs():
    numbers = torch.arange(48 * 34 * 27, dtype=torch.float32).reshape(1, 1, *WORKING)
    frame = Frame(SHAPE, REGION, FACTORS)
    return Inputs(numbers, -numbers, torch.ones_like(numbers), frame, torch.cat([numbers] * 3, 1))


def place(*voxels):
    mask = torch.zeros(WORKING, dtype=torch.bool)
    for voxel in voxels:
        mask[voxel] = True
    return mask


def test_a_patch_around_a_voxel_stays_inside():
    assert around(place((20, 17, 13)), PATCH) == (slice(12, 28), slice(9, 25), slice(5, 21))
    assert around(place((0, 33, 2)), PATCH) == (slice(0, 16), slice(18, 34), slice(0, 16))


def test_a_long_stroke_gets_more_than_a_patch():
    z, y, x = around(place((20, 5, 13), (20, 24, 13)), PATCH)
    assert (z.stop - z.start, x.stop - x.start) == (16, 16)
    assert y == slice(1, 29)  # half a patch more than the 20 voxels between


def test_nowhere_and_nearly_everywhere_are_no_part():
    assert around(place(), PATCH) is None
    assert around(place((2, 2, 2), (45, 30, 25)), PATCH) is None


def test_a_cut_knows_where_it_lies(inputs):
    part = cut(inputs, (slice(40, 48), slice(30, 34), slice(2, 5)))
    assert part.ct.shape == part.mr.shape == part.fov.shape == (1, 1, 8, 4, 3)
    assert part.maps.shape == (1, 3, 8, 4, 3)
    assert part.ct[0, 0, 0, 0, 0] == inputs.ct[0, 0, 40, 30, 2]
    # 67 voxels make 34 working ones: the last is half outside
    assert part.frame.region == (slice(42, 50), slice(63, 70), slice(16, 25))
    assert part.frame.factors == FACTORS


def test_the_border_of_a_part_is_not_shown_unless_it_is_the_images(inputs):
    box = (slice(0, 16), slice(9, 25), slice(11, 27))
    whole, part = np.zeros(SHAPE, np.uint8), np.ones(SHAPE, np.uint8)
    labels = paste(whole, part, inputs, box, PATCH)
    expected = np.zeros(SHAPE, bool)
    # two working voxels are left out at each border that lies inside the images
    expected[2 : 2 + 14, 3 + 2 * 11 : 3 + 2 * 23, 10 + 3 * 13 : 90] = True
    np.testing.assert_array_equal(labels == 1, expected)
    assert not whole.any()
