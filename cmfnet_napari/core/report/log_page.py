"""The review log as PDF: state, check, who looked at what, both readers' contours; no image."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.style import context as style_context

from cmfnet_napari.core.arrays import Labels
from cmfnet_napari.core.geometry.boxes import bounding_box
from cmfnet_napari.core.geometry.plane import Plane
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.report.text_pages import A4, save_pages
from cmfnet_napari.core.review.log_entry import Entry
from cmfnet_napari.core.review.log_words import log_rows, ranges, slices_looked_at
from cmfnet_napari.core.strokes.scribbles import class_color

_LINES, _LETTERS = 74, 96  # of a page
_PICTURES = 6
_MARGIN_MM = 15.0
_FIRST = "black"  # the first reader's contours, dashed, on white paper
_FOOT = (
    "Research software, not a medical device. Names are as the readers typed them; a signature is "
    "that of an account on a computer, not of a person."
)


@dataclass(frozen=True, eq=False)
class Readers:
    """Two readers' contours (integer arrays z, y, x) on a Grid, and their names."""

    first: str
    second: str
    first_labels: Labels
    second_labels: Labels
    grid: Grid


@style_context("default")  # whatever a matplotlibrc in the current folder says
def save_log_page(
    case: str,
    entries: Sequence[Entry],
    standing: str,
    check: Sequence[str],
    readers: Readers | None,
    path: Path,
) -> Path:
    """Write a log as a PDF of as many A4 pages as it takes.

    Parameters
    ----------
    case : str
        `Case.key`.
    entries : sequence of Entry
        Of the log.
    standing, check : str, sequence of str
        How far the contour is signed off; whether the log is as it was written.
    readers : Readers, optional
        Whose contours are drawn beside each other.
    path : Path
        The PDF.

    Raises
    ------
    UserError
        It cannot be written.
    """
    title = f"Review of case {case}"
    lines = list(_lines(entries, standing, check))
    info = {"Title": title, "Creator": "cmfnet-napari", "Author": ""}
    return save_pages(_pages(title, lines, readers), info, path)


def _pages(title: str, lines: Sequence[str], readers: Readers | None) -> Iterator[Figure]:
    for number, start in enumerate(range(0, len(lines), _LINES), start=1):
        yield _text_page(title, number, lines[start : start + _LINES])
    if readers is not None:
        yield _picture_page(title, readers)


def _lines(entries: Sequence[Entry], standing: str, check: Sequence[str]) -> Iterator[str]:
    yield from _wrapped(standing)
    yield ""
    yield "The log"
    for sentence in check:
        yield from _wrapped(sentence, "  ")
    if entries:
        yield from _wrapped(f"It ends with entry {entries[-1].n}, {entries[-1].hash}.", "  ")
    yield ""
    yield "Slices looked at"
    for who, planes in slices_looked_at(entries).items():
        for plane, seen in planes.items():
            yield from _wrapped(f"{who}: {len(seen)} {plane}: {ranges(seen)}", "  ")
    yield ""
    yield "Entries"
    for when, who, what in log_rows(entries):
        yield from _wrapped(f"{when}  {who}: {what}", "  ")


def _wrapped(text: str, indent: str = "") -> list[str]:
    further = f"{indent}    " if indent else ""
    return textwrap.wrap(text, _LETTERS, initial_indent=indent, subsequent_indent=further) or [""]


def _text_page(title: str, number: int, lines: Sequence[str]) -> Figure:
    figure = _page(title, f"Review log of {date.today().isoformat()}, page {number}")
    figure.text(0.07, 0.925, "\n".join(lines), fontsize=8, va="top", parse_math=False)
    return figure


def _picture_page(title: str, readers: Readers) -> Figure:
    """Axial slices on which the two differ most, as lines."""
    first, second, grid = readers.first_labels, readers.second_labels, readers.grid
    differing = np.count_nonzero(first != second, axis=(1, 2))
    shown = sorted(np.argsort(-differing, kind="stable")[:_PICTURES].tolist())
    shown = [z for z in shown if differing[z]] or _middle(second)
    figure = _page(title, "Both readers' contours where they differ most, axial")
    box = bounding_box((first > 0) | (second > 0))
    for place, z in enumerate(shown, start=1):
        axes = figure.add_subplot(3, 2, place)
        view = Plane(0, z, grid)
        _draw(axes, view, first, "dashed")
        _draw(axes, view, second, "solid")
        mm2 = differing[z] * grid.spacing[1] * grid.spacing[2]
        axes.set_title(f"slice {z}: {mm2 / 100:.1f} cm² differ", fontsize=9)
        axes.set_aspect("equal")
        if box is not None:
            rows, columns = box[1], box[2]
            y, x = grid.spacing[1], grid.spacing[2]
            axes.set_xlim(columns.start * x - _MARGIN_MM, columns.stop * x + _MARGIN_MM)
            axes.set_ylim(rows.stop * y + _MARGIN_MM, rows.start * y - _MARGIN_MM)
        axes.tick_params(labelsize=7)
        left, right, front, back = view.letters
        axes.set_xlabel("mm", fontsize=7)
        for letter, x, y in ((left, 0.04, 0.5), (right, 0.96, 0.5), (front, 0.5, 0.95)):
            axes.text(x, y, letter, transform=axes.transAxes, ha="center", va="center")
        axes.text(0.5, 0.05, back, transform=axes.transAxes, ha="center", va="center")
    lines = [
        Line2D([], [], color=_FIRST, linestyle="dashed", label=readers.first),
        Line2D([], [], color=class_color(2), label=readers.second),
    ]
    legend = figure.legend(handles=lines, loc="lower center", bbox_to_anchor=(0.5, 0.05), ncols=2)
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure.subplots_adjust(left=0.09, right=0.95, top=0.9, bottom=0.13, hspace=0.35)
    return figure


def _draw(axes: Axes, view: Plane, labels: Labels, style: str) -> None:
    plane, grid = view.cut(labels), view.grid
    y, x = ((np.arange(grid.shape[a]) + 0.5) * grid.spacing[a] for a in (1, 2))
    for code in np.unique(plane[plane > 0]):
        color = _FIRST if style == "dashed" else class_color(int(code) + 1)
        axes.contour(
            x, y, plane == code, levels=[0.5], colors=[color], linestyles=style, linewidths=1.2
        )


def _middle(labels: Labels) -> list[int]:
    slices = np.flatnonzero((labels > 0).any(axis=(1, 2)))
    return [int(slices[len(slices) // 2])] if slices.size else [0]


def _page(title: str, subtitle: str) -> Figure:
    figure = Figure(figsize=A4)
    figure.text(0.07, 0.96, title, fontsize=14, weight="bold", parse_math=False)
    figure.text(0.07, 0.943, f"{subtitle} · without the patient's name", fontsize=9)
    figure.text(0.07, 0.025, textwrap.fill(_FOOT, 120), fontsize=7, parse_math=False)
    return figure
