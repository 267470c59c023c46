"""One class takes another shape: what changes, by hand."""

import numpy as np
import pytest

from cmfnet_napari.core.contours.relabel import relabel

LABELS = np.array([[[1, 1, 0, 2, 2, 0]]], np.uint8)
SHAPE = np.array([[[0, 1, 1, 1, 0, 0]]], bool)


@pytest.mark.parametrize(
    ("keep_others", "voxels", "codes"),
    [(False, [0, 2, 3], [0, 1, 1]), (True, [0, 2], [0, 1])],
)
def test_a_class_takes_another_shape(keep_others, voxels, codes):
    change = relabel(LABELS, 1, SHAPE, keep_others)
    assert (change.voxels.tolist(), change.codes.tolist()) == (voxels, codes)
    assert (change.added, change.removed) == (sum(codes), 1)


def test_the_same_shape_is_no_change():
    change = relabel(LABELS, 2, LABELS == 2, False)
    assert (change.voxels.size, change.added, change.removed) == (0, 0, 0)
