"""A report as PDF: pictures of the contour, volumes, agreement, what was looked at.

It is one page, unless there are more classes than fit it: then a further page has all of it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.style import context as style_context

from cmfnet_napari.core.arrays import Labels
from cmfnet_napari.core.contours.score_table import score_rows
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.report.facts import ReportFacts
from cmfnet_napari.core.report.figures import draw_contours
from cmfnet_napari.core.report.text_pages import A4, Line, save_pages, text_pages, together, wrapped
from cmfnet_napari.core.review.record import State
from cmfnet_napari.core.words import DISCLAIMER, drawn

_MARGIN_MM = 40.0  # around the contour in the pictures
_MOST_LINES = 27  # of words that fit the first page
_MOST_LETTERS = 40  # of the columns of its table, all as wide as the widest
_NARROW, _WIDE = 52, 92  # letters of a line there, and on a further page
_NAME, _VALUE = 19, 11  # letters of a column of the table on a further page
_AHEAD = "All of it is on the next page."
_STATES: tuple[State, ...] = ("open", "accepted", "corrected", "dismissed")


@style_context("default")  # whatever a matplotlibrc in the current folder says
def save_report(
    study: Study,
    labels: Labels,
    facts: ReportFacts,
    path: str | Path,
    reference: Labels | None = None,
) -> Path:
    """Write the report of a contour as a PDF: an A4 page, and further ones for many classes.

    Parameters
    ----------
    study : Study
        One image or two.
    labels : integer array (z, y, x) on the Study's Grid
        The contour: solid lines, on slices through its middle.
    facts : ReportFacts
        What is said of it.
    path : path
        The PDF.
    reference : integer array (z, y, x), optional
        What it is compared with: dashed lines.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    figure = Figure(figsize=A4, layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.subfigures(4, 1, squeeze=False, height_ratios=(0.7, 5.6, 4.7, 0.5))
    head, pictures, words, foot = parts.ravel()
    today = date.today().isoformat()
    _write(head, f"Contour of case {facts.case}", size=15, weight="bold")
    _write(head, f"Report of {today} · without the patient's name", y=0.2, size=9)
    pictures.set_facecolor("black")
    names = [drawn(_short(name)) for name in facts.volumes_ml]
    draw_contours(
        pictures, study, labels, reference, margin_mm=_MARGIN_MM, names=names, colors=facts.colors
    )
    _write_facts(words, facts)
    _write(foot, DISCLAIMER, y=0.6, size=8)
    further = [] if _fits(facts) else text_pages(_all_lines(facts))
    info = {"Title": f"Contour of case {facts.case}", "Creator": "cmfnet-napari", "Author": ""}
    return save_pages([figure, *further], info, Path(path), dpi=150)


def _write_facts(part: SubFigure, facts: ReportFacts) -> None:
    left, right = part.subfigures(1, 2, squeeze=False).ravel()
    words = contour_words(facts)
    if len(words) > _MOST_LINES:
        words = [*words[: _MOST_LINES - 1], f"… {_AHEAD}"]
    _write(left, "\n".join(words), y=0.97, size=9, va="top")
    if _has_room(score_rows(facts.volumes_ml, facts.evaluation)[0]):
        axes = right.subplots()
        axes.set_axis_off()
        _table(axes, facts)
    else:
        _write(right, f"{len(facts.volumes_ml)} classes. {_AHEAD}", y=0.97, size=9, va="top")
    _write(right, "\n".join(making_words(facts)), y=0.02, size=9)  # below the table


def _table(axes: Axes, facts: ReportFacts) -> None:
    """Volumes and, where the contour was compared, the scores."""
    names, rows = score_rows(facts.volumes_ml, facts.evaluation)
    names = [drawn(_short(name)) for name in names]
    table = axes.table(
        list(rows.values()), rowLabels=list(rows), colLabels=names, loc="upper right",
        cellLoc="center", colWidths=[min(0.3, 0.62 / len(names))] * len(names),
    )  # fmt: skip
    table.auto_set_font_size(False)
    table.set_fontsize(8)


def _fits(facts: ReportFacts) -> bool:
    """Whether one page holds all of it."""
    names, _ = score_rows(facts.volumes_ml, facts.evaluation)
    return _has_room(names) and len(contour_words(facts)) <= _MOST_LINES


def _has_room(names: Sequence[str]) -> bool:
    """Whether the first page has room for a table with these columns."""
    return len(names) * max((len(_short(name)) for name in names), default=0) <= _MOST_LETTERS


def _all_lines(facts: ReportFacts) -> list[Line]:
    """All words, and a table with a row a class."""
    names, rows = score_rows(facts.volumes_ml, facts.evaluation)
    titles = [textwrap.wrap(title, _VALUE - 1) for title in rows]
    high = max(len(title) for title in titles)
    cells = [["", *(title[k] if k < len(title) else "" for title in titles)] for k in range(high)]
    cells += [
        [_short(name), *(values[index] for values in rows.values())]
        for index, name in enumerate(names)
    ]
    lines: list[Line] = [(f"Contour of case {facts.case}", "title"), ("", "text")]
    lines += [(line, "text") for line in contour_words(facts, _WIDE)]
    table: list[Line] = [("", "text"), ("Classes", "title")]
    table += [(_row(*line), "wide table") for line in cells]
    return together(lines, [*table, ("", "text"), *wrapped(DISCLAIMER)])


def _row(name: str, *values: str) -> str:
    return f"{name:<{_NAME}}{''.join(f'{value:>{_VALUE}}' for value in values)}"


def contour_words(facts: ReportFacts, letters: int = _NARROW) -> list[str]:
    """Who looked at the contour, and what it is; what grows with the classes comes last.

    Parameters
    ----------
    facts : ReportFacts
        What is said.
    letters : int
        Of a line.
    """
    lines = ["Sign-off", *_wrapped(facts.sign_off, letters), ""] if facts.sign_off else []
    lines += ["Slices with contour looked at"]
    lines += [f"  {plane}: {seen} of {all_}" for plane, (seen, all_) in facts.slices.items()]
    lines += ["", "Places to look at"]
    lines += ["  " + ", ".join(f"{facts.places.get(state, 0)} {state}" for state in _STATES)]
    lines += ["", "Agreement with the strokes"]
    lines += [f"  all strokes: {_percent(facts.strokes)}"]
    lines += [f"  strokes while held out: {_percent(facts.held_out)}"]
    lines += ["", "Volume"]
    room = letters - len("  : 1000.0 ml")
    lines += [f"  {_short(name, room)}: {ml:.1f} ml" for name, ml in facts.volumes_ml.items()]
    if facts.hand:
        lines += ["", "Changed by hand", *_wrapped(facts.hand.sentence, letters)]
    return lines


def making_words(facts: ReportFacts) -> list[str]:
    """How it was made."""
    lines = []
    if facts.effort.sentences:
        lines += ["Effort", *(line for one in facts.effort.sentences for line in _wrapped(one)), ""]
    lines += ["Model", *_wrapped(facts.model), "", "Software"]
    versions = ", ".join(f"{name} {version}" for name, version in facts.software.items())
    return lines + _wrapped(versions)


def _wrapped(text: str, letters: int = _NARROW) -> list[str]:
    return [f"  {line}" for line in textwrap.wrap(text, letters)]


def _percent(share: float | None) -> str:
    return "unknown" if share is None or not np.isfinite(share) else f"{100 * share:.0f} %"


def _short(name: str, most: int = _NAME - 1) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _write(
    part: SubFigure,
    text: str,
    *,
    y: float = 0.7,
    size: float,
    weight: Literal["normal", "bold"] = "normal",
    va: Literal["baseline", "bottom", "top"] = "baseline",
) -> None:
    part.text(
        0.06, y, text, fontsize=size, parse_math=False, wrap=True, weight=weight, va=va
    )  # fmt: skip
