"""What prediction needs of memory, and whether there is enough."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch

from cmfnet_napari.core.arrays import three
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.fit.cost_estimate import unfolded_bytes
from cmfnet_napari.core.images.grid import Grid

Size = tuple[int, int, int]

# Peak memory of `fused` on the CPU: bytes a voxel and unit of width (most of it the finest decoder
# stage and the buffers of its convolution), and bytes whatever the size, which the allocator keeps
# between its blocks. Measured as resident memory at widths 2 to 16 on 0.04 to 2.4 million voxels:
# 60 to 77 bytes in float32, 32 to 42 in bfloat16.
_COSTS = {torch.float32: (80, 128 * 2**20), torch.bfloat16: (44, 64 * 2**20)}


@dataclass(frozen=True)
class Room:
    """How much memory there is, and what the network needs of it.

    Attributes
    ----------
    budget : float
        Bytes that prediction may use beyond model and inputs.
    kept : float
        Bytes of it that results take.
    width, classes, precision
        Of the network.
    """

    budget: float
    kept: float
    width: int
    classes: int
    precision: torch.dtype

    def need(self, size: Size) -> float:
        """Bytes for one image (z, y, x) through the network, results included."""
        a_channel, always = _COSTS[self.precision]
        a_voxel: float = a_channel * self.width + 4 * (4 + 3 * self.classes)
        if self.precision == torch.float32:
            a_voxel += unfolded_bytes(self.width, size)
        return self.kept + always + a_voxel * prod(size)

    def fits(self, size: Size) -> bool:
        """Whether an image of this size can go through the network at once."""
        return self.need(size) <= self.budget

    def require(self, size: Size) -> None:
        """Refuse a size that does not fit.

        Raises
        ------
        UserError
            With what is needed and what there is.
        """
        if not self.fits(size):
            raise UserError(
                f"Prediction needs {self.need(size) / 2**20:.0f} MiB of memory at least, but may "
                f"use {max(self.budget, 0) / 2**20:.0f} MiB. Close other programs, allow more, or "
                "use a model of larger voxels or smaller width."
            )


def whole_memory(config: Config, classes: int, grid: Grid) -> float:
    """Bytes that an image on this Grid takes in one go through the network on the CPU, float32."""
    return Room(0, 0, config.width, classes, torch.float32).need(three(grid.shape))
