import pytest
import torch

from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.learning.model.blocks import Convolution
from cmfnet_napari.learning.model.cmfnet import CmFNet, build
from cmfnet_napari.learning.model.vnet import VNet


def count(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(("stages", "millions"), [(3, 7.94), (4, 19.57), (5, 35.57), (6, 51.56)])
def test_parameters_are_those_of_table_iv(stages, millions):
    assert round(count(VNet(stages=stages)) / 1e6, 2) == millions


def test_normalisation_adds_no_parameter():
    plain, normalised = (CmFNet(width=4, normalisation=n) for n in ("none", "instance"))
    assert count(plain) == count(normalised)


@pytest.mark.parametrize("stages", [3, 5])
def test_vnet_keeps_the_size_of_its_input(stages):
    side = 2 ** min(stages, 4)
    scores = VNet(1, 3, stages, width=2)(torch.rand(2, 1, side, 2 * side, side))
    assert scores.shape == (2, 3, side, 2 * side, side)


def test_odd_shapes_come_back_in_their_shape_from_all_three_branches():
    outputs = CmFNet(3, width=2)(torch.rand(1, 1, 5, 17, 33), torch.rand(1, 1, 5, 17, 33))
    assert {tuple(scores.shape) for scores in outputs} == {(1, 3, 5, 17, 33)}


@torch.no_grad()
def test_inference_path_gives_the_training_paths_y_mm():
    network = CmFNet(2, width=4, normalisation="instance").eval()
    ct, mr = torch.rand(2, 1, 1, 16, 32, 48)
    assert torch.equal(network.fused(ct, mr), network(ct, mr).mm)


def test_fused_output_learns_from_both_images():
    network = CmFNet(2, width=2, dropout=0)
    ct, mr = (torch.rand(1, 1, 16, 16, 16, requires_grad=True) for _ in range(2))
    network.fused(ct, mr).square().sum().backward()
    assert ct.grad.abs().sum() > 0
    assert mr.grad.abs().sum() > 0


def test_branch_outputs_see_only_their_own_image():
    network = CmFNet(2, width=2, dropout=0)
    ct, mr = (torch.rand(1, 1, 16, 16, 16, requires_grad=True) for _ in range(2))
    network(ct, mr).ct.square().sum().backward()
    assert ct.grad.abs().sum() > 0
    assert mr.grad is None


@pytest.mark.parametrize(("ct", "mr"), [(3, 3), (5, 4), (4, 6)])
def test_any_pair_of_branches_makes_a_network(ct, mr):
    config = make_config("paper", width=2, ct_stages=ct, mr_stages=mr)
    network = build(config, 3)
    assert count(network.ct) == count(VNet(1, 3, ct, width=2))
    assert count(network.mr) == count(VNet(1, 3, mr, width=2))
    outputs = network(torch.rand(1, 1, 16, 16, 32), torch.rand(1, 1, 16, 16, 32))
    assert {tuple(scores.shape) for scores in outputs} == {(1, 3, 16, 16, 32)}


def test_default_pair_is_ct3_and_mr4():
    config = make_config("paper")
    assert (config.ct_stages, config.mr_stages, config.fusion) == (3, 4, "cff")


def test_ablations_leave_out_what_their_names_say():
    networks = {
        f: build(make_config("paper", width=4, fusion=f), 2) for f in ("none", "cfe", "cff")
    }
    branches = count(VNet(stages=3, width=4)) + count(VNet(stages=4, width=4))
    assert count(networks["none"]) == branches
    # CFF, Eq. 1: at each stage of c channels a 3x3x3 convolution 2c -> c, bias and PReLU
    fuse = sum(27 * 2 * c * c + 2 * c for c in (4, 8, 16))
    assert count(networks["cff"]) - count(networks["cfe"]) == fuse


@pytest.mark.parametrize("stages", [3, 5])
@torch.no_grad()
def test_dropout_after_all_stages_but_the_first_and_the_last(stages):
    """Or at the bottom only; a dropped feature map is zero everywhere."""

    def zero_maps(dropout_at):
        torch.manual_seed(0)
        network = VNet(1, 2, stages, width=8, dropout=0.5, dropout_at=dropout_at)
        seen = []

        def note(module, given, result):
            seen.append(int((given[0].abs().amax(dim=(0, 2, 3, 4)) == 0).sum()))

        for layer in (*network.encoder.leads, *network.decoder.stages, network.decoder.head):
            layer.register_forward_hook(note)
        network(torch.rand(1, 1, 16, 16, 32))
        return [count > 0 for count in seen]

    inner = stages - 1
    everywhere = [False, *[True] * inner, *[True] * stages, False]
    assert zero_maps("stages") == everywhere
    bottom = [False] * stages + [True] + [False] * inner + [False]
    assert zero_maps("bottoms") == bottom


@torch.no_grad()
def test_where_features_are_dropped_changes_no_prediction():
    ct, mr = torch.rand(2, 1, 1, 16, 16, 32)
    weights, answers = None, []
    for at in ("bottoms", "stages"):
        network = build(make_config("paper", width=2, dropout_at=at), 2)
        weights = weights or network.state_dict()
        network.load_state_dict(weights)
        answers.append(network.eval()(ct, mr).mm)
        assert not torch.equal(network.train()(ct, mr).mm, answers[-1])
    assert torch.equal(*answers)


@torch.no_grad()
def test_without_cross_modal_branch_y_mm_is_the_mean_of_both():
    network = CmFNet(3, width=2, fusion="none").eval()
    ct, mr = torch.rand(2, 1, 1, 16, 16, 32)
    outputs = network(ct, mr)
    mean = (outputs.ct.softmax(dim=1) + outputs.mr.softmax(dim=1)) / 2
    torch.testing.assert_close(outputs.mm.softmax(dim=1), mean)
    assert torch.equal(network.fused(ct, mr), outputs.mm)


@pytest.mark.parametrize("fusion", ["none", "cfe", "cff"])
def test_checkpointing_changes_no_gradient(fusion):
    ct, mr = torch.rand(2, 1, 1, 16, 16, 32)
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        network = CmFNet(2, 2, "instance", 0.5, fusion=fusion, checkpointing=checkpointing)
        torch.manual_seed(1)
        sum(scores.square().sum() for scores in network(ct, mr)).backward()
        gradients.append([p.grad for p in network.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)


@pytest.mark.parametrize(("size", "stride"), [((2, 8, 8), 1), ((4, 8, 8), 1), ((2, 4, 8), 2)])
def test_bfloat16_weight_gradients_are_right_on_thin_levels(size, stride):
    """oneDNN's own are garbage at a depth of 2."""
    torch.manual_seed(0)
    layer = Convolution(32, 32, stride)
    x = torch.randn(2, 32, *size)
    layer(x).square().sum().backward()
    exact, layer.weight.grad = layer.weight.grad, None
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    y.float().square().sum().backward()
    assert (layer.weight.grad - exact).abs().max() < 0.03 * exact.abs().max()


@pytest.mark.parametrize(("mr_stages", "seen"), [(3, (24, 8, 16)), (4, (32, 16, 32))])
def test_no_more_is_filled_up_than_the_stages_halve(mr_stages, seen):
    model = CmFNet(width=2, ct_stages=3, mr_stages=mr_stages).eval()
    sizes = []
    model.ct.encoder.stages[0].register_forward_hook(lambda _, x, __: sizes.append(x[0].shape[2:]))
    image = torch.rand(1, 1, 24, 8, 16)
    assert all(scores.shape[2:] == image.shape[2:] for scores in model(image, image))
    assert model.fused(image, image).shape[2:] == image.shape[2:]
    assert sizes == [seen, seen]
