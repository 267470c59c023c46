"""Every tool edits the contour with mouse and keyboard, in all that speaks of it; one undo."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from tests.case_runs import write_run
from tests.gui.conftest import SHAPE, SMALL, as_opened

WINDOW = SMALL

BOX = np.s_[3:9, 6:14, 4:11]
LAST = np.s_[10, 16:18, 12:14]  # an island


def model():
    labels = np.zeros(SHAPE, np.uint8)
    labels[BOX] = labels[LAST] = 1
    return labels


@pytest.fixture
def contour(opened, hand, qtbot):
    """The contour of an earlier training, drawn on with its key."""
    result = opened.workbench.result
    result.read(write_run(opened.session.case, model()))
    qtbot.waitUntil(lambda: result.exists, timeout=20000)
    hand.look_at("axial", (6, 10, 8))
    opened.workbench.drawing.brush.set_size(1.0)
    hand.press("Y")
    assert opened.scribble_panel.tools.on_contour.isChecked()
    return result


@pytest.fixture
def edit(opened, contour, hand, qtbot):
    """Do something, wait until it is recorded, see it everywhere; then take it back."""

    def do(act):
        journal = opened.session.case.journal
        before, number = contour.shown(), journal.last_id()
        act()
        qtbot.waitUntil(lambda: journal.last_id() == number + 1, timeout=5000)
        after = contour.shown()
        np.testing.assert_array_equal(contour.prediction.data, after)
        hand.press("Ctrl+Z")
        np.testing.assert_array_equal(contour.shown(), before)
        np.testing.assert_array_equal(contour.prediction.data, before)
        assert not opened.session.scribbles.data.any()
        return np.argwhere(after != before).tolist(), after

    return do


def test_edits_one_after_another(opened, contour, hand, edit, qtbot):
    """Of one contour: to have one takes longer than to edit it."""
    tools_of_the_mouse(opened, hand, edit)
    as_begun(opened, hand)
    tools_kept_to_a_range_and_in_another_view(opened, hand, edit, qtbot)
    opened.workbench.layouts.show("one")
    as_begun(opened, hand)
    edits_of_the_whole_structure(opened, contour, hand, edit, qtbot)


def as_begun(opened, hand):
    """On the contour, in the axial plane, with the brush of one voxel."""
    as_opened(opened)
    drawing = opened.workbench.drawing
    drawing.draw_on(True)
    drawing.set_mode("paint")
    drawing.brush.set_size(1.0)
    hand.look_at("axial", (6, 10, 8))


def tools_of_the_mouse(opened, hand, edit):
    tools = opened.scribble_panel.tools
    hand.press("D")
    changed, after = edit(lambda: hand.drag((6, 4, 4), (6, 4, 6), (6, 4, 8)))
    assert changed == [[6, 4, x] for x in range(4, 9)]
    assert after[6, 4, 6] == 1
    hand.press("E")
    changed, after = edit(lambda: hand.drag((6, 8, 5), (6, 8, 7)))
    assert changed == [[6, 8, x] for x in (5, 6, 7)]
    hand.press("P")
    hand.press("U")
    assert tools.tools["nudge"].isChecked()
    changed, after = edit(lambda: hand.drag((6, 9, 10), (6, 9, 12), (6, 9, 13)))
    assert changed == [[6, 9, x] for x in (11, 12, 13)]
    changed, after = edit(lambda: hand.drag((6, 9, 13), (6, 9, 11), (6, 9, 9)))
    assert changed == [[6, 9, 9], [6, 9, 10]]
    hand.press("J")
    hand.look_at("axial", (10, 16, 12))
    changed, after = edit(lambda: hand.drag((10, 16, 12)))
    assert changed == [[10, y, x] for y in (16, 17) for x in (12, 13)]
    hand.look_at("sagittal", (6, 10, 8))
    hand.press("O")
    hand.press("E")
    corners = (4, 8, 8), (4, 12, 8), (7, 12, 8), (7, 8, 8)
    changed, after = edit(lambda: hand.drag(*(c for c in corners for _ in range(2))))
    assert {x for _, _, x in changed} == {8}
    assert not after[5:7, 9:12, 8].any()


def tools_kept_to_a_range_and_in_another_view(opened, hand, edit, qtbot):
    tools, ct = opened.scribble_panel.tools, opened.session.case.study.first.array
    line = ct[6, 4, 4:9]
    tools.range.low.setValue(np.floor(line[2]))
    tools.range.high.setValue(np.floor(line[2]) + 1)
    QTest.mouseClick(tools.range.on, Qt.MouseButton.LeftButton)
    assert tools.range.on.isChecked()
    assert opened.workbench.brush.within is not None
    hand.press("D")
    low, high = tools.range.low.value(), tools.range.high.value()
    changed, _ = edit(lambda: hand.drag((6, 4, 4), (6, 4, 6), (6, 4, 8)))
    assert changed == [[6, 4, 4 + k] for k in range(5) if low <= line[k] <= high]
    tools.range.on.setChecked(False)
    opened.workbench.layouts.show("planes")
    qtbot.wait(200)
    sagittal = opened.view_grid.panes[0]
    changed, _ = edit(lambda: hand.over(sagittal).drag((4, 4, 8), (5, 4, 8), (7, 4, 8)))
    assert changed == [[z, 4, 8] for z in range(4, 8)]


def choose(panel, words):
    """An edit, by typing the start of its name into the list."""
    panel.edit.setFocus()
    QTest.keyClicks(panel.edit, words)


def edits_of_the_whole_structure(opened, contour, hand, edit, qtbot):
    panel = opened.scribble_panel.reshape
    names = {e.lower(): e for e in map(panel.edit.itemText, range(panel.edit.count()))}
    assert len(names) == 10

    def apply():
        qtbot.waitUntil(panel.apply_button.isEnabled, timeout=5000)
        assert opened.workbench.reshaping.preview in opened.session.viewer.layers
        QTest.mouseClick(panel.apply_button, Qt.MouseButton.LeftButton)
        assert opened.workbench.reshaping.preview is None

    choose(panel, "keep the l")
    changed, after = edit(apply)
    assert changed == [[10, y, x] for y in (16, 17) for x in (12, 13)]
    choose(panel, "grow")
    assert panel.mm.isVisibleTo(panel)
    panel.each.setChecked(True)
    for name, field in panel.sides.items():
        field.setValue(3.0 if name == "Head" else 0.0)
    changed, after = edit(apply)
    assert {z for z, _, _ in changed} == {9, 11}  # 3 mm above the box, and above the island
    assert after[9, 6:14, 4:11].all()
    panel.each.setChecked(False)
    choose(panel, "shrink")
    panel.mm.setValue(1.1)  # a voxel in y and in x
    panel.here_only.setChecked(True)
    changed, after = edit(apply)
    assert {z for z, _, _ in changed} == {6}
    assert np.argwhere(after[6])[[0, -1]].tolist() == [[7, 5], [12, 9]]
    choose(panel, "smooth")
    QTest.mouseClick(panel.cancel_button, Qt.MouseButton.LeftButton)
    assert panel.edit.currentIndex() == 0
    qtbot.wait(400)
    np.testing.assert_array_equal(contour.shown(), model())
    assert opened.workbench.reshaping.preview is None
    hand.look_at("axial", (6, 10, 8))
    hand.press("I")  # asks, and is seen before it is done
    assert panel.edit.currentText() == "Fill between slices"
    qtbot.waitUntil(lambda: "changes nothing" in panel.message.text(), timeout=5000)
    assert not panel.apply_button.isEnabled()
