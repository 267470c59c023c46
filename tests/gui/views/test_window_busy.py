"""A window that was busy: what the hand did meanwhile counts; what is hidden costs nothing."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from tests.gui.conftest import SHAPE, SMALL, canvases, fake_command

WINDOW = SMALL

LEFT, NONE = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton


def all_at_once(hand, qtbot, *voxels):
    """Press, move and let go, as Qt hands it on after the window was busy with something else."""
    points = [QPointF(hand.pixel(voxel)) for voxel in voxels]
    moves = [(QEvent.Type.MouseMove, point, NONE, LEFT) for point in points[1:]]
    events = [
        (QEvent.Type.MouseButtonPress, points[0], LEFT, LEFT),
        *moves,
        (QEvent.Type.MouseButtonRelease, points[-1], LEFT, NONE),
    ]
    for kind, point, button, buttons in events:
        everywhere = QPointF(hand.canvas.mapToGlobal(point.toPoint()))
        event = QMouseEvent(kind, point, everywhere, button, buttons, Qt.NoModifier)
        QApplication.postEvent(hand.canvas, event)
    qtbot.wait(100)


def test_a_stroke_that_comes_all_at_once_is_whole(opened, hand, qtbot):
    session = opened.session
    session.scribbles.brush_size = 1
    session.select_class(2)
    hand.look_at("axial", (5, 10, 8))
    all_at_once(hand, qtbot, (5, 6, 4), (5, 6, 11), (5, 14, 11))
    expected = np.zeros(SHAPE, bool)
    expected[5, 6, 4:12] = expected[5, 6:15, 11] = True
    is_drawn_and_recorded(session, expected)

    session.undo()
    opened.workbench.drawing.choose("lasso")
    around = [(5, 4, 3), (5, 4, 12), (5, 15, 12), (5, 15, 3), (5, 5, 3)]
    all_at_once(hand, qtbot, *around)
    filled = session.scribbles.data == 2
    assert filled[5, 5:15, 4:12].all()
    assert not filled[5, :4].any()
    assert not filled[5, :, 13:].any()

    session.undo()
    opened.workbench.drawing.choose("free")
    opened.workbench.layouts.show("planes")
    qtbot.wait(150)
    hand.look_at("axial", (5, 10, 8))
    over = hand.over(opened.view_grid.panes[0])
    all_at_once(over, qtbot, (3, 6, 8), (3, 14, 8), (8, 14, 8))
    expected = np.zeros(SHAPE, bool)
    expected[3, 6:15, 8] = expected[3:9, 14, 8] = True
    is_drawn_and_recorded(session, expected)


def is_drawn_and_recorded(session, expected):
    np.testing.assert_array_equal(session.scribbles.data == 2, expected)
    np.testing.assert_array_equal(session.case.scribbles() == 2, expected)


@pytest.fixture
def own_app(mock_app_model):
    """What napari registers once a process, anew and apart, as `make_napari_viewer` has it.

    Else it is registered twice, or not at all, by what other tests of the process had.
    """
    from napari._qt._qapp_model.qactions import init_qactions
    from napari.plugins import _initialize_plugins

    for once in (_initialize_plugins, init_qactions):
        once.cache_clear()


def test_a_window_that_is_closed_while_it_trains_says_nothing(
    display, patient, qtbot, capsys, own_app
):
    import napari
    from qtpy.compat import isalive

    from cmfnet_napari.gui.app import add_dock
    from cmfnet_napari.gui.patient.opened import open_files

    dock = add_dock(napari.Viewer())  # napari's fixture would close it again, which takes a minute
    dock.window()._save_current_window_settings = lambda: None
    session, training, grid = dock.session, dock.workbench.training, dock.view_grid
    with qtbot.waitSignal(session.opened):
        session.open(partial(open_files, patient.ct, patient.mr))
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[5, 10, 7:10], strokes[5, 16, 6:10] = 2, 1
    session.recorder.add(strokes, "import")
    training.command = partial(fake_command, "endless")
    dock.workbench.layouts.show("planes")
    with qtbot.waitSignal(training.stepped):
        training.start("quick")
    canvas = grid._main.canvas.native
    capsys.readouterr()
    assert dock.window().close()
    qtbot.waitUntil(lambda: session.ended and not isalive(canvas))
    qtbot.wait(200)
    assert capsys.readouterr().err == ""
    canvases()  # napari keeps those of a window that was closed
