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
_ONE_CLASS = 2  # codes, with the background
_SOFT_MM = 5.0  # difference of costs at which one class is e times as likely as the other
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

    For one class beside the background a logistic regression. Its weights know one tumour, not
    several structures beside each other: between those the informed race decides.
    """
    if len(clues.plain) > _ONE_CLASS:
        return softmax(-clues.informed / _SOFT_MM, axis=0)
    scores = np.zeros_like(clues.plain)
    scores[1] = _CONSTANT + np.tensordot(_WEIGHTS, features(clues), axes=1)
    return softmax(scores, axis=0)


def features(clues: Clues) -> np.ndarray:
    """What the chance of the one class is computed from, float32 (features, z, y, x).

    Logarithms of both races' costs to background and to the class, the logit of the look, and
    that of its neighbourhood, by itself and growing with the distance from all strokes; the last
    is the advantage in the informed race, cubed.
    """
    far, own = (_log(cost) for cost in clues.plain)
    near, informed = (_log(cost) for cost in clues.informed)
    look, smooth = _logit(clues.looks[1]), _logit(clues.smooth[1])
    lost = look * (far + own)
    return np.stack([far, own, near, informed, look, smooth, lost, (near - informed) ** 3])


def _log(cost: np.ndarray) -> np.ndarray:
    return np.log(cost + _NEAR_MM)


def _logit(chance: np.ndarray) -> np.ndarray:
    chance = chance.clip(_LEAST, 1 - _LEAST)
    return np.log(chance / (1 - chance))
