"""Strokes that look drawn by hand: thin wandering lines inside a region, slice by slice."""

from __future__ import annotations

import numpy as np

from cmfnet_napari.core.arrays import Doubles, Mask, Wholes

_DETOURS = np.array([0.0, 0.4, -0.4, 0.9, -0.9, 1.5, -1.5, 2.2, -2.2, np.pi])  # radians
_BEND = 0.18  # how much a stroke's direction changes from one voxel to the next, radians
_ROUNDS = 40


def draw_strokes(region: Mask, voxels: int, length: int, rng: np.random.Generator) -> Mask:
    """Draw strokes of one voxel's width into a region until they cover enough voxels.

    Strokes lie in axial slices and start evenly spread over the region. A stroke that meets
    the region's border follows it.

    Parameters
    ----------
    region : bool array (z, y, x)
        Where strokes may go.
    voxels : int
        Voxels to cover; all of the region when it has no more.
    length : int
        Voxels of one stroke.
    rng : numpy Generator
        Same state, same strokes.

    Returns
    -------
    bool array (z, y, x)
        Exactly `voxels` true, unless the region is smaller or its corners are out of reach.
    """
    drawn = np.zeros(region.shape, dtype=bool)
    flat = np.flatnonzero(region)
    if flat.size <= voxels:
        return region.copy()
    missing = voxels
    for _ in range(_ROUNDS):
        if missing <= 0:
            break
        starts = _spread(flat, -(-missing // length), rng)
        path = _walk(region, starts, length, rng)
        new = path[~drawn.reshape(-1)[path]]
        first = np.sort(np.unique(new, return_index=True)[1])[:missing]
        drawn.reshape(-1)[new[first]] = True
        missing -= first.size
    return drawn


def _spread(flat: Wholes, count: int, rng: np.random.Generator) -> Wholes:
    """One random voxel from each of `count` equal parts of the region: every slice its share."""
    edges = np.linspace(0, flat.size, count + 1)
    return flat[(edges[:-1] + rng.random(count) * np.diff(edges)).astype(np.int64)]


def _walk(region: Mask, starts: Wholes, length: int, rng: np.random.Generator) -> Wholes:
    """Flat indices of all strokes, one stroke after the other."""
    z, y, x = np.unravel_index(starts, region.shape)
    place = np.stack([y, x]).astype(float)
    heading = rng.uniform(0, 2 * np.pi, starts.size)
    bend = np.zeros(starts.size)
    path = np.empty((starts.size, length), dtype=np.int64)
    for step in range(length):
        path[:, step] = _flat(region.shape, z, place)
        bend = 0.8 * bend + rng.normal(0, _BEND, starts.size)
        heading = _turn(region, z, place, heading + bend * 0.6)
        ahead = place + _step(heading)
        place = np.where(_inside(region, z, ahead), ahead, place)
    return path.ravel()


def _turn(region: Mask, z: Wholes, place: Doubles, heading: Doubles) -> Doubles:
    """The heading of every stroke, or the nearest one that stays in the region."""
    turned = heading.copy()
    stuck = np.arange(heading.size)
    for detour in _DETOURS:
        turned[stuck] = heading[stuck] + detour
        ahead = place[:, stuck] + _step(turned[stuck])
        stuck = stuck[~_inside(region, z[stuck], ahead)]
        if not stuck.size:
            break
    return turned


def _step(heading: Doubles) -> Doubles:
    """Step (y, x) to a neighbouring voxel: the longer side is one voxel."""
    step = np.stack([np.sin(heading), np.cos(heading)])
    longer: Doubles = np.abs(step).max(axis=0)
    return step / longer


def _inside(region: Mask, z: Wholes, place: Doubles) -> Mask:
    y, x = np.rint(place).astype(np.int64)
    fits = (y >= 0) & (y < region.shape[1]) & (x >= 0) & (x < region.shape[2])
    inside: Mask = fits & region[z, np.where(fits, y, 0), np.where(fits, x, 0)]
    return inside


def _flat(shape: tuple[int, ...], z: Wholes, place: Doubles) -> Wholes:
    y, x = np.rint(place).astype(np.int64)
    return np.ravel_multi_index((z, y, x), shape)
