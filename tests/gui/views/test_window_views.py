"""CT beside MR, and three planes: one place, one scale, one set of strokes."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from qtpy.QtCore import QPoint

from cmfnet_napari.core.case.view_state import VIEWS_FILE
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.gui.patient.layers import segmentation_layer
from cmfnet_napari.gui.patient.opened import open_files
from tests.gui.conftest import SHAPE, SMALL, as_opened

WINDOW = SMALL


@pytest.fixture
def show(opened, hand, qtbot):
    """Show an arrangement; the views beside the main one."""

    def arrange(name):
        opened.workbench.layouts.show(name)
        qtbot.wait(150)
        return opened.view_grid.panes

    return arrange


def scribbles_of(pane, session):
    return pane.view.linked(session.scribbles).shown


def overlays(qt_viewer, layer):
    """What napari draws over a layer on a canvas, by what it is a picture of."""
    return qt_viewer.canvas._layer_overlay_to_visual[layer]


def shown_by(pane, session):
    """The scribbles that a view has drawn, code by voxel of its plane."""
    layer, grid = scribbles_of(pane, session), session.case.study.grid
    axis = pane.view.model.dims.order[0]
    out = np.zeros(SHAPE, np.uint8)
    for index in np.ndindex(SHAPE):
        if index[axis] == session.viewer.dims.current_step[axis]:
            place = np.array(index) * grid.spacing + grid.translate
            out[index] = layer.get_value(place, world=True)  # from the slice on the screen
    return np.take(out, session.viewer.dims.current_step[axis], axis)


def test_views_beside_the_main_one(show, opened, hand, qtbot, patient):
    """On one patient: to open one, and these views, takes longer than all of it."""
    ct_and_mr_are_apart_and_move_together(show, opened, hand, qtbot)
    as_opened(opened)
    in_linked_views(show, opened, hand, qtbot)
    as_opened(opened)
    contours_are_seen_in_3d_and_change_in_place(show, opened, qtbot)
    arrangement_and_fusion_are_kept_with_the_case(show, opened, qtbot, patient)
    a_key_goes_through_the_arrangements_and_the_window_is_napari_s_again(opened, hand, qtbot)


def a_key_goes_through_the_arrangements_and_the_window_is_napari_s_again(opened, hand, qtbot):
    chooser, seen = opened.view_panel.layouts, []
    central = opened.window().centralWidget()
    canvas = central.layout().itemAt(0).widget()
    for _ in range(4):
        hand.press("G")
        qtbot.wait(100)
        seen.append((chooser.currentText(), len(opened.view_grid.panes)))
        visible = [pane.widget.isVisible() for pane in opened.view_grid.panes]
        assert all(visible)
    assert seen == [
        ("CT | MR", 1),
        ("3 planes and 3D", 3),
        ("CT | MR, 3 planes", 5),
        ("One view", 0),
    ]
    assert canvas.parentWidget() is not central
    opened.workbench.layouts.show("planes")
    opened.session.viewer.layers.remove(opened.session.scribbles)
    qtbot.wait(100)
    assert central.layout().count() == 1
    assert central.layout().itemAt(0).widget() is canvas
    assert opened.workbench.layouts.name == "one"
    assert not opened.view_panel.isEnabled()
    with pytest.raises(UserError, match="No patient is open"):
        opened.workbench.navigation.look_at((1, 2, 3))


def in_linked_views(show, opened, hand, qtbot):
    sagittal, coronal, _ = show("planes")
    straight_line_and_lasso(opened, hand, qtbot, sagittal, coronal)
    opened.session.undo()
    opened.session.undo()
    opened.workbench.drawing.choose("free")
    strokes_go_from_every_view_to_all_and_to_the_journal(opened, hand, qtbot, sagittal, coronal)
    shift_click_and_look_at_put_all_planes_through_a_place(opened, hand, qtbot, sagittal, coronal)


def strokes_go_from_every_view_to_all_and_to_the_journal(opened, hand, qtbot, sagittal, coronal):
    session = opened.session
    session.scribbles.brush_size = 1
    session.select_class(2)
    opened.workbench.navigation.go_to(opened.workbench.navigation.place)
    session.viewer.dims.current_step = (5, 10, 8)
    qtbot.wait(100)

    with qtbot.waitSignal(session.recorder.recorded) as stroke:
        hand.over(sagittal).drag((5, 9, 8), (5, 12, 8))
    expected = np.zeros(SHAPE, bool)
    expected[5, 9:13, 8] = True
    np.testing.assert_array_equal(session.scribbles.data == 2, expected)
    np.testing.assert_array_equal(stroke.args[0].voxels, np.flatnonzero(expected))

    with qtbot.waitSignal(session.recorder.recorded):
        hand.over(coronal).drag((3, 10, 8), (8, 10, 8))
    expected[3:9, 10, 8] = True
    with qtbot.waitSignal(session.recorder.recorded):
        hand.drag((5, 10, 6), (5, 10, 9))
    expected[5, 10, 6:10] = True
    np.testing.assert_array_equal(session.scribbles.data == 2, expected)
    np.testing.assert_array_equal(session.case.scribbles() == 2, expected)
    qtbot.wait(150)
    np.testing.assert_array_equal(shown_by(sagittal, session) == 2, expected[:, :, 8])
    np.testing.assert_array_equal(shown_by(coronal, session) == 2, expected[:, 10, :])

    hand.over(sagittal).press("Ctrl+Z")  # wherever the mouse is
    expected[5, 10, 6:10] = False
    expected[5, 10, 8] = True
    qtbot.wait(150)
    np.testing.assert_array_equal(session.scribbles.data == 2, expected)
    np.testing.assert_array_equal(shown_by(coronal, session) == 2, expected[:, 10, :])


def straight_line_and_lasso(opened, hand, qtbot, sagittal, coronal):
    session = opened.session
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
    qtbot.wait(150)  # nothing more is found when everything is compared
    assert session.case.journal.last_id() == 2
    np.testing.assert_array_equal(session.case.scribbles(), session.scribbles.data)


def shift_click_and_look_at_put_all_planes_through_a_place(opened, hand, qtbot, sagittal, coronal):
    session = opened.session
    session.viewer.dims.current_step = (5, 10, 8)
    qtbot.wait(50)
    before = session.scribbles.data.copy()
    session.select_class(2)
    hand.over(sagittal).drag((9, 6, 8), (9, 6, 8), modifier="Shift")
    assert session.viewer.dims.current_step == (9, 6, 8)
    hand.over(coronal).drag((3, 6, 4), (2, 6, 12), modifier="Shift")
    assert session.viewer.dims.current_step == (2, 6, 12)
    np.testing.assert_array_equal(session.scribbles.data, before)  # nothing was painted
    assert session.recorder.record() is None

    for plane, voxel in (("axial", (2, 3, 12)), ("sagittal", (9, 15, 4))):
        opened.workbench.planes.show(plane)
        opened.workbench.navigation.look_at(voxel)
        qtbot.wait(50)
        assert session.viewer.dims.current_step == voxel
        for over in (hand, *(hand.over(pane) for pane in (sagittal, coronal))):
            middle = over.canvas.rect().center()
            assert (over.pixel(voxel) - middle).manhattanLength() <= 2
    opened.workbench.navigation.look_at((99, -3, 5))  # outside: the nearest voxel
    assert session.viewer.dims.current_step == (SHAPE[0] - 1, 0, 5)


def ct_and_mr_are_apart_and_move_together(show, opened, hand, qtbot):
    session, ct_layer = opened.session, opened.session.viewer.layers[0]
    opened.workbench.fusion.set_blend(70)
    (mr,) = show("pair")
    visible = {layer.metadata["cmfnet_role"]: layer.visible for layer in mr.view.model.layers}
    assert visible == {"CT": False, "MR": True, "Scribbles": True}
    assert (ct_layer.visible, session.second_layer.visible) == (True, False)

    session.viewer.dims.current_step = (7, 4, 3)
    np.testing.assert_allclose(mr.view.model.dims.point[0], session.viewer.dims.point[0])
    mr.view.model.dims.set_current_step(0, 2)
    assert session.viewer.dims.current_step == (2, 4, 3)
    mr.view.model.scene.camera.zoom = 9.0
    mr.view.model.scene.camera.center = (0.0, 31.0, -12.0)
    camera = session.viewer.scene.camera
    assert camera.zoom == pytest.approx(9.0)
    assert camera.center[1:] == pytest.approx((31.0, -12.0))

    # tools and classes are those of the main view
    over, linked = hand.over(mr), scribbles_of(mr, session)
    over.press("Q")
    assert (linked.selected_label, str(linked.mode)) == (1, "paint")
    over.press("E")
    assert str(linked.mode) == str(session.scribbles.mode) == "erase"
    over.press("]")
    assert linked.brush_size == session.scribbles.brush_size
    session.scribbles.visible = False
    assert not linked.visible
    session.scribbles.visible = True
    session.scribbles.name = "renamed"
    over.press("W")
    assert str(linked.mode) == "paint"

    # of napari's tools only what is used is drawn, at its place
    drawn, polygon = overlays(mr.widget, linked), linked._overlays["polygon"]
    assert not drawn
    session.scribbles.mode = "polygon"
    assert list(drawn) == [polygon]
    main = overlays(opened.view_grid._main, session.scribbles)
    place = main[session.scribbles._overlays["polygon"]].node.transform.matrix
    np.testing.assert_allclose(drawn[polygon].node.transform.matrix, place)
    session.scribbles.mode = "paint"

    # and no letter is computed for each canvas
    assert "render_to_texture" in vars(mr.widget.canvas.font_info().font_manager._renderer)

    opened.workbench.planes.show("coronal")
    qtbot.wait(100)
    assert mr.view.model.dims.order == session.viewer.dims.order

    # window and level are those of the image one drags over
    over, width = hand.over(mr), np.ptp(session.second_layer.contrast_limits)
    begin = over.canvas.rect().center()
    over.drag_pixels(begin, begin + QPoint(50, 0), button="right")
    limits = session.second_layer.contrast_limits
    assert np.ptp(limits) == pytest.approx(1.25 * width)
    assert ct_layer.contrast_limits == pytest.approx([-160, 240])
    assert mr.view.linked(session.second_layer).shown.contrast_limits == pytest.approx(limits)

    assert not opened.view_panel.fusion.isEnabled()  # there is nothing to blend
    show("one")
    assert opened.view_panel.fusion.isEnabled()
    assert session.second_layer.visible
    assert session.second_layer.opacity == pytest.approx(0.7)


def arrangement_and_fusion_are_kept_with_the_case(show, opened, qtbot, patient):
    session = opened.session
    opened.workbench.fusion.set_blend(40)
    opened.workbench.fusion.set_board(True)
    opened.workbench.navigation.switch_crosshair()
    show("planes")
    session.viewer.scene.camera.zoom = 5.5
    path = session.case.folder / VIEWS_FILE
    with qtbot.waitSignal(session.opened, timeout=20000):
        session.open(partial(open_files, patient.ct, patient.mr))
    qtbot.wait(200)
    assert (opened.workbench.layouts.name, len(opened.view_grid.panes)) == ("planes", 3)
    assert (opened.workbench.fusion.blend, opened.workbench.fusion.board) == (40, True)
    assert opened.view_panel.fusion.board.isChecked()
    assert not opened.workbench.navigation.crosshair
    assert session.viewer.scene.camera.zoom == pytest.approx(5.5, rel=1e-3)

    opened.workbench.last_view.keep()
    opened.workbench.layouts.show("one")
    values = json.loads(path.read_text())
    for key in ("layout", "blend", "checkerboard", "crosshair"):
        del values[key]  # as an earlier version wrote them
    session.viewer.layers.remove(session.scribbles)
    path.write_text(json.dumps(values))
    with qtbot.waitSignal(session.opened, timeout=20000):
        session.open(partial(open_files, patient.ct, patient.mr))
    assert opened.workbench.layouts.name == "one"
    assert session.viewer.scene.camera.zoom == pytest.approx(5.5, rel=1e-3)


def contours_are_seen_in_3d_and_change_in_place(show, opened, qtbot):
    session, solid = opened.session, show("planes")[2].view
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:8, 5:12, 6:11] = 1
    opened.workbench.image_placement.show_edges(True)
    session.recorder.add(labels, "import")
    opened.workbench.automatic_strokes._show(labels)
    qtbot.waitUntil(lambda: not opened.workbench.image_placement._resampling, timeout=15000)
    assert opened.workbench.image_placement.edges.data.any()
    assert opened.workbench.automatic_strokes.masks() == []
    assert solid._watched == []
    opened.workbench.automatic_strokes.close()

    overlay = solid.model.canvas.overlays["cmfnet_empty"]
    assert overlay.visible
    colors = session.scribbles.colormap
    layer = segmentation_layer(labels, session.case.study.grid, colors, "Contour")
    session.viewer.add_layer(layer)
    qtbot.waitUntil(lambda: len(solid.model.layers) == 1, timeout=5000)
    assert not overlay.visible
    low, high = np.array(session.viewer.layers[0].extent.world)
    vertices = solid.model.layers[0].vertices
    assert (vertices > low).all()
    assert (vertices < high).all()
    picture = opened.view_grid.panes[2].widget.screenshot(flash=False)
    assert (picture[..., :3].max(axis=2) > 60).mean() > 0.1

    surface = solid.model.layers[0]
    first = len(surface.vertices)

    layer.data = labels * (np.indices(SHAPE)[0] < 5)
    qtbot.waitUntil(lambda: len(surface.vertices) != first)
    assert list(solid.model.layers) == [surface]
    assert len(surface.vertex_colors) == len(surface.vertices)

    pane = opened.view_grid.panes[0].view
    opened.workbench.layouts.show("one")
    asked = solid._asked
    second = surface.vertices
    layer.data = labels
    assert not pane.linked(layer).shown.visible
    later = session.viewer.add_image(np.zeros(SHAPE), scale=(3.0, 0.9, 1.1))
    assert pane.linked(later) is None
    qtbot.wait(300)
    assert solid._asked == asked
    assert surface.vertices is second
    opened.workbench.layouts.show("planes")
    qtbot.waitUntil(lambda: len(surface.vertices) == first)
    assert pane.linked(layer).shown.visible
    assert pane.linked(layer).shown.data is layer.data
    assert pane.linked(later).shown.data is later.data
    session.viewer.layers.remove(later)
    assert pane.linked(later) is None

    layer.visible = False
    qtbot.waitUntil(lambda: not solid.model.layers[0].visible, timeout=5000)
    assert overlay.visible
