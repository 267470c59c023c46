"""Networks of Table III that MONAI has."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import Tensor, nn

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.learning.model.network import crop_to
from cmfnet_napari.learning.rivals.settings import MethodConfig


def check_installed(config: MethodConfig) -> None:
    """Raise a UserError where a method needs a package that is not there."""
    if _lacks("nnunetv2", config, "nnunet"):
        raise UserError(
            "The method nnunet needs the package nnunetv2. Install it with: "
            'pip install "cmfnet-napari[nnunet]"'
        )
    if _lacks("einops", config, "unetr"):
        raise UserError(
            "The method unetr needs the package einops. Install it with: "
            'pip install "cmfnet-napari[rivals]"'
        )


def _lacks(package: str, config: MethodConfig, architecture: str) -> bool:
    return config.architecture == architecture and find_spec(package) is None


def res_unet(classes: int, width: int, dropout: float) -> nn.Module:
    """Residual U-Net (MONAI `UNet` with two residual units a level)."""
    from monai.networks.nets.unet import UNet

    channels = [width * 2**level for level in range(5)]
    return UNet(3, 2, classes, channels, (2, 2, 2, 2), num_res_units=2, dropout=dropout)


def unet_plus_plus(classes: int, width: int, dropout: float) -> nn.Module:
    """U-Net++ (MONAI `BasicUNetPlusPlus`), taught by its last answer."""
    from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus

    features = [2 * width, 2 * width, 4 * width, 8 * width, 16 * width, 2 * width]
    network = BasicUNetPlusPlus(3, 2, classes, features, dropout=dropout)
    for unused in (network.final_conv_0_1, network.final_conv_0_2, network.final_conv_0_3):
        unused.requires_grad_(False)  # of earlier answers: several devices wait for all gradients
    return _First(network)


def unetr(classes: int, width: int, dropout: float, patch: tuple[int, int, int]) -> nn.Module:
    """UNETR (MONAI), of 12 heads; 768 features a token at the published width of 16."""
    from monai.networks.nets.unetr import UNETR

    hidden = 48 * width
    network = UNETR(
        2, classes, patch, width, hidden, 4 * hidden, 12, proj_type="conv", dropout_rate=dropout
    )
    for name, unused in network.named_parameters():
        if ".norm_cross_attn." in name:  # of attention to another image, which there is none
            unused.requires_grad_(False)  # several devices wait for all gradients
    return _Sized(network, patch)


class _First(nn.Module):
    """The first of several answers."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        answers: list[Tensor] = self.body(x)
        return answers[0]


class _Sized(nn.Module):
    """A network for patches of one size: smaller ones are padded."""

    def __init__(self, body: nn.Module, size: tuple[int, int, int]) -> None:
        super().__init__()
        self.body, self._size = body, size

    def forward(self, x: Tensor) -> Tensor:
        z, y, right = (side - n for side, n in zip(self._size, x.shape[2:], strict=True))
        padded = nn.functional.pad(x, (0, right, 0, y, 0, z), mode="replicate")
        scores: Tensor = self.body(padded)
        return crop_to(scores, torch.Size(x.shape[2:]))
