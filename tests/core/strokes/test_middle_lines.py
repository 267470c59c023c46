"""Edits as strokes."""

import numpy as np
import pytest

from cmfnet_napari.core.strokes.middle_lines import middle_lines

SHAPE = (24, 25, 26)


@pytest.mark.parametrize("across", [0, 1, 2])
def test_an_area_becomes_its_middle_line_on_the_slice_it_was_painted_on(across):
    painted = np.zeros(SHAPE, dtype=np.uint8)
    np.moveaxis(painted, across, 0)[7, 4:9, 3:22] = 2  # 5 rows of 19
    voxels = np.flatnonzero(painted)
    found = np.zeros(SHAPE, dtype=bool)
    found.flat[middle_lines(voxels, painted.flat[voxels], SHAPE)] = True
    level = np.moveaxis(found, across, 0)[7]
    assert level.sum() == found.sum() < 25
    assert level[6, 6:19].all()
    assert not (found & (painted == 0)).any()


def test_every_area_and_code_keeps_something():
    painted = np.zeros(SHAPE, dtype=np.uint8)
    painted[5, 2, 2] = 1
    painted[5, 10:12, 10:12] = 2
    painted[5, 12:20, 10:12] = 3
    voxels = np.flatnonzero(painted)
    found = middle_lines(voxels, painted.flat[voxels], SHAPE)
    assert set(painted.flat[found]) == {1, 2, 3}
    assert middle_lines(voxels[:0], painted.flat[voxels[:0]], SHAPE).size == 0


def test_a_ball_becomes_lines_on_all_its_slices():
    away = sum((n - 12) ** 2 for n in np.indices(SHAPE))
    voxels = np.flatnonzero(away <= 36)
    found = middle_lines(voxels, np.full(voxels.size, 2, np.uint8), SHAPE)
    assert set(np.unravel_index(found, SHAPE)[0]) == set(range(6, 19))
    assert found.size < voxels.size / 10
