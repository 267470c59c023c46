"""Where the scores of a network for any structure begin: a chance from what the strokes say.

A logistic regression, taught on lessons of many structures (benchmarks/first_chance.py): how near
either side is, along the images and as the crow flies, and how much a voxel looks like either.
The race alone is a far worse beginning (docs/measurements.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.special import expit

from cmfnet_napari.core.arrays import Codes, Doubles, Floats, Mask, Reals

WEIGHTS = Path(__file__).with_name("first_chance.json")
_AROUND, _WIDE = 1.5, 4.0  # voxels over which looks are averaged
_NEAR_MM = 3.0  # costs below this are alike
_NEAR = 1.5  # the same of distances, voxels
_MOST_LEAD = 2.85  # beyond it more lead would count against a side: its cube weighs the other way
_LEAST = 1e-3  # chance that is never believed to be 0
_LEAST_SPREAD = 0.03  # of intensities at strokes
_FAR = 100.0  # voxels to a side without a stroke


def first_chance(features: Mapping[str, Floats]) -> Reals:
    """Chance of the class, float32 (z, y, x), from `stroke_features`."""
    weights = load_weights()
    score: Floats = np.asarray(weights["constant"])
    for name, values in features.items():
        score = score + weights[name] * values
    chance: Reals = expit(score).astype(np.float32)
    return chance


@cache
def load_weights() -> dict[str, float]:
    """By feature, and "constant"."""
    weights: dict[str, float] = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    return weights


def stroke_features(
    images: Sequence[tuple[Reals, Mask]], codes: Codes, own: Doubles, other: Doubles, look: Reals
) -> dict[str, Floats]:
    """What the regression sees.

    Parameters
    ----------
    images : sequence of (float array, bool array), each (z, y, x)
        Both images in [0, 1], and where they have data.
    codes : uint8 array (z, y, x)
        1 the class, 0 others, `IGNORE` elsewhere.
    own, other : float arrays (z, y, x)
        Cost from the strokes of the class and of the others, mm.
    look : float array (z, y, x)
        Chance of the class by look.

    Returns
    -------
    dict of str to float array (z, y, x)
    """
    near, far = (np.log(cost + _NEAR_MM) for cost in (own, other))
    looks = _log_odds(look)
    line, own_line = (_distance(codes == side) for side in (0, 1))
    return {
        "own": near,
        "far": far,
        "lead cubed": (far - near).clip(-_MOST_LEAD, _MOST_LEAD) ** 3,
        "look": looks,
        "look around": _log_odds(ndimage.gaussian_filter(look, _AROUND)),
        "look widely around": _log_odds(ndimage.gaussian_filter(look, _WIDE)),
        "look far off": looks * (far + near),
        "line": line,
        "own line": own_line,
        "first image": _unlike(*images[0], codes),
        "second image": _unlike(*images[1], codes),
    }


def _distance(side: Mask) -> Doubles:
    """Logarithm of the voxels to a side."""
    if not side.any():
        return np.full(side.shape, np.log(_FAR))
    distance: Doubles = np.log(ndimage.distance_transform_edt(~side) + _NEAR)
    return distance


def _unlike(image: Reals, seen: Mask, codes: Codes) -> Floats:
    """How much more unlike the class than the others an intensity is; 0 without data."""
    sides = [image[(codes == side) & seen] for side in (1, 0)]
    if not all(len(side) for side in sides):
        return np.zeros_like(image)
    own, other = (abs(image - side.mean()) for side in sides)
    spread = np.concatenate(sides).std() + _LEAST_SPREAD
    return np.where(seen, (own - other) / spread, 0)


def _log_odds(chance: Reals) -> Reals:
    known = chance.clip(_LEAST, 1 - _LEAST)
    odds: Reals = np.log(known / (1 - known))
    return odds
