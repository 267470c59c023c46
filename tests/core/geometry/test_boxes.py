import numpy as np
import pytest

from cmfnet_napari.core.geometry.boxes import reaches_side

BOX = (slice(0, 3), slice(2, 6), slice(4, 10))


@pytest.mark.parametrize(
    ("voxel", "reaches"),
    [
        ((1, 2, 3), False),
        ((0, 1, 1), False),  # the whole ends here as well
        ((2, 1, 1), True),
        ((1, 0, 1), True),
        ((1, 3, 1), True),
        ((1, 1, 0), True),
        ((1, 1, 5), False),
    ],
)
def test_a_side_counts_where_the_whole_goes_on(voxel, reaches):
    mask = np.zeros((3, 4, 6), dtype=bool)
    mask[voxel] = True
    assert reaches_side(mask, BOX, (5, 7, 10)) is reaches
