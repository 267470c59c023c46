"""File → Save for layers: medical images in millimetres, on the grid they belong to."""

from __future__ import annotations

from typing import Any

import numpy as np

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.checkerboard import Checkerboard
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import save_labels
from cmfnet_napari.core.images.volume import write_image
from cmfnet_napari.gui.patient.layers import GRID, OPENED

_DIMENSIONS = 3


def write_layer(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """npe2 writer of one image or labels layer, as NIfTI, NRRD or MHA by the ending.

    A layer of the open patient goes onto the CT's original grid, geometry to the bit; one that
    was read from a file, onto the file's patient axes; any other is placed by its scale and
    translation, taken as millimetres along the patient's axes.

    Raises
    ------
    UserError
        Not three-dimensional, turned or sheared in napari, or it cannot be written; napari shows
        the sentence.
    """
    array = np.asarray(data.image if isinstance(data, Checkerboard) else data)
    if array.ndim != _DIMENSIONS:
        raise UserError(f"The layer has {array.ndim} dimensions; medical images have three.")
    metadata = attributes.get("metadata", {})
    if OPENED in metadata:
        save_labels(array, metadata[OPENED].case.study, path)
    else:
        grid = metadata.get(GRID) or _grid_of(array.shape, attributes)
        write_image(grid.to_image(array), path)
    return [path]


def _grid_of(shape: tuple[int, int, int], attributes: dict[str, Any]) -> Grid:
    turned = [attributes.get(name) for name in ("rotate", "affine")]
    shear = attributes.get("shear")
    straight = all(m is None or np.allclose(m, np.eye(len(m))) for m in turned)
    if not straight or (shear is not None and not np.allclose(shear, 0)):
        raise UserError("The layer is turned or sheared in napari; its voxels have no grid.")
    spacing, corner = (tuple(map(float, attributes[name])) for name in ("scale", "translate"))
    return Grid(shape, spacing, corner[::-1])
