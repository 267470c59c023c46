"""The tools in a linked view: its strokes are those of every view, and in the journal."""

from __future__ import annotations

import numpy as np

from tests.gui.conftest import SHAPE


def test_straight_line_and_lasso_in_linked_views(opened, hand, qtbot):
    session = opened.session
    opened.workbench.layouts.show("planes")
    qtbot.wait(200)
    sagittal, coronal, _ = opened.view_grid.panes
    session.select_class(2)
    session.viewer.dims.current_step = (5, 10, 8)
    opened.workbench.drawing.brush.set_size(1.0)
    qtbot.wait(100)
    opened.workbench.drawing.choose("straight")
    with qtbot.waitSignal(session.recorder.recorded):
        hand.over(sagittal).drag((3, 9, 8), (5, 14, 8), (8, 9, 8))
    expected = np.zeros(SHAPE, bool)
    expected[3:9, 9, 8] = True
    np.testing.assert_array_equal(session.scribbles.data == 2, expected)
    opened.workbench.drawing.choose("lasso")
    corners = (3, 10, 5), (3, 10, 11), (8, 10, 11), (8, 10, 5)
    with qtbot.waitSignal(session.recorder.recorded):
        hand.over(coronal).drag(*(corner for corner in corners for _ in range(2)))
    assert (session.scribbles.data[4:8, 10, 6:11] == 2).all()
    qtbot.wait(400)  # nothing more is found when everything is compared
    assert session.case.journal.last_id() == 2
    np.testing.assert_array_equal(session.case.scribbles(), session.scribbles.data)
