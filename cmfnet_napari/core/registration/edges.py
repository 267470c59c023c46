"""Edges of the MR: laid over the CT, they show a registration that is wrong."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.images.study import Study

_SIGMA_MM = 1.0  # what is smaller is noise
_NONE = 0.9  # of the MR's voxels are no edge


def mr_edges(study: Study) -> Codes:
    """Where the MR changes most, as uint8 (z, y, x), 1 at the edges."""
    if study.second is None:
        raise ValueError("a study without MR has no edges of it")
    sigma = [_SIGMA_MM / s for s in study.grid.spacing]
    change = ndimage.gaussian_gradient_magnitude(study.second.array.astype(np.float32), sigma)
    inside = ndimage.binary_erosion(study.seen, iterations=2)
    if not inside.any():
        return np.zeros(study.grid.shape, dtype=np.uint8)
    edges: Codes = (inside & (change > np.quantile(change[inside], _NONE))).astype(np.uint8)
    return edges
