"""PReLU on a processor: PyTorch's numbers, with a gradient that makes no choice.

PyTorch's asks of every voxel on which side of zero it was, and the processor guesses wrong at every
other one; as sums the same numbers, to the bit, take a third of the time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def branchless_prelu(x: Tensor, slopes: Tensor) -> Tensor:
    """PReLU of features (B, C, ...) with one slope a channel (C,), cast as autocast does."""
    if torch.is_autocast_enabled("cpu"):
        x = x.to(torch.get_autocast_dtype("cpu"))
    found: Tensor = _PReLU.apply(x, slopes.to(x.dtype))
    return found


class _PReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(x, slopes)
        return functional.prelu(x, slopes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor]:
        x, slopes = ctx.saved_tensors
        above = torch.ops.aten.threshold_backward(upstream, x, 0)
        below = upstream - above
        axes = list(range(2, x.ndim))
        gradient = torch.addcmul(above, below, slopes.view(-1, *(1 for _ in axes)))
        return gradient, below.mul_(x).sum(dim=[0, *axes])
