"""Working voxels that follow what is drawn, on shapes whose thickness is known by hand."""

import numpy as np
import pytest

from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.learning.predict.scale import voxel_for

GRID = Grid((60, 120, 120), (2.0, 1.0, 1.0))
Z, Y, X = (
    axis - 60
    for axis in np.meshgrid(np.arange(60) * 2 + 1, *[np.arange(120) + 0.5] * 2, indexing="ij")
)
AWAY = np.sqrt(Z**2 + Y**2 + X**2)


def test_so_many_voxels_lie_along_what_is_not_thin():
    box = 60.0  # mm, of a ball of 30 mm
    assert voxel_for(AWAY < 30, GRID, 27) == pytest.approx(box / 27, rel=0.02)
    long = (abs(Z) < 50) & (abs(Y) < 20) & (abs(X) < 20)
    assert voxel_for(long, GRID, 27) == pytest.approx((100 * 40 * 40) ** (1 / 3) / 27, rel=0.02)


def test_five_lie_across_a_wall_but_voxels_are_not_made_much_finer():
    slab = (abs(Z) < 50) & (abs(Y) < 3) & (abs(X) < 50)
    assert (6 * 100 * 100) ** (1 / 3) / 27 > 6 / 5  # so many would lie along it
    assert voxel_for(slab, GRID, 27) == pytest.approx(6 / 5, rel=0.1)
    shell = (AWAY < 50) & (AWAY > 45)
    assert voxel_for(shell, GRID, 27) == pytest.approx(0.55 * 100 / 27, rel=0.02)


def test_the_same_at_another_size():
    slab = (abs(Z) < 50) & (abs(Y) < 3) & (abs(X) < 50)
    twice = Grid(GRID.shape, tuple(2 * mm for mm in GRID.spacing))
    assert voxel_for(slab, twice, 27) == pytest.approx(2 * voxel_for(slab, GRID, 27))
