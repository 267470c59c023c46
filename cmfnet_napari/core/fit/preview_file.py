"""The preview of a fit: labels in a NumPy file, written by the worker, read by the window."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.errors import UserError


def read_preview(path: Path, shape: tuple[int, int, int]) -> Codes:
    """Read a preview; the file cannot run code, and its size is known before it is read.

    Parameters
    ----------
    path : Path
        A ``.npy`` file.
    shape : tuple of int
        Of the Study's Grid, (z, y, x).

    Returns
    -------
    uint8 array (z, y, x)

    Raises
    ------
    UserError
        It is missing, damaged, or of another study.
    """
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # whatever a damaged header makes NumPy's parser say
        raise UserError(
            f"The preview {path.name} cannot be read. Train again to see the next one."
        ) from error
    if not isinstance(mapped, np.ndarray) or mapped.shape != shape or mapped.dtype != np.uint8:
        raise UserError(f"The preview {path.name} is of other images. Train again.")
    return np.array(mapped)
