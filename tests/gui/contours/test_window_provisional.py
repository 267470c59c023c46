"""The provisional contour in the window: when it is there, and when it goes."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from cmfnet_napari.gui.contours.provisional import NAME
from cmfnet_napari.gui.patient.opened import open_files
from tests.gui.conftest import SHAPE


def shown(opened):
    return [layer for layer in opened.session.viewer.layers if layer.name == NAME]


def strokes(*parts):
    array = np.zeros(SHAPE, np.uint8)
    for code, part in parts:
        array[part] = code
    return array


TUMOUR = (2, (slice(5, 7), slice(9, 13), slice(7, 10)))
AROUND = [(1, (5, 16, slice(4, 12))), (1, (5, 5, slice(5, 11))), (1, (1, 10, slice(6, 10)))]


def dsc(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.fixture
def drawn(opened, qtbot):
    opened.session.recorder.add(strokes(TUMOUR, *AROUND), "import")
    qtbot.waitUntil(lambda: bool(shown(opened)), timeout=5000)
    qtbot.waitUntil(lambda: not opened.workbench.provisional._busy, timeout=5000)
    return opened


def test_it_comes_with_both_kinds_of_strokes_and_goes_with_them(opened, patient, qtbot, hand):
    session, panel = opened.session, opened.scribble_panel.provisional
    assert "inside and outside" in panel.message.text()
    hand.look_at("axial", (5, 10, 8))
    session.recorder.add(strokes(TUMOUR), "import")
    qtbot.wait(400)
    assert not shown(opened)
    session.recorder.add(strokes(*AROUND[1:]), "import")
    session.select_class(1)
    opened.workbench.drawing.brush.set_size(1.0)
    hand.drag((5, 16, 4), (5, 16, 11))
    qtbot.waitUntil(lambda: bool(shown(opened)), timeout=5000)
    (layer,) = shown(opened)
    assert dsc(layer.data == 1, patient.arrays["tumour"] > 0) > 0.6
    layers = session.viewer.layers
    assert layers.index(layer) < layers.index(session.scribbles)
    assert layers.selection.active == session.scribbles
    assert "From your strokes alone" in panel.message.text()
    assert "Tumour" in panel.message.text()
    for _ in range(3):
        session.undo()
    qtbot.waitUntil(lambda: not shown(opened), timeout=5000)


def test_it_follows_serves_and_may_be_renamed(drawn, qtbot, monkeypatch):
    with monkeypatch.context() as patch:
        many_strokes_at_once_are_one_or_two_computations(drawn, qtbot, patch)
    it_can_be_the_contour_for_automatic_background(drawn, qtbot)
    qtbot.waitUntil(lambda: not drawn.workbench.provisional._busy, timeout=5000)
    renamed_and_deleted_layers_do_no_harm(drawn, qtbot)


def many_strokes_at_once_are_one_or_two_computations(drawn, qtbot, monkeypatch):
    from cmfnet_napari.gui.contours import provisional

    calls, compute = [], provisional.provisional_contour

    def count(*arguments):
        calls.append(arguments)
        return compute(*arguments)

    monkeypatch.setattr(provisional, "provisional_contour", count)
    for k in range(12):
        drawn.session.recorder.add(strokes((2, (6, 9, 5 + k % 8))), "hand")
        drawn.workbench.provisional._begin()
    qtbot.waitUntil(lambda: not drawn.workbench.provisional._busy, timeout=5000)
    qtbot.wait(300)
    assert 1 <= len(calls) <= 3
    drawn_last = calls[-1][1]
    np.testing.assert_array_equal(drawn_last, drawn.session.scribbles.data)


def it_can_be_the_contour_for_automatic_background(drawn, qtbot):
    auto = drawn.scribble_panel.auto
    drawn.reset_choices()
    (layer,) = shown(drawn)
    assert layer in auto.contour.choices
    auto.contour.value = layer
    with qtbot.waitSignal(drawn.workbench.automatic_strokes.proposed, timeout=5000):
        auto.margin.setValue(3.0)
        auto.coverage.setValue(1.0)
        auto.preview.setChecked(True)
    qtbot.wait(400)
    auto.apply_button.click()
    added = drawn.session.case.journal.sources(SHAPE)["auto-background"]
    assert added.any()
    assert not (added & (layer.data > 0)).any()


def renamed_and_deleted_layers_do_no_harm(drawn, qtbot):
    (layer,) = shown(drawn)
    layer.name = "mine"
    drawn.session.recorder.add(strokes((2, (6, 9, 8))), "hand")
    qtbot.wait(500)
    assert not shown(drawn)
    drawn.session.viewer.layers.remove(layer)
    drawn.session.recorder.add(strokes((2, (6, 9, 9))), "hand")
    qtbot.wait(500)
    assert len(shown(drawn)) <= 1


def test_the_networks_contour_takes_its_place(drawn, qtbot, fake):
    session, panel = drawn.session, drawn.scribble_panel.provisional
    fake("good")
    with qtbot.waitSignal(drawn.workbench.training.finished, timeout=20000):
        drawn.workbench.training.start("quick")
    qtbot.waitUntil(lambda: drawn.workbench.result.prediction is not None, timeout=5000)
    qtbot.waitUntil(lambda: not shown(drawn), timeout=5000)
    assert "taken its place" in panel.message.text()
    drawn.workbench.refinement.enable(False)
    session.recorder.add(strokes((2, (6, 9, 8))), "hand")
    qtbot.wait(500)
    assert not shown(drawn)
    panel.now.click()
    qtbot.waitUntil(lambda: bool(shown(drawn)), timeout=5000)


def test_the_switch_is_kept_with_the_case(drawn, patient, qtbot):
    session, panel = drawn.session, drawn.scribble_panel.provisional
    panel.switch.click()
    assert not shown(drawn)
    assert not panel.now.isEnabled()
    session.recorder.add(strokes((2, (6, 9, 8))), "hand")
    qtbot.wait(400)
    assert not shown(drawn)
    drawn.workbench.last_view.close()
    panel.switch.click()
    qtbot.waitUntil(lambda: bool(shown(drawn)), timeout=5000)
    drawn.workbench.last_view._kept = drawn.workbench.last_view._views()
    with qtbot.waitSignal(session.opened, timeout=20000):
        session.open(partial(open_files, patient.ct, patient.mr))
    assert not panel.switch.isChecked()
    assert not shown(drawn)
