"""The layers of a processor in float32, each against PyTorch's own in float64."""

import copy

import pytest
import torch
from torch.nn import functional

from cmfnet_napari.learning.model import channels_last
from cmfnet_napari.learning.model.blocks import Conv, Convolution, Doubling, Pointwise
from cmfnet_napari.learning.model.cmfnet import CmFNet

LAYERS = {
    "convolution": (Convolution, lambda x, w, b: functional.conv3d(x, w, b, padding=1)),
    "of stride 2": (
        lambda a, b: Convolution(a, b, 2),
        lambda x, w, b: functional.conv3d(x, w, b, stride=2, padding=1),
    ),
    "pointwise": (Pointwise, functional.conv3d),
    "doubling": (Doubling, lambda x, w, b: functional.conv_transpose3d(x, w, b, stride=2)),
}


def gradients(compute, tensors, upstream):
    """What a function of tensors gives, and the gradient of each."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    result = compute(*leaves)
    result.backward(upstream.to(result))
    return [result.detach(), *(leaf.grad for leaf in leaves)]


def assert_alike(found, exact):
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() < 2e-5 * theirs.abs().max()


# single images are halved on the way back, if their slices are even in number; several are not
@pytest.mark.parametrize(
    "size", [(1, 4, 6, 10), (1, 2, 4, 6), (1, 3, 5, 4), (1, 1, 4, 6), (2, 4, 6, 8)]
)
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_and_their_gradients_are_those_of_float64(layer, size):
    torch.manual_seed(0)
    make, exact = LAYERS[layer]
    module = make(5, 3)
    x = torch.randn(size[0], 5, *size[1:])
    upstream = torch.randn(module(x).shape)
    assert module(x).is_contiguous(memory_format=torch.channels_last_3d)  # not torch's own way
    tensors = [x, module.weight, module.bias]
    found = gradients(
        lambda *given: torch.func.functional_call(
            module, {"weight": given[1], "bias": given[2]}, given[0]
        ),
        tensors,
        upstream,
    )
    assert_alike(found, gradients(exact, [t.double() for t in tensors], upstream))


@pytest.mark.parametrize("images", [1, 3])
def test_normalisation_and_prelu_are_those_of_float64(images):
    torch.manual_seed(0)
    x, slopes = 2 + 3 * torch.randn(images, 6, 2, 5, 7), torch.randn(6)
    x[0, 0, 0, 0, 0] = 0  # where a PReLU bends
    upstream = torch.randn_like(x)
    for ours, theirs, tensors in (
        (lambda t: channels_last.instance_norm(t, 1e-5), functional.instance_norm, [x]),
        (channels_last.prelu, functional.prelu, [x, slopes]),
    ):
        exact = gradients(theirs, [t.double() for t in tensors], upstream)
        assert_alike(gradients(ours, tensors, upstream), exact)


def test_a_network_learns_as_it_does_by_pytorchs_own_layers(monkeypatch):
    torch.manual_seed(0)
    network = CmFNet(2, width=4, normalisation="none", dropout=0)
    images = torch.rand(2, 1, 1, 16, 16, 32)

    def learn(network):
        outputs = network(*images)
        sum(scores.square().sum() for scores in outputs).backward()
        return [*(scores.detach() for scores in outputs), *(p.grad for p in network.parameters())]

    other = copy.deepcopy(network)
    found = learn(network)
    monkeypatch.setattr(channels_last, "applies", lambda x: False)
    exact = learn(other)
    scale = max(float(values.abs().max()) for values in exact)
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.stride() == theirs.stride() or ours.ndim == 5
        assert (ours - theirs).abs().max() < 1e-5 * scale


def test_bfloat16_and_float64_keep_pytorchs_own_layers():
    layer = Conv(2, 4, "instance")
    assert not channels_last.applies(torch.rand(1, 2, 4, 4, 4).double())
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.rand(1, 2, 4, 4, 4)).dtype == torch.bfloat16
