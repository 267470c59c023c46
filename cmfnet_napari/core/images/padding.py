"""Where an MR has data: everywhere but in the constant padding around it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cmfnet_napari.core.arrays import Mask

_FACES = [(axis, end) for axis in range(3) for end in (0, -1)]
_FLAT = 3  # voxels, in both directions of a face: noise does not repeat a value nine times
_MOSTLY = 0.5  # of a value's voxels on the faces: the air's are flat here and there


def has_data(array: np.ndarray) -> Mask:
    """Everywhere but in the padding: voxels of its value that hang together with a face.

    The padding's value is the one that lies flat on the faces most often, and mostly so, whatever
    single voxels may hold elsewhere: resampling leaves some below it. Where no value lies mostly
    flat, there is no padding but the noise of air.

    Parameters
    ----------
    array : array (z, y, x)
        An MR.

    Returns
    -------
    bool array (z, y, x)
    """
    flat = {face: _flat(np.take(array, face[1], face[0])) for face in _FACES}
    on_faces = np.concatenate([np.take(array, end, axis).ravel() for axis, end in _FACES])
    of_them = np.concatenate([flat[face].ravel() for face in _FACES])
    values, where = np.unique(on_faces, return_inverse=True)
    flat_ones = np.bincount(where, weights=of_them)
    flat_ones[flat_ones < _MOSTLY * np.bincount(where)] = 0
    if not flat_ones.any():
        return np.ones(array.shape, dtype=bool)
    value = values[flat_ones.argmax()]
    parts, count = ndimage.label(array == value)
    padding = np.zeros(count + 1, dtype=bool)
    for axis, end in _FACES:
        padding[np.take(parts, end, axis)[flat[axis, end]]] = True
    padding[0] = False
    data: Mask = ~padding[parts]
    return data


def _flat(face: np.ndarray) -> Mask:
    """Where all voxels around one of a face have its value."""
    lowest = ndimage.minimum_filter(face, _FLAT, mode="nearest")
    flat: Mask = lowest == ndimage.maximum_filter(face, _FLAT, mode="nearest")
    return flat
