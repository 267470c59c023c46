"""Where an MR has data: odd voxels do not hide its padding, and air is none."""

import numpy as np
import pytest

from cmfnet_napari.core.images.normalise import to_unit, usual_limits
from cmfnet_napari.core.images.padding import has_data

SHAPE = (12, 20, 24)
INSIDE = np.zeros(SHAPE, bool)
INSIDE[:6, 2:, :] = True
TISSUE = np.random.default_rng(0).normal(300, 30, SHAPE).astype(np.float32)


def odd(*places, value=-3.0):
    """Tissue in half of the box, 0 outside, and odd voxels somewhere."""
    values = np.where(INSIDE, TISSUE, 0).astype(np.float32)
    for number, place in enumerate(places):
        values[place] = value - number
    return values


@pytest.mark.parametrize(
    "values",
    [
        odd(),
        odd((2, 10, 10)),
        odd((0, 2, 0), (5, 19, 23), (3, 3, 3), (4, 5, 6)),
        odd((2, 10, 10), value=np.float32(-1e30)),
        odd((2, 10, 10), value=5000.0),
        odd().astype(np.int16),
        np.where(INSIDE, (TISSUE - 300) / 30, 0),  # z-scores: the padding is in their midst
        np.where(INSIDE, TISSUE, 1000.0),
    ],
)
def test_padding_is_found(values):
    np.testing.assert_array_equal(has_data(values), INSIDE)


@pytest.mark.parametrize("place", [(11, 19, 23), (9, 0, 5), (8, 10, 10)])
def test_an_odd_voxel_in_the_padding_costs_itself(place):
    assert (has_data(odd(place)) != INSIDE).sum() == 1


def test_contrast_does_not_change_with_an_odd_voxel():
    plain, strange = odd(), odd((2, 10, 10), value=-30000.0)
    units = []
    for values in (plain, strange):
        seen = has_data(values)
        limits = usual_limits(values, "MR", (-160.0, 240.0), (1.0, 99.0), seen)
        units.append(to_unit(values, limits, seen))
    assert np.abs(units[0] - units[1])[INSIDE].max() == pytest.approx(units[0][2, 10, 10], abs=0.01)
    units[1][2, 10, 10] = units[0][2, 10, 10]
    np.testing.assert_allclose(units[0], units[1], atol=0.01)


@pytest.mark.parametrize(
    "values",
    [
        TISSUE,
        np.random.default_rng(1).poisson(2, SHAPE),  # air of a magnitude image, many zeros
        np.random.default_rng(2).integers(0, 3, SHAPE),
    ],
)
def test_noise_is_no_padding(values):
    assert has_data(values).all()
