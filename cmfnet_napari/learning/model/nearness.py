"""Maps of the strokes for a network that works on voxels of any size (`Config.drawn_voxels`).

Where the second image has data; strokes of either side, and those that are newest; how near
either side is along both images, and in a straight line; the chance by look; and the chance by all
of these (first_chance.py), which is also where the scores begin. Voxels count as `VOXEL_MM`,
whatever they are in the patient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cmfnet_napari.core.arrays import Codes, Doubles, Floats, Mask, Reals
from cmfnet_napari.core.clues.appearance import look_features, looks_from
from cmfnet_napari.core.clues.race import EDGE_MM, costs_from, edge_strength
from cmfnet_napari.learning.model.first_chance import first_chance, stroke_features

VOXEL_MM = 2.0  # so that an object of 27 voxels is of the size that the race is used to
MAPS = 11
_SPACING = (VOXEL_MM,) * 3
_HALF_MM = 30.0  # cost at which a map is one half
_HALF_AWAY = 10.0  # voxels in a straight line, the same
_TREES = 16  # of the looks


@dataclass(frozen=True, eq=False)
class Strokes:
    """Strokes of one class against all others, on working voxels.

    Attributes
    ----------
    first, second : float32 arrays (z, y, x)
        Images in [0, 1].
    codes : uint8 array (z, y, x)
        1 the class, 0 others and background, `IGNORE` elsewhere.
    newest : bool array (z, y, x)
        What was drawn last.
    seen : bool array (z, y, x)
        Where the second image has data.
    texture : float32 array (z, y, x, features)
        What looks are learnt from (appearance.py).
    cost : float array (z, y, x)
        What a mm costs (race.py).
    own, other : float array (z, y, x)
        Cost from the strokes of the class and of the others, mm.
    """

    first: Reals
    second: Reals
    codes: Codes
    newest: Mask
    seen: Mask
    texture: Reals
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
        images = [first] if np.array_equal(first, second) else [first, second]
        texture = look_features(images)
        return cls(first, second, codes, newest, seen, texture, cost, own, other)

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
        look = self._look()
        features = self.features(look)
        near += [1 / (1 + np.exp(features[line]) / _HALF_AWAY) for line in ("own line", "line")]
        chance = first_chance(features)
        found = (self.seen, own, other, own & self.newest, other & self.newest, *near, look, chance)
        return np.stack([part.astype(np.float32) for part in found])

    def features(self, look: Reals | None = None) -> dict[str, Floats]:
        """What `first_chance` sees."""
        everywhere = np.ones(self.seen.shape, dtype=bool)
        images = ((self.first, everywhere), (self.second, self.seen))
        look = self._look() if look is None else look
        return stroke_features(images, self.codes, self.own, self.other, look)

    def _look(self) -> Reals:
        """Chance of the class by look; one half where one side has no stroke."""
        if not ((self.codes == 0).any() and (self.codes == 1).any()):
            return np.full(self.codes.shape, 0.5, dtype=np.float32)
        look: Reals = looks_from(self.texture, self.codes, 2, _TREES)[1]
        return look
