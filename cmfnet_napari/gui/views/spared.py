"""What napari does for every slice, layer or canvas, left out where nobody sees it.

napari offers no setting for any of it, so its own methods are replaced on the layer or canvas;
what it calls them is checked by the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256

import numpy as np
from napari.layers import Labels, Layer
from napari.qt import QtViewer

_letters: dict[tuple[bytes, tuple[int, int]], np.ndarray] = {}  # as they lie on the graphics card


def no_thumbnail(layer: Layer) -> None:
    """Draw no thumbnail of a layer that is in no layer list."""
    layer._update_thumbnail = _nothing


def search_borders(layer: Labels, on: bool) -> None:
    """Search every slice for the border of its labels (napari's way), or leave it out.

    A third of the GUI thread's time in scrolling, also while the layer is not drawn.
    """
    if not on:
        layer._calculate_contour = _nothing
    elif vars(layer).pop("_calculate_contour", None) is not None:
        layer.refresh(thumbnail=False, highlight=False, extent=False)


def tools_when_used(layer: Labels) -> None:
    """Make what napari draws of its tools when they are used, in a view beside the main one.

    It takes a tenth of a second for each layer in each view, for a polygon that hardly anybody
    draws there, and for the encircling of the right button, which sets window and level here.
    """
    polygon = layer._overlays["polygon"]

    def follow(_event: object = None) -> None:
        if polygon.visible != (layer.mode == "polygon"):
            polygon.visible = not polygon.visible
            layer.events.affine()  # only then does napari put what is new at the voxels' place

    layer._overlays["brush_stroke"].visible = False
    layer.events.mode.connect(follow)
    follow()


def letters_once(qt_viewer: QtViewer) -> None:
    """Compute the shape of each letter once, not once for each canvas that it is written on.

    Three planes of a patient took half a second more for it.
    """
    renderer = qt_viewer.canvas.font_info().font_manager._renderer
    if "render_to_texture" not in vars(renderer):
        renderer.render_to_texture = partial(_put_letter, renderer.render_to_texture)


def _put_letter(
    render: Callable,
    letter: np.ndarray,
    texture: np.ndarray,
    at: tuple[int, int],
    size: tuple[int, int],
) -> None:
    """As vispy's renderers do: a letter (uint8, y x) into a texture at x, y; width and height."""
    (x, y), (width, height) = at, size
    key = sha256(np.array(letter.shape).tobytes() + letter.tobytes()).digest(), size
    if key not in _letters:
        _letters[key] = np.zeros((height, width, 3), np.uint8)
        render(letter, _letters[key], (0, 0), size)
    texture[y : y + height, x : x + width] = _letters[key]


def _nothing(*_args: object) -> None:
    """For napari: there is no contour, and nothing to do."""
