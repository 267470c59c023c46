"""One sample: two images of a small cube, and an object in it.

A sample has no millimetres: its voxels follow the size of the object, of which about `ACROSS`
voxels lie along its extent. So one network sees a spinal cord and a liver alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cmfnet_napari.core.arrays import Mask, Reals
from cmfnet_napari.core.geometry.boxes import bounding_box

SIDE = 56  # voxels along every side of a sample: a patch and some room to shift it
ACROSS = 27.0  # voxels along an object: geometric mean of its three extents
_LEVELS = 255


@dataclass(frozen=True, eq=False)
class Sample:
    """Two images and an object.

    Attributes
    ----------
    first, second : float32 arrays (z, y, x)
        In [0, 1]; the same image twice where there is one alone. The second is 0 where it has
        no data.
    seen : bool array (z, y, x)
        Where the second image has data.
    object : bool array (z, y, x)
        What is to be contoured; may reach beyond the cube.
    there : bool array (z, y, x)
        Where the patient's images reach; beyond them both are 0, and nothing is known.
    """

    first: Reals
    second: Reals
    seen: Mask
    object: Mask
    there: Mask

    def pack(self) -> np.ndarray:
        """As uint8 (3, z, y, x): both images; object, field of view and images' reach as bits."""
        images = [np.rint(image * _LEVELS) for image in (self.first, self.second)]
        bits = self.object + 2 * self.seen.astype(np.uint8) + 4 * self.there.astype(np.uint8)
        return np.stack([*images, bits]).astype(np.uint8)

    @classmethod
    def unpack(cls, packed: np.ndarray) -> Sample:
        """What `pack` made."""
        first, second = packed[:2].astype(np.float32) / _LEVELS
        inside, seen, there = ((packed[2] & bit) > 0 for bit in (1, 2, 4))
        return cls(first, second, seen, inside, there)


def extent(mask: Mask) -> float:
    """Geometric mean of the three sides of a mask's box, voxels; 0 for an empty one."""
    box = bounding_box(mask)
    return 0.0 if box is None else float(np.prod([s.stop - s.start for s in box]) ** (1 / 3))
