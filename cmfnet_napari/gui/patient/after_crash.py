"""What a crash left, in one sentence."""

from __future__ import annotations

from datetime import datetime

from cmfnet_napari.core.case.folder import Case
from cmfnet_napari.core.case.view_state import VIEWS_FILE
from cmfnet_napari.core.fit.runs import interrupted_run, newest_prediction


def recovered(case: Case) -> str:
    """What came back after the window was killed; empty after a proper end."""
    if not case.unclean:
        return ""
    runs = case.runs()
    found = [_strokes(case), *_corrections(case), f"{len(case.classes)} classes"]
    if (case.folder / VIEWS_FILE).exists():
        found.append("the views")
    if newest_prediction(runs) is not None:
        found.append("the last prediction")
    run = interrupted_run(runs)
    if run is not None:
        found.append(f"a training that was broken off at step {run.step} (Train → Continue)")
    return (
        "The window was not closed properly last time. Recovered: "
        f"{', '.join(found[:-1])} and {found[-1]}."
    )


def _strokes(case: Case) -> str:
    times = [stroke.time for _, stroke in case.journal.standing() if stroke.source != "classes"]
    if not times:
        return "no strokes"
    many = "1 stroke" if len(times) == 1 else f"{len(times)} strokes"
    return f"{many} (the last of {datetime.fromtimestamp(max(times)):%Y-%m-%d %H:%M:%S})"


def _corrections(case: Case) -> list[str]:
    many = len(case.journal.correction_times())
    return [] if not many else ["1 correction" if many == 1 else f"{many} corrections"]
