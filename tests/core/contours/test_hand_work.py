"""What the hand has changed, against figures counted by hand."""

import numpy as np
import pytest

from cmfnet_napari.core.contours.hand_work import HandWork, hand_work
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.strokes.time_spent import time_spent

GRID = Grid((4, 8, 9), (3.0, 0.5, 1.5), (0.0, 0.0, 0.0))  # 2.25 µl a voxel


def test_figures_counted_by_hand():
    model = np.zeros(GRID.shape, np.uint8)
    model[1:3, 2:6, 2:6] = 1
    model[1, 6, 6] = 2
    record = model.copy()
    record[1, 2:6, 6] = 1  # a column of four beside it
    record[2, 2, 2] = 0  # a corner less
    record[1, 6, 6] = 1  # from the second class to the first
    work = hand_work(model, record, GRID, ["Tumour", "Node"], times=[10.0, 14.0, 200.0, 230.5])
    assert work.added_ml == {"Tumour": pytest.approx(5 * 0.00225), "Node": 0}
    assert work.removed_ml == {"Tumour": pytest.approx(0.00225), "Node": pytest.approx(0.00225)}
    assert work.slices == 2
    # Slice 1: the new column of 4 and the voxel from the other class, a voxel being (0.5 + 1.5) / 2
    # mm wide; slice 2: the new corners were border before.
    assert work.paths_mm == {"Tumour": pytest.approx(5.0), "Node": 0}
    assert work.path_mm == pytest.approx(5.0)
    assert work.seconds == 34.5
    assert work
    assert work.sentence == (
        "Tumour +0.01 −0.00 ml, Node +0.00 −0.00 ml on 2 axial slices; 0.5 cm of contour drawn in "
        "0:34 min"
    )


def test_nothing_changed_says_nothing():
    labels = np.ones(GRID.shape, np.uint8)
    work = hand_work(labels, labels.copy(), GRID)
    assert (work, bool(work), work.sentence) == (HandWork(), False, "")


@pytest.mark.parametrize(("times", "seconds"), [([], 0), ([5.0], 0), ([0, 60, 121, 122], 61)])
def test_a_pause_is_no_editing(times, seconds):
    assert time_spent(times) == seconds
