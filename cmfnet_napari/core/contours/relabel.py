"""What changes when one class of a segmentation, or of scribbles, takes another shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cmfnet_napari.core.arrays import Codes, Mask, Wholes

_EMPTY = 0  # background of a segmentation, unlabelled in scribbles


@dataclass(frozen=True, eq=False)
class Relabelled:
    """Voxels that become something else.

    Attributes
    ----------
    voxels : int64 array (n,)
        Flat indices (C order of z, y, x), each once, rising.
    codes : uint8 array (n,)
        What they become: the class, or 0.
    """

    voxels: Wholes
    codes: Codes

    @property
    def added(self) -> int:
        """Voxels that become the class."""
        return int(np.count_nonzero(self.codes))

    @property
    def removed(self) -> int:
        """Voxels that become empty."""
        return len(self.codes) - self.added


def relabel(labels: Codes, code: int, mask: Mask, keep_others: bool) -> Relabelled:
    """Give one class another shape.

    Parameters
    ----------
    labels : uint8 array (z, y, x)
        Segmentation or scribbles.
    code : int
        The class, not 0.
    mask : bool array (z, y, x)
        Its new shape.
    keep_others : bool
        Whether other classes keep their voxels; a voxel has one class.
    """
    old = labels == code
    added = mask & (labels == _EMPTY if keep_others else ~old)
    voxels = np.flatnonzero(added | (old & ~mask))
    codes = np.where(mask.reshape(-1)[voxels], code, _EMPTY)
    return Relabelled(voxels, codes.astype(np.uint8))
