"""When a preview is due, by a clock that the test sets."""

import pytest

from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.learning.fit import schedule as pacing
from cmfnet_napari.learning.fit.schedule import (
    END_PREVIEWS,
    FRESH_SECONDS,
    MOST_FOR_END,
    WRITTEN_A_SECOND,
    Pace,
)


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
    pace = Pace(make_config("quick", preview_seconds=60.0, minutes=None))
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
    pace = Pace(make_config("quick", preview_seconds=60.0, minutes=None))
    preview(pace, clock, 20.0)
    pace.strokes_came()
    clock.now += 39
    assert not pace.preview_due()
    clock.now += 2
    assert pace.preview_due()


def test_minutes_are_those_of_all_of_it(clock):
    """Preparing counts, and so does the end, which takes as long as previews tell."""
    pace = Pace(make_config("quick", minutes=2.0, steps=10_000), began=clock.now - 30)
    assert pace.elapsed == 30
    assert pace.progress(0) == pytest.approx(30 / 120)
    preview(pace, clock, 10.0)
    assert pace.progress(0) == pytest.approx(40 / (120 - END_PREVIEWS * 10))
    clock.now += 80 - END_PREVIEWS * 10 - 5  # 5 s are left for steps
    assert pace.progress(0) < 1
    pace.strokes_came()
    clock.now += FRESH_SECONDS
    assert not pace.preview_due()  # it would not be done
    clock.now += 5 - FRESH_SECONDS
    assert pace.progress(0) == pytest.approx(1)
    large = Pace(make_config("quick", minutes=2.0, steps=10_000), voxels=512 * 512 * 400)
    clock.now += 10
    assert large.progress(0) == pytest.approx(10 / (120 - 104_857_600 / WRITTEN_A_SECOND))
    preview(pace, clock, 100.0)
    assert pace._for_steps == MOST_FOR_END * 120


def test_without_minutes_steps_end_it(clock):
    pace = Pace(make_config("quick", minutes=None, steps=10))
    preview(pace, clock, 1e6)
    assert pace.progress(5) == 0.5
    clock.now += 1e7
    assert pace.preview_due()


def test_a_preview_that_was_broken_off_is_still_due(clock):
    pace = Pace(make_config("quick", preview_seconds=60.0, minutes=None))
    pace.strokes_came()
    clock.now += 5
    with pytest.raises(InterruptedError), pace.previewing():
        raise InterruptedError
    assert pace.preview_due()
