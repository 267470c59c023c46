"""napari layers of a case, all placed by the Study's Grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import DirectLabelColormap

from cmfnet_napari.core.case.structures import Structure
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.gui.patient.classes import one_color, reference_colors, scribble_colors
from cmfnet_napari.gui.patient.opened import Opened

LayerData = tuple[np.ndarray, dict[str, Any], str]
OPENED = "cmfnet"  # metadata key under which a layer carries its `Opened`
GRID = "cmfnet_grid"  # metadata key of the Grid of a layer that was read from a file
PLACED = "cmfnet_placed"  # metadata key of where the second image lay for what was drawn on it
ROLE = "cmfnet_role"  # metadata key of its name when it was made: users rename layers
LINE = "cmfnet_line"  # metadata key of layers that are shown as a line
NO_CONTOUR = "cmfnet_no_contour"  # metadata key of labels that are none: strokes, edges
CONTOUR_WIDTH = 1  # voxels


def placement(grid: Grid) -> dict[str, Any]:
    """Keywords that put an array of a Grid at its place, in millimetres."""
    return {
        "scale": grid.spacing,
        "translate": grid.translate,
        "units": ("mm", "mm", "mm"),
        "axis_labels": tuple(f"{low} – {high}" for low, high in grid.axis_letters),
    }


def case_layers(opened: Opened) -> list[LayerData]:
    """Layer data of images, contour, structures (when there are), scribbles, bottom to top."""
    study = opened.case.study
    layers = [_image(opened, number) for number in range(len(study.names))]
    if opened.contour is not None:
        layers.append(_contour(opened))
    layers += [_structure(opened, structure) for structure in opened.structures]
    scribbles = {
        **placement(study.grid),
        "name": "Scribbles",
        "colormap": scribble_colors(opened.case.classes),
        "opacity": 0.9,
        "metadata": {**_metadata(opened, "Scribbles"), NO_CONTOUR: True},
    }
    return [*layers, (opened.scribbles, scribbles, "labels")]


def contour_layers(viewer: ViewerModel, grid: Grid) -> list[Labels]:
    """Contours that are loaded: Labels on the Study's Grid, but no strokes or edges."""
    return [
        layer
        for layer in viewer.layers
        if isinstance(layer, Labels)
        and not layer.metadata.get(NO_CONTOUR)
        and layer.data.shape == grid.shape
        and np.allclose(layer.scale, grid.spacing)
        and np.allclose(layer.translate, grid.translate)
    ]


def insert_below(viewer: ViewerModel, layer: Layer, other: Layer) -> None:
    """Show a layer below another; what was selected stays so."""
    active = viewer.layers.selection.active
    viewer.layers.insert(viewer.layers.index(other), layer)
    viewer.layers.selection.active = active


def segmentation_layer(
    labels: np.ndarray,
    grid: Grid,
    colormap: DirectLabelColormap,
    name: str,
    filled: bool = False,
) -> Labels:
    """Labels layer of a segmentation (uint8, z y x), as a line or filled."""
    layer = Labels(labels, name=name, colormap=colormap, **placement(grid))
    show_filled(layer, filled)
    return layer


def set_visible(layer: Layer, on: bool) -> None:
    """Show or hide a layer; napari draws a whole view anew even where it is so already."""
    if layer.visible != on:
        layer.visible = on


def forget_history(layer: Labels) -> None:
    """Clear napari's own undo, which would put voxels of other labels back; the mode stays."""
    if layer.editable:
        mode = layer.mode
        layer.editable = False  # napari's public way to do it
        layer.editable = True
        layer.mode = mode


def show_filled(layer: Labels, filled: bool) -> None:
    """Show a segmentation as a see-through area or as a line."""
    layer.contour = 0 if filled else CONTOUR_WIDTH
    layer.opacity = 0.4 if filled else 0.9


def disagreement_layer(apart: np.ndarray, study: Study) -> Image:
    """Image layer of how far the branches are apart, 0 … 1 (float32, z y x), hidden at first."""
    name = "Disagreement"
    if study.second is not None:
        name += f" of {' and '.join(study.names)}"
    return probability_layer(apart, study.grid, name, "viridis")


def probability_layer(
    probability: np.ndarray, grid: Grid, name: str, colormap: str = "inferno"
) -> Image:
    """Image layer of a probability 0 … 1 (float32, z y x), hidden until it is asked for."""
    return Image(
        probability,
        name=name,
        colormap=colormap,
        contrast_limits=(0.0, 1.0),
        blending="additive",
        opacity=0.4,
        visible=False,
        **placement(grid),
    )


def _image(opened: Opened, number: int) -> LayerData:
    """The first image (0), or the second: hidden at first, since it covers the first."""
    study = opened.case.study
    volume = study.second if number else study.first
    shown = {
        **placement(study.grid),
        "name": study.names[number],
        "colormap": "gray",
        "contrast_limits": opened.limits[number],
        "metadata": _metadata(opened, study.names[number]),
    }
    if number:
        shown |= {"blending": "translucent", "opacity": 1.0, "visible": False}
    return volume.array, shown, "image"


def _contour(opened: Opened) -> LayerData:
    """Hidden at first: who tries the scribbles should not see the answer."""
    shown = {
        **placement(opened.case.study.grid),
        "name": "Contour",
        "colormap": reference_colors(),
        "visible": False,
        "metadata": {**_metadata(opened, "Contour"), LINE: True},
    }
    return opened.contour, shown, "labels"


def _structure(opened: Opened, structure: Structure) -> LayerData:
    """Shown as a line; *Automatic strokes from a contour* can erode it."""
    shown = {
        **placement(opened.case.study.grid),
        "name": f"{structure.name} (structure)",
        "colormap": one_color(structure.color),
        "metadata": {**_metadata(opened, f"{structure.name} (structure)"), LINE: True},
    }
    return structure.mask.astype(np.uint8), shown, "labels"


def _metadata(opened: Opened, role: str) -> dict[str, Any]:
    credit = {"licence and citation": opened.credit} if opened.credit else {}
    return {OPENED: opened, ROLE: role, **credit}
