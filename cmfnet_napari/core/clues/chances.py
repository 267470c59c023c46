"""What the strokes tell of the voxels between them, before anything is trained.

Two geodesic races between the strokes (race.py), along the images alone and with a look at how
the classes look (appearance.py); the looks themselves; and a chance of every class from all of
them together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
from scipy.special import expit, softmax

from cmfnet_napari.core.arrays import Reals
from cmfnet_napari.core.clues.features import (
    Races,
    Scene,
    Weights,
    find_races,
    known_size,
    race_features,
    second_features,
    weigh,
)

# Two logistic regressions of the contour on simulated strokes of the development patients, by
# feature (benchmarks/clues.py; cross-validated in docs/measurements.md).
WEIGHTS = Path(__file__).with_name("clue_weights.json")
_ONE_CLASS = 2  # codes, with the background
_SOFT_MM = 5.0  # difference of costs at which one class is e times as likely as the other


@dataclass(frozen=True, eq=False)
class Clues(Races):
    """What one set of strokes tells.

    Attributes
    ----------
    chances : float32 array (classes, z, y, x)
        Probability of each class from all clues together.
    """

    chances: Reals


def find_clues(scene: Scene, classes: int, weights: tuple[Weights, Weights] | None = None) -> Clues:
    """Clues of strokes.

    For one class beside the background the chances come from two logistic regressions, the second
    of which sees the contour of the first, and counts the less the smaller that is than any it
    was found on. Their weights know one tumour, not several structures beside each other: between
    those the informed race decides.

    Parameters
    ----------
    scene : Scene
        Images and strokes.
    classes : int
        Outputs, background included.
    weights : two mappings, optional
        Weights of the features, with a "constant"; those of `WEIGHTS` when not given.
    """
    races = find_races(scene, classes)
    known = (races.plain, races.informed, races.looks)
    if classes > _ONE_CLASS:
        return Clues(*known, softmax(-races.informed / _SOFT_MM, axis=0))
    first, second = weights or load_weights()
    seen = list(race_features(scene, races))
    before = weigh(seen, first)
    after = weigh(chain(seen, second_features(scene, races, before)), second)
    chance = expit(before + known_size(scene, before) * (after - before)).astype(np.float32)
    return Clues(*known, np.stack([1 - chance, chance]))


@cache
def load_weights() -> tuple[Weights, Weights]:
    """Those that come with the package."""
    first, second = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    return first, second
