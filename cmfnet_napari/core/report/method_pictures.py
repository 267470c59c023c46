"""A picture of several methods' contours beside each other. No display is needed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.style import context as style_context

from cmfnet_napari.core.arrays import Codes, Reals
from cmfnet_napari.core.files import write_safely
from cmfnet_napari.core.geometry.boxes import bounding_box, grow
from cmfnet_napari.core.strokes.scribbles import REFERENCE_COLOR, class_color
from cmfnet_napari.core.words import drawn

_AROUND = (0, 16, 16)  # voxels of image around the contours
_ACROSS = 11  # methods beside each other at most; more are no longer seen on a page


@dataclass(frozen=True)
class Example:
    """One axial slice with what several methods say of it.

    Attributes
    ----------
    title : str
        What the row is called.
    image : float array (y, x)
        In [0, 1].
    spacing : tuple of float
        mm along (y, x).
    reference : integer array (y, x)
        Segmentation codes.
    found : mapping of integer array (y, x)
        Segmentation codes by the name of their method.
    """

    title: str
    image: Reals
    spacing: tuple[float, float]
    reference: Codes
    found: Mapping[str, Codes]


def make_example(
    title: str,
    image: Reals,
    spacing: tuple[float, float, float],
    reference: Codes,
    found: Mapping[str, Codes],
    z: int | None = None,
) -> Example:
    """An axial slice around all contours: that on which the reference is largest, or slice `z`.

    All arrays are (z, y, x) on one grid, spacing in mm along (z, y, x).
    """
    if z is None:
        z = int((reference > 0).sum(axis=(1, 2)).argmax())
    any_of = np.any([reference[z : z + 1] > 0, *(f[z : z + 1] > 0 for f in found.values())], axis=0)
    box = bounding_box(any_of)
    _, rows, columns = grow(box, _AROUND, any_of.shape) if box else (slice(None),) * 3
    cut = (z, rows, columns)
    labels = {name: of[cut] for name, of in found.items()}
    return Example(title, image[cut], (spacing[1], spacing[2]), reference[cut], labels)


@style_context("default")  # whatever a matplotlibrc in the current folder says
def save_method_pictures(examples: Sequence[Example], path: Path) -> Path:
    """Write slices with contours, a row an example, a column a method; the reference is dashed.

    More than 11 methods stand in several such blocks, one below the other.

    Parameters
    ----------
    examples : sequence of Example
        Of the same methods; one at least.
    path : Path
        Ends in ``.png`` or ``.pdf``.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    blocks, across = _blocks(len(examples[0].found))
    size = 2.2 * across, 2.4 * len(examples) * blocks
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    fill_with_examples(figure, examples)
    kind = path.suffix.removeprefix(".")
    return write_safely(path, path.suffix, lambda part: figure.savefig(part, format=kind))


def fill_with_examples(figure: Figure | SubFigure, examples: Sequence[Example]) -> None:
    """Fill a figure, or a part of one, with the pictures of `save_method_pictures`."""
    names = list(examples[0].found)
    blocks, across = _blocks(len(names))
    grid = figure.subplots(blocks * len(examples), across, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()  # until something is shown
    for number, name in enumerate(names):
        block, column = divmod(number, across)
        panels = grid[block * len(examples) :, column]
        panels[0].set_title(drawn(name), fontsize=9)
        for axes, example in zip(panels, examples, strict=False):
            axes.set_axis_on()
            _show(axes, example, example.found[name])
            if not column:
                axes.set_ylabel(drawn(example.title), fontsize=9)


def _blocks(methods: int) -> tuple[int, int]:
    """How many blocks, and how many methods each has beside each other."""
    blocks = math.ceil(methods / _ACROSS)
    return blocks, math.ceil(methods / blocks)


def _show(axes: Axes, example: Example, labels: Codes) -> None:
    high, wide = example.spacing
    axes.imshow(example.image, cmap="gray", vmin=0, vmax=1, aspect=high / wide)
    axes.set(xticks=[], yticks=[])
    for code in range(1, 1 + int(max(labels.max(initial=0), example.reference.max(initial=0)))):
        _line(axes, example.reference == code, REFERENCE_COLOR, "dashed")
        _line(axes, labels == code, class_color(code + 1), "solid")


def _line(axes: Axes, mask: np.ndarray, color: str, style: str) -> None:
    if mask.any() and not mask.all():
        axes.contour(mask.astype(float), [0.5], colors=[color], linewidths=1.2, linestyles=style)
