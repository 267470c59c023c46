"""A report on one page of PDF: pictures of the contour, volumes, agreement, what was looked at."""

from __future__ import annotations

import textwrap
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
from cmfnet_napari.core.report.text_pages import A4, save_pages
from cmfnet_napari.core.review.record import State
from cmfnet_napari.core.words import DISCLAIMER, drawn

_MARGIN_MM = 40.0  # around the contour in the pictures
_MOST_CLASSES = 6  # columns of the table that fit the page
_STATES: tuple[State, ...] = ("open", "accepted", "corrected", "dismissed")


@style_context("default")  # whatever a matplotlibrc in the current folder says
def save_report(
    study: Study,
    labels: Labels,
    facts: ReportFacts,
    path: str | Path,
    reference: Labels | None = None,
) -> Path:
    """Write the report of a contour as a PDF of one A4 page.

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
    draw_contours(pictures, study, labels, reference, margin_mm=_MARGIN_MM)
    _write_facts(words, facts)
    _write(foot, DISCLAIMER, y=0.6, size=8)
    info = {"Title": f"Contour of case {facts.case}", "Creator": "cmfnet-napari", "Author": ""}
    return save_pages([figure], info, Path(path), dpi=150)


def _write_facts(part: SubFigure, facts: ReportFacts) -> None:
    left, right = part.subfigures(1, 2, squeeze=False).ravel()
    _write(left, "\n".join(contour_words(facts)), y=0.97, size=9, va="top")
    axes = right.subplots()
    axes.set_axis_off()
    _table(axes, facts)
    _write(right, "\n".join(making_words(facts)), y=0.02, size=9)  # below the table


def _table(axes: Axes, facts: ReportFacts) -> None:
    """Volumes and, where the contour was compared, the scores."""
    names, rows = score_rows(facts.volumes_ml, facts.evaluation)
    names = [drawn(_short(name)) for name in names[:_MOST_CLASSES]]
    cells = [values[:_MOST_CLASSES] for values in rows.values()]
    table = axes.table(
        cells, rowLabels=list(rows), colLabels=names, loc="upper right", cellLoc="center",
        colWidths=[min(0.3, 0.62 / len(names))] * len(names),
    )  # fmt: skip
    table.auto_set_font_size(False)
    table.set_fontsize(8)


def contour_words(facts: ReportFacts) -> list[str]:
    """What the contour is, and who looked at it."""
    lines = ["Volume"]
    lines += [f"  {_short(name)}: {ml:.1f} ml" for name, ml in facts.volumes_ml.items()]
    if facts.hand:
        lines += ["", "Changed by hand", *_wrapped(facts.hand.sentence)]
    lines += ["", "Agreement with the strokes"]
    lines += [f"  all strokes: {_percent(facts.strokes)}"]
    lines += [f"  strokes while held out: {_percent(facts.held_out)}"]
    lines += ["", "Slices with contour looked at"]
    lines += [f"  {plane}: {seen} of {all_}" for plane, (seen, all_) in facts.slices.items()]
    lines += ["", "Places to look at"]
    lines += ["  " + ", ".join(f"{facts.places.get(state, 0)} {state}" for state in _STATES)]
    return [*lines, "", "Sign-off", *_wrapped(facts.sign_off)] if facts.sign_off else lines


def making_words(facts: ReportFacts) -> list[str]:
    """How it was made."""
    lines = []
    if facts.effort.sentences:
        lines += ["Effort", *(line for one in facts.effort.sentences for line in _wrapped(one)), ""]
    lines += ["Model", *_wrapped(facts.model), "", "Software"]
    versions = ", ".join(f"{name} {version}" for name, version in facts.software.items())
    return lines + _wrapped(versions)


def _wrapped(text: str) -> list[str]:
    return [f"  {line}" for line in textwrap.wrap(text, 52)]


def _percent(share: float | None) -> str:
    return "unknown" if share is None or not np.isfinite(share) else f"{100 * share:.0f} %"


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"


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
