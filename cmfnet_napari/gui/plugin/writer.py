"""File → Save for layers: medical images in millimetres, on the grid they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import napari
import numpy as np

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.checkerboard import Checkerboard
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import save_labels
from cmfnet_napari.core.images.volume import write_image
from cmfnet_napari.gui.patient.layers import GRID, OPENED, placement

_DIMENSIONS = 3
_SAME_MM = 1e-3  # napari keeps what it is given
_STRAIGHT = 1 - 1e-9  # of a cosine: an image along the patient's axes


def write_layer(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """npe2 writer of one image or labels layer, as NIfTI, NRRD or MHA by the ending.

    A layer of the open patient goes onto the first image's grid, geometry to the bit; one that
    was read from a file, or made over such a layer, onto that file's patient axes; any other is
    placed by its scale and translation, taken as millimetres along the patient's axes, unless
    there is an image that it may have been made over.

    Raises
    ------
    UserError
        Not three-dimensional, moved, turned or sheared in napari, of no known place, or it cannot
        be written; napari shows the sentence.
    """
    array = np.asarray(data.image if isinstance(data, Checkerboard) else data)
    if array.ndim != _DIMENSIONS:
        raise UserError(f"The layer has {array.ndim} dimensions; medical images have three.")
    _check_straight(attributes)
    metadata = attributes.get("metadata", {})
    if OPENED not in metadata and GRID not in metadata:
        metadata = _made_over(array.shape, attributes)
    if OPENED in metadata:
        study = metadata[OPENED].case.study
        _check_place(array.shape, attributes, study.grid)
        save_labels(array, study, path)
        return [path]
    grid = metadata.get(GRID)
    if grid is None:
        spacing, corner = (tuple(map(float, attributes[name])) for name in ("scale", "translate"))
        grid = Grid(array.shape, spacing, corner[::-1])
    _check_place(array.shape, attributes, grid)
    write_image(grid.to_image(array), path)
    return [path]


def _check_straight(attributes: dict[str, Any]) -> None:
    turned = [attributes.get(name) for name in ("rotate", "affine")]
    shear = attributes.get("shear")
    straight = all(m is None or np.allclose(m, np.eye(len(m))) for m in turned)
    if not straight or (shear is not None and not np.allclose(shear, 0)):
        raise UserError("The layer is turned or sheared in napari; its voxels have no grid.")


def _lies_on(shape: tuple[int, ...], attributes: dict[str, Any], grid: Grid) -> bool:
    """Whether a layer lies in napari where layers of a grid do."""
    here = placement(grid)
    same = (np.allclose(attributes[k], here[k], atol=_SAME_MM) for k in ("scale", "translate"))
    return shape == grid.shape and all(same)


def _check_place(shape: tuple[int, ...], attributes: dict[str, Any], grid: Grid) -> None:
    if not _lies_on(shape, attributes, grid):
        raise UserError(
            "The layer lies elsewhere than the image it came from: it was moved, cut or scaled in "
            "napari. Make it anew over the image, then save it."
        )


def _made_over(shape: tuple[int, ...], attributes: dict[str, Any]) -> dict[str, Any]:
    """What the image knows of its place that a layer was made over; nothing if there is none.

    napari's *new labels* copies scale and translation of a layer, but an oblique image lies along
    its own planes, and only it knows the patient's axes.

    Raises
    ------
    UserError
        There may be one, but which is not known.
    """
    viewer = napari.current_viewer()
    placed = [dict(x.metadata) for x in viewer.layers if _grid(x.metadata)] if viewer else []
    under = [known for known in placed if _lies_on(shape, attributes, _grid(known))]
    if under and all(_grid(under[0]).same_place(_grid(known)) for known in under):
        return under[0]
    oblique = any(np.abs(_grid(known).matrix).max(axis=0).min() < _STRAIGHT for known in placed)
    copied = any(" – " in str(label) for label in attributes.get("axis_labels") or ())
    in_mm = not placed and any(str(u) != "pixel" for u in attributes.get("units") or ())
    if under or oblique or copied or in_mm:
        raise UserError(
            "Where the layer lies in the patient is not known: it fits no image that is open here. "
            "Select the image, make a new layer over it (napari's 'new labels layer'), and save "
            "that."
        )
    return {}


def _grid(metadata: Mapping[str, Any]) -> Grid | None:
    opened = metadata.get(OPENED)
    return metadata.get(GRID) if opened is None else opened.case.study.grid
