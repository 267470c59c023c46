"""Where the scores of a network for any structure begin: a chance from what the strokes say.

A logistic regression, taught on lessons of many structures (benchmarks/first_chance.py): how near
either side is, along the images and as the crow flies, how much a voxel looks like either, and how
the user draws, which moves the border as a whole. The race alone is a far worse beginning
(docs/measurements.md).
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
_MOST_LEAD = 1.8  # beyond it more lead would count against a side: its cube weighs the other way
_LEAST = 1e-3  # chance that is never believed to be 0
_LEAST_SPREAD = 0.03  # of intensities at strokes
_FAR = 100.0  # voxels to a side without a stroke
_NEAREST = 0.1  # share of the other side's strokes that counts as the nearest
_APART = 3.0  # logarithm of a usual distance, where there is none


def first_chance(
    features: Mapping[str, Floats], weights: Mapping[str, float] | None = None
) -> Reals:
    """Chance of the class, float32 (z, y, x), from `stroke_features`, by the package's weights."""
    weights = weights or load_weights()
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
    dict of str to float array that broadcasts to (z, y, x)
        Those of `_habits` are one number for all voxels.
    """
    near, far = (np.log(cost + _NEAR_MM) for cost in (own, other))
    looks = _log_odds(look)
    line, own_line = (_distance(codes == side) for side in (0, 1))
    habits = _habits(codes, near, far, line, own_line)
    nearer = own_line - line
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
        "nearer cubed": nearer**3,
        "beyond gap": np.maximum(own_line - habits["gap line"], 0),
        **habits,
    }


def _habits(
    codes: Codes, near: Doubles, far: Doubles, line: Doubles, own_line: Doubles
) -> dict[str, Doubles]:
    """How the user draws: how far each side lies from the other's strokes, and how much of each.

    Many strokes of background close to the border say that it is near them, few far ones do not.
    """
    own, other = codes == 1, codes == 0
    numbers = {
        "gap": _mean(far[own]),
        "gap line": _mean(line[own]),
        "gap back": _mean(near[other]),
        "gap line back": _mean(own_line[other]),
        "nearest back": float(np.quantile(own_line[other], _NEAREST)) if other.any() else _APART,
        "drawn": float(np.log(own.sum() + 1)),
        "drawn back": float(np.log(other.sum() + 1)),
    }
    return {name: np.full((1, 1, 1), number) for name, number in numbers.items()}


def _mean(values: Doubles) -> float:
    return float(values.mean()) if len(values) else _APART


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
