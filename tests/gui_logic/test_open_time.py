"""How long a patient is open is noted as it goes on, so that a kill loses half a minute at most."""

from __future__ import annotations

from types import SimpleNamespace

from cmfnet_napari.core.case.effort import OPEN_TIMES
from tests.gui_logic.stand_ins import come, patient


def moments(bench):
    return (bench.session.case.folder / OPEN_TIMES).read_text().splitlines()


def test_a_moment_at_the_opening_every_half_minute_and_at_the_end(bench, monkeypatch):
    clock = SimpleNamespace(time=lambda: 1000.0)
    monkeypatch.setattr("cmfnet_napari.core.case.effort.time", clock)
    come(bench.session, patient)
    assert moments(bench) == ["1000"]
    timer = bench.open_time._timer
    assert (timer.on, timer.interval) == (True, 30_000)
    clock.time = lambda: 1030.4
    timer.fire()
    assert moments(bench) == ["1000", "1030"]
    folder = bench.session.case.folder
    clock.time = lambda: 1041.0
    bench.close()
    assert (folder / OPEN_TIMES).read_text().splitlines() == ["1000", "1030", "1041"]


def test_a_disk_that_takes_nothing_stops_nobody(bench, said):
    come(bench.session, patient)
    folder = bench.session.case.folder
    (folder / OPEN_TIMES).unlink()
    (folder / OPEN_TIMES).mkdir()
    bench.open_time._timer.fire()
    assert said == []
    assert not bench.open_time._timer.on
