"""The networks of Table III: as many parameters as published, and what each is known for."""

import pytest
import torch

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.rivals import monai_nets
from cmfnet_napari.learning.rivals.build_rival import make_network
from cmfnet_napari.learning.rivals.metric_cnn import similarity_error
from cmfnet_napari.learning.rivals.published_nets import DenseVoxNet, DualAttention, UNet3D
from cmfnet_napari.learning.rivals.settings import METHODS, method_config

SUPERVISED = [m for m, row in METHODS.items() if row.changes.get("labels") == "masks"]
CONVOLUTIONS = (torch.nn.Conv3d, torch.nn.ConvTranspose3d)


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_the_3d_unet_has_the_published_parameters():
    layers = (m for m in UNet3D(3, 3).modules() if isinstance(m, CONVOLUTIONS))
    assert sum(count(layer) for layer in layers) == 19_069_955


def test_the_dense_network_has_about_those_of_its_paper():
    """1.8 M, which leaves open how wide the deconvolutions are."""
    assert 1.65e6 < count(DenseVoxNet(1, 3)) < 1.85e6


def test_attention_is_the_definition_written_out():
    torch.manual_seed(1)
    layer = DualAttention(8).double()
    x = torch.randn(1, 8, 1, 2, 2, dtype=torch.float64)
    assert torch.equal(layer(x), 2 * x)  # at first
    with torch.no_grad():
        layer.places.fill_(0.5)
        layer.features.fill_(0.25)
    flat = x[0].flatten(1)  # (8, 4)
    q, k, v = (part(x)[0].flatten(1) for part in (layer.query, layer.key, layer.value))
    by_hand = 2 * flat.clone()
    for here in range(4):
        weights = torch.stack([(q[:, here] * k[:, there]).sum() for there in range(4)]).softmax(0)
        by_hand[:, here] += 0.5 * sum(w * v[:, there] for there, w in enumerate(weights))
    for row in range(8):
        alike = torch.stack([(flat[row] * flat[other]).sum() for other in range(8)])
        weights = (alike.max() - alike).softmax(0)
        by_hand[row] += 0.25 * sum(w * flat[other] for other, w in enumerate(weights))
    torch.testing.assert_close(layer(x)[0].flatten(1), by_hand)


@pytest.mark.parametrize("method", SUPERVISED)
def test_every_network_sees_both_images_and_learns(method):
    network = make_network(method_config(method, width=2, patch=(16, 16, 32)), 3)
    ct, mr = (torch.rand(2, 1, 13, 16, 30, requires_grad=True) for _ in range(2))
    scores, *others = network(ct, mr)
    assert scores.shape == network.fused(ct, mr).shape == (2, 3, 13, 16, 30)
    assert len(others) == (3 if method == "m-cnn" else 0)  # its other answer, and features
    sum(answer.square().mean() for answer in (scores, *others)).backward()
    assert ct.grad.abs().sum() > 0
    assert mr.grad.abs().sum() > 0
    learnt = [p for p in network.parameters() if p.requires_grad]
    assert learnt
    assert all(p.grad is not None for p in learnt)


@torch.no_grad()
@pytest.mark.parametrize("method", ["mm-unet", "densenet"])
def test_batch_normalisation_is_by_what_goes_through_in_prediction_too(method):
    """Of what a step of one patch saw, an average says nothing of another patient."""
    network = make_network(method_config(method, width=2, patch=(16, 16, 32), dropout=0.0), 3)
    for _ in range(3):
        network(*torch.rand(2, 1, 1, 16, 16, 32))
    images = 5 + torch.rand(2, 1, 1, 16, 16, 32)  # unlike what it saw
    taught = network.train().fused(*images)
    torch.testing.assert_close(network.eval().fused(*images), taught)
    assert not list(network.buffers())


@torch.no_grad()
@pytest.mark.parametrize("method", SUPERVISED)
def test_pytorchs_own_convolutions_stay_in_float32_on_a_cpu(method):
    """Their bfloat16 gradients can be garbage there; `blocks.Convolution` sees to its own."""
    network = make_network(method_config(method, width=2, patch=(16, 16, 32), dropout=0.0), 3)
    kinds = []
    for layer in network.modules():
        if type(layer) in CONVOLUTIONS and max(layer.kernel_size) > 1:
            layer.register_forward_hook(lambda _, __, scores: kinds.append(scores.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        network.fused(*torch.rand(2, 1, 1, 16, 16, 32))
    assert set(kinds) <= {torch.float32}


@pytest.mark.parametrize("method", ["resunet", "unet++", "unetr"])
def test_monais_networks_drop_nothing(method):
    """Their dropout is after every layer, where CmFNet's one half would be too much."""
    network = make_network(method_config(method, width=2, patch=(16, 16, 32)), 3)
    kinds = (torch.nn.Dropout, torch.nn.Dropout3d)
    assert {m.p for m in network.modules() if isinstance(m, kinds)} <= {0.0}


def test_features_of_one_place_are_to_be_alike_and_of_two_classes_apart():
    torch.manual_seed(2)
    targets = torch.full((1, 2, 3, 4), IGNORE)
    targets[0, 0, 0, 0], targets[0, 1, 2, 3] = 0, 1
    first, second = torch.randn(2, 1, 8, 2, 3, 4, requires_grad=True).unbind()
    torch.manual_seed(3)
    loss = similarity_error(first, second, targets)
    torch.manual_seed(3)
    drawn = [torch.randint(2, (512,)).tolist() for _ in range(2)]
    places = [(0, 0, 0), (1, 2, 3)]
    known, compared = first.detach(), second.detach()
    exact = 0.0
    for one, other in zip(*drawn, strict=True):
        f = known[(0, slice(None), *places[one])].double()
        exact += float((f - compared[(0, slice(None), *places[one])]).square().sum())
        if one != other:
            far = float((f - compared[(0, slice(None), *places[other])]).square().sum()) ** 0.5
            exact += max(0.0, 1 - far) ** 2
    assert loss.item() == pytest.approx(exact / 512 / 2, rel=1e-6)
    alike = torch.zeros(1, 8, 2, 3, 4)
    alike[:, 0, 1] = 5.0  # the classes are five apart, and both images agree
    assert similarity_error(alike, alike, targets).item() == 0
    nothing = similarity_error(first, second, torch.full_like(targets, IGNORE))
    assert nothing.item() == 0


def test_what_unetr_lacks_is_said(monkeypatch):
    monkeypatch.setattr(monai_nets, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the package einops.*cmfnet-napari\[rivals\]"):
        make_network(method_config("unetr", width=2, patch=(16, 16, 32)), 2)
