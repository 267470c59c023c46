"""Edges of the second image: over the first, they show a registration that is wrong."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.images.study import Study

_SIGMA_MM = 1.0  # what is smaller is noise
_NONE = 0.9  # of its voxels are no edge


def second_edges(study: Study) -> Codes:
    """Where the second image changes most, as uint8 (z, y, x), 1 at the edges."""
    if study.second is None:
        raise ValueError("a study of one image has no edges of a second")
    sigma = [_SIGMA_MM / s for s in study.grid.spacing]
    change = ndimage.gaussian_gradient_magnitude(study.second.array.astype(np.float32), sigma)
    inside = ndimage.binary_erosion(study.seen, iterations=2)
    if not inside.any():
        return np.zeros(study.grid.shape, dtype=np.uint8)
    edges: Codes = (inside & (change > np.quantile(change[inside], _NONE))).astype(np.uint8)
    return edges
