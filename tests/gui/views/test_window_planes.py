"""What is where on the screen, by pixels and by letters."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.gui.patient.opened import open_files
from tests.gui.conftest import SHAPE, SMALL, image_of, wipe

WINDOW = SMALL


@pytest.fixture
def marked(dock, tmp_path, qtbot):
    """A patient whose right, front, upper corner is bright."""
    ct = np.full(SHAPE, -1000, np.int16)
    ct[-5:, :8, :6] = 1000  # head end, front, patient's right
    sitk.WriteImage(image_of(ct), str(tmp_path / "marked.nii.gz"))
    with qtbot.waitSignal(dock.session.opened, timeout=20000):
        dock.session.open(partial(open_files, tmp_path / "marked.nii.gz"))
    dock.session.viewer.dims.current_step = (SHAPE[0] - 2, 3, 2)
    qtbot.wait(100)
    return dock


@pytest.mark.canvas
def test_marker_is_on_the_right_side(marked, qtbot):
    """Axial: front up, right on the left. Sagittal: front on the left. Both upright: head up."""
    viewer = marked.session.viewer
    for plane in ("axial", "sagittal", "coronal"):
        marked.view_panel.planes.buttons[plane].click()
        qtbot.wait(100)
        for name in list(viewer.canvas.overlays):
            viewer.canvas.overlays[name].visible = False
        wipe(marked)
        picture = viewer.screenshot(canvas_only=True, flash=False)[..., 0]
        rows, columns = np.nonzero(picture > 200)
        assert rows.size > 100, plane
        assert rows.mean() < picture.shape[0] / 2, plane
        assert columns.mean() < picture.shape[1] / 2, plane


def test_letters_and_keys_one_after_another(opened, hand):
    """On one patient, which is gone in the end."""
    letters_at_the_borders(opened)
    keys_and_buttons_follow_each_other(opened, hand)
    keys_and_letters_go_when_the_patient_does(opened)


def letters_at_the_borders(opened):
    words = opened.view_grid._overlay.words
    for plane, letters in (("axial", "APRL"), ("sagittal", "SIAP"), ("coronal", "SIRL")):
        opened.workbench.planes.show(plane)
        assert "".join(words.text(b) for b in ("top", "bottom", "left", "right")) == letters
    opened.session.viewer.dims.ndisplay = 3
    assert words.text("top") == ""
    opened.session.viewer.dims.ndisplay = 2


def keys_and_buttons_follow_each_other(opened, hand):
    for key, plane in (("Shift+S", "sagittal"), ("Shift+C", "coronal"), ("Shift+A", "axial")):
        hand.press(key)
        assert opened.workbench.planes.plane == plane
        assert opened.view_panel.planes.buttons[plane].isChecked()


def test_rolling_and_turning(opened):
    """On one patient: to open one takes longer than all of it."""
    rolling_goes_through_three_upright_planes(opened)
    for plane in ("axial", "sagittal", "coronal"):
        three_dimensions_are_not_mirrored(opened, plane)


def rolling_goes_through_three_upright_planes(opened):
    seen = []
    for _ in range(6):
        opened.session.viewer.dims.roll()
        camera = opened.session.viewer.scene.camera
        seen.append((opened.workbench.planes.plane, str(camera.orientation2d[0])))
    upright = [("sagittal", "up"), ("coronal", "up"), ("axial", "down")]
    assert seen == upright * 2


def three_dimensions_are_not_mirrored(opened, plane):
    """Displayed axes as a right-handed patient: left × back = head in the screen's frame too."""
    session = opened.session
    opened.workbench.planes.show(plane)
    session.viewer.dims.ndisplay = 3
    orientation = [str(way) for way in session.viewer.scene.camera.orientation]
    screen = {
        "towards": (0, 0, 1),
        "away": (0, 0, -1),
        "up": (0, 1, 0),
        "down": (0, -1, 0),
        "right": (1, 0, 0),
        "left": (-1, 0, 0),
    }
    axis = dict(zip(session.viewer.dims.displayed, (screen[o] for o in orientation), strict=True))
    head, back, left = axis[0], axis[1], axis[2]
    np.testing.assert_array_equal(np.cross(left, back), head)
    session.viewer.dims.ndisplay = 2
    assert opened.workbench.planes.plane == plane


def keys_and_letters_go_when_the_patient_does(opened):
    viewer, words = opened.session.viewer, opened.view_grid._overlay.words
    assert words._boxes.parent is not None
    viewer.layers.remove(opened.session.scribbles)
    assert {node.parent for node in (words._boxes, *words._nodes.values())} == {None}
    assert opened.session.patient is None
    assert not opened.view_panel.isEnabled()
