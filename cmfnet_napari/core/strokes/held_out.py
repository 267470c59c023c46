"""Strokes dealt into groups, to be held out in turn."""

from __future__ import annotations

import numpy as np

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.images.grid import Triple
from cmfnet_napari.core.strokes.scribbles import UNLABELLED

_PIECE_MM = 15.0


def deal_strokes(scribbles: Codes, spacing: Triple, groups: int, seed: int = 0) -> Codes:
    """Deal pieces of strokes, each about `_PIECE_MM` long, into groups.

    Parameters
    ----------
    scribbles : uint8 array (z, y, x)
        Scribble codes.
    spacing : tuple of float
        mm along (z, y, x).
    groups : int
        Two or more.
    seed : int
        Same seed, same groups.

    Returns
    -------
    uint8 array (z, y, x)
        1 … `groups` where a stroke may be held out; 0 elsewhere, and at strokes of a code that
        has a single piece. Without any one group, every code still has a stroke.
    """
    dealt = np.zeros(scribbles.shape, dtype=np.uint8)
    rng = np.random.default_rng(seed)
    drawn = np.argwhere(scribbles != UNLABELLED)
    codes = scribbles[tuple(drawn.T)]
    blocks = (drawn * np.array(spacing) / _PIECE_MM).astype(int)
    for code in np.unique(codes):
        own = codes == code
        _, piece = np.unique(blocks[own], axis=0, return_inverse=True)
        count = int(piece.max()) + 1
        if count > 1:
            order = rng.permutation(np.arange(count) % groups) + 1
            dealt[tuple(drawn[own].T)] = order[piece.ravel()]
    return dealt
