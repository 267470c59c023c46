"""The parts every V-Net here is put together from.

PReLU has one slope a channel: only then do the four parameter counts of Table IV come out.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from cmfnet_napari.core.fit.config import Normalisation
from cmfnet_napari.learning.model import channels_last
from cmfnet_napari.learning.model.prelu import branchless_prelu


class Convolution(nn.Conv3d):
    """3×3×3 convolution that stays in float32 where an axis has one or two voxels left.

    In PyTorch 2.13 (oneDNN 3.12) on a CPU the bfloat16 gradient of its weights is garbage, or
    writes past its memory, for a depth of 2 at stride 1 and for some axes of 1 at stride 2
    (docs/measurements.md); such levels are so small that float32 costs little.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, 3, stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, z, y, x) → (B, outputs, z, y, x), each side divided by the stride."""
        if x.device.type != "cpu" or min(x.shape[2:]) > 2:
            return self._convolved(x)
        with torch.autocast("cpu", enabled=False):
            return self._convolved(x.float())

    def _convolved(self, x: Tensor) -> Tensor:
        if channels_last.applies(x):
            return channels_last.convolution(x, self.weight, self.bias, self.stride[0])
        return super().forward(x)


class Pointwise(nn.Conv3d):
    """1×1×1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, z, y, x) → (B, outputs, z, y, x)."""
        if channels_last.applies(x):
            return channels_last.pointwise(x, self.weight, self.bias)
        return super().forward(x)


class Doubling(nn.ConvTranspose3d):
    """2×2×2 transposed convolution with stride 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 2, 2)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, inputs, z, y, x) → (B, outputs, 2 z, 2 y, 2 x)."""
        if channels_last.applies(x):
            return channels_last.doubled(x, self.weight, self.bias)
        return super().forward(x, output_size)


class InstanceNorm(nn.InstanceNorm3d):
    """Instance normalisation without parameters."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, z, y, x) → the same size."""
        return (
            channels_last.instance_norm(x, self.eps)
            if channels_last.applies(x)
            else super().forward(x)
        )


class PReLU(nn.PReLU):
    """PReLU with one slope a channel."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, z, y, x) → the same size."""
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        prelu = channels_last.prelu if channels_last.applies(x) else branchless_prelu
        return prelu(x, self.weight)


class Conv(nn.Sequential):
    """3×3×3 convolution, optional parameter-free normalisation, PReLU.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    normalisation : str
        ``"none"`` or ``"instance"``.
    stride : int
        2 halves every axis (rounded up).
    """

    def __init__(
        self, inputs: int, outputs: int, normalisation: Normalisation, stride: int = 1
    ) -> None:
        parts: list[nn.Module] = [Convolution(inputs, outputs, stride)]
        if normalisation == "instance":
            parts.append(InstanceNorm(outputs))
        super().__init__(*parts, PReLU(outputs))


def _convs(inputs: int, outputs: int, count: int, normalisation: Normalisation) -> nn.Sequential:
    """`count` Convs, the first from `inputs` channels, all to `outputs`."""
    widths = [inputs] + [outputs] * count
    return nn.Sequential(*(Conv(a, b, normalisation) for a, b in pairwise(widths)))


class Up(nn.Sequential):
    """2×2×2 transposed convolution with stride 2 and PReLU: doubles every axis."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(Doubling(inputs, outputs), PReLU(outputs))


class Stage(nn.Module):
    """Some Convs with a 1×1×1 residual convolution around them."""

    def __init__(self, inputs: int, outputs: int, convs: int, normalisation: Normalisation) -> None:
        super().__init__()
        self.convs = _convs(inputs, outputs, convs, normalisation)
        self.residual = Pointwise(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, z, y, x) → (B, outputs, z, y, x)."""
        out: Tensor = self.convs(x) + self.residual(x)
        return out


class Decode(nn.Module):
    """One decoder stage: bring the input up, join the skip, convolve, add the input.

    Parameters
    ----------
    inputs : int
        Channels of the coarser input.
    skip : int
        Channels of the skip.
    outputs : int
        Channels of the result.
    convs : int
        Convs after joining, as many as the encoder stage has.
    upsample : bool
        False where the encoder stage did not down-sample ("conv5", "conv6"): the input then
        has `outputs` channels and is joined as it is.
    """

    def __init__(
        self,
        inputs: int,
        skip: int,
        outputs: int,
        convs: int,
        normalisation: Normalisation,
        upsample: bool = True,
    ) -> None:
        super().__init__()
        if not upsample and inputs != outputs:
            raise ValueError(f"{inputs} channels cannot be added to {outputs}")
        self.up = Up(inputs, outputs) if upsample else nn.Identity()
        self.skip = Conv(skip, outputs, normalisation)
        self.convs = _convs(2 * outputs, outputs, convs, normalisation)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Coarse (B, inputs, z, y, x) and skip at the stage's own size → (B, outputs, …)."""
        x = self.up(x)
        out: Tensor = self.convs(torch.cat([x, self.skip(skip)], dim=1)) + x
        return out


class Head(nn.Sequential):
    """3×3×3 convolution to the classes, PReLU, 1×1×1: scores (logits)."""

    @property
    def last(self) -> Pointwise:
        """The convolution that gives the scores."""
        return cast(Pointwise, self[-1])

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(
            Convolution(inputs, classes),
            PReLU(classes),
            Pointwise(classes, classes),
        )
