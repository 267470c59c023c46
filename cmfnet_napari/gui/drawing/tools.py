"""The tools, a row of `TOOLS` each, and one stroke while it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from napari.layers import Labels

from cmfnet_napari.core.arrays import three
from cmfnet_napari.core.contours.components import part_at
from cmfnet_napari.core.strokes.brush import Index, ValueRange, enclosed, swept
from cmfnet_napari.gui.shared.shortcuts import Shortcut

EMPTY = 0  # unlabelled in scribbles, background in a contour


class UnfinishedStroke:
    """What a stroke has changed so far; it can be taken back while it is being drawn.

    Parameters
    ----------
    layer : Labels
        Scribbles or a contour (z, y, x); its mode, class and protection count when the stroke
        begins.
    within : ValueRange, optional
        What lies outside of it stays as it is.
    """

    def __init__(self, layer: Labels, within: ValueRange | None = None) -> None:
        self._layer, self._within = layer, within
        if layer.mode == "erase":
            self.take_away(layer.selected_label if layer.preserve_labels else None)
        else:
            self.put()
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

    def put(self) -> None:
        """Paint the class in use from here on, whatever the mode says."""
        self._code: int = self._layer.selected_label
        self._only: int | None = EMPTY if self._layer.preserve_labels else None

    def take_away(self, only: int | None) -> None:
        """Erase from here on, whatever the mode says: one code, or all."""
        self._code, self._only = EMPTY, only

    def code_at(self, place: np.ndarray) -> int:
        """The code at a place (float, z, y, x); that of nothing outside the image."""
        at = np.round(place).astype(int)
        inside = ((at >= 0) & (at < self._layer.data.shape)).all()
        return int(self._layer.data[tuple(at)]) if inside else EMPTY

    @property
    def draws(self) -> int:
        """The code of the class in use."""
        return int(self._layer.selected_label)

    def part_at(self, place: np.ndarray) -> Index:
        """The connected part (3D) of one code at a place."""
        at = np.round(place).astype(int)
        part = part_at(np.asarray(self._layer.data) == self.code_at(place), at.tolist())
        return three(np.unravel_index(part, self._layer.data.shape))

    def add(self, index: Index) -> None:
        """Paint or erase voxels, except those that are protected."""
        if self._within is not None:
            held = self._within.holds(index)
            index = three(axis[held] for axis in index)
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


class _Nudge(_Free):
    """A disc that pushes the border: outwards where it begins inside the class, else inwards."""

    def __init__(self, stroke: UnfinishedStroke, ground: Ground, start: np.ndarray) -> None:
        super().__init__(stroke, ground, start)
        if stroke.code_at(start) == stroke.draws:
            stroke.put()
        else:
            stroke.take_away(stroke.draws)


class _Island:
    """Takes away the connected part, in 3D, on which the mouse is pressed."""

    def __init__(self, stroke: UnfinishedStroke, _ground: Ground, start: np.ndarray) -> None:
        code = stroke.code_at(start)
        if code != EMPTY:
            stroke.take_away(code)
            stroke.add(stroke.part_at(start))

    def move(self, place: np.ndarray) -> None:
        pass

    def end(self) -> None:
        pass


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
_PUSH = "Press inside the class and push its border out, or outside and push it in"
_CLICK = "Click a part that does not belong: all of it goes, on every slice"
TOOLS = {
    "free": Tool("Free", Shortcut("D", "Draw a free line"), _JOINED, _Free),
    "straight": Tool("Straight", Shortcut("S", "Draw a straight line"), _PRESS, _Straight),
    "lasso": Tool("Lasso", Shortcut("O", "Outline an area and fill it"), _AROUND, _Lasso, "cross"),
    "nudge": Tool("Nudge", Shortcut("U", "Push the border"), _PUSH, _Nudge),
    "island": Tool("Island", Shortcut("J", "Remove an island"), _CLICK, _Island, "cross"),
}
