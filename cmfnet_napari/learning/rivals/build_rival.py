"""The network of a method, by the name of its architecture."""

from __future__ import annotations

from collections.abc import Callable

from cmfnet_napari.core.fit.config import DropoutAt, Normalisation
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.model.network import Network
from cmfnet_napari.learning.model.vnet import VNet
from cmfnet_napari.learning.rivals.merged import STAGES, DualVNet, Merged
from cmfnet_napari.learning.rivals.settings import MethodConfig


def build_network(config: MethodConfig, classes: int) -> Network:
    """Build the network of a method, for a number of classes with background."""
    return _BUILDERS[config.architecture](config, classes)


def _vnet(config: MethodConfig, classes: int) -> Network:
    return Merged(VNet(2, classes, STAGES, *_features(config)), classes)


def _dual(config: MethodConfig, classes: int) -> Network:
    return DualVNet(classes, *_features(config))


def _features(config: MethodConfig) -> tuple[int, Normalisation, float, DropoutAt]:
    return config.width, config.normalisation, config.dropout, config.dropout_at


_BUILDERS: dict[str, Callable[[MethodConfig, int], Network]] = {
    "cmfnet": build,
    "vnet": _vnet,
    "dual-vnet": _dual,
}
