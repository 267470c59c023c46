"""The tools, a row of `TOOLS` each, and one stroke while it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from napari.layers import Labels

from cmfnet_napari.core.strokes.brush import Index, enclosed, swept
from cmfnet_napari.core.strokes.scribbles import UNLABELLED
from cmfnet_napari.gui.shared.shortcuts import Shortcut


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
        self._same: list[np.ndarray] = []

    @property
    def voxels(self) -> np.ndarray:
        """Flat indices (C order of z, y, x) of all that may have changed, each once."""
        return np.unique(np.concatenate(self._seen)) if self._seen else np.zeros(0, int)

    @property
    def affirmed(self) -> np.ndarray:
        """Flat indices of what was drawn over in the code that was there, each once."""
        return np.unique(np.concatenate(self._same)) if self._same else np.zeros(0, int)

    def add(self, index: Index) -> None:
        """Paint or erase voxels, except those that are protected."""
        old = np.asarray(self._layer.data[index])
        change = old != self._code
        self._same.append(np.ravel_multi_index(index, self._layer.data.shape)[~change])
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
        self._same.clear()


class Way(Protocol):
    """How the places that the mouse passes become a stroke; places are voxels (z, y, x)."""

    def move(self, place: np.ndarray) -> None:
        """The mouse is there."""

    def end(self) -> None:
        """The button was let go."""


@dataclass(frozen=True)
class Ground:
    """What a stroke is drawn on, and with which brush; places are voxels (z, y, x).

    Attributes
    ----------
    shape : tuple of int
        Of the layer's array.
    spacing : sequence of float
        Of its voxels, mm.
    plane : tuple of int
        The two array axes that are shown.
    axes : tuple of int
        Those that the brush reaches along: `plane`, or all three for a ball.
    size_mm : float
        Diameter of the brush.
    """

    shape: tuple[int, ...]
    spacing: Sequence[float]
    plane: tuple[int, ...]
    axes: tuple[int, ...]
    size_mm: float

    def brushed(self, start: np.ndarray, end: np.ndarray) -> Index:
        """Voxels under the brush on its way."""
        return swept(start, end, self.size_mm, self.spacing, self.shape, self.axes)

    def line(self, start: np.ndarray, end: np.ndarray) -> Index:
        """Voxels on the way itself."""
        return swept(start, end, 0.0, self.spacing, self.shape, self.plane)

    def inside(self, outline: np.ndarray) -> Index:
        """Voxels inside a closed line."""
        return enclosed(outline, self.shape, self.plane)


def ground_of(layer: Labels, plane: tuple[int, ...], size_mm: float) -> Ground:
    """The ground of a layer in mm; with three `n_edit_dimensions` the brush is a ball."""
    axes = (0, 1, 2) if layer.n_edit_dimensions == 3 else plane
    return Ground(layer.data.shape, layer.scale, plane, axes, size_mm)


class _Free:
    """A line that follows the mouse."""

    def __init__(self, stroke: UnfinishedStroke, ground: Ground, start: np.ndarray) -> None:
        self._stroke, self._ground, self._last = stroke, ground, start

    def move(self, place: np.ndarray) -> None:
        self._stroke.add(self._ground.brushed(self._last, place))
        self._last = place

    def end(self) -> None:
        pass


class _Straight:
    """A straight line from the start to where the mouse is."""

    def __init__(self, stroke: UnfinishedStroke, ground: Ground, start: np.ndarray) -> None:
        self._stroke, self._ground, self._start = stroke, ground, start

    def move(self, place: np.ndarray) -> None:
        self._stroke.take_back()
        self._stroke.add(self._ground.brushed(self._start, place))

    def end(self) -> None:
        pass


class _Lasso:
    """An outline that follows the mouse; its inside is filled at the end."""

    def __init__(self, stroke: UnfinishedStroke, ground: Ground, start: np.ndarray) -> None:
        self._stroke, self._ground, self._outline = stroke, ground, [start]

    def move(self, place: np.ndarray) -> None:
        self._stroke.add(self._ground.line(self._outline[-1], place))
        self._outline.append(place)

    def end(self) -> None:
        self._stroke.take_back()
        self._stroke.add(self._ground.inside(np.array(self._outline)))


@dataclass(frozen=True)
class Tool:
    """All there is to say of a tool.

    Attributes
    ----------
    label : str
        On its button.
    shortcut : Shortcut
        Its key, and what it does.
    tip : str
        How it is used.
    begin : callable
        Begins a stroke: gets the stroke, its ground and the place (float, z, y, x).
    cursor : str
        napari's name of the pointer.
    """

    label: str
    shortcut: Shortcut
    tip: str
    begin: Callable[[UnfinishedStroke, Ground, np.ndarray], Way]
    cursor: str = "circle"


_JOINED = "With Ctrl (Cmd), a straight line from where the last stroke ended"
_PRESS = "Press where it begins, let go where it ends"
_AROUND = "Draw around an area; it is filled when you let go"
TOOLS = {
    "free": Tool("Free", Shortcut("D", "Draw a free line"), _JOINED, _Free),
    "straight": Tool("Straight", Shortcut("S", "Draw a straight line"), _PRESS, _Straight),
    "lasso": Tool("Lasso", Shortcut("O", "Outline an area and fill it"), _AROUND, _Lasso, "cross"),
}
