"""Networks of Table III that are written from their papers' text.

What the texts leave open is said with each. All see CT and MR as channels of one image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cmfnet_napari.core.fit.config import DropoutAt, Normalisation
from cmfnet_napari.learning.model.vnet import VNet


class UNet3D(nn.Module):
    """3D U-Net (Çiçek et al., MICCAI 2016) on several channels: the paper's MM-UNet.

    The paper says of MM-UNet that it takes both modalities as input channels, and no more; this
    is the U-Net in 3D as published, whose 19,069,955 parameters of convolutions come out for three
    channels and three classes. Sides must be multiples of 8.

    Parameters
    ----------
    channels, classes : int
        Inputs and outputs.
    width : int
        Features of the first convolution; 32 as published.
    """

    def __init__(self, channels: int, classes: int, width: int = 32) -> None:
        super().__init__()
        sizes = [width * 2**level for level in range(4)]
        inputs = [channels, *(2 * size for size in sizes[:3])]
        self.down = nn.ModuleList(
            _pair(before, size, 2 * size) for before, size in zip(inputs, sizes, strict=True)
        )
        self.ups, self.up = nn.ModuleList(), nn.ModuleList()
        below = 2 * sizes[3]
        for size in reversed(sizes[:3]):
            self.ups.append(nn.ConvTranspose3d(below, below, 2, 2, bias=False))
            self.up.append(_pair(below + 2 * size, 2 * size, 2 * size))
            below = 2 * size
        self.last = nn.Conv3d(2 * width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, z, y, x) → scores (B, classes, z, y, x)."""
        skips: list[Tensor] = []
        for level, stage in enumerate(self.down):
            x = stage(nn.functional.max_pool3d(x, 2) if level else x)
            skips.append(x)
        for up, stage, skip in zip(self.ups, self.up, reversed(skips[:-1]), strict=True):
            x = stage(torch.cat([up(x), skip], dim=1))
        scores: Tensor = self.last(x)
        return scores


def _pair(inputs: int, middle: int, outputs: int) -> nn.Sequential:
    """Two 3×3×3 convolutions, each with `_norm` and ReLU."""
    parts: list[nn.Module] = []
    for before, after in ((inputs, middle), (middle, outputs)):
        parts += [nn.Conv3d(before, after, 3, padding=1), _norm(after), nn.ReLU()]
    return nn.Sequential(*parts)


class DenseVoxNet(nn.Module):
    """Volumetric DenseNet of two dense blocks (Yu et al., MICCAI 2017), 1.7 M parameters.

    Left open: the size of the deconvolutions' windows (2 here, at which the count comes nearest
    to the 1.8 M of the text) and their features. The auxiliary side path, which the text uses to
    train, is left out, as all methods here are taught by their last answer. Sides must be
    multiples of 4.

    Parameters
    ----------
    channels, classes : int
        Inputs and outputs.
    growth : int
        Features that a layer adds; 12 as published.
    dropout : float
        Share of the features dropped after every layer; 0.2 as published.
    """

    LAYERS = 12

    def __init__(self, channels: int, classes: int, growth: int = 12, dropout: float = 0.2) -> None:
        super().__init__()
        first = 4 * growth // 3
        middle = first + self.LAYERS * growth
        last = middle + self.LAYERS * growth
        self.first = nn.Conv3d(channels, first, 3, 2, padding=1, bias=False)
        self.block_1 = self._block(first, growth, dropout)
        self.between = _activated(middle, nn.Conv3d(middle, middle, 1, bias=False))
        self.block_2 = self._block(middle, growth, dropout)
        self.after = _activated(last, nn.Conv3d(last, last, 1, bias=False))
        wide, narrow = 32 * growth // 3, 16 * growth // 3
        self.up = nn.Sequential(
            nn.ConvTranspose3d(last, wide, 2, 2), nn.ReLU(), nn.ConvTranspose3d(wide, narrow, 2, 2)
        )
        self.last = nn.Conv3d(narrow, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, z, y, x) → scores (B, classes, z, y, x)."""
        x = self.between(_dense(self.block_1, self.first(x)))
        x = _dense(self.block_2, nn.functional.max_pool3d(x, 2))
        scores: Tensor = self.last(self.up(self.after(x)))
        return scores

    def _block(self, inputs: int, growth: int, dropout: float) -> nn.ModuleList:
        return nn.ModuleList(
            nn.Sequential(
                _activated(
                    inputs + number * growth,
                    nn.Conv3d(inputs + number * growth, growth, 3, padding=1, bias=False),
                ),
                nn.Dropout3d(dropout),
            )
            for number in range(self.LAYERS)
        )


def _activated(inputs: int, layer: nn.Module) -> nn.Sequential:
    """`_norm` and ReLU before a layer."""
    return nn.Sequential(_norm(inputs), nn.ReLU(), layer)


def _norm(features: int) -> nn.BatchNorm3d:
    """Batch normalisation by what goes through at once, in prediction too (Çiçek et al.).

    A step has few patches, often one: their mean and variance say little of another patient's.
    """
    return nn.BatchNorm3d(features, track_running_stats=False)


def _dense(block: nn.ModuleList, x: Tensor) -> Tensor:
    """Every layer sees the features of all before it."""
    for layer in block:
        x = torch.cat([x, layer(x)], dim=1)
    return x


class DualAttention(nn.Module):
    """Position and channel attention, added up (Fu et al., CVPR 2019), in 3D.

    It begins as twice its input: what it attends to is weighed by numbers that begin at zero.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        few = max(channels // 8, 1)
        self.query, self.key = nn.Conv3d(channels, few, 1), nn.Conv3d(channels, few, 1)
        self.value = nn.Conv3d(channels, channels, 1)
        self.places, self.features = (nn.Parameter(torch.zeros(1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, z, y, x) → the same shape."""
        flat = x.flatten(2)
        query, key = self.query(x).flatten(2), self.key(x).flatten(2)
        near = (query.transpose(1, 2) @ key).softmax(dim=-1)  # (B, voxels, voxels)
        of_places = self.value(x).flatten(2) @ near.transpose(1, 2)
        alike = flat @ flat.transpose(1, 2)  # (B, C, C)
        alike = (alike.amax(dim=-1, keepdim=True) - alike).softmax(dim=-1)
        of_features = alike @ flat
        total: Tensor = self.places * of_places + self.features * of_features + 2 * flat
        return total.view_as(x)


class DAVNet(VNet):
    """V-Net with dual attention: DA-VNet. Left open: where it attends; here at the bottom."""

    def __init__(
        self,
        channels: int,
        classes: int,
        stages: int,
        width: int,
        normalisation: Normalisation,
        dropout: float,
        dropout_at: DropoutAt,
    ) -> None:
        super().__init__(channels, classes, stages, width, normalisation, dropout, dropout_at)
        self.attention = DualAttention(16 * width)

    def decode(self, features: list[Tensor], lead: Tensor) -> Tensor:
        """Scores from the encoder's features and its lead to the bottom."""
        bottom = self.attention(self.dropout(self.bottom(lead)))
        scores: Tensor = self.decoder(bottom, features)
        return scores
