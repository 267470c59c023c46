"""The list of classes and its colours in napari."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
from napari.utils.colormaps import DirectLabelColormap

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.strokes.scribbles import (
    BACKGROUND,
    FIRST_CLASS,
    MAX_CODE,
    PALETTE,
    REFERENCE_COLOR,
    ScribbleClass,
    class_color,
    label_colors,
)

Classes = tuple[ScribbleClass, ...]


def add_class(classes: Classes, name: str = "") -> Classes:
    """The classes and one more.

    Raises
    ------
    UserError
        There are as many as codes already.
    """
    code = max(entry.code for entry in classes) + 1
    if code > MAX_CODE:
        raise UserError(f"There are {len(classes)} classes already; {MAX_CODE} codes exist.")
    names, colors = ({getattr(e, key) for e in classes} for key in ("name", "color"))
    free = (f"Class {n}" for n in range(code - BACKGROUND, MAX_CODE + code))  # one may have it
    name = name.strip() or next(own for own in free if own not in names)
    color = next((own for own in PALETTE if own not in colors), class_color(code))
    return (*classes, ScribbleClass(code, name, color))


def change_class(classes: Classes, code: int, *, name: str = "", color: str = "") -> Classes:
    """The classes with one renamed or recoloured; an empty value changes nothing."""
    return tuple(
        replace(entry, name=name.strip() or entry.name, color=color or entry.color)
        if entry.code == code
        else entry
        for entry in classes
    )


def classes_up_to(classes: Classes, code: int) -> Classes:
    """The classes, completed so that a code has one."""
    while max(entry.code for entry in classes) < code:
        classes = add_class(classes)
    return classes


def class_names(classes: Classes) -> list[str]:
    """Names of the segmentation's codes 1, 2, … in order."""
    return [entry.name for entry in classes if entry.code >= FIRST_CLASS]


def scribble_colors(classes: Classes) -> DirectLabelColormap:
    """Colours of a scribbles layer."""
    return _colormap({entry.code: entry.color for entry in classes})


def segmentation_colors(classes: Classes) -> DirectLabelColormap:
    """Colours of a segmentation layer: each class as its strokes, background clear."""
    return _colormap(label_colors(classes))


def provisional_colors(classes: Classes) -> DirectLabelColormap:
    """Colours of what is not the contour yet, a preview or provisional: paler than its class's."""
    return _colormap({code: _paled(color) for code, color in label_colors(classes).items()})


def reference_colors() -> DirectLabelColormap:
    """One colour for every label of a contour from elsewhere, unlike any class's."""
    table = defaultdict(lambda: np.zeros(4), {None: REFERENCE_COLOR, 0: "transparent"})
    return DirectLabelColormap(color_dict=table)


def one_color(color: str) -> DirectLabelColormap:
    """One colour (``#rrggbb``) for label 1 of a structure."""
    return _colormap({1: color})


def _paled(color: str) -> str:
    """Two thirds of the way to white, #rrggbb: its lightness tells, whatever colours one sees."""
    parts = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{(part + 2 * 255) // 3:02x}" for part in parts)


def _colormap(colors: dict[int, str]) -> DirectLabelColormap:
    """Codes without a class are magenta: seen, and nobody's colour."""
    table: defaultdict[int | None, object] = defaultdict(lambda: np.zeros(4))
    table.update({None: "magenta", 0: "transparent", **colors})
    return DirectLabelColormap(color_dict=table)
