"""The network's layers on a processor in float32: features lie channels last, oneDNN convolves.

PyTorch 2.13 gives a single small float32 image not to oneDNN but unfolds it into 27 copies: on
AVX2 that took two thirds of a training step of `quick`. It decides by the number of images, so a
single image is called by oneDNN's name on the way forward, and on the way back it is two images:
both halves of its slices, each with the slice beyond. Sums are the same, in another order.

What lies channels last has to stay so: a layer that turns it costs more than it computes. PyTorch's
instance normalisation, 1×1×1 and transposed convolutions turn it, and a PReLU with one slope a
channel goes through it a few numbers at a time; here they are the same sums without that.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from cmfnet_napari.learning.model.prelu import branchless_prelu

_LAYOUT = torch.channels_last_3d
_AT_ONCE = 1024  # numbers of one pass of a PReLU


def applies(x: Tensor) -> bool:
    """Whether a layer's features (B, C, z, y, x) are best computed here."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
        and not torch.compiler.is_compiling()
    )


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """3×3×3 convolution, each side padded by one voxel of zeros."""
    out: Tensor = _Convolution.apply(x, weight, bias, stride)
    return out


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """1×1×1 convolution."""
    return functional.linear(x.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)


def doubled(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """2×2×2 transposed convolution of stride 2."""
    inputs, outputs = weight.shape[:2]
    each = weight.permute(2, 3, 4, 1, 0).reshape(8 * outputs, inputs)
    batch, _, z, y, x_ = x.shape
    found = functional.linear(x.movedim(1, -1), each, None if bias is None else bias.repeat(8))
    blocks = found.view(batch, z, y, x_, 2, 2, 2, outputs).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return blocks.reshape(batch, 2 * z, 2 * y, 2 * x_, outputs).movedim(-1, 1)


def instance_norm(x: Tensor, eps: float) -> Tensor:
    """Each channel of each image less its mean, by its standard deviation."""
    images = [
        functional.batch_norm(image, None, None, training=True, eps=eps) for image in x.split(1)
    ]
    return images[0] if len(images) == 1 else torch.cat(images)


def prelu(x: Tensor, slopes: Tensor) -> Tensor:
    """PReLU with one slope a channel (C,)."""
    last = x.movedim(1, -1)
    together = math.gcd(x.numel() // len(slopes), max(1, _AT_ONCE // len(slopes)))
    rows = last.reshape(-1, together * len(slopes))  # of many voxels, all their channels
    found = branchless_prelu(rows, slopes.repeat(together))
    return found.view(last.shape).movedim(-1, 1)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        x = x.contiguous(memory_format=_LAYOUT)
        weight = weight.contiguous(memory_format=_LAYOUT)
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return _convolved(x, weight, bias, stride)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        upstream = upstream.contiguous(memory_format=_LAYOUT)
        wanted = list(ctx.needs_input_grad[:3])
        half, odd = divmod(upstream.shape[2], 2)
        if len(x) > 1 or odd:
            return *_gradients(upstream, x, weight, ctx.stride, 1, wanted), None
        images, upstreams = _halves(x, ctx.stride, half), _two_of(upstream)
        turned = ctx.stride == 1 and weight.numel() < x.numel()  # else to turn weights costs more
        of_images, *others = _gradients(
            upstreams, images, weight, ctx.stride, 0, [wanted[0] and not turned, *wanted[1:]]
        )
        gradient: Tensor | None = None
        if of_images is not None:
            gradient = _joined(of_images, x, ctx.stride)
        elif wanted[0]:
            gradient = _turned(upstream, weight)
        return gradient, *others, None


def _halves(x: Tensor, stride: int, half: int) -> Tensor:
    """What `half` slices of the result are computed from, and what the other half is: two images.

    Slices of zeros before the first and after the last are part of them.
    """
    rows = stride * (half - 1) + 3
    size = (2, x.shape[1], rows, *x.shape[3:])
    images = torch.empty(size, dtype=x.dtype, memory_format=_LAYOUT)
    images[0, :, 0] = 0
    images[0, :, 1:] = x[0, :, : rows - 1]
    within = x[0, :, stride * half - 1 :][:, :rows]
    images[1, :, : within.shape[1]] = within
    images[1, :, within.shape[1] :] = 0
    return images


def _two_of(upstream: Tensor) -> Tensor:
    """Both halves of the slices of one image as two images; they lie one after the other."""
    _, channels, z, y, x = upstream.shape
    return upstream.movedim(1, -1).view(2, z // 2, y, x, channels).movedim(-1, 1)


def _joined(of_halves: Tensor, x: Tensor, stride: int) -> Tensor:
    """The gradient of an image from those of its `_halves`, which share one or two slices."""
    rows = of_halves.shape[2]
    half = (rows - 3) // stride + 1
    gradient = torch.zeros_like(x)
    gradient[0, :, : rows - 1] = of_halves[0, :, 1:]
    rest = gradient[0, :, stride * half - 1 :]
    rest += of_halves[1, :, : rest.shape[1]]
    return gradient


def _turned(upstream: Tensor, weight: Tensor) -> Tensor:
    """The gradient of the images of a convolution of stride 1: one with the weights turned."""
    mirrored = weight.flip(2, 3, 4).transpose(0, 1).contiguous(memory_format=_LAYOUT)
    return _convolved(upstream, mirrored, None, 1)


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    found: Tensor = torch.ops.aten.mkldnn_convolution(
        x, weight, bias, [1] * 3, [stride] * 3, [1] * 3, 1
    )
    return found


def _gradients(
    upstream: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, wanted: list[bool]
) -> tuple[Tensor | None, ...]:
    """Of images, weights and bias; `padding` of z, one voxel in plane."""
    found: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
        upstream,
        x,
        weight,
        [len(weight)],
        [stride] * 3,
        [padding, 1, 1],
        [1] * 3,
        False,
        [0] * 3,
        1,
        wanted,
    )
    return found
