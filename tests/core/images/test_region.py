"""Values in an ellipse, against voxel by voxel counting on an anisotropic grid."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.region import ellipse, measure_region

GRID = Grid((4, 30, 24), (3.0, 0.9, 1.1), (-20.0, 35.0, -400.0))


def place(voxel):
    return np.array(GRID.translate) + np.array(voxel) * GRID.spacing


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_ellipse_holds_what_lies_in_it(axis):
    one, other = np.array([0.2, 5.3, 4.1]), np.array([3.1, 21.0, 15.7])
    one[axis] = other[axis] = (2, 11, 9)[axis]
    rng = np.random.default_rng(2)
    ct, mr = rng.normal(40, 9, GRID.shape), rng.normal(300, 20, GRID.shape)
    seen = rng.random(GRID.shape) > 0.4
    study = SimpleNamespace(
        grid=GRID,
        first=SimpleNamespace(array=ct),
        second=SimpleNamespace(array=mr),
        seen=seen,
    )
    across = [a for a in range(3) if a != axis]
    middle, half = (one + other) / 2, np.abs(one - other) / 2
    inside = np.zeros(GRID.shape, bool)
    for voxel in np.ndindex(GRID.shape):
        far = sum(((voxel[a] - middle[a]) / half[a]) ** 2 for a in across)
        inside[voxel] = voxel[axis] == one[axis] and far <= 1
    np.testing.assert_array_equal(ellipse(GRID, axis, place(one), place(other)), inside)
    np.testing.assert_array_equal(ellipse(GRID, axis, place(other), place(one)), inside)
    found = measure_region(study, axis, place(one), place(other))
    assert found.area == pytest.approx(inside.sum() * np.prod([GRID.spacing[a] for a in across]))
    assert found.first.mean == pytest.approx(ct[inside].mean())
    assert found.first.deviation == pytest.approx(ct[inside].std())
    assert (found.second.least, found.second.largest) == (
        mr[inside & seen].min(),
        mr[inside & seen].max(),
    )
    study.seen = np.zeros(GRID.shape, bool)
    assert measure_region(study, axis, place(one), place(other)).second is None


def test_outside_there_is_nothing():
    study = SimpleNamespace(
        grid=GRID, first=SimpleNamespace(array=np.zeros(GRID.shape)), second=None
    )
    assert measure_region(study, 0, place((9, 1, 1)), place((9, 8, 8))) is None
    assert measure_region(study, 0, place((1, 1.4, 1.4)), place((1, 1.4, 1.4))) is None
