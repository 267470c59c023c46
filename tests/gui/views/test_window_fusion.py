"""CT and MR in one picture, and what is black and white, with mouse and keyboard."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from cmfnet_napari.gui.patient.opened import open_files
from tests.gui.conftest import SHAPE, SMALL, wipe

WINDOW = SMALL


def grey(opened, qtbot):
    """The canvas without words and lines, 0 … 255."""
    qtbot.wait(100)
    viewer = opened.session.viewer
    for name in list(viewer.canvas.overlays):
        if not name.startswith("_"):
            viewer.canvas.overlays[name].visible = False
    wipe(opened)
    viewer.scene.camera.zoom = 12
    return viewer.screenshot(canvas_only=True, flash=False)[..., 0].astype(float)


def test_both_images_one_after_another(opened, hand, patient, qtbot):
    """On one patient: to open one takes longer than all of these."""
    blend_checkerboard_and_flicker(opened, hand, qtbot)
    opened.workbench.fusion.set_blend(0)
    position_and_value_are_on_the_image(opened, hand, patient, qtbot)
    right_button_sets_window_and_level(opened, hand)


def blend_checkerboard_and_flicker(opened, hand, qtbot):
    session, controls = opened.session, opened.view_panel.fusion
    mr = session.second_layer
    opened.workbench.navigation.look_at((5, 10, 8))
    ct_only = grey(opened, qtbot)
    controls.slider.setValue(100)
    mr_only = grey(opened, qtbot)
    assert opened.workbench.fusion.front == "MR"
    controls.slider.setValue(50)
    np.testing.assert_allclose(grey(opened, qtbot), (ct_only + mr_only) / 2, atol=2)

    hand.press("K")
    assert controls.board.isChecked()
    board = grey(opened, qtbot)
    from_ct, from_mr = abs(board - ct_only) < 1, abs(board - mr_only) < 1
    assert (from_ct | from_mr).mean() > 0.97
    differ = abs(ct_only - mr_only) > 20
    assert 0.2 < from_mr[differ].mean() < 0.8
    hand.press("K")
    assert mr.data is session.case.study.second.array  # the layer's own again
    assert controls.slider.value() == 50

    mr.opacity = 0.3  # napari's own controls
    assert controls.slider.value() == 30
    mr.visible = False
    assert controls.slider.value() == 0

    for blend, seen in ((0, True), (100, False)):
        opened.workbench.fusion.set_blend(blend)
        hand.canvas.setFocus()
        QTest.keyPress(hand.canvas, Qt.Key.Key_T)
        assert mr.visible == seen
        QTest.keyRelease(hand.canvas, Qt.Key.Key_T)
        assert mr.visible != seen
    assert opened.workbench.fusion.blend == 100


def right_button_sets_window_and_level(opened, hand):
    session, buttons = opened.session, opened.view_panel.windows.buttons
    ct, mr = session.viewer.layers[0], session.second_layer
    camera, zoom = session.viewer.scene.camera, session.viewer.scene.camera.zoom
    before, mr_before = session.scribbles.data.copy(), list(mr.contrast_limits)
    session.select_class(2)  # napari would encircle with this button
    begin = hand.canvas.rect().center()
    hand.drag_pixels(begin, begin + QPoint(100, 0), button="right")
    assert ct.contrast_limits == pytest.approx([-260, 340])  # W 400 to 600
    assert buttons[0].text() == "CT  W 600  L 40"
    hand.drag_pixels(begin, begin + QPoint(0, 20), button="right")
    assert ct.contrast_limits == pytest.approx([-200, 400])  # L 40 to 100
    assert mr.contrast_limits == mr_before
    opened.workbench.fusion.set_blend(100)
    hand.drag_pixels(begin, begin + QPoint(-60, 0), button="right")
    low, high = mr_before
    assert mr.contrast_limits == pytest.approx(
        [low + 0.15 * (high - low), high - 0.15 * (high - low)]
    )
    assert camera.zoom == zoom
    np.testing.assert_array_equal(session.scribbles.data, before)

    buttons[1].menu().actions()[0].trigger()
    assert mr.contrast_limits == pytest.approx(mr_before)
    bone = next(a for a in buttons[0].menu().actions() if a.text().startswith("Bone"))
    bone.trigger()
    assert ct.contrast_limits == pytest.approx([-500, 1300])


def position_and_value_are_on_the_image(opened, hand, patient, qtbot):
    session, words = opened.session, opened.view_grid._overlay.words
    study = session.case.study
    session.viewer.dims.current_step = (4, 0, 0)
    for plane, axis, letters in (("axial", 0, "IS"), ("sagittal", 2, "RL"), ("coronal", 1, "AP")):
        opened.workbench.planes.show(plane)
        mm = study.grid.translate[axis] + [4, 0, 0][axis] * study.grid.spacing[axis]
        expected = f"{letters[int(mm > 0)]} {abs(mm):.1f} mm"
        number = f"{[5, 1, 1][axis]} of {SHAPE[axis]}"
        assert words.text("plane") == f"{plane.capitalize()}\n{expected}\n{number}"
    opened.workbench.planes.show("axial")
    hand.drag((4, 9, 7), button="right")  # the mouse goes there; nothing moves
    QTest.mouseMove(hand.canvas, hand.pixel((4, 9, 7)))
    qtbot.waitUntil(lambda: words.text("value") != "", timeout=2000)
    lines = words.text("value").splitlines()
    assert lines[0] == f"CT {patient.arrays['ct'][4, 9, 7]} HU"
    assert lines[1] == f"MR {patient.arrays['mr'][4, 9, 7]:.4g}"
    x, y, z = study.grid.to_patient(np.array([4, 9, 7]))
    assert (x < 0, y > 0, z < 0) == (True, True, True)
    assert lines[2:] == [f"R {-x:.0f}  P {y:.0f}", f"I {-z:.0f} mm"]


def test_without_an_mr_there_is_nothing_to_blend(dock, patient, qtbot):
    with qtbot.waitSignal(dock.session.opened, timeout=20000):
        dock.session.open(partial(open_files, patient.ct))
    panel = dock.view_panel
    assert not panel.fusion.isEnabled()
    assert not panel.windows.buttons[1].isEnabled()
    assert dock.workbench.layouts.offered == ("one", "planes")
    dock.workbench.fusion.switch_board()
    dock.workbench.fusion.flicker(True)
    dock.workbench.layouts.show("pair")
    assert dock.workbench.layouts.name == "one"
