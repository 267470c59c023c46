"""PReLU is PyTorch's, to the bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cmfnet_napari.learning.model.blocks import PReLU

SHAPES = ((1, 4, 8, 6, 10), (2, 3, 4, 5, 6), (3, 16, 1, 2, 2))


def learn(layer: nn.PReLU, values: Tensor, upstream: Tensor) -> list[Tensor]:
    """What comes out, and the gradients of features and slopes."""
    x = values.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    found.backward(upstream.to(found.dtype))
    assert x.grad is not None
    assert layer.weight.grad is not None
    return [found.detach(), x.grad, layer.weight.grad]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32])  # autocast takes both
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_prelu_of_a_bfloat16_training_is_pytorchs(shape, precision, layout):
    torch.manual_seed(0)
    x = torch.randn(shape).to(precision).contiguous(memory_format=layout)
    x[0, 0, 0, 0, 0] = 0  # where it bends
    upstream = torch.randn(shape)
    ours, theirs = PReLU(shape[1]), nn.PReLU(shape[1])
    slopes = torch.randn(shape[1])
    for layer in (ours, theirs):
        with torch.no_grad():
            layer.weight.copy_(slopes)
    for found, exact in zip(learn(ours, x, upstream), learn(theirs, x, upstream), strict=True):
        assert found.dtype == exact.dtype
        assert torch.equal(found, exact)
