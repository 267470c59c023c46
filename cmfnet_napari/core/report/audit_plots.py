"""Effort over cases as a picture: by model, and over the months. No display is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.style import context as style_context

from cmfnet_napari.core.files import write_safely
from cmfnet_napari.core.strokes.scribbles import PALETTE
from cmfnet_napari.core.words import drawn

_LETTERS = 22  # of a model's name
Points = Sequence[tuple[str, float]]  # month, value of a case


@style_context("default")  # whatever a matplotlibrc in the current folder says
def save_audit(panels: Mapping[str, Mapping[str, Points]], path: Path) -> Path:
    """Write a PNG: above, a box and a dot a case by model; below, a dot a case over the months.

    Parameters
    ----------
    panels : mapping
        By measure, then by model: month (YYYY-MM, empty where it is not known) and value of every
        case.
    path : Path
        The PNG.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    figure = Figure(figsize=(3.4 * len(panels), 6.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, len(panels), squeeze=False)
    for boxes, months, (title, models) in zip(above, below, panels.items(), strict=True):
        _boxes(boxes, models)
        _months(months, models)
        boxes.set_title(drawn(title), fontsize=10)
    below[0].set_ylabel("by month of the last work")
    return write_safely(path, ".png", lambda part: figure.savefig(part, format="png"))


def _boxes(axes: Axes, models: Mapping[str, Points]) -> None:
    values = [[value for _, value in points] for points in models.values()]
    axes.boxplot(values, widths=0.5, showfliers=False, medianprops={"color": "black"})
    rng = np.random.default_rng(0)
    for at, of in enumerate(values, start=1):
        color = PALETTE[(at - 1) % len(PALETTE)]
        axes.plot(at + rng.uniform(-0.12, 0.12, len(of)), of, ".", color=color, alpha=0.8)
    named = zip(models, values, strict=True)
    axes.set_xticks(range(1, len(values) + 1), [f"{_short(name)}\n{len(of)}" for name, of in named])
    axes.tick_params(axis="x", labelsize=7)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)


def _months(axes: Axes, models: Mapping[str, Points]) -> None:
    known = sorted({month for points in models.values() for month, _ in points if month})
    for at, points in enumerate(models.values()):
        dated = [(known.index(month), value) for month, value in points if month]
        if dated:
            axes.plot(*zip(*dated, strict=True), ".", color=PALETTE[at % len(PALETTE)], alpha=0.8)
    step = -(-len(known) // 6) or 1  # six labels fit
    axes.set_xticks(range(0, len(known), step), known[::step])
    axes.tick_params(axis="x", labelsize=7)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)


def _short(name: str) -> str:
    return drawn(name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…")
