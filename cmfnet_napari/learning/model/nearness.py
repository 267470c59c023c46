"""Maps of the strokes for a network that works on voxels of any size (`Config.drawn_voxels`).

Where the second image has data; strokes of either side, and those that are newest; how near
either side is along both images; and the chance that the nearer side gives, which is also where
the scores begin. Voxels count as `VOXEL_MM`, whatever they are in the patient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from cmfnet_napari.core.arrays import Codes, Doubles, Mask, Reals
from cmfnet_napari.core.clues.race import EDGE_MM, costs_from, edge_strength

VOXEL_MM = 2.0  # so that an object of 27 voxels is of the size that the race is used to
MAPS = 8
_SPACING = (VOXEL_MM,) * 3
_HALF_MM = 30.0  # cost at which a map is one half
_SOFT_MM = 15.0  # difference of costs at which one side is e times as likely as the other; 5 mm
# are sure of themselves where they are wrong (cross entropy 0.35 for 0.23, docs/measurements.md)


@dataclass(frozen=True, eq=False)
class Strokes:
    """Strokes of one class against all others, on working voxels.

    Attributes
    ----------
    codes : uint8 array (z, y, x)
        1 the class, 0 others and background, `IGNORE` elsewhere.
    newest : bool array (z, y, x)
        What was drawn last.
    seen : bool array (z, y, x)
        Where the second image has data.
    cost : float array (z, y, x)
        What a mm costs (race.py).
    own, other : float array (z, y, x)
        Cost from the strokes of the class and of the others, mm.
    """

    codes: Codes
    newest: Mask
    seen: Mask
    cost: Doubles
    own: Doubles
    other: Doubles

    @classmethod
    def on(cls, first: Reals, second: Reals, seen: Mask, codes: Codes, newest: Mask) -> Strokes:
        """Strokes on two images in [0, 1], (z, y, x)."""
        everywhere = np.ones(seen.shape, dtype=bool)
        edges = edge_strength((first, second), _SPACING, (everywhere, seen))
        cost = 1 + EDGE_MM * edges
        other, own = (costs_from(codes == side, cost, _SPACING) for side in (0, 1))
        return cls(codes, newest, seen, cost, own, other)

    def with_stroke(self, stroke: Mask, code: int) -> Strokes:
        """One more stroke, which is the newest now; it wins where others lie."""
        codes = np.where(stroke, code, self.codes).astype(np.uint8)
        overdrawn = (stroke & (self.codes == 1 - code)).any()
        mine, theirs = (self.own, self.other) if code else (self.other, self.own)
        mine = np.minimum(mine, costs_from(stroke, self.cost, _SPACING))
        if overdrawn:
            theirs = costs_from(codes == 1 - code, self.cost, _SPACING)
        own, other = (mine, theirs) if code else (theirs, mine)
        return replace(self, codes=codes, newest=stroke, own=own, other=other)

    def maps(self) -> Reals:
        """Maps for the network, float32 (`MAPS`, z, y, x), in [0, 1]."""
        own, other = self.codes == 1, self.codes == 0
        near = [1 / (1 + cost / _HALF_MM) for cost in (self.own, self.other)]
        chance = expit((self.other - self.own) / _SOFT_MM)
        found = (self.seen, own, other, own & self.newest, other & self.newest, *near, chance)
        return np.stack([part.astype(np.float32) for part in found])
