"""When a worker's silence is unusual."""

from __future__ import annotations

import pytest

from cmfnet_napari.gui.training import watchdog


@pytest.fixture
def clock(monkeypatch):
    """A time that is set by hand."""
    time = [0.0]
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: time[0])
    return time


def test_what_is_unusual_depends_on_the_worker(clock):
    told = []
    dog = watchdog.Watchdog(told.append)
    dog.start()
    clock[0] = 59.0
    dog._look()
    assert told == []
    clock[0] = 61.0
    dog._look()
    assert told == [61.0]
    dog.heard()  # it was only starting
    assert told == [61.0, 0.0]
    assert dog.patience == 60  # how long that took says nothing of its steps
    clock[0] += 4
    dog.heard()
    assert dog.patience == 20 * 4
    for gap in [0.5] * 58 + [37]:
        clock[0] += gap
        dog.heard()
    assert dog.patience == 2 * 37  # the mean is 70 s / 60
    dog.ask()
    assert dog.patience == 10
    clock[0] += 80
    dog.wait_on()
    assert dog.patience == 80 + 2 * 37
    dog.heard()
    assert dog.patience == 2 * 80
    dog.stop()


def test_a_worker_that_waits_for_something_may_be_silent(clock):
    told = []
    dog = watchdog.Watchdog(told.append)
    dog.start()
    dog.heard(waits=True)
    clock[0] += 3600
    dog._look()
    assert told == []
    dog.heard()
    assert dog.patience == 60  # the hour says nothing of its usual pace
    dog.heard(waits=True)
    dog.ask()
    clock[0] += 11
    dog._look()
    assert told == [11.0]
    dog.stop()
