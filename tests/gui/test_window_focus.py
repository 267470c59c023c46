"""Keys act on the images, whatever was clicked or typed before; text stays in its field."""

from __future__ import annotations

import time

import pytest
from napari.settings import get_settings
from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QEnterEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from tests.gui.conftest import SMALL, as_opened

WINDOW = SMALL


@pytest.fixture
def active(opened, qtbot):
    """The window has the keyboard."""
    opened.window().activateWindow()
    QTest.qWaitForWindowActive(opened.window(), 2000)
    qtbot.wait(50)
    if not opened.window().isActiveWindow():
        pytest.skip("this display gives no window the keyboard")
    return opened


def key(letter):
    """Press a key wherever the keyboard is."""
    QTest.keyClick(QApplication.focusWidget(), getattr(Qt.Key, f"Key_{letter}"))
    QTest.qWait(30)


def come(canvas):
    """The mouse comes over a canvas."""
    at = QPointF(5, 5)
    QApplication.sendEvent(canvas, QEnterEvent(at, at, QPointF(canvas.mapToGlobal(at.toPoint()))))


def test_keys_and_clicks_one_after_another(active, hand, scribble, qtbot, monkeypatch):
    """On one patient: to open one takes longer than all of these."""
    keys_are_the_image_s_after_opening_a_click_and_a_number(active, hand, qtbot)
    as_opened(active)
    the_focus_follows_the_mouse_but_takes_no_field_that_is_being_typed_in(active, hand, qtbot)
    a_click_that_brings_the_focus_back_paints_nothing(active, hand, qtbot)
    as_opened(active)
    scribble()
    undo_does_not_leave_paint_once_z_was_pressed(active, hand, monkeypatch)


def keys_are_the_image_s_after_opening_a_click_and_a_number(active, hand, qtbot):
    session, tools = active.session, active.scribble_panel.tools
    assert hand.canvas.hasFocus()
    key("Q")
    assert (session.scribbles.selected_label, session.scribbles.mode) == (1, "paint")
    QTest.mouseClick(tools.tools["lasso"], Qt.MouseButton.LeftButton)
    QTest.qWait(30)
    key("W")
    assert session.scribbles.selected_label == 2

    field = tools.brush
    field.setFocus()
    field.selectAll()
    QTest.keyClicks(field, "7")
    key("Q")  # not a number: the field keeps it, and makes nothing of it
    assert session.scribbles.selected_label == 2
    QTest.keyClick(field, Qt.Key.Key_Return)
    QTest.qWait(30)
    assert active.workbench.brush.size_mm == 7
    key("Q")
    assert session.scribbles.selected_label == 1


def the_focus_follows_the_mouse_but_takes_no_field_that_is_being_typed_in(active, hand, qtbot):
    field = active.open_panel.first._line
    active.tabs.setCurrentIndex(0)
    field.setFocus()
    come(hand.canvas)
    assert hand.canvas.hasFocus()  # nothing had been typed
    field.setFocus()
    QTest.keyClicks(field, "wq")
    come(hand.canvas)
    assert field.hasFocus()
    assert field.text() == "wq"
    assert active.session.scribbles.mode == "pan_zoom"
    field.clear()


def a_click_that_brings_the_focus_back_paints_nothing(active, hand, qtbot):
    session = active.session
    session.select_class(2)
    field = active.open_panel.first._line
    active.tabs.setCurrentIndex(0)
    field.setFocus()
    QTest.keyClicks(field, "x")
    voxel = (session.viewer.dims.current_step[0], 10, 8)
    hand.drag(voxel, voxel)
    assert hand.canvas.hasFocus()
    assert not (session.scribbles.data == 2).any()
    qtbot.wait(250)
    hand.drag(voxel, voxel)
    assert (session.scribbles.data == 2).any()
    field.clear()


def undo_does_not_leave_paint_once_z_was_pressed(active, hand, monkeypatch):
    session = active.session
    hand.press("Z")
    assert session.scribbles.mode == "pan_zoom"
    session.scribbles.mode = "paint"
    now = time.time()
    later = now + 10 * get_settings().application.hold_button_delay
    monkeypatch.setattr(time, "time", lambda: later)  # for napari, which asks how long Z was held
    hand.press("Ctrl+Z")
    assert session.scribbles.mode == "paint"
    assert not session.scribbles.data.any()
