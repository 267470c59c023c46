"""Added path length: how much of a contour has to be drawn anew, on axial slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from cmfnet_napari.core.arrays import Mask


class AddedPath(NamedTuple):
    """Lengths on axial slices, mm.

    Attributes
    ----------
    added : float
        Of the reference's contour, what the other contour does not have.
    whole : float
        Of the reference's contour.
    """

    added: float
    whole: float

    @property
    def share(self) -> float | None:
        """Added path length, normalised: added / whole, 0 … 1; None without a reference."""
        return self.added / self.whole if self.whole else None


def added_path(contour: Mask, reference: Mask, spacing: Sequence[float]) -> AddedPath:
    """Added path length (Vaassen et al., Phys Imaging Radiat Oncol 13, 2020).

    A contour's voxels on an axial slice are those of the mask with a neighbour at one of four
    sides that is not in it; where the image ends counts as outside. Added are those of the
    reference that are none of the contour's; without tolerance. Each is as long as a voxel is wide
    on the mean of both sides of the slice.

    Parameters
    ----------
    contour, reference : bool array (z, y, x)
        What there was, and what it became or should be.
    spacing : sequence of float
        mm along (z, y, x).
    """
    added = whole = 0
    for one, other in zip(contour, reference, strict=True):
        if other.any():
            border = _border(other)
            whole += int(np.count_nonzero(border))
            added += int(np.count_nonzero(border & ~_border(one)))
    length = (spacing[1] + spacing[2]) / 2
    return AddedPath(added * length, whole * length)


def _border(mask: Mask) -> Mask:
    """Voxels of a slice's mask with a neighbour at a side that is not in it."""
    inner: Mask = ndimage.binary_erosion(mask)
    return mask & ~inner
