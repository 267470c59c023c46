"""One stroke while it is drawn: what it has changed, and the ways to draw it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, Protocol, get_args

import numpy as np
from napari.layers import Labels

from cmfnet_napari.core.strokes.brush import Index, enclosed, swept
from cmfnet_napari.core.strokes.scribbles import UNLABELLED

Tool = Literal["free", "straight", "lasso"]
TOOLS: tuple[Tool, ...] = get_args(Tool)


class UnfinishedStroke:
    """What a stroke has changed so far; it can be taken back while it is being drawn.

    Parameters
    ----------
    layer : Labels
        Scribbles (z, y, x); its mode, class and protection count when the stroke begins.
    """

    def __init__(self, layer: Labels) -> None:
        self._layer = layer
        erase = layer.mode == "erase"
        self._code = UNLABELLED if erase else layer.selected_label
        self._only: int | None = None  # the one code that may be changed
        if layer.preserve_labels:
            self._only = layer.selected_label if erase else UNLABELLED
        self._done: list[tuple[Index, np.ndarray]] = []
        self._seen: list[np.ndarray] = []

    @property
    def voxels(self) -> np.ndarray:
        """Flat indices (C order of z, y, x) of all that may have changed, each once."""
        return np.unique(np.concatenate(self._seen)) if self._seen else np.zeros(0, int)

    def add(self, index: Index) -> None:
        """Paint or erase voxels, except those that are protected."""
        old = np.asarray(self._layer.data[index])
        change = old != self._code
        if self._only is not None:
            change &= old == self._only
        if not change.any():
            return
        index, old = tuple(axis[change] for axis in index), old[change]
        self._done.append((index, old))
        self._seen.append(np.ravel_multi_index(index, self._layer.data.shape))
        self._layer.data_setitem(index, self._code)

    def take_back(self) -> None:
        """As if nothing had been drawn."""
        for index, old in reversed(self._done):
            self._layer.data_setitem(index, old)
        self._done.clear()


class Way(Protocol):
    """How the places that the mouse passes become a stroke; places are voxels (z, y, x)."""

    def move(self, place: np.ndarray) -> None:
        """The mouse is there."""

    def end(self) -> None:
        """The button was let go."""


def begin(
    tool: Tool,
    layer: Labels,
    stroke: UnfinishedStroke,
    start: np.ndarray,
    plane: tuple[int, ...],
    mm: float,
) -> Way:
    """Start a stroke.

    Parameters
    ----------
    tool : str
        Name of the tool.
    layer : Labels
        Its scale is mm; with three `n_edit_dimensions` the brush is a ball.
    stroke : UnfinishedStroke
        Gets what is drawn.
    start : float array (3,)
        Where, in voxels z, y, x.
    plane : tuple of int
        The two array axes that are shown.
    mm : float
        Diameter of the brush.
    """
    axes = (0, 1, 2) if layer.n_edit_dimensions == 3 else plane
    shape = layer.data.shape
    if tool == "lasso":
        line = partial(swept, size_mm=0.0, spacing=layer.scale, shape=shape, axes=plane)
        return _Lasso(stroke, line, partial(enclosed, shape=shape, axes=plane), start)
    brush = partial(swept, size_mm=mm, spacing=layer.scale, shape=shape, axes=axes)
    return {"free": _Free, "straight": _Straight}[tool](stroke, brush, start)


class _Free:
    """A line that follows the mouse."""

    def __init__(
        self, stroke: UnfinishedStroke, brush: Callable[..., Index], start: np.ndarray
    ) -> None:
        self._stroke, self._brush, self._last = stroke, brush, start

    def move(self, place: np.ndarray) -> None:
        self._stroke.add(self._brush(self._last, place))
        self._last = place

    def end(self) -> None:
        pass


class _Straight:
    """A straight line from the start to where the mouse is."""

    def __init__(
        self, stroke: UnfinishedStroke, brush: Callable[..., Index], start: np.ndarray
    ) -> None:
        self._stroke, self._brush, self._start = stroke, brush, start

    def move(self, place: np.ndarray) -> None:
        self._stroke.take_back()
        self._stroke.add(self._brush(self._start, place))

    def end(self) -> None:
        pass


class _Lasso:
    """An outline that follows the mouse; its inside is filled at the end."""

    def __init__(
        self,
        stroke: UnfinishedStroke,
        line: Callable[..., Index],
        inside: Callable[..., Index],
        start: np.ndarray,
    ) -> None:
        self._stroke, self._line, self._inside = stroke, line, inside
        self._outline = [start]

    def move(self, place: np.ndarray) -> None:
        self._stroke.add(self._line(self._outline[-1], place))
        self._outline.append(place)

    def end(self) -> None:
        self._stroke.take_back()
        self._stroke.add(self._inside(np.array(self._outline)))
