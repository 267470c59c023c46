"""Fewer strokes: parts of what was drawn, as another user might have drawn.

A network that reads maps of the strokes learns from strokes it does not see: from a part of them
it is to find all. The part must be like what users draw who have no time: on few slices, in
pieces, and away from the border, however carefully the border was drawn along.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cmfnet_napari.core.arrays import Doubles, Mask, Wholes
from cmfnet_napari.core.images.grid import Triple
from cmfnet_napari.core.strokes.scribbles import IGNORE

_AXES = (0.8, 0.1, 0.1)  # how often slices are taken along z, y, x
_SLICES = (2, 12)  # slices with strokes that are kept, at least and at most
_PIECES = (1, 4)  # pieces of a stroke that are kept on a slice
_REACH_MM = (4.0, 15.0)  # half the length of a piece
_WHOLE = 0.4  # how often a class keeps its strokes whole
_ENDS = 0.8  # how often what marks the ends of the classes is kept
_KEEP_OFF_MM = 20.0  # how far strokes may keep off those of the other side, at most


def fewer_strokes(targets: Wholes, spacing: Triple, rng: np.random.Generator) -> Wholes:
    """Keep strokes on some slices, whole or in pieces, and mostly those beyond the ends.

    Strokes near those of the other side (background and classes) may be left out altogether.

    Parameters
    ----------
    targets : integer array (z, y, x)
        Segmentation codes at strokes, `IGNORE` elsewhere.
    spacing : tuple of float
        mm along (z, y, x).
    rng : numpy Generator
        Same state, same strokes.

    Returns
    -------
    array like `targets`
        Every code that was there still is.
    """
    axis = int(rng.choice(3, p=_AXES))
    moved = np.moveaxis(_away_from_the_border(targets, spacing, rng), axis, 0)
    plane = np.delete(np.array(spacing), axis)
    kept = np.full_like(moved, IGNORE)
    drawn = moved != IGNORE
    marked = np.flatnonzero((drawn & (moved > 0)).any(axis=(1, 2)))
    levels = _some(marked, rng)
    for code in np.unique(moved[drawn]):
        strokes, whole = moved == code, rng.random() < _WHOLE
        for level in levels:
            part = strokes[level] if whole else _pieces(strokes[level], plane, rng)
            kept[level][part] = code
        if code == 0 and rng.random() < _ENDS:
            for level in _beyond(strokes, marked):
                kept[level][strokes[level]] = code
        if not (kept == code).any():
            level = rng.choice(np.flatnonzero(strokes.any(axis=(1, 2))))
            kept[level][strokes[level]] = code
    return np.moveaxis(kept, 0, axis)


def _away_from_the_border(targets: Wholes, spacing: Triple, rng: np.random.Generator) -> Wholes:
    """Leave out strokes near the other side's, but never all of a code."""
    background, marked = targets == 0, (targets != 0) & (targets != IGNORE)
    kept = targets.copy()
    for side, other in ((background, marked), (marked, background)):
        if not (side.any() and other.any()):
            continue
        away = ndimage.distance_transform_edt(~other, sampling=spacing)
        limit = rng.random() * min(_KEEP_OFF_MM, 0.9 * away[side].max())
        for code in np.unique(targets[side]):
            near = (targets == code) & (away < limit)
            if (near != (targets == code)).any():
                kept[near] = IGNORE
    return kept


def _some(marked: Wholes, rng: np.random.Generator) -> Wholes:
    """Some of the slices, more or less evenly spread."""
    count = min(int(rng.integers(_SLICES[0], _SLICES[1] + 1)), len(marked))
    if not count:
        return marked
    step = len(marked) / count
    at: Wholes = ((np.arange(count) + rng.random(count)) * step).astype(int)
    return marked[at]


def _pieces(strokes: Mask, spacing: Doubles, rng: np.random.Generator) -> Mask:
    """Pieces of the strokes on one slice, bool (rows, columns)."""
    points = np.argwhere(strokes)
    part = np.zeros_like(strokes)
    for _ in range(int(rng.integers(_PIECES[0], _PIECES[1] + 1)) if len(points) else 0):
        away = np.linalg.norm((points - points[rng.integers(len(points))]) * spacing, axis=1)
        part[tuple(points[away <= rng.uniform(*_REACH_MM)].T)] = True
    return part


def _beyond(strokes: Mask, marked: Wholes) -> list[int]:
    """The nearest slices with strokes before the first and after the last marked one."""
    if not len(marked):
        return []
    levels = np.flatnonzero(strokes.any(axis=(1, 2)))
    before, after = levels[levels < marked[0]], levels[levels > marked[-1]]
    return [int(level) for level in (*before[-1:], *after[:1])]
