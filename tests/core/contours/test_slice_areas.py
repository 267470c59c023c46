"""Areas by hand on an anisotropic grid."""

import numpy as np

from cmfnet_napari.core.contours.slice_areas import slice_areas
from cmfnet_napari.core.images.grid import Grid

GRID = Grid((5, 8, 6), (4.0, 2.0, 0.5))


def boxes():
    labels = np.zeros(GRID.shape, np.uint8)
    labels[1:3, 2:6, 1:5] = 1  # 4 rows of 2 mm, 4 columns of 0.5 mm: 16 mm² = 0.16 cm²
    return labels


def test_area_in_each_plane():
    np.testing.assert_allclose(slice_areas(boxes(), GRID, 0).area, [0, 0.16, 0.16, 0, 0])
    # 2 slices of 4 mm, 4 columns of 0.5 mm: 0.16 cm²; 2 slices of 4 mm, 4 rows of 2 mm: 0.64 cm²
    np.testing.assert_allclose(
        slice_areas(boxes(), GRID, 1).area, [0, 0, 0.16, 0.16, 0.16, 0.16, 0, 0]
    )
    np.testing.assert_allclose(slice_areas(boxes(), GRID, 2).area, [0, 0.64, 0.64, 0.64, 0.64, 0])
    assert slice_areas(boxes(), GRID, 0).other is None


def test_change_counts_what_belongs_to_one_only_and_other_classes():
    other = boxes()
    other[1, 2, 1:5] = 0  # 4 pixels of 1 mm² less
    other[2, 5, 1:3] = 2  # 2 pixels of another class
    other[4, 0, 0] = 1  # 1 pixel more
    areas = slice_areas(boxes(), GRID, 0, other)
    np.testing.assert_allclose(areas.other, [0, 0.12, 0.16, 0, 0.01])
    np.testing.assert_allclose(areas.change, [0, 0.04, 0.02, 0, 0.01])
