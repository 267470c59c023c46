"""CmFNet: a CT branch, an MR branch, and a fused branch between them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from cmfnet_napari.core.config import Config
from cmfnet_napari.learning.layers import Conv, Normalisation, Stage
from cmfnet_napari.learning.vnet import Decoder, VNet, in_float32, stage_channels

CT_STAGES, MR_STAGES, FUSED_STAGES = 3, 4, 3
MULTIPLE = 2**MR_STAGES  # the sides of every input are padded to multiples of this


class Outputs(NamedTuple):
    """Scores (logits) of the three branches, each (B, classes, z, y, x)."""

    ct: Tensor
    mr: Tensor
    mm: Tensor


class CmFNet(nn.Module):
    """Cross-modal fusion network.

    Parameters
    ----------
    classes : int
        Outputs, background included.
    width : int
        Channels of the first stage; 16 in the paper.
    normalisation : str
        ``"none"`` or ``"instance"`` (parameter-free).
    dropout : float
        Share of the feature maps dropped at the three bottoms in training.
    """

    def __init__(
        self,
        classes: int = 2,
        width: int = 16,
        normalisation: Normalisation = "none",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.ct = VNet(1, classes, CT_STAGES, width, normalisation, dropout)
        self.mr = VNet(1, classes, MR_STAGES, width, normalisation, dropout)
        channels = [stage_channels(width, n) for n in range(1, FUSED_STAGES + 1)]
        self.fuse = nn.ModuleList(Conv(2 * c, c, normalisation) for c in channels)  # CFF, Eq. 1
        self.lead = Conv(channels[-1], 2 * channels[-1], normalisation, stride=2)  # CFE, Eq. 2
        self.bottom = Stage(2 * channels[-1], 16 * width, 3, normalisation)
        self.dropout = nn.Dropout3d(dropout)
        self.decoder = Decoder(classes, FUSED_STAGES, width, normalisation)

    def forward(self, ct: Tensor, mr: Tensor) -> Outputs:
        """Scores of all branches, for training.

        Parameters
        ----------
        ct, mr : tensor (B, 1, z, y, x)
            Both in [0, 1]; any size.
        """
        size = ct.shape[2:]
        ct, mr = _pad(ct), _pad(mr)
        ct_features, ct_lead = self.ct.encoder(ct)
        mr_features, mr_lead = self.mr.encoder(mr)
        outputs = (
            self.ct.decode(ct_features, ct_lead),
            self.mr.decode(mr_features, mr_lead),
            self._fused(ct_features, mr_features),
        )
        return Outputs(*(_crop(scores, size) for scores in outputs))

    def fused(self, ct: Tensor, mr: Tensor) -> Tensor:
        """Scores of y_mm alone, for inference: the branches' bottoms and decoders stay unused."""
        size = ct.shape[2:]
        ct_features = self.ct.encoder.features(_pad(ct), FUSED_STAGES)
        mr_features = self.mr.encoder.features(_pad(mr), FUSED_STAGES)
        return _crop(self._fused(ct_features, mr_features), size)

    def _fused(self, ct_features: list[Tensor], mr_features: list[Tensor]) -> Tensor:
        pairs = zip(self.fuse, ct_features, mr_features, strict=False)  # the MR has a stage more
        features = [fuse(torch.cat([ct, mr], dim=1)) for fuse, ct, mr in pairs]
        bottom = self.dropout(in_float32(self.bottom, self.lead(features[-1])))
        return self.decoder(bottom, features)


def build(config: Config, classes: int) -> CmFNet:
    """Build the network of a configuration, for a number of classes with background."""
    return CmFNet(classes, config.width, config.normalisation, config.dropout)


def _pad(x: Tensor) -> Tensor:
    """Repeat the far side of every axis up to a multiple of `MULTIPLE`, x to two of them.

    One voxel alone at the bottom of the MR branch would have no variance to normalise by.
    """
    missing = [(-n) % MULTIPLE for n in x.shape[2:]]
    missing[2] = max(missing[2], 2 * MULTIPLE - x.shape[4])
    if not any(missing):
        return x
    z, y, x_ = missing
    return functional.pad(x, (0, x_, 0, y, 0, z), mode="replicate")


def _crop(x: Tensor, size: torch.Size) -> Tensor:
    z, y, x_ = size
    return x[:, :, :z, :y, :x_]
