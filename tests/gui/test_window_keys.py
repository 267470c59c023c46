"""Keys: on one sheet, known to napari's preferences, and only where a patient is open."""

from __future__ import annotations

import pytest
from napari.settings import get_settings
from napari.utils.action_manager import action_manager
from napari.utils.notifications import notification_manager
from qtpy.QtTest import QTest
from wrapt import ObjectProxy

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.gui.drawing.drawing_keys import DRAW_BACKGROUND, DRAW_FIRST_CLASS
from cmfnet_napari.gui.key_sheet import SHORTCUTS, KeySheet
from cmfnet_napari.gui.shared.shortcuts import _action
from tests.gui.conftest import SMALL

WINDOW = SMALL


@pytest.fixture
def changed():
    """Give a key of ours another one, as napari's preferences do; put back afterwards."""
    settings = get_settings().shortcuts
    before = dict(settings.shortcuts)

    def change(shortcut, key):
        action_manager.unbind_shortcut(shortcut.name)
        action_manager.bind_shortcut(shortcut.name, key)
        settings.shortcuts = {**settings.shortcuts, shortcut.name: [key]}

    yield change
    for shortcut in SHORTCUTS:
        if shortcut.name in settings.shortcuts:
            action_manager.unbind_shortcut(shortcut.name)
    settings.shortcuts = before


def test_keys_one_after_another(opened, hand, changed, scribble, qtbot, monkeypatch):
    """On one patient: to open one takes longer than all of these."""
    a_question_mark_and_another_key_show_all_keys(opened, hand, qtbot)
    a_key_that_was_changed_in_napari_counts(opened, hand, changed)
    scribble()
    with monkeypatch.context() as patch:
        what_a_key_cannot_do_is_said(opened, hand, patch)
    without_a_patient_keys_do_nothing(opened, hand, qtbot)


def a_question_mark_and_another_key_show_all_keys(opened, hand, qtbot):
    for key in ("?", "Shift+H"):
        opened.window().activateWindow()
        QTest.qWaitForWindowActive(opened.window(), 2000)
        hand.press(key)
        qtbot.waitUntil(lambda: opened.findChild(KeySheet) is not None)
        sheet = opened.findChild(KeySheet)
        assert sheet.isVisible()
        text = sheet.text.toPlainText()
        for shortcut in SHORTCUTS:
            assert shortcut.title in text
        assert "Ctrl+Z" in text
        sheet.close()
        sheet.deleteLater()
        qtbot.waitUntil(lambda: opened.findChild(KeySheet) is None)


def a_key_that_was_changed_in_napari_counts(opened, hand, changed):
    session = opened.session
    hand.press(DRAW_BACKGROUND.key)
    assert session.scribbles.selected_label == 1
    changed(DRAW_FIRST_CLASS, "J")
    assert [str(key) for key in DRAW_FIRST_CLASS.keys] == ["J"]
    hand.press(DRAW_FIRST_CLASS.key)
    assert session.scribbles.selected_label == 1
    hand.press("J")
    assert session.scribbles.selected_label == 2


def without_a_patient_keys_do_nothing(opened, hand, qtbot):
    session = opened.session
    session.viewer.layers.remove(session.scribbles)
    qtbot.wait(50)
    assert session.patient is None
    hand.press(DRAW_FIRST_CLASS.key)
    hand.press("G")
    assert opened.workbench.layouts.name == "one"


def test_a_key_also_finds_its_session_by_a_proxy_of_the_viewer(opened):
    session = opened.session
    session.select_class(2)
    _action(DRAW_BACKGROUND)(ObjectProxy(session.viewer))
    assert session.scribbles.selected_label == 1


def what_a_key_cannot_do_is_said(opened, hand, monkeypatch):
    def full(*_):
        raise UserError("The stroke could not be saved (disk full).")

    monkeypatch.setattr(opened.session.case.journal, "undo", full)
    monkeypatch.setattr(opened.session.recorder, "add", full)
    for key in ("Ctrl+Z", "I"):
        notification_manager.records.clear()
        hand.press(key)
        said = [(record.severity.value, record.message) for record in notification_manager.records]
        assert said == [("error", "The stroke could not be saved (disk full).")], key
