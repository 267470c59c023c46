"""Networks that see CT and MR as channels of one image, as the paper's Tables I to III have it."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from cmfnet_napari.core.fit.config import DropoutAt, Normalisation
from cmfnet_napari.learning.model.network import Network, crop_to, mean_scores, pad_to
from cmfnet_napari.learning.model.vnet import DOWNSAMPLINGS, Decoder, VNet

STAGES = 4  # of the V-Net: the paper does not say; MR4 is the one with its four resolutions


class Merged(Network):
    """Any network of one image with several channels.

    Parameters
    ----------
    body : Module
        (B, 2, z, y, x) → scores (B, classes, z, y, x).
    classes : int
        Outputs, background included.
    multiple : int
        What every side must be a multiple of.
    foreign : bool
        Its convolutions are PyTorch's own, not `blocks.Convolution`: on a CPU it stays in float32.
    """

    def __init__(
        self,
        body: nn.Module,
        classes: int,
        multiple: int = 2**DOWNSAMPLINGS,
        *,
        foreign: bool = False,
    ) -> None:
        super().__init__()
        self.body, self.classes, self._multiple = body, classes, multiple
        self._foreign = foreign

    def forward(self, ct: Tensor, mr: Tensor, maps: Tensor | None = None) -> tuple[Tensor, ...]:
        """One answer."""
        return (self.fused(ct, mr, maps),)

    def fused(self, ct: Tensor, mr: Tensor, maps: Tensor | None = None) -> Tensor:
        """Scores of the body, of the size that came in."""
        images = _padded(ct, mr, self._multiple)
        with torch.autocast("cpu", enabled=False) if self._foreign else nullcontext():
            scores: Tensor = self.body(images)
        return crop_to(scores, ct.shape[2:])


class DualVNet(Network):
    """A V-Net with a second decoder that sees half of the features (DMSPS).

    Scores to predict with are those whose probabilities are the mean of both decoders', which is
    what the second stage's labels are made from too.

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
        self.main = VNet(2, classes, STAGES, width, normalisation, dropout, dropout_at)
        dropped = dropout if dropout_at == "stages" else 0.0
        self.auxiliary = Decoder(classes, STAGES, width, normalisation, dropped)
        self.thinned = nn.Dropout3d(0.5)

    def forward(self, ct: Tensor, mr: Tensor, maps: Tensor | None = None) -> tuple[Tensor, ...]:
        """Both decoders' answers, the main one's first."""
        features, lead = self.main.encoder(_padded(ct, mr, 2**DOWNSAMPLINGS))
        bottom = self.main.dropout(self.main.bottom(lead))
        scores = (
            self.main.decoder(bottom, features),
            self.auxiliary(self.thinned(bottom), [self.thinned(feature) for feature in features]),
        )
        return tuple(crop_to(answer, ct.shape[2:]) for answer in scores)

    def fused(self, ct: Tensor, mr: Tensor, maps: Tensor | None = None) -> Tensor:
        """The mean of both answers."""
        return mean_scores(self(ct, mr))


def _padded(ct: Tensor, mr: Tensor, multiple: int) -> Tensor:
    """Both as channels; x at least two multiples, as for CmFNet."""
    return pad_to(torch.cat([ct, mr], dim=1), multiple, 2 * multiple)
