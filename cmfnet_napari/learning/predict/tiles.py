"""Cutting a volume into tiles that fit the memory and see enough of their surroundings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import NamedTuple

from cmfnet_napari.core.arrays import three
from cmfnet_napari.core.geometry.boxes import Box, grow
from cmfnet_napari.learning.model.cmfnet import MULTIPLE

# With a halo of 32, labels differ from the whole volume's in 0.02 % of the voxels, with one of 16
# in 0.1 to 0.4 % (width 16, trained on the synthetic patient, cores of 32 and 48 voxels). Cores of
# 16, which only the least memory leads to, differ in 0.2 and 1.8 %.
HALOS = (32, 16)
_MOST_WORK = 4.0  # times the volume, for a wide halo; with a narrow one anything goes
Size = tuple[int, int, int]


@dataclass(frozen=True)
class Tile:
    """A part of a volume, and the larger part that is shown to the network for it.

    Attributes
    ----------
    core : Box
        What the tile is asked for; the cores of a plan cover the volume once.
    cut : Box
        The core and its halo, inside the volume.
    """

    core: Box
    cut: Box

    @property
    def inner(self) -> Box:
        """The core, counted from the cut's corner."""
        return three(
            slice(c.start - whole.start, c.stop - whole.start)
            for c, whole in zip(self.core, self.cut, strict=True)
        )


class _Split(NamedTuple):
    """One way to split an axis: length of a core; longest cut; all cuts together."""

    core: int
    longest: int
    total: int


Way = tuple[_Split, _Split, _Split]


def make_tiles(shape: Size, fits: Callable[[Size], bool]) -> list[Tile]:
    """Tiles that fit the memory, with a wide halo where that is not too much work.

    Cores start at multiples of `MULTIPLE`, and so do cuts: the network's coarser grids then
    lie in a tile as they lie in the whole volume.

    Parameters
    ----------
    shape : tuple of int
        Of the volume (z, y, x).
    fits : function
        Whether a size, padded as the network pads it, can go through the network at once.

    Returns
    -------
    list of Tile
        One, the volume itself, when it fits; empty when not even the smallest tile does.
    """
    for halo in HALOS:
        splits = map(three, product(*_splits(shape, halo)))
        ways = [way for way in splits if fits(three(axis.longest for axis in way))]
        best = min(ways, key=_work, default=None)
        if best and (halo == HALOS[-1] or _work(best) <= _MOST_WORK * prod(shape)):
            return _cut(shape, best, halo)
    return []


def smallest_tile(shape: Size) -> Size:
    """Padded size of the smallest tile there is for a volume."""
    return three(min(way.longest for way in ways) for ways in _splits(shape, HALOS[-1]))


def _work(way: Way) -> int:
    """Voxels in all tiles together."""
    return prod(axis.total for axis in way)


def _cut(shape: Size, way: Way, halo: int) -> list[Tile]:
    starts = (range(0, n, axis.core) for n, axis in zip(shape, way, strict=True))
    cores = (
        three(slice(i, min(i + a.core, n)) for i, a, n in zip(corner, way, shape, strict=True))
        for corner in product(*starts)
    )
    return [Tile(core, grow(core, (halo,) * 3, shape)) for core in cores]


def _splits(shape: Size, halo: int) -> list[list[_Split]]:
    """For every axis, every way to split it, coarsest first."""
    least = (MULTIPLE, MULTIPLE, 2 * MULTIPLE)  # as the network pads
    return [
        [_split(n, core, halo, low) for core in _cores(n)]
        for n, low in zip(shape, least, strict=True)
    ]


def _cores(length: int) -> list[int]:
    """Lengths of cores, multiples of `MULTIPLE`: for one block, two blocks, … along an axis."""
    units = -(-length // MULTIPLE)
    return sorted({MULTIPLE * -(-units // count) for count in range(1, units + 1)}, reverse=True)


def _split(length: int, core: int, halo: int, least: int) -> _Split:
    cuts = [
        min(start + core + halo, length) - max(start - halo, 0) for start in range(0, length, core)
    ]
    cuts = [max(least, MULTIPLE * -(-cut // MULTIPLE)) for cut in cuts]
    return _Split(core, max(cuts), sum(cuts))
