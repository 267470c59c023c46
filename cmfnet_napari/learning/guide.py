"""What the strokes say about the voxels between them.

Clues come from two races between the strokes (core/race.py), along the images alone and with a
look at how the classes look (core/appearance.py), and from the looks themselves.

*Guide*: a soft guess for unlabelled voxels. Partial cross entropy alone leaves almost every voxel
without a target; a network that starts from nothing then shrinks the tumour to its strokes. The
races are a first contour from the same strokes, taught softly beside them, as in seed expansion.

*Maps*: the clues as further inputs, so that a base model sees where the strokes of a patient are
whom it does not know.

The paper's recipe does without either.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cmfnet_napari.core.appearance import appearance
from cmfnet_napari.core.grid import Triple
from cmfnet_napari.core.race import LOOKS_EDGE_MM, race
from cmfnet_napari.core.scribbles import IGNORE
from cmfnet_napari.learning.prepare import Inputs

FAR_MM = 1e4  # cost given to a class that no path reaches
_MAP_MM = 30.0  # cost at which a map is one half
_MAP_SOFTNESS_MM = 5.0


@dataclass(frozen=True)
class Clues:
    """What one set of strokes tells; all tensors (1, classes, z, y, x), float32.

    Attributes
    ----------
    plain : tensor
        Cost from the strokes of each class, mm, along the images; at most `FAR_MM`.
    informed : tensor
        The same of the race that knows how the classes look.
    looks : tensor
        Probability of each class by look.
    """

    plain: Tensor
    informed: Tensor
    looks: Tensor


def find_clues(
    inputs: Inputs, targets: Tensor, body: Tensor, classes: int, spacing: Triple
) -> Clues:
    """Clues of strokes.

    Parameters
    ----------
    inputs : Inputs
        Images on the working grid.
    targets : tensor (1, z, y, x), int64
        Strokes on it.
    body : tensor (1, 1, z, y, x)
        Share of each voxel that is the patient: the air around is background without a stroke.
    classes : int
        Outputs, background included.
    spacing : tuple of float
        Of the working grid (z, y, x), mm.
    """
    images = [image[0, 0].numpy() for image in (inputs.ct, inputs.mr)]
    starts = with_air(targets, body)[0].numpy()
    looks = appearance(images, targets[0].numpy(), classes)
    races = (
        race(images, starts, classes, spacing),
        race(images, starts, classes, spacing, LOOKS_EDGE_MM, looks),
    )
    plain, informed = (torch.from_numpy(costs).clamp(max=FAR_MM)[None] for costs in races)
    return Clues(plain, informed, torch.from_numpy(looks)[None])


def with_air(targets: Tensor, body: Tensor) -> Tensor:
    """Strokes (1, z, y, x) with all that is not the patient as background."""
    return torch.where((body[0] < 0.5) & (targets == IGNORE), 0, targets)


def make_guide(clues: Clues, softness: float) -> Tensor:
    """Probability of each class, (1, C, z, y, x), from the informed race.

    `softness` is the difference of costs, mm, at which one class is e times as likely as the
    other.
    """
    return _chance(clues.informed, softness)


def make_maps(clues: Clues) -> Tensor:
    """Maps of the strokes for the network, (1, `cmfnet.map_count`, z, y, x), in [0, 1].

    Nearness to the strokes of every class, 1 at a stroke and one half at 30 mm; then for every
    class but the background its probability by either race, and by look.
    """
    chances = (_chance(costs, _MAP_SOFTNESS_MM) for costs in (clues.plain, clues.informed))
    found = [part[:, 1:] for part in (*chances, clues.looks)]
    return torch.cat([1 / (1 + clues.plain / _MAP_MM), *found], dim=1)


def _chance(costs: Tensor, softness: float) -> Tensor:
    return (-costs / softness).softmax(dim=1)
