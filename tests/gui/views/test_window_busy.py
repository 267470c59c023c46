"""A window that was busy: what the hand did meanwhile counts; what is hidden costs nothing."""

from __future__ import annotations

import sys
import weakref
from functools import partial

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent, QOpenGLContext
from qtpy.QtWidgets import QApplication

from tests.gui.conftest import HERE, SHAPE

FAKE = HERE / "fake_worker.py"
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


@pytest.mark.parametrize("view", ["main", "sagittal"])
def test_a_stroke_that_comes_all_at_once_is_whole(opened, hand, qtbot, view):
    session = opened.session
    session.scribbles.brush_size = 1
    session.select_class(2)
    expected = np.zeros(SHAPE, bool)
    if view == "main":
        hand.look_at("axial", (5, 10, 8))
        all_at_once(hand, qtbot, (5, 6, 4), (5, 6, 11), (5, 14, 11))
        expected[5, 6, 4:12] = expected[5, 6:15, 11] = True
    else:
        opened.workbench.layouts.show("planes")
        qtbot.wait(150)
        hand.look_at("axial", (5, 10, 8))
        over = hand.over(opened.view_grid.panes[0])
        all_at_once(over, qtbot, (3, 6, 8), (3, 14, 8), (8, 14, 8))
        expected[3, 6:15, 8] = expected[3:9, 14, 8] = True
    np.testing.assert_array_equal(session.scribbles.data == 2, expected)
    np.testing.assert_array_equal(session.case.scribbles() == 2, expected)

    session.undo()
    if view == "main":
        opened.workbench.drawing.choose("lasso")
        around = [(5, 4, 3), (5, 4, 12), (5, 15, 12), (5, 15, 3), (5, 5, 3)]
        all_at_once(hand, qtbot, *around)
        filled = session.scribbles.data == 2
        assert filled[5, 5:15, 4:12].all()
        assert not filled[5, :4].any()
        assert not filled[5, :, 13:].any()


@pytest.mark.canvas
def test_surfaces_change_in_place_and_only_where_they_are_seen(opened, qtbot):
    from cmfnet_napari.gui.patient.layers import segmentation_layer

    session = opened.session
    opened.workbench.layouts.show("planes")
    qtbot.wait(150)
    solid = opened.view_grid.panes[2].view
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:8, 5:12, 6:11] = 1
    colors = session.scribbles.colormap
    layer = segmentation_layer(labels, session.case.study.grid, colors, "Contour")
    session.viewer.add_layer(layer)
    qtbot.waitUntil(lambda: len(solid.model.layers) == 1)
    surface = solid.model.layers[0]
    first = len(surface.vertices)

    layer.data = labels * (np.indices(SHAPE)[0] < 5)
    qtbot.waitUntil(lambda: len(surface.vertices) != first)
    assert list(solid.model.layers) == [surface]
    assert len(surface.vertex_colors) == len(surface.vertices)
    picture = opened.view_grid.panes[2].widget.screenshot(flash=False)
    assert (picture[..., :3].max(axis=2) > 60).mean() > 0.05

    pane = opened.view_grid.panes[0].view
    opened.workbench.layouts.show("one")
    asked = solid._asked
    second = surface.vertices
    layer.data = labels
    assert not pane.linked(layer).shown.visible
    qtbot.wait(500)
    assert solid._asked == asked
    assert surface.vertices is second
    opened.workbench.layouts.show("planes")
    qtbot.waitUntil(lambda: len(surface.vertices) == first)
    assert pane.linked(layer).shown.visible
    assert pane.linked(layer).shown.data is layer.data


@pytest.mark.canvas
def test_a_layer_goes_in_the_context_of_its_canvas(opened, qtbot):
    """napari frees textures and buffers when a layer goes, not when it paints."""
    session, own = opened.session, []
    opened.workbench.layouts.show("planes")
    extra = session.viewer.add_labels(np.ones(SHAPE, np.uint8), **_placed(session))
    qtbot.wait(600)
    sagittal = opened.view_grid.panes[0]
    views = [
        (session.viewer.layers, opened.view_grid._main.canvas.native),
        (sagittal.view.model.layers, sagittal.widget.canvas.native),
    ]
    looks = [(layers.events.removed, _own_context(canvas, own)) for layers, canvas in views]
    for removed, look in looks:
        removed.connect(look)
    session.viewer.layers.remove(extra)
    for removed, look in looks:
        removed.disconnect(look)
    views.clear()
    assert own == [True, True]


def _own_context(canvas, own):
    """Notes whether the context that is current is the canvas's, when it is called."""
    context = weakref.ref(canvas.context())
    return lambda _event: own.append(QOpenGLContext.currentContext() == context())


def _placed(session):
    from cmfnet_napari.gui.patient.layers import placement

    return placement(session.case.study.grid)


def test_a_window_that_is_closed_while_it_trains_says_nothing(patient, qtbot, capsys):
    import napari
    from qtpy.compat import isalive

    from cmfnet_napari.gui.app import add_dock
    from cmfnet_napari.gui.patient.opened import open_files

    dock = add_dock(napari.Viewer())
    session, training, grid = dock.session, dock.workbench.training, dock.view_grid
    with qtbot.waitSignal(session.opened):
        session.open(partial(open_files, patient.ct, patient.mr))
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[5, 10, 7:10], strokes[5, 16, 6:10] = 2, 1
    session.recorder.add(strokes, "import")
    training.command = lambda case: [sys.executable, str(FAKE), "endless", str(case)]
    dock.workbench.layouts.show("planes")
    with qtbot.waitSignal(training.stepped):
        training.start("quick")
    canvas = grid._main.canvas.native
    capsys.readouterr()
    assert dock.window().close()
    qtbot.waitUntil(lambda: session.ended and not isalive(canvas))
    qtbot.wait(200)
    assert capsys.readouterr().err == ""
