"""What the strokes say about the voxels between them (core/clues/chances.py), for the network.

*Guide*: a soft guess for unlabelled voxels. Partial cross entropy alone leaves almost every voxel
without a target; a network that starts from nothing then shrinks the tumour to its strokes. The
clues are a first contour from the same strokes, taught softly beside them, as in seed expansion.

*Maps*: the clues as further inputs, so that a network sees where the strokes are. The last of
them, the chances of the classes, are also where its scores begin: it learns what to change.

The paper's recipe does without either.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor

from cmfnet_napari.core.arrays import Reals
from cmfnet_napari.core.clues.chances import Clues

_MAP_MM = 30.0  # cost at which a map is one half
_MAP_SOFTNESS_MM = 5.0  # difference of costs at which one class is e times as likely as the other
_LEAST = 1e-3  # of a chance: a score that the network can still overcome


def make_guide(clues: Clues) -> Tensor:
    """Probability of each class, (1, C, z, y, x), float32."""
    return torch.from_numpy(clues.chances)[None]


def make_maps(clues: Clues) -> Tensor:
    """Maps of the strokes for the network, (1, `map_count`, z, y, x), in [0, 1].

    Nearness to the strokes of every class, 1 at a stroke and one half at 30 mm; then for every
    class but the background its probability by either race, by look, and by all together.
    """
    races = [_chance(costs) for costs in (clues.plain, clues.informed)]
    found = [part[1:] for part in (*races, clues.looks, clues.chances)]
    return torch.from_numpy(np.concatenate([1 / (1 + clues.plain / _MAP_MM), *found]))[None]


def map_count(classes: int) -> int:
    """Number of maps for so many outputs, background included."""
    return classes + 4 * (classes - 1)


def first_scores(maps: Tensor, classes: int) -> Tensor:
    """Scores (B, classes, z, y, x) that the network begins with: logarithms of the chances."""
    known = maps[:, 1 - classes :].float()
    every = torch.cat([1 - known.sum(dim=1, keepdim=True), known], dim=1)
    return every.clamp(min=_LEAST).log()


def _chance(costs: Reals) -> Reals:
    chance: Reals = softmax(-costs / _MAP_SOFTNESS_MM, axis=0)
    return chance
