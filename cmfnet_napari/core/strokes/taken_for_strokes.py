"""Whole contours that were given as scribbles: their first structure would teach background."""

from __future__ import annotations

import numpy as np

from cmfnet_napari.core.arrays import Codes, Mask, Wholes
from cmfnet_napari.core.errors import say
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.strokes.scribbles import BACKGROUND

_DEEP_MM = 3.0  # a voxel with as much of its code on every side lies within an area, not a line
_SMALL = 4  # of what is drawn of a code, so much or less on every side of small structures
# Strokes by 120 people and by simulated users have up to 0.03 and 0.02 of these shares (brushes
# of 7 mm on 40 slices: 0.12 and 0.20); masks of two structures and more, of a centimetre and
# more, 0.15 at least.
_LEAST_DEEP, _LEAST_FLAT = 0.13, 0.1
_MOST_OF_BODY = 0.5  # eroded from masks as a whole (`propose_background`), it has 0.73 and more


def look_whole(scribbles: Codes, study: Study) -> str:
    """Say that scribbles look like whole contours; empty where they do not.

    Parameters
    ----------
    scribbles : uint8 array (z, y, x)
        Scribble codes.
    study : Study
        Its voxels and, where much is drawn, its body.
    """
    drawn = np.flatnonzero(scribbles)
    codes = scribbles.reshape(-1)[drawn]
    if not (codes == BACKGROUND).any():
        return ""
    sides = {c: _sides(scribbles, drawn[codes == c], study) for c in np.unique(codes)}
    deep = sum(int(within.all(axis=0).sum()) for within in sides.values()) / len(drawn)
    around = sides[BACKGROUND]
    flat = max(np.delete(around, axis, 0).all(axis=0).mean() for axis in range(3))
    if deep < _LEAST_DEEP or flat < _LEAST_FLAT:
        return ""
    if around.shape[1] > _MOST_OF_BODY * study.body.sum():
        return ""
    return (
        "The scribbles look like whole contours, not like strokes: areas are filled, slice after "
        "slice. In scribbles 1 is background, and 2, 3, … are the classes; in a contour 1 is the "
        "first structure, which would be taken for background. Make strokes of a contour with "
        "'cmfnet scribble'."
    )


def say_whole(scribbles: Codes, study: Study, where: str = "") -> None:
    """Warn where scribbles look like whole contours (`look_whole`), of which row, if there are."""
    if sentence := look_whole(scribbles, study):
        say(f"{where}: {sentence}" if where else sentence)


def _sides(scribbles: Codes, where: Wholes, study: Study) -> Mask:
    """Whether the code of voxels lies on both sides of them, too, along each axis: (3, n)."""
    at = np.unravel_index(where, scribbles.shape)
    code = scribbles[tuple(index[0] for index in at)]
    both: Mask = np.ones((3, len(where)), dtype=bool)
    for axis, spacing in enumerate(study.grid.spacing):
        extent = int(np.ptp(at[axis])) + 1
        far = max(1, min(round(_DEEP_MM / spacing), extent // _SMALL))
        for step in (-far, far):
            moved = list(at)
            moved[axis] = at[axis] + step
            inside = (moved[axis] >= 0) & (moved[axis] < scribbles.shape[axis])
            moved[axis] = np.where(inside, moved[axis], at[axis])
            both[axis] &= inside & (scribbles[tuple(moved)] == code)
    return both
