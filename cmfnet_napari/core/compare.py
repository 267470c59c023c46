"""Pictures in which a wrong registration is seen: checkerboard of CT and MR, edges of the MR."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cmfnet_napari.core.normalise import ct_to_unit
from cmfnet_napari.core.study import Study

_SQUARE_MM = 20.0
_EDGE_MM = 1.0  # what is smaller is noise
_EDGES = 0.9  # of the MR's voxels are none


def checkerboard(
    study: Study, ct_window: tuple[float, float], mr_limits: tuple[float, float]
) -> np.ndarray:
    """CT and MR in squares of 2 cm, which meet at borders that must go on.

    Parameters
    ----------
    study : Study
        With an MR.
    ct_window, mr_limits : (float, float)
        HU and MR values shown black and white.

    Returns
    -------
    uint8 array (z, y, x)
        Grey values; the CT also where the MR has no data.
    """
    grid = study.grid
    cells = [
        (np.arange(n) * s // _SQUARE_MM).astype(int)
        for n, s in zip(grid.shape, grid.spacing, strict=True)
    ]
    odd = (cells[0][:, None, None] + cells[1][:, None] + cells[2]) % 2 == 1
    odd &= study.mr_fov
    picture = _grey(study.ct.array, ct_window)
    picture[odd] = _grey(study.mr.array[odd], mr_limits)
    return picture


def edges(study: Study) -> np.ndarray:
    """Where the MR changes most, as uint8 (z, y, x), 1 at the edges: to be laid over the CT."""
    sigma = [_EDGE_MM / s for s in study.grid.spacing]
    change = ndimage.gaussian_gradient_magnitude(study.mr.array.astype(np.float32), sigma)
    inside = ndimage.binary_erosion(study.mr_fov, iterations=2)
    if not inside.any():
        return np.zeros(study.grid.shape, dtype=np.uint8)
    return (inside & (change > np.quantile(change[inside], _EDGES))).astype(np.uint8)


def _grey(array: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return (255 * ct_to_unit(array, limits)).astype(np.uint8)
