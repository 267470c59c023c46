"""What the strokes say about the voxels between them, by the race along the images.

*Guide*: a soft guess for unlabelled voxels. Partial cross entropy alone leaves almost every voxel
without a target; a network that starts from nothing then shrinks the tumour to its strokes. The
race (core/race.py) is a first contour from the same strokes, taught softly beside them, as in
seed expansion.

*Maps*: the same distances as further inputs, so that a base model sees where the strokes of a
patient are whom it does not know.

The paper's recipe does without either.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cmfnet_napari.core.grid import Triple
from cmfnet_napari.core.race import race
from cmfnet_napari.core.scribbles import IGNORE
from cmfnet_napari.learning.prepare import Inputs

FAR_MM = 1e4  # cost given to a class that no path reaches
_MAP_MM = 30.0  # cost at which a map is one half
_MAP_SOFTNESS_MM = 5.0


def stroke_costs(
    inputs: Inputs, targets: Tensor, body: Tensor, classes: int, spacing: Triple
) -> Tensor:
    """Cost from the strokes of each class to every voxel, mm.

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

    Returns
    -------
    tensor (1, classes, z, y, x), float32
        At most `FAR_MM`.
    """
    images = [image[0, 0].numpy() for image in (inputs.ct, inputs.mr)]
    starts = torch.where((body[0] < 0.5) & (targets == IGNORE), 0, targets)
    costs = torch.from_numpy(race(images, starts[0].numpy(), classes, spacing))
    return costs.clamp(max=FAR_MM)[None]


def make_guide(costs: Tensor, softness: float) -> Tensor:
    """Probability of each class, (1, C, z, y, x), from the costs.

    `softness` is the difference of costs, mm, at which one class is e times as likely as the
    other.
    """
    return (-costs / softness).softmax(dim=1)


def make_maps(costs: Tensor) -> Tensor:
    """Maps of the strokes for the network, (1, `map_count`, z, y, x), in [0, 1].

    Nearness to the strokes of every class, 1 at a stroke and one half at 30 mm, then the
    probability of every class but the background by the race.
    """
    guide = make_guide(costs, _MAP_SOFTNESS_MM)
    return torch.cat([1 / (1 + costs / _MAP_MM), guide[:, 1:]], dim=1)


def map_count(classes: int) -> int:
    """Number of maps for so many outputs, background included."""
    return 2 * classes - 1
