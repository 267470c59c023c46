"""What a network says about a study."""

from __future__ import annotations

from dataclasses import dataclass

from cmfnet_napari.core.arrays import Codes, Reals


@dataclass(frozen=True)
class Prediction:
    """What the network says about a study.

    Attributes
    ----------
    labels : uint8 array (z, y, x) on the Study's Grid
        Segmentation codes; background outside the region worked on.
    probability : float32 array (z, y, x) on the Study's Grid
        That the voxel is not background.
    disagreement : float32 array (z, y, x) on the Study's Grid, or None
        How far the three branches are apart: the largest of their probabilities that the voxel
        is not background, less the smallest (0 … 1). None when only y_mm was computed.
    """

    labels: Codes
    probability: Reals
    disagreement: Reals | None = None
