"""Room for the images, and what the mouse does in it beside drawing."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractScrollArea, QApplication, QDockWidget, QWidget

from cmfnet_napari.gui.patient.layers import segmentation_layer
from cmfnet_napari.gui.shared.preferences import preferences
from cmfnet_napari.gui.views.contour_lines import ContourLines
from cmfnet_napari.gui.views.layouts import MAIN
from tests.gui.conftest import SHAPE, as_opened

LEFT, PLAIN, CTRL = (
    Qt.MouseButton.LeftButton,
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.ControlModifier,
)


def turn(hand, qtbot, notches, keys=PLAIN, voxel=(5, 10, 8)):
    """Turn the wheel over a voxel."""
    at = QPointF(hand.pixel(voxel))
    everywhere = QPointF(hand.canvas.mapToGlobal(at.toPoint()))
    for _ in range(abs(notches)):
        angle = QPoint(0, 120 if notches > 0 else -120)
        event = QWheelEvent(
            at, everywhere, QPoint(), angle, Qt.MouseButton.NoButton, keys, Qt.NoScrollPhase, False
        )
        QApplication.sendEvent(hand.canvas, event)
    qtbot.wait(50)


def value(words):
    return "\n".join(words.text("value").splitlines()[:1])


def test_room_for_the_images_and_the_mouse_in_it(opened, hand, qtbot, monkeypatch):
    """On one patient: to open one, and the views beside the main one, takes longer than all."""
    the_wheel_turns_slices_and_what_is_read_follows(opened, hand, qtbot)
    a_ruler_and_a_region_measure_and_draw_nothing(opened, hand, qtbot)
    as_opened(opened)
    images_get_the_room_and_one_view_all_of_it(opened, hand, qtbot)
    as_opened(opened)
    a_contour_is_a_smooth_line_and_has_letters_in_3d(opened, hand, qtbot, monkeypatch)


def the_wheel_turns_slices_and_what_is_read_follows(opened, hand, qtbot):
    session, viewer = opened.session, opened.session.viewer
    hand.look_at("axial", (5, 10, 8))
    zoom, ct = viewer.scene.camera.zoom, session.case.study.first.array
    words = opened.view_grid._overlay.words
    QTest.mouseMove(hand.canvas, hand.pixel((5, 12, 9)))
    qtbot.waitUntil(lambda: value(words) == f"CT {ct[5, 12, 9]} HU")
    turn(hand, qtbot, 3)
    assert opened.workbench.navigation.voxel() == (8, 10, 8)
    qtbot.waitUntil(lambda: value(words) == f"CT {ct[8, 12, 9]} HU")
    hand.press("Left")
    qtbot.waitUntil(lambda: value(words) == f"CT {ct[7, 12, 9]} HU")
    turn(hand, qtbot, -99)
    assert opened.workbench.navigation.voxel() == (0, 10, 8)
    assert viewer.scene.camera.zoom == zoom
    turn(hand, qtbot, 1, CTRL)
    assert viewer.scene.camera.zoom > zoom
    assert opened.workbench.navigation.voxel() == (0, 10, 8)

    preferences().wheel_zooms = True
    zoom = viewer.scene.camera.zoom
    turn(hand, qtbot, -1)
    assert viewer.scene.camera.zoom < zoom
    turn(hand, qtbot, 2, CTRL)
    assert opened.workbench.navigation.voxel() == (2, 10, 8)
    preferences().wheel_zooms = False


def images_get_the_room_and_one_view_all_of_it(opened, hand, qtbot):
    window, session = opened.window(), opened.session
    opened.setMaximumWidth(opened.minimumWidth())  # what a user can make it
    for width, height in ((1280, 800), (1440, 900)):
        window.resize(width, height)
        qtbot.wait(50)
        nothing_is_cut_at_the_right(opened, qtbot)
    layouts = opened.workbench.layouts
    layouts.show("planes")
    qtbot.wait(300)
    main, panes = opened.view_grid._main, opened.view_grid.panes
    canvases = [main.canvas.native, *(pane.widget.canvas.native for pane in panes)]
    shown = sum(c.width() * c.height() for c in canvases)
    assert shown >= 2 / 3 * window.width() * window.height()
    numbers = main.dims.findChildren(QWidget, "slice_label")
    assert numbers
    assert all(number.isHidden() for number in numbers)  # they count from 0
    names = ("layer list", "layer controls")
    panels = [p for p in window.findChildren(QDockWidget) if p.objectName() in names]
    assert len(panels) == 2
    assert all(panel.isHidden() for panel in panels)
    QTest.mouseClick(opened.room.button, LEFT)
    assert not any(panel.isHidden() for panel in panels)
    QTest.mouseClick(opened.room.button, LEFT)

    opened.workbench.navigation.go_to_voxel((2, 10, 8))
    turn(hand.over(panes[0]), qtbot, 2)
    assert opened.workbench.navigation.voxel() == (2, 10, 10)

    sagittal = canvases[1]
    QTest.mouseDClick(sagittal, LEFT, PLAIN, sagittal.rect().center())
    qtbot.wait(200)
    assert [c.isVisible() for c in canvases] == [False, True, False, False]
    assert sagittal.width() * sagittal.height() > 0.9 * shown
    assert {plane for plane, _ in opened.workbench.seen_slices.places} == {"sagittal"}
    QTest.mouseDClick(sagittal, LEFT, PLAIN, sagittal.rect().center())
    qtbot.wait(200)
    assert all(c.isVisible() for c in canvases)
    session.select_class(2)
    QTest.mouseDClick(sagittal, LEFT, PLAIN, sagittal.rect().center())
    qtbot.wait(100)
    assert layouts.enlarged is None  # two dabs
    layouts.enlarge(MAIN)
    layouts.show("one")
    assert main.canvas.native.isVisible()


def nothing_is_cut_at_the_right(dock, qtbot):
    """In no tab, where the panel is narrowest and with the scroll bar."""
    bars = []
    for index in range(dock.tabs.count()):
        dock.tabs.setCurrentIndex(index)
        qtbot.wait(20)
        area = dock.tabs.widget(index)
        width, panel = area.viewport().width(), area.widget()
        bars.append(area.verticalScrollBar().isVisible())
        for child in panel.findChildren(QWidget):
            above = child.parentWidget()
            while above is not panel and not isinstance(above, QAbstractScrollArea):
                above = above.parentWidget()
            if child.isVisible() and above is panel:
                right = child.mapTo(panel, QPoint(child.width(), 0)).x()
                assert right <= width, (dock.tabs.tabText(index), child, right, width)
    assert bars[1]
    assert bars[3]


def a_contour_is_a_smooth_line_and_has_letters_in_3d(opened, hand, qtbot, monkeypatch):
    session, viewer = opened.session, opened.session.viewer
    opened.workbench.layouts.show("planes")
    hand.look_at("axial", (5, 10, 8))
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:8, 5:12, 6:11] = 1
    grid = session.case.study.grid
    layer = segmentation_layer(labels, grid, session.scribbles.colormap, "Contour")
    viewer.add_layer(layer)
    grids = opened.view_grid
    outlines, drawn = grids._overlay.outlines, grids._main.canvas.layer_to_visual[layer].node
    qtbot.waitUntil(lambda: outlines.points(layer) > 0)
    assert layer.visible
    assert not drawn.visible
    searched = []
    monkeypatch.setattr(
        "napari.layers.labels.labels.get_contours", lambda *a: searched.append(a) or a[0]
    )
    line = outlines._lines[layer].pos[:, 1::-1]  # y, x
    inside = np.array(grid.translate)[1:] + np.array([(5, 6), (11, 10)]) * grid.spacing[1:]
    half = np.array(grid.spacing[1:]) / 2
    np.testing.assert_allclose(line.min(axis=0), inside[0] - half, atol=0.01)
    np.testing.assert_allclose(line.max(axis=0), inside[1] + half, atol=0.01)
    viewer.dims.set_current_step(0, 9)
    qtbot.waitUntil(lambda: outlines.points(layer) == 0)
    viewer.dims.set_current_step(0, 5)
    assert not searched  # napari's border of every voxel, which nobody sees
    layer.contour = 0
    qtbot.waitUntil(lambda: drawn.visible)
    assert outlines.points(layer) == 0
    layer.contour = 1
    outlines.close()  # with our line gone, napari's border is searched for again
    assert (len(searched), drawn.visible) == (1, True)
    outlines = grids._overlay.outlines = ContourLines(viewer, grids._main)
    qtbot.waitUntil(lambda: outlines.points(layer) > 0)
    layer.visible = False
    qtbot.wait(50)
    assert (outlines.points(layer), drawn.visible) == (0, False)
    layer.visible = True

    solid = opened.view_grid.panes[2]
    qtbot.waitUntil(lambda: solid.letters._text.visible)
    places = dict(zip(solid.letters.letters, solid.letters.places, strict=True))
    assert places["S"][0] > places["I"][0]  # z, y, x run to the head, the back and the left
    assert places["P"][1] > places["A"][1]
    assert places["L"][2] > places["R"][2]
    camera, height = solid.view.model.scene.camera, solid.widget.canvas.native.height()
    for letter in "SI":
        above = (places[letter][0] - camera.center[0]) * camera.zoom  # pixels, from the front
        assert abs(above) <= height / 2 - 12  # half a letter
    layer.visible = False
    qtbot.waitUntil(lambda: not solid.letters._text.visible)


def a_ruler_and_a_region_measure_and_draw_nothing(opened, hand, qtbot):
    session = opened.session
    hand.look_at("axial", (5, 10, 8))
    session.select_class(2)
    mark, study = opened.view_grid._overlay.mark, session.case.study
    QTest.mouseClick(opened.view_panel.measures.buttons["ruler"], LEFT)
    hand.drag((5, 4, 3), (5, 14, 11))
    pixel = 1 / session.viewer.scene.camera.zoom  # mm
    length = np.hypot(10 * study.grid.spacing[1], 8 * study.grid.spacing[2])
    assert abs(float(mark.text.split()[0]) - length) < 2 * pixel + 0.05
    hand.press("Shift+E")
    assert mark.text == ""
    hand.drag((5, 5, 4), (5, 15, 12))
    area, ct, mr = mark.text.splitlines()
    expected = np.pi / 4 * 10 * 8 * np.prod(study.grid.spacing[1:]) / 100
    assert abs(float(area.split()[0]) / expected - 1) < 0.15
    assert ct.endswith("HU")
    assert mr.startswith("MR")
    turn(hand, qtbot, 1)
    assert mark.text == ""  # it was true of the other slice
    assert not session.scribbles.data.any()
    hand.press("Shift+E")
    hand.drag((6, 5, 4), (6, 8, 8))
    assert session.scribbles.data.any()
