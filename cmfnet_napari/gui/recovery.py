"""What a crash left, in one sentence."""

from __future__ import annotations

from datetime import datetime

from cmfnet_napari.core.case import Case
from cmfnet_napari.core.runs import interrupted_run


def recovered(case: Case) -> str:
    """What came back after the window was killed; empty after a proper end."""
    if not case.unclean:
        return ""
    times = [stroke.time for _, stroke in case.journal.standing()]
    found = [f"{len(times)} strokes, the last of {_when(times[-1])}" if times else "no strokes"]
    run = interrupted_run(case.runs())
    if run is not None:
        found.append(f"a training that was broken off at step {run.step} (Train → Continue)")
    return f"The window was not closed properly last time. Recovered: {' and '.join(found)}."


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
