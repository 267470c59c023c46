"""What differs between the scribbles as they are recorded and as they are drawn."""

from __future__ import annotations

import numpy as np

from cmfnet_napari.core.arrays import Codes, Wholes
from cmfnet_napari.core.geometry.boxes import Box as Region
from cmfnet_napari.core.strokes.entries import Source, Stroke


def changed_slices(before: Codes, after: Codes) -> Region | None:
    """The slab of slices (z) that holds every difference; None when there is none."""
    slices = [z for z in range(len(before)) if not np.array_equal(before[z], after[z])]
    return (slice(slices[0], slices[-1] + 1), slice(None), slice(None)) if slices else None


def changed_in(before: Codes, after: Codes, region: Region, source: Source) -> Stroke | None:
    """`journal.difference`, looking at a part only."""
    starts = [part.indices(n)[0] for part, n in zip(region, before.shape, strict=True)]
    differs = before[region] != after[region]
    at = np.flatnonzero(differs)  # many times faster than nonzero in three dimensions
    if not at.size:
        return None
    inside = np.unravel_index(at, differs.shape)
    index = tuple(axis + start for axis, start in zip(inside, starts, strict=True))
    voxels = np.ravel_multi_index(index, before.shape)
    return Stroke(voxels, before[index], after[index], source)


def changed_at(before: Codes, after: Codes, voxels: Wholes, source: Source) -> Stroke | None:
    """`journal.difference`, looking at some voxels only (flat indices, each once)."""
    old, new = before.reshape(-1)[voxels], after.reshape(-1)[voxels]
    differs = old != new
    if not differs.any():
        return None
    return Stroke(voxels[differs], old[differs], new[differs].astype(np.uint8), source)
