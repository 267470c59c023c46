"""What a view says in words: where its plane lies, and what is under the mouse."""

from __future__ import annotations

import math

import numpy as np
from napari.components import ViewerModel

from cmfnet_napari.core.geometry.plane import VIEWS, place_text
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.images.volume import Volume
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.views.canvas_words import Words
from cmfnet_napari.gui.views.planes import border_letters

_BAR_PIXELS, _BAR_SHARE = 150, 0.3
_LETTERS = ("RL", "AP", "IS")  # of negative and positive LPS x, y, z


def plane_text(view: ViewerModel, study: Study, image: str) -> str:
    """Image, plane, position in mm and number of the slice that a view shows, in short lines."""
    axis, grid = view.dims.order[0], study.grid
    mm = view.dims.point[axis]
    number = round((mm - grid.translate[axis]) / grid.spacing[axis]) + 1
    title = f"{image} {VIEWS[axis]}".strip()
    title = title[0].upper() + title[1:]
    return "\n".join((title, place_text(grid, axis, mm), f"{number} of {grid.shape[axis]}"))


def value_text(study: Study, place: np.ndarray) -> str:
    """Values of the images and the patient coordinates of a place.

    Parameters
    ----------
    study : Study
        What is looked at.
    place : array (3,)
        mm along the study's own axes (z, y, x).

    Returns
    -------
    str
        Short lines; empty outside of the study.
    """
    grid = study.grid
    index = np.round((place - np.array(grid.translate)) / np.array(grid.spacing)).astype(int)
    if (index < 0).any() or (index >= grid.shape).any():
        return ""
    voxel = tuple(index)
    values = f"{study.names[0]} {value_words(study.first, voxel)}"
    if study.second is not None:
        name, inside = study.names[1], bool(study.seen[voxel])
        here = f"{name} {value_words(study.second, voxel)}" if inside else f"{name}: none here"
        values += f"\n{here}"
    x, y, z = (
        f"{letters[int(value >= 0)]} {abs(value):.0f}"
        for letters, value in zip(_LETTERS, np.round(grid.to_patient(index)), strict=True)
    )
    return f"{values}\n{x}  {y}\n{z} mm"


def value_words(volume: Volume, voxel: tuple[int, ...]) -> str:
    """A value with its unit: whole Hounsfield units, others with the digits that count."""
    value = float(volume.array[voxel])
    words = f"{round(value)}" if volume.modality == "CT" else f"{value:.4g}"
    return f"{words} {volume.unit}".strip()


def bar_length(zoom: float, width: int) -> float:
    """Length of a scale bar, mm, that leaves the letter at the border's middle alone.

    Parameters
    ----------
    zoom : float
        Pixels a mm.
    width : int
        Of the canvas, pixels.
    """
    longest = min(_BAR_PIXELS, _BAR_SHARE * width) / zoom
    power = 10.0 ** math.floor(math.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest)


class Readout:
    """Writes both on a view's canvas.

    Parameters
    ----------
    session : Session
        With an open patient.
    view : ViewerModel
        The view.
    words : Words
        On its canvas.
    """

    def __init__(self, session: Session, view: ViewerModel, words: Words) -> None:
        self._session, self._view, self._words = session, view, words

    def show_plane(self, image: str) -> None:
        """Say where the plane lies; `image` is named where the view shows one alone."""
        study = self._session.case.study
        self._words.write("plane", plane_text(self._view, study, image))
        for border, letters in border_letters(study.grid, *self._view.dims.order[1:]).items():
            self._words.write(border, letters)

    def fit_bar(self) -> None:
        """Give the scale bar a length that fits."""
        zoom, width = self._view.scene.camera.zoom, self._view.canvas.size[1]
        bar, length = self._view.canvas.overlays.scale_bar, bar_length(zoom, width)
        if bar.length != length:
            bar.length = length
            bar.events.font_size.emit(bar.font_size, bar.font_size)  # napari draws it only then

    def show_value(self, place: np.ndarray | None) -> None:
        """Say what is at a place (mm along the study's axes); None when the mouse has left."""
        text = "" if place is None else value_text(self._session.case.study, place)
        self._words.write("value", text)
