"""The tools, with mouse and keyboard: what they paint, and that it is recorded."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.notifications import notification_manager
from wrapt import ObjectProxy

from tests.gui.conftest import SHAPE, SMALL, SPACING, as_opened

WINDOW = SMALL


@pytest.fixture
def journal(opened):
    return opened.session.case.journal


@pytest.fixture
def draw(opened, hand, journal, qtbot):
    """Drag, wait until it is recorded, and give the stroke."""

    def do(*voxels, modifier="No"):
        before = journal.last_id()
        hand.drag(*voxels, modifier=modifier)
        qtbot.waitUntil(lambda: journal.last_id() == before + 1)
        qtbot.wait(150)  # nothing more is found when everything is compared
        assert journal.last_id() == before + 1
        np.testing.assert_array_equal(opened.session.case.scribbles(), data(opened))
        return list(journal.strokes())[-1][1]

    return do


def data(opened):
    return np.asarray(opened.session.scribbles.data)


def slowly(*corners):
    """Each corner twice: on a busy machine a move may get lost."""
    return [corner for corner in corners for _ in range(2)]


def test_tools_one_after_another(opened, hand, draw):
    """On one patient: to open one takes longer than to draw with any of them."""
    for part in (
        nothing_to_fill_is_said,
        the_brush_is_round_in_millimetres_in_every_plane,
        straight_line_follows_the_mouse_until_it_is_let_go,
        ctrl_joins_to_where_the_last_stroke_ended,
        filling_between_slices_and_stepping,
        lasso_fills_and_erases,
        the_lasso_keeps_other_classes,
        a_ball,
    ):
        part(opened, hand, draw)
        as_opened(opened)
        hand.press("D")


def nothing_to_fill_is_said(opened, hand, _draw):
    notification_manager.records.clear()
    hand.press("I")
    hand.press(".")
    said = [record.message for record in notification_manager.records]
    assert [text.count("Draw a stroke of this class first") for text in said] == [1, 1]
    assert not opened.session.case.journal.last_id()


def the_brush_is_round_in_millimetres_in_every_plane(opened, hand, draw):
    opened.scribble_panel.tools.brush.setValue(6.5)
    opened.session.select_class(2)
    slack = 0.2  # mm; a pixel of the screen
    for axis, plane, centre in (
        (0, "axial", (5, 10, 8)),
        (2, "sagittal", (6, 9, 8)),
        (1, "coronal", (6, 12, 7)),
    ):
        hand.look_at(plane, centre)
        draw(centre)
        offset = [(i - c) * s for i, c, s in zip(np.indices(SHAPE), centre, SPACING, strict=True)]
        distance = np.sqrt(sum(o**2 for other, o in enumerate(offset) if other != axis))
        here = np.indices(SHAPE)[axis] == centre[axis]
        painted = data(opened) == 2
        assert painted[here & (distance < 3.25 - slack)].all(), plane
        assert not painted[~here | (distance > 3.25 + slack)].any(), plane
        opened.session.undo()
        assert not data(opened).any()


def a_ball(opened, hand, draw):
    hand.look_at("axial", (5, 10, 8))
    opened.session.select_class(2)
    opened.scribble_panel.tools.ball.click()
    opened.scribble_panel.tools.brush.setValue(7.0)
    draw((5, 10, 8))
    painted = data(opened) == 2
    assert set(np.nonzero(painted)[0]) == {4, 5, 6}  # 3.5 mm reach one slice of 3 mm
    assert painted[4].sum() < painted[5].sum()


def test_brush_panel_and_naparis_slider_follow_each_other(opened):
    session, brush = opened.session, opened.scribble_panel.tools.brush
    session.select_class(2)
    brush.setValue(4.0)
    assert opened.workbench.drawing.brush.size_mm == 4.0
    assert session.scribbles.brush_size == 4  # of 0.9 mm: the nearest that napari has
    assert session.scribbles.cursor_size == 4.0
    opened.workbench.planes.show("sagittal")
    assert brush.value() == 4.0
    session.scribbles.brush_size = 2
    assert brush.value() == pytest.approx(1.8)
    session.scribbles.mode = "erase"
    assert session.scribbles.cursor_size == pytest.approx(1.8)


def straight_line_follows_the_mouse_until_it_is_let_go(opened, hand, draw):
    hand.look_at("axial", (5, 10, 8))
    opened.session.scribbles.brush_size = 1
    hand.press("S")
    assert opened.scribble_panel.tools.tools["straight"].isChecked()
    stroke = draw((5, 6, 4), (5, 14, 9), (5, 14, 4))
    expected = np.zeros(SHAPE, np.uint8)
    expected[5, 6:15, 4] = 2
    np.testing.assert_array_equal(data(opened), expected)
    assert set(stroke.new) == {2}


def ctrl_joins_to_where_the_last_stroke_ended(opened, hand, draw):
    hand.look_at("axial", (5, 10, 8))
    opened.session.scribbles.brush_size = 1
    hand.press("D")
    draw((5, 6, 4))
    draw((5, 6, 12), modifier="Control")
    assert (data(opened)[5, 6, 4:13] == 2).all()
    assert (data(opened) > 0).sum() == 9
    hand.look_at("axial", (6, 10, 8))
    draw((6, 6, 12), modifier="Control")  # on another slice there is nothing to join to
    assert (data(opened)[6] > 0).sum() == 1


def lasso_fills_and_erases(opened, hand, draw):
    hand.look_at("coronal", (5, 10, 8))
    hand.press("O")
    draw(*slowly((2, 10, 3), (2, 10, 11), (8, 10, 11), (8, 10, 3)))
    expected = np.zeros(SHAPE, np.uint8)
    expected[2:9, 10, 3:12] = 2
    differs = np.argwhere(data(opened) != expected)  # the hand is a pixel off at the border
    assert all(z in (2, 8) or x in (3, 11) for z, _, x in differs)
    assert (data(opened)[3:8, 10, 4:11] == 2).all()
    hand.press("E")
    assert opened.scribble_panel.tools.tools["lasso"].isChecked()
    draw(*slowly((4, 10, 5), (4, 10, 9), (6, 10, 9), (6, 10, 5)))
    assert not data(opened)[5, 10, 6:9].any()
    hand.press("Ctrl+Z")
    assert (data(opened)[3:8, 10, 4:11] == 2).all()


def the_lasso_keeps_other_classes(opened, hand, draw):
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[5, 9, 5:9] = 1
    opened.session.recorder.add(strokes, "import")
    hand.look_at("axial", (5, 10, 8))
    opened.scribble_panel.tools.protect.setChecked(True)
    opened.session.select_class(2)
    hand.press("O")
    draw(*slowly((5, 6, 3), (5, 6, 11), (5, 12, 11), (5, 12, 3)))
    assert (data(opened)[5, 9, 5:9] == 1).all()
    assert (data(opened)[5, 8, 4:10] == 2).all()


def filling_between_slices_and_stepping(opened, hand, draw):
    """Two slices drawn, the key fills those between, over nothing that is there; one undo."""
    session = opened.session
    session.select_class(2)
    session.scribbles.brush_size = 1
    for z in (3, 7):
        hand.look_at("axial", (z, 10, 8))
        draw((z, 10, 5), (z, 10, 10))
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[5, 10, 7:14] = 1
    session.recorder.add(strokes, "import")
    hand.press(",")
    assert session.viewer.dims.current_step[0] == 6
    hand.press("I")
    assert (data(opened)[3:8, 10, 5:7] == 2).all()
    assert (data(opened)[5, 10, 7:14] == 1).all()
    assert list(session.case.journal.strokes())[-1][1].source == "interpolation"
    hand.press(".")
    assert session.viewer.dims.current_step[0] == 8
    opened.scribble_panel.tools.previous.click()
    assert session.viewer.dims.current_step[0] == 2
    hand.press("Ctrl+Z")
    assert set(np.nonzero(data(opened) == 2)[0]) == {3, 7}


def test_a_layer_of_another_viewer_paints_into_the_same_strokes(opened, qtbot, journal):
    """As a linked view does: its layer shares the array, its own plane, no Qt window."""
    from napari.utils.interactions import (
        mouse_move_callbacks,
        mouse_press_callbacks,
        mouse_release_callbacks,
    )

    session = opened.session
    main = session.scribbles
    other = ViewerModel()
    layer = Labels(main.data, scale=main.scale, translate=main.translate)
    other.add_layer(layer)
    other.dims.order = (2, 0, 1)
    other.dims.set_current_step(2, 11)
    opened.workbench.drawing.attach(layer)
    opened.workbench.drawing.brush.set_size(1.0)
    layer.mode, layer.selected_label = "paint", 2
    shown = []
    main.events.set_data.connect(lambda: shown.append(1))

    def event(kind, voxel):
        return ObjectProxy(
            SimpleNamespace(
                type=kind,
                button=1,
                is_dragging=kind == "mouse_move",
                position=layer.data_to_world(voxel),
                dims_displayed=[0, 1],
                modifiers=(),
            )
        )

    mouse_press_callbacks(layer, event("mouse_press", (3, 9, 11)))
    mouse_move_callbacks(layer, event("mouse_move", (8, 9, 11)))
    mouse_release_callbacks(layer, event("mouse_release", (8, 9, 11)))
    assert journal.last_id() == 1
    assert (main.data[3:9, 9, 11] == 2).all()
    assert (main.data > 0).sum() == 6
    np.testing.assert_array_equal(session.case.scribbles(), main.data)
    assert shown
    opened.workbench.drawing.detach(layer)
    layer.mode = "pan_zoom"
    mouse_press_callbacks(layer, event("mouse_press", (3, 12, 11)))
    assert (main.data > 0).sum() == 6
