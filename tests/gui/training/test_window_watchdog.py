"""A worker that says nothing: when that is unusual, and what the user can do about it."""

from __future__ import annotations


def test_a_stop_that_is_not_answered_can_be_forced(opened, fake, scribble, qtbot):
    fake("stubborn")
    scribble()
    opened.tabs.setCurrentIndex(2)
    panel, training = opened.training_panel.goes_on, opened.workbench.training
    training.watchdog.answer_limit = 0.5
    with qtbot.waitSignal(training.started, timeout=20000):
        training.start("quick")
    assert not panel.end_button.isVisible()
    opened.training_panel.stop_button.click()
    qtbot.waitUntil(panel.end_button.isVisible, timeout=5000)
    panel.wait_button.click()
    assert not panel.end_button.isVisible()
    training.watchdog.ask()
    qtbot.waitUntil(panel.end_button.isVisible, timeout=5000)
    with qtbot.waitSignal(training.failed, timeout=5000):
        panel.end_button.click()
    assert training.state == "idle"
    assert not panel.end_button.isVisible()


def test_a_stop_that_was_heard_is_said(opened, fake, scribble, qtbot):
    fake("endless")
    scribble()
    training = opened.workbench.training
    with qtbot.waitSignal(training.stepped, timeout=20000):
        training.start("quick")
    with qtbot.waitSignals([training.noticed, training.finished], timeout=10000) as all_said:
        training.stop()
    notice = next(
        e.args[0]
        for e in all_said.all_signals_and_args
        if len(e.args) == 1 and isinstance(e.args[0], str)
    )
    assert notice.startswith("Stopped at step ")


def test_waiting_for_room_is_shown_and_is_no_silence(opened, fake, scribble, qtbot):
    fake("waits")
    scribble()
    panel, training, silences = opened.training_panel, opened.workbench.training, []
    training.watchdog.limit = 0.4
    said, done = {}, []  # where others are busy, a step and the end come at once
    training.stepped.connect(lambda event: said.update({event.step: panel.message.text()}))
    training.finished.connect(done.append)
    with qtbot.waitSignal(training.paused, timeout=20000):
        training.start("quick")
    training.silent.connect(silences.append)
    assert panel.message.text() == "Waiting. The disk is full."
    assert panel.progress.value() == 600  # three steps of five
    qtbot.waitUntil(lambda: bool(done), timeout=10000)
    assert silences == []
    assert said[4] == "There is room again: training goes on."
