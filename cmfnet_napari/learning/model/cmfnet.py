"""CmFNet: a CT branch, an MR branch, and a cross-modal branch between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cmfnet_napari.core.fit.config import Config, DropoutAt, Fusion, Normalisation
from cmfnet_napari.learning.model.blocks import Conv, Stage
from cmfnet_napari.learning.model.guide import first_scores, map_count
from cmfnet_napari.learning.model.nearness import MAPS
from cmfnet_napari.learning.model.network import Network, crop_to, mean_scores, pad_to
from cmfnet_napari.learning.model.vnet import DOWNSAMPLINGS, Decoder, VNet, stage_channels

T = TypeVar("T")

FUSED_STAGES = 3
MULTIPLE = 2**DOWNSAMPLINGS  # the sides of every input are padded to a divisor of this, or to it


class Outputs(NamedTuple):
    """Scores (logits) of the three branches, each (B, classes, z, y, x)."""

    ct: Tensor
    mr: Tensor
    mm: Tensor


class CrossModal(nn.Module):
    """The cross-modal branch: features of both modalities joined (CFF), bottom (CFE), decoder.

    Parameters
    ----------
    classes : int
        Outputs, background included.
    width : int
        Channels of the first stage.
    normalisation : str
        ``"none"`` or ``"instance"``.
    dropout : float
        Share of the feature maps dropped in training.
    dropout_at : str
        As in `VNet`.
    fuse : bool
        True: each stage's features are joined by a Conv (CFF, Eq. 1); False: by their mean.
    """

    def __init__(
        self,
        classes: int,
        width: int,
        normalisation: Normalisation,
        dropout: float,
        dropout_at: DropoutAt,
        fuse: bool,
    ) -> None:
        super().__init__()
        channels = [stage_channels(width, n) for n in range(1, FUSED_STAGES + 1)]
        self.fuse = nn.ModuleList(Conv(2 * c, c, normalisation) for c in channels if fuse)
        self.lead = Conv(channels[-1], 2 * channels[-1], normalisation, stride=2)  # CFE, Eq. 2
        self.bottom = Stage(2 * channels[-1], 16 * width, 3, normalisation)
        self.dropout = nn.Dropout3d(dropout)
        dropped = dropout if dropout_at == "stages" else 0.0
        self.decoder = Decoder(classes, FUSED_STAGES, width, normalisation, dropped)

    def forward(self, ct_features: list[Tensor], mr_features: list[Tensor]) -> Tensor:
        """Features of at least `FUSED_STAGES` stages of each branch, finest first → scores."""
        pairs = list(zip(ct_features, mr_features, strict=False))[:FUSED_STAGES]
        if self.fuse:
            joined = [
                fuse(torch.cat(pair, dim=1)) for fuse, pair in zip(self.fuse, pairs, strict=True)
            ]
        else:
            joined = [(ct + mr) / 2 for ct, mr in pairs]
        bottom = self.dropout(self.bottom(self.lead(joined[-1])))
        scores: Tensor = self.decoder(bottom, joined)
        return scores


class CmFNet(Network):
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
        Share of the feature maps dropped in training.
    ct_stages, mr_stages : int
        3 … 6: which of CT3 … CT6 and MR3 … MR6 the branches are.
    fusion : str
        ``"cff"``, the whole network; ``"cfe"``, without the convolutions that fuse; ``"none"``,
        without the cross-modal branch: y_mm is then the mean of y_ct and y_mr (Table VI).
    dropout_at : str
        ``"bottoms"``: dropped at the three bottoms; ``"stages"``: after all stages but the first
        and the last of each encoder and decoder too.
    maps : int
        Maps of the strokes that both branches see beside their image, and whose chances all
        scores begin with (`guide.first_scores`); 0 in the paper.
    checkpointing : bool
        Keep only the inputs of encoders and decoders in training and compute the rest again
        on the way back.
    """

    def __init__(
        self,
        classes: int = 2,
        width: int = 16,
        normalisation: Normalisation = "none",
        dropout: float = 0.5,
        *,
        ct_stages: int = 3,
        mr_stages: int = 4,
        fusion: Fusion = "cff",
        dropout_at: DropoutAt = "bottoms",
        maps: int = 0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.classes, self.maps = classes, maps
        self._multiple = 2 ** min(max(ct_stages, mr_stages, FUSED_STAGES), DOWNSAMPLINGS)
        parts = (width, normalisation, dropout, dropout_at)
        self.ct = VNet(1 + maps, classes, ct_stages, *parts)
        self.mr = VNet(1 + maps, classes, mr_stages, *parts)
        self.mm = CrossModal(classes, *parts, fuse=fusion == "cff") if fusion != "none" else None
        if maps:  # without training it says what the strokes say
            for decoder in self._decoders():
                for values in decoder.head.last.parameters():
                    nn.init.zeros_(values)

    def forward(self, ct: Tensor, mr: Tensor, maps: Tensor | None = None) -> Outputs:
        """Scores of all branches, for training.

        Parameters
        ----------
        ct, mr : tensor (B, 1, z, y, x)
            Both in [0, 1]; any size.
        maps : tensor (B, maps, z, y, x), optional
            In [0, 1]; may be left out when there are none.
        """
        size, first = ct.shape[2:], self._first(maps)
        ct, mr = _with_maps(ct, maps), _with_maps(mr, maps)
        ct_features, ct_lead = self._run(self.ct.encoder, self._pad(ct))
        mr_features, mr_lead = self._run(self.mr.encoder, self._pad(mr))
        y_ct = self._run(self.ct.decode, ct_features, ct_lead)
        y_mr = self._run(self.mr.decode, mr_features, mr_lead)
        y_mm = (
            mean_scores([y_ct, y_mr])
            if self.mm is None
            else self._run(self.mm, ct_features, mr_features)
        )
        return Outputs(*(crop_to(scores, size) + first for scores in (y_ct, y_mr, y_mm)))

    def fused(self, ct: Tensor, mr: Tensor, maps: Tensor | None = None) -> Tensor:
        """Scores of y_mm alone, for inference: the branches' bottoms and decoders stay unused."""
        if self.mm is None:
            outputs: Outputs = self(ct, mr, maps)
            return outputs.mm
        size, first = ct.shape[2:], self._first(maps)
        ct, mr = _with_maps(ct, maps), _with_maps(mr, maps)
        ct_features = self.ct.encoder.features(self._pad(ct), FUSED_STAGES)
        mr_features = self.mr.encoder.features(self._pad(mr), FUSED_STAGES)
        return crop_to(self.mm(ct_features, mr_features), size) + first

    def _pad(self, x: Tensor) -> Tensor:
        """To as many voxels as the coarsest stage makes one, x to twice as many.

        One voxel alone at the bottom of a branch would have no variance to normalise by.
        """
        return pad_to(x, self._multiple, 2 * self._multiple)

    def _first(self, maps: Tensor | None) -> Tensor | float:
        """What all scores begin with."""
        if not self.maps:
            return 0.0
        if maps is None:
            raise ValueError("this network reads maps of the strokes")
        return first_scores(maps, self.classes)

    def wake(self) -> None:
        """Let scores begin beside what the strokes say, not with it.

        A layer of zeros hands nothing back, so that in its first steps a network learns half as
        fast; a long training can do without saying what the strokes say.
        """
        for decoder in self._decoders():
            decoder.head.last.reset_parameters()

    def _decoders(self) -> list[Decoder]:
        return [part.decoder for part in (self.ct, self.mr, self.mm) if part is not None]

    def _run(self, part: Callable[..., T], *inputs: Tensor | list[Tensor]) -> T:
        if self.checkpointing and self.training and torch.is_grad_enabled():
            result: T = checkpoint(part, *inputs, use_reentrant=False)
            return result
        return part(*inputs)


def build(config: Config, classes: int) -> CmFNet:
    """Build the network of a configuration, for a number of classes with background."""
    return CmFNet(
        classes,
        config.width,
        config.normalisation,
        config.dropout,
        ct_stages=config.ct_stages,
        mr_stages=config.mr_stages,
        fusion=config.fusion,
        dropout_at=config.dropout_at,
        maps=_maps(config, classes),
        checkpointing=config.checkpointing,
    )


def _maps(config: Config, classes: int) -> int:
    if not config.stroke_maps:
        return 0
    return MAPS if config.drawn_voxels else map_count(classes)


def _with_maps(image: Tensor, maps: Tensor | None) -> Tensor:
    return image if maps is None or not maps.shape[1] else torch.cat([image, maps], dim=1)
