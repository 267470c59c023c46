"""Looking back at a training: previews that were kept, curves, and where the next one starts."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from tests.gui.training.test_window_training import train


def preview(session):
    return [layer for layer in session.viewer.layers if layer.name == "Preview"]


def test_a_kept_preview_is_looked_at_and_chosen(opened, fake, scribble, qtbot):
    fake("good")
    scribble()
    panel, session = opened.training_panel.preview_choice, opened.session
    assert panel.isHidden()
    train(opened, qtbot)
    qtbot.waitUntil(lambda: opened.workbench.result.prediction is not None, timeout=5000)
    opened.tabs.setCurrentIndex(2)
    assert (panel.slider.maximum(), panel.slider.value()) == (1, 1)
    assert not panel.keep_button.isEnabled()
    panel.slider.setFocus()
    QTest.keyClick(panel.slider, Qt.Key.Key_Left)
    qtbot.waitUntil(lambda: bool(preview(session)), timeout=5000)
    earlier = np.array(preview(session)[0].data)
    assert not earlier[:6].any()
    assert earlier[6:8].sum() == 2 * 6 * 5
    assert "after 2 steps, agreement with your strokes 50.0 %" in panel.label.text()
    QTest.keyClick(panel.slider, Qt.Key.Key_Right)  # the newest again
    assert not preview(session)

    QTest.keyClick(panel.slider, Qt.Key.Key_Left)
    qtbot.waitUntil(lambda: bool(preview(session)), timeout=5000)
    more = np.zeros(session.scribbles.data.shape, np.uint8)
    more[6, 10, 8] = 2
    with qtbot.waitSignal(opened.workbench.refinement.finished, timeout=20000):
        session.recorder.add(more, "import")  # the contour follows, and is what is shown
    assert panel.slider.value() == panel.slider.maximum()
    qtbot.waitUntil(lambda: not preview(session), timeout=5000)

    QTest.keyClick(panel.slider, Qt.Key.Key_Left)
    qtbot.waitUntil(lambda: bool(preview(session)), timeout=5000)
    with qtbot.waitSignal(opened.workbench.refinement.finished, timeout=20000):
        QTest.mouseClick(panel.keep_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(
        lambda: (opened.workbench.result.prediction.data == earlier).all(), timeout=5000
    )
    assert not preview(session)
    assert panel.isHidden()  # it is the newest now, and nothing else was kept


def test_agreement_is_drawn_beside_the_losses(opened, fake, scribble, qtbot):
    fake("good")
    scribble()
    panel = opened.training_panel
    assert panel.plot.isHidden()
    assert panel.agreement.isHidden()
    train(opened, qtbot)
    assert panel.agreement.points == {"all strokes": ([2], [50.0])}
    assert "all strokes" in panel.agreement.legend.text()


def test_settings_come_from_the_configuration_and_reach_the_worker(opened, fake, scribble, qtbot):
    fake("good")
    scribble()
    begin = opened.training_panel.begin
    form = begin.settings
    assert form.changes == {}
    steps, minutes = form.fields["steps"], form.fields["minutes"]
    assert (steps.native.minimum(), minutes.native.value()) == (0, 2.0)
    assert form.fields["steps"].native.toolTip().startswith("Steps at most")
    steps.native.setValue(7)
    minutes.native.setValue(0)  # none
    assert form.changes == {"steps": 7, "minutes": None}
    assert "7 steps, no time limit" in begin.help.text()
    train(opened, qtbot)
    command = (opened.session.case.folder / "command.json").read_text()
    assert '"steps":7' in command
    assert '"minutes":null' in command
    form.fields["ct_low"].native.setValue(500)  # above the high end
    assert "CT window: low 500 HU is not below high 240 HU" in begin.help.text()
    form.reset()
    assert form.changes == {}
    steps.native.setValue(7)
    opened.tabs.setCurrentIndex(1)
    opened.tabs.setCurrentIndex(2)  # looking elsewhere forgets nothing
    assert form.changes == {"steps": 7}
    begin.preset.setCurrentIndex(1)
    assert form.changes == {}
