"""The network and the loss of a method, by the name of its architecture."""

from __future__ import annotations

from collections.abc import Callable

from cmfnet_napari.core.fit.config import Config, DropoutAt, Normalisation
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.model.loss_terms import CmFNetLoss, Loss
from cmfnet_napari.learning.model.network import Network
from cmfnet_napari.learning.model.vnet import VNet
from cmfnet_napari.learning.rivals.merged import STAGES, DualVNet, Merged
from cmfnet_napari.learning.rivals.metric_cnn import MetricCNN
from cmfnet_napari.learning.rivals.monai_nets import (
    check_installed,
    res_unet,
    unet_plus_plus,
    unetr,
)
from cmfnet_napari.learning.rivals.published_nets import DAVNet, DenseVoxNet, UNet3D
from cmfnet_napari.learning.rivals.rival_loss import RivalLoss
from cmfnet_napari.learning.rivals.settings import MethodConfig


def make_network(config: Config, classes: int) -> Network:
    """Build the network of a configuration, for a number of classes with background."""
    if not isinstance(config, MethodConfig):
        return build(config, classes)
    return _BUILDERS[config.architecture](config, classes)


def make_loss(config: Config) -> Loss:
    """What the network of a configuration is taught."""
    if isinstance(config, MethodConfig) and config.architecture != "cmfnet":
        return RivalLoss(config)
    return CmFNetLoss(config)


def _vnet(config: MethodConfig, classes: int) -> Network:
    return Merged(VNet(2, classes, STAGES, *_features(config)), classes)


def _dual(config: MethodConfig, classes: int) -> Network:
    return DualVNet(classes, *_features(config))


def _res_unet(config: MethodConfig, classes: int) -> Network:
    return Merged(res_unet(classes, config.width, config.dropout), classes, foreign=True)


def _unet_plus_plus(config: MethodConfig, classes: int) -> Network:
    return Merged(unet_plus_plus(classes, config.width, config.dropout), classes, foreign=True)


def _unetr(config: MethodConfig, classes: int) -> Network:
    check_installed(config)
    return Merged(unetr(classes, config.width, config.dropout, config.patch), classes, foreign=True)


def _dense(config: MethodConfig, classes: int) -> Network:
    growth = max(3 * config.width // 4, 3)  # the published 12 at a width of 16
    return Merged(DenseVoxNet(2, classes, growth, config.dropout), classes, foreign=True)


def _unet(config: MethodConfig, classes: int) -> Network:
    return Merged(UNet3D(2, classes, 2 * config.width), classes, foreign=True)


def _attending(config: MethodConfig, classes: int) -> Network:
    return Merged(DAVNet(2, classes, STAGES, *_features(config)), classes)


def _metric(config: MethodConfig, classes: int) -> Network:
    return MetricCNN(classes, *_features(config))


def _features(config: MethodConfig) -> tuple[int, Normalisation, float, DropoutAt]:
    return config.width, config.normalisation, config.dropout, config.dropout_at


_BUILDERS: dict[str, Callable[[MethodConfig, int], Network]] = {
    "cmfnet": build,
    "vnet": _vnet,
    "dual-vnet": _dual,
    "resunet": _res_unet,
    "unet++": _unet_plus_plus,
    "unetr": _unetr,
    "densenet": _dense,
    "mm-unet": _unet,
    "da-vnet": _attending,
    "m-cnn": _metric,
}
