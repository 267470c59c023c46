"""Curves of a training as pictures. No display is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.style import context as style_context

from cmfnet_napari.core.arrays import Doubles
from cmfnet_napari.core.files import write_safely
from cmfnet_napari.core.fit.events import Step
from cmfnet_napari.core.strokes.scribbles import PALETTE
from cmfnet_napari.core.words import drawn

Curve = dict[str, list[float]]
_STYLES = "-", "--", ":", "-."  # of lines whose colour comes again


@style_context("default")  # whatever a matplotlibrc in the current folder says
def save_losses(events: Sequence[Step], path: str | Path) -> Path:
    """Write a PNG of every loss term over the steps of a fit.

    Parameters
    ----------
    events : sequence of Step
        In order; terms as they were sent, unweighted.
    path : path
        The PNG.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    names = dict.fromkeys(name for event in events for name in event.losses)
    for i, name in enumerate(names):
        points = [(e.step, e.losses[name]) for e in events if e.losses.get(name, 0) > 0]
        width = 2.2 if name == "total" else 1.2
        color = "black" if name == "total" else PALETTE[i % len(PALETTE)]
        if points:
            axes.plot(*zip(*points, strict=True), label=drawn(name), color=color, linewidth=width)
    axes.set(xlabel="step", ylabel="loss (each term unweighted)", yscale="log")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(frameon=False)
    return _save(figure, path)


@style_context("default")  # whatever a matplotlibrc in the current folder says
def save_training(curves: Mapping[str, tuple[Curve, Curve]], path: str | Path) -> Path:
    """Draw the total loss and the held-out DSC of every split of a training, or method of a study.

    Parameters
    ----------
    curves : mapping
        Name of each → columns of its losses.csv (``step``, ``total``) and of its scores.csv
        (``step``, ``dsc``); both may be empty.
    path : path
        The PNG or PDF.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    high = max(3.6, 0.22 * len(curves) + 0.2)  # inches: a line of the legend each
    figure = Figure(figsize=(9, high), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharex=True)
    for i, (name, (losses, scores)) in enumerate(curves.items()):
        label = drawn(name) or "model"
        color, style = PALETTE[i % len(PALETTE)], _STYLES[i // len(PALETTE) % len(_STYLES)]
        if losses:
            if len(curves) <= len(PALETTE):  # else nothing could be told apart
                left.plot(losses["step"], losses["total"], color=color, linewidth=0.4, alpha=0.4)
            steps, means = _running_mean(losses["step"], losses["total"])
            left.plot(steps, means, color=color, linestyle=style, label=label)
        if scores:
            right.plot(
                scores["step"], scores["dsc"], marker="o", color=color, linestyle=style, label=label
            )
    left.set(xlabel="step", ylabel="loss (running mean)", yscale="log")
    right.set(xlabel="step", ylabel="mean DSC of patients held out", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    named = dict(zip(*reversed(right.get_legend_handles_labels()), strict=True))
    named |= dict(zip(*reversed(left.get_legend_handles_labels()), strict=True))
    if named:
        figure.legend(named.values(), named.keys(), frameon=False, loc="outside right upper")
    return _save(figure, path)


@style_context("default")  # whatever a matplotlibrc in the current folder says
def save_sweep(
    title: str, values: Sequence[float], means: Mapping[str, Sequence[float]], path: str | Path
) -> Path:
    """Draw mean scores over the values of a setting, a panel a metric.

    Parameters
    ----------
    title : str
        What was changed.
    values : sequence of float
        Of the setting.
    means : mapping
        Name of a metric → its mean at every value.
    path : path
        The PNG or PDF.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    figure = Figure(figsize=(3.6 * len(means), 3.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(means), squeeze=False)[0]
    for axes, (metric, scores) in zip(panels, means.items(), strict=True):
        axes.plot(values, scores, "o-", color=PALETTE[0])
        axes.set(xlabel=drawn(title), ylabel=drawn(metric))
        axes.grid(alpha=0.3)
    return _save(figure, path)


def _running_mean(steps: Sequence[float], values: Sequence[float]) -> tuple[list[float], Doubles]:
    """Mean over a window of a twentieth of the steps, at its last step."""
    window = max(1, len(values) // 20)
    return list(steps[window - 1 :]), np.convolve(values, np.full(window, 1 / window), "valid")


def _save(figure: Figure, path: str | Path) -> Path:
    """As PNG or PDF, by the file's ending."""
    ending = Path(path).suffix
    return write_safely(Path(path), ending, lambda part: figure.savefig(part, format=ending[1:]))
