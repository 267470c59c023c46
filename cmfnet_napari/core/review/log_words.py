"""A review log for people: one row for slices looked at one after the other, one for all else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from cmfnet_napari.core.review.log_entry import Entry
from cmfnet_napari.core.review.standing import difference_sentence

Row = tuple[str, str, str]  # when, who, what

_PLACES = {
    "accepted": "accepted the contour at a place",
    "corrected": "corrected the contour at a place",
    "dismissed": "dismissed a place",
    "opened": "opened a place again",
}


def log_rows(entries: Sequence[Entry]) -> list[Row]:
    """The log row by row, oldest first."""
    rows = []
    for _, group in groupby(entries, key=_run_of):
        run = list(group)
        rows.append((run[0].moment, run[0].who, _words(run)))
    return rows


def slices_looked_at(entries: Iterable[Entry]) -> dict[str, dict[str, list[int]]]:
    """Slices that were looked at, by reader and plane, rising."""
    found: dict[str, dict[str, set[int]]] = {}
    for entry in entries:
        if entry.what == "looked":
            planes = found.setdefault(entry.who, {})
            planes.setdefault(str(entry.detail.get("plane")), set()).add(_index(entry))
    return {
        who: {plane: sorted(seen) for plane, seen in planes.items()}
        for who, planes in found.items()
    }


def ranges(indices: Iterable[int]) -> str:
    """Whole numbers, with runs as 3–7."""
    runs: list[list[int]] = []
    for index in sorted(set(indices)):
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}–{r[-1]}" for r in runs)


def _run_of(entry: Entry) -> object:
    """What rows are made by: slices of one reader and plane are one."""
    if entry.what == "looked":
        return entry.who, entry.detail.get("plane")
    return entry.n


def _words(run: Sequence[Entry]) -> str:
    entry, detail = run[-1], run[-1].detail
    match entry.what:
        case "looked":
            seen = sorted({_index(one) for one in run})
            many = "slice" if len(seen) == 1 else "slices"
            return f"looked at {detail.get('plane')} {many} {ranges(seen)}"
        case "began":
            return f"the log of case {detail.get('case')} begins{_before(entry)}"
        case "reviewed":
            return f"marked the contour as reviewed{_without(entry)}"
        case "peer-reviewed":
            words = f"marked the contour as peer-reviewed{_without(entry)}"
            return f"{words}, after entry {detail.get('first')}. {difference_sentence(detail)}"
        case "changed":
            since = detail.get("since")
            return f"the contour or its classes changed since entry {since}: a draft again"
        case "withdrawn":
            return "took the review back: a draft again"
        case "noticed":
            return f"noticed: {detail.get('fault')}"
        case _:
            voxel = ", ".join(str(v) for v in detail.get("voxel") or ())
            return f"{_PLACES[entry.what]} of {detail.get('ml')} ml at voxel ({voxel})"


def _before(entry: Entry) -> str:
    before = entry.detail.get("before")
    if not isinstance(before, dict):
        return ""
    slices = sum(before.get("slices", {}).values())
    return (
        f"; of before, without a log, {slices} slices looked at and {before.get('decisions', 0)} "
        "decisions are known"
    )


def _without(entry: Entry) -> str:
    unseen, left = entry.detail.get("unseen") or 0, entry.detail.get("open") or 0
    slices = f"{unseen} axial slices not looked at" if unseen else "all axial slices looked at"
    places = f"{left} places not decided about" if left else "all places decided about"
    return f", {slices}, {places}"


def _index(entry: Entry) -> int:
    index = entry.detail.get("index")
    return index if isinstance(index, int) else -1
