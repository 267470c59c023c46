"""The geodesic guide: a soft guess for unlabelled voxels, so that few strokes go far.

Partial cross entropy alone leaves almost every voxel without a target; a network that starts
from nothing then shrinks the tumour to its strokes. The race between the strokes (core/race.py)
is a first contour from the same strokes, taught softly beside them, as in seed expansion. The
paper's recipe does without.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cmfnet_napari.core.grid import Triple
from cmfnet_napari.core.race import race
from cmfnet_napari.core.scribbles import IGNORE
from cmfnet_napari.learning.prepare import Inputs

FAR_MM = 1e4  # cost given to a class that no path reaches


def make_guide(
    inputs: Inputs, targets: Tensor, body: Tensor, classes: int, spacing: Triple, softness: float
) -> Tensor:
    """Probability of each class from the costs of the race.

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
    softness : float
        Difference of costs, mm, at which one class is e times as likely as the other.

    Returns
    -------
    tensor (1, classes, z, y, x), float32
    """
    images = [image[0, 0].numpy() for image in (inputs.ct, inputs.mr)]
    starts = torch.where((body[0] < 0.5) & (targets == IGNORE), 0, targets)
    costs = torch.from_numpy(race(images, starts[0].numpy(), classes, spacing))
    return (-costs.clamp(max=FAR_MM) / softness).softmax(dim=0)[None]
