"""The preflight in the Train tab: kept up to date, never in the way, and a click goes there."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from cmfnet_napari.core.strokes.scribbles import ScribbleClass
from cmfnet_napari.gui.training import preflight as module

SHAPE = (12, 20, 16)


@pytest.fixture
def findings(opened, qtbot):
    """The panel, once it says what is expected of it."""
    panel = opened.training_panel.findings

    def wait_for(check):
        qtbot.waitUntil(lambda: check(panel.texts), timeout=10000)
        return panel

    return wait_for


def draw(dock, where, code):
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[where] = code
    dock.session.recorder.add(strokes, "import")


def good(dock):
    draw(dock, (slice(4, 7), slice(9, 12), slice(7, 10)), 2)
    draw(dock, (slice(2, 4), slice(14, 17), slice(6, 10)), 1)


def test_findings_follow_strokes_classes_and_preset(opened, findings, qtbot):
    panel = findings(lambda texts: len(texts) == 1 and "no tumour stroke" in texts[0])
    assert panel.buttons == [None]  # an error of nowhere
    assert panel.expected.text().startswith("Expected: about 2 min of training and about 0.9 GiB")
    opened.training_panel.begin.preset.setCurrentIndex(1)
    qtbot.waitUntil(lambda: "about 10 min" in panel.expected.text(), timeout=10000)
    good(opened)
    findings(lambda texts: texts == [])
    opened.session.undo()  # the background
    findings(lambda texts: len(texts) == 1 and "no background stroke" in texts[0])
    opened.session.redo()
    name = "<b>Node</b>"  # from outside: never taken for markup
    classes = (*opened.session.case.classes, ScribbleClass(3, name, "#009e73"))
    opened.session.set_classes(classes)
    findings(lambda texts: texts == [f"{name} has no stroke yet: it will not be learnt."])
    opened.workbench.close()
    assert not panel.isVisibleTo(opened.training_panel)  # no patient, nothing to say


def test_the_button_goes_to_the_place(opened, findings, hand, qtbot):
    good(opened)
    draw(opened, (slice(7, 11), slice(0, 3), 1), 2)  # 12 of 39 in a corner, in the air
    panel = findings(lambda texts: len(texts) == 1 and "in air" in texts[0])
    assert panel.texts[0].startswith("12 of 39 stroke voxels of Tumour are in air")
    viewer, scribbles = opened.session.viewer, opened.session.scribbles
    hand.look_at("coronal", (2, 10, 8))
    scribbles.visible = False
    viewer.layers.selection.active = viewer.layers[0]
    panel.buttons[0].click()
    qtbot.wait(50)
    assert opened.workbench.planes.plane == "coronal"  # the plane one works in stays
    z, y, x = viewer.dims.current_step
    assert z in range(7, 11)
    assert y in range(3)
    assert x == 1
    assert viewer.layers.selection.active == scribbles  # napari hands out proxies
    assert scribbles.visible
    middle = hand.canvas.rect().center()
    assert (hand.pixel((z, y, x)) - middle).manhattanLength() <= 3


def test_warnings_do_not_block_and_stay_while_training(opened, findings, fake, qtbot):
    draw(opened, (slice(4, 7), slice(9, 12), 8), 2)
    draw(opened, (slice(2, 4), slice(14, 17), slice(6, 10)), 1)
    panel = findings(lambda texts: len(texts) == 1 and "one sagittal slice" in texts[0])
    panel.buttons[0].click()  # what lies in one slice is shown in that plane
    assert opened.workbench.planes.plane == "sagittal"
    assert opened.session.viewer.dims.current_step[2] == 8
    fake("good")
    with qtbot.waitSignal(opened.workbench.training.finished, timeout=30000):
        opened.training_panel.train_button.click()
        assert "one sagittal slice" in panel.texts[0]
    findings(lambda texts: len(texts) == 1)


def test_many_changes_cost_one_look_off_the_gui_thread(opened, findings, monkeypatch, qtbot):
    findings(lambda texts: len(texts) == 1)
    threads, real = [], module.examine

    def examine(question):
        threads.append(threading.current_thread())
        return real(question)

    monkeypatch.setattr(module, "examine", examine)
    for z in range(4, 8):
        draw(opened, (z, slice(9, 12), slice(7, 10)), 2)
    good(opened)
    findings(lambda texts: texts == [])
    qtbot.wait(100)
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
