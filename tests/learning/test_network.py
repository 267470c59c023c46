import pytest
import torch

from cmfnet_napari.learning.cmfnet import CmFNet
from cmfnet_napari.learning.vnet import VNet


@pytest.mark.parametrize(("stages", "millions"), [(3, 7.94), (4, 19.57), (5, 35.57), (6, 51.56)])
def test_parameters_are_those_of_table_iv(stages, millions):
    count = sum(p.numel() for p in VNet(stages=stages).parameters())
    assert round(count / 1e6, 2) == millions


def test_normalisation_adds_no_parameter():
    def count(normalisation):
        return sum(p.numel() for p in CmFNet(width=4, normalisation=normalisation).parameters())

    assert count("none") == count("instance")


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
