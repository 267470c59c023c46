"""When a preview is due, by a clock that the test sets."""

import pytest

from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.learning.fit import schedule as pacing
from cmfnet_napari.learning.fit.schedule import FRESH_SECONDS, Pace


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pacing, "time", clock)
    return clock


def preview(pace, clock, seconds):
    with pace.previewing():
        clock.now += seconds


def test_new_strokes_bring_a_preview_forward(clock):
    pace = Pace(make_config("quick", preview_seconds=60.0))
    preview(pace, clock, 0.5)
    clock.now += 20
    assert not pace.preview_due()
    pace.strokes_came()
    clock.now += FRESH_SECONDS - 0.1
    assert not pace.preview_due()
    pace.strokes_came()  # more of them put nothing off
    clock.now += 0.2
    assert pace.preview_due()
    preview(pace, clock, 0.5)
    clock.now += FRESH_SECONDS + 1
    assert not pace.preview_due()


def test_previews_that_take_long_leave_half_the_time_to_steps(clock):
    pace = Pace(make_config("quick", preview_seconds=60.0))
    preview(pace, clock, 20.0)
    pace.strokes_came()
    clock.now += 39
    assert not pace.preview_due()
    clock.now += 2
    assert pace.preview_due()


def test_a_preview_that_was_broken_off_is_still_due(clock):
    pace = Pace(make_config("quick", preview_seconds=60.0))
    pace.strokes_came()
    clock.now += 5
    with pytest.raises(InterruptedError), pace.previewing():
        raise InterruptedError
    assert pace.preview_due()
