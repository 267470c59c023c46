"""M-CNN: a network a modality, which learn to give one place the same features.

After the text of Ma et al., Physics in Medicine and Biology 2019: both networks segment, and the
error of a similarity between their features is minimised with those of the segmentations. Left
open by what is freely readable: the sub-networks (here V-Nets of three stages), the form of the
similarity error (here the contrastive loss of Hadsell et al., CVPR 2006), its weight (1), and how
both answers become one (here the mean of their probabilities).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cmfnet_napari.core.fit.config import DropoutAt, Normalisation
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.model.network import Network, crop_to, mean_scores, pad_to
from cmfnet_napari.learning.model.vnet import DOWNSAMPLINGS, VNet

STAGES = 3
EMBEDDED = 8  # features that are compared
MARGIN = 1.0  # features of different classes are to be at least so far apart
_PAIRS = 512  # of labelled voxels, compared in a step


class MetricCNN(Network):
    """Two V-Nets with features to compare.

    Parameters
    ----------
    classes, width, normalisation, dropout, dropout_at
        As `VNet`.
    """

    def __init__(
        self,
        classes: int,
        width: int,
        normalisation: Normalisation,
        dropout: float,
        dropout_at: DropoutAt,
    ) -> None:
        super().__init__()
        self.classes = classes
        parts = (STAGES, width, normalisation, dropout, dropout_at)
        self.ct, self.mr = (VNet(1, classes, *parts) for _ in range(2))
        self.ct_features, self.mr_features = (nn.Conv3d(width, EMBEDDED, 1) for _ in range(2))

    def forward(self, ct: Tensor, mr: Tensor, maps: Tensor | None = None) -> tuple[Tensor, ...]:
        """Scores of both networks, then the features (B, `EMBEDDED`, z, y, x) of both."""
        answers: list[Tensor] = []
        embedded: list[Tensor] = []
        for network, embed, image in (
            (self.ct, self.ct_features, ct),
            (self.mr, self.mr_features, mr),
        ):
            multiple = 2**DOWNSAMPLINGS
            features, lead = network.encoder(pad_to(image, multiple, 2 * multiple))
            answers.append(crop_to(network.decode(features, lead), ct.shape[2:]))
            embedded.append(crop_to(embed(features[0]), ct.shape[2:]))
        return (*answers, *embedded)

    def fused(self, ct: Tensor, mr: Tensor, maps: Tensor | None = None) -> Tensor:
        """The mean of both networks."""
        return mean_scores(self(ct, mr)[:2])


def similarity_error(first: Tensor, second: Tensor, targets: Tensor) -> Tensor:
    """Contrastive error between the features of two images, mean over pairs of voxels.

    The features of both images at one labelled voxel are to be the same, those of the first there
    and of the second at a voxel of another class at least `MARGIN` apart. Pairs are drawn by
    torch's chance.

    Parameters
    ----------
    first, second : tensor (B, E, z, y, x)
        Features.
    targets : tensor (B, z, y, x)
        Classes, or `IGNORE`.

    Returns
    -------
    scalar tensor; 0 when nothing is labelled
    """
    labelled = targets != IGNORE
    if not labelled.any():
        return (first.sum() + second.sum()) * 0.0
    codes = targets[labelled]
    here, there = (features.movedim(1, -1)[labelled].float() for features in (first, second))
    chosen = torch.randint(len(codes), (_PAIRS,))
    others = torch.randint(len(codes), (_PAIRS,))
    same = (here[chosen] - there[chosen]).square().sum(dim=1)
    apart = ((here[chosen] - there[others]).square().sum(dim=1) + 1e-12).sqrt()
    differ = (codes[chosen] != codes[others]).to(apart)
    pushed = differ * (MARGIN - apart).clamp(min=0).square()
    return (same + pushed).mean() / 2
