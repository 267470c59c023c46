"""What the strokes tell of the voxels between them, before anything is trained.

Two geodesic races between the strokes (race.py), along the images alone and with a look at how
the classes look (appearance.py); the looks themselves; and a chance of every class from all of
them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import softmax

from cmfnet_napari.core.appearance import appearance
from cmfnet_napari.core.grid import Triple
from cmfnet_napari.core.race import LOOKS_EDGE_MM, race
from cmfnet_napari.core.scribbles import IGNORE

FAR_MM = 1e4  # cost given to a class that no path reaches
_NEAR_MM = 3.0  # costs below this are alike
_SMOOTH_MM = 3.0  # over which looks are averaged
_LEAST = 1e-3  # chance of a look that is never believed to be 0
# Logistic regression of the contour on the features of careful and hasty simulated strokes on the
# 24 development patients (benchmarks/clues.py; cross-validated in docs/measurements.md).
_WEIGHTS = (4.018, 1.8712, -2.0093, -5.4339, -0.9398, 0.2368, 0.1154, 0.0275)
# 10.8663 by the regression; somewhat more, since DSC is best where voxels count from 0.45 on.
_CONSTANT = 11.0663


@dataclass(frozen=True, eq=False)
class Clues:
    """What one set of strokes tells; all arrays float32 (classes, z, y, x).

    Attributes
    ----------
    plain : array
        Cost from the strokes of each class, mm, along the images; at most `FAR_MM`.
    informed : array
        The same of the race that knows how the classes look.
    looks : array
        Probability of each class by look.
    smooth : array
        The same, averaged over the neighbours.
    """

    plain: np.ndarray
    informed: np.ndarray
    looks: np.ndarray
    smooth: np.ndarray


def find_clues(
    images: Sequence[np.ndarray],
    strokes: np.ndarray,
    body: np.ndarray,
    classes: int,
    spacing: Triple,
) -> Clues:
    """Clues of strokes.

    Parameters
    ----------
    images : sequence of float arrays (z, y, x)
        CT and MR in [0, 1].
    strokes : integer array (z, y, x)
        Segmentation codes at strokes, `IGNORE` elsewhere.
    body : bool array (z, y, x)
        What is the patient: the air around is background without a stroke.
    classes : int
        Outputs, background included.
    spacing : tuple of float
        Of the arrays (z, y, x), mm.
    """
    starts = with_air(strokes, body)
    looks = appearance(images, strokes, classes)
    plain = race(images, starts, classes, spacing)
    informed = race(images, starts, classes, spacing, LOOKS_EDGE_MM, looks)
    sigma = [0.0, *(_SMOOTH_MM / mm for mm in spacing)]
    smooth = gaussian_filter(looks, sigma)
    return Clues(np.minimum(plain, FAR_MM), np.minimum(informed, FAR_MM), looks, smooth)


def with_air(strokes: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Strokes with all that is not the patient as background."""
    return np.where(~body & (strokes == IGNORE), 0, strokes)


def chances(clues: Clues) -> np.ndarray:
    """Probability of every class from all clues together, float32 (classes, z, y, x).

    A logistic regression for each class against whatever else is nearest.
    """
    scores = np.zeros_like(clues.plain)
    for code in range(1, len(scores)):
        scores[code] = _CONSTANT + np.tensordot(_WEIGHTS, features(clues, code), axes=1)
    return softmax(scores, axis=0)


def features(clues: Clues, code: int) -> np.ndarray:
    """What the chance of a class is computed from, float32 (features, z, y, x).

    Logarithms of both races' costs to the nearest other class and to this one, the logit of the
    look, and that of its neighbourhood, by itself and growing with the distance from all strokes;
    the last is the advantage in the informed race, cubed.
    """
    other = [k for k in range(len(clues.plain)) if k != code]
    far, near = (_log(race[other].min(axis=0)) for race in (clues.plain, clues.informed))
    own, informed = _log(clues.plain[code]), _log(clues.informed[code])
    look, smooth = _logit(clues.looks[code]), _logit(clues.smooth[code])
    lost = look * (far + own)
    return np.stack([far, own, near, informed, look, smooth, lost, (near - informed) ** 3])


def _log(cost: np.ndarray) -> np.ndarray:
    return np.log(cost + _NEAR_MM)


def _logit(chance: np.ndarray) -> np.ndarray:
    chance = chance.clip(_LEAST, 1 - _LEAST)
    return np.log(chance / (1 - chance))
