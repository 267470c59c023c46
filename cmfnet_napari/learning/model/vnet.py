"""The V-Nets of Table IV (CT3 … CT6, MR3 … MR6): the branches of CmFNet.

Channels at the paper's width of 16: stages of 16, 32, 64, 128, then 256.
"""

from __future__ import annotations

from torch import Tensor, nn

from cmfnet_napari.core.fit.config import DropoutAt, Normalisation
from cmfnet_napari.learning.model.blocks import Conv, Decode, Head, Stage

STAGES = (3, 4, 5, 6)
_CONVS = (1, 2, 3, 3, 3, 3)
DOWNSAMPLINGS = 4  # stages 5 and 6 stay at the resolution of the fourth


def stage_channels(width: int, stage: int) -> int:
    """Channels of encoder stage 1, 2, …: doubling, at most 16 times the width."""
    return width * min(1 << (stage - 1), 16)


def decoder_channels(width: int, stage: int) -> int:
    """Channels of decoder stage 1, 2, …: twice the encoder stage's, at most 16 times the width."""
    return min(2 * stage_channels(width, stage), 16 * width)


class Encoder(nn.Module):
    """Encoder with `stages` stages (the paper's n = 3 … 6).

    Every stage is followed by a Conv that leads to the next: of stride 2 while there are
    down-samplings left, of stride 1 after the fourth. In training a share `dropped` of the
    features of every stage but the first is dropped.
    """

    def __init__(
        self,
        channels: int,
        stages: int,
        width: int,
        normalisation: Normalisation,
        dropped: float = 0.0,
    ) -> None:
        super().__init__()
        self.stages, self.leads = nn.ModuleList(), nn.ModuleList()
        self.dropout = nn.Dropout3d(dropped)
        inputs = channels
        for number in range(1, stages + 1):
            outputs = stage_channels(width, number)
            self.stages.append(Stage(inputs, outputs, _CONVS[number - 1], normalisation))
            inputs = min(2 * outputs, 16 * width)
            stride = 2 if number <= DOWNSAMPLINGS else 1
            self.leads.append(Conv(outputs, inputs, normalisation, stride))

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Features of every stage, finest first, and what leads to the bottom.

        `x` is (B, channels, z, y, x), each side a multiple of 2 ** down-samplings.
        """
        features: list[Tensor] = []
        for stage, lead in zip(self.stages, self.leads, strict=True):
            features.append(self.dropout(stage(x)) if features else stage(x))
            x = lead(features[-1])
        return features, x

    def features(self, x: Tensor, stages: int) -> list[Tensor]:
        """Features of the first stages only, finest first: all that the fused branch needs."""
        features = [self.stages[0](x)]
        for number in range(1, stages):
            found = self.stages[number](self.leads[number - 1](features[-1]))
            features.append(self.dropout(found))
        return features


class Decoder(nn.Module):
    """Decoder that mirrors an `Encoder` of `stages` stages, with its head.

    In training a share `dropped` of the features of every stage but the last is dropped.
    """

    def __init__(
        self,
        classes: int,
        stages: int,
        width: int,
        normalisation: Normalisation,
        dropped: float = 0.0,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        self.dropout = nn.Dropout3d(dropped)
        inputs = 16 * width
        for number in range(stages, 0, -1):
            outputs = decoder_channels(width, number)
            self.stages.append(
                Decode(
                    inputs,
                    stage_channels(width, number),
                    outputs,
                    _CONVS[number - 1],
                    normalisation,
                    upsample=number <= DOWNSAMPLINGS,
                )
            )
            inputs = outputs
        self.head = Head(inputs, classes)

    def forward(self, bottom: Tensor, features: list[Tensor]) -> Tensor:
        """Bottom (B, 16·width, …) and the stages' features, finest first → scores."""
        x = bottom
        for number, (stage, feature) in enumerate(
            zip(self.stages, reversed(features), strict=True), start=1
        ):
            x = stage(x, feature)
            x = self.dropout(x) if number < len(features) else x
        scores: Tensor = self.head(x)
        return scores


class VNet(nn.Module):
    """One branch: encoder, bottom of three Convs, decoder.

    Parameters
    ----------
    channels : int
        Input channels.
    classes : int
        Outputs, background included.
    stages : int
        3 … 6, the digit in CT3 … CT6.
    width : int
        Channels of the first stage; 16 in the paper.
    dropout : float
        Share of the feature maps dropped in training.
    dropout_at : str
        ``"bottoms"``: those of the bottom; ``"stages"``: of all stages but the first and last too.
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 2,
        stages: int = 3,
        width: int = 16,
        normalisation: Normalisation = "none",
        dropout: float = 0.0,
        dropout_at: DropoutAt = "bottoms",
    ) -> None:
        super().__init__()
        if stages not in STAGES:
            raise ValueError(f"a V-Net has 3 to 6 stages, not {stages}")
        dropped = dropout if dropout_at == "stages" else 0.0
        self.encoder = Encoder(channels, stages, width, normalisation, dropped)
        inputs = 8 * width if stages == 3 else 16 * width
        self.bottom = Stage(inputs, 16 * width, 3, normalisation)
        self.dropout = nn.Dropout3d(dropout)
        self.decoder = Decoder(classes, stages, width, normalisation, dropped)

    def decode(self, features: list[Tensor], lead: Tensor) -> Tensor:
        """Scores from the encoder's features and its lead to the bottom."""
        scores: Tensor = self.decoder(self.dropout(self.bottom(lead)), features)
        return scores

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, z, y, x) → scores (B, classes, z, y, x)."""
        return self.decode(*self.encoder(x))
