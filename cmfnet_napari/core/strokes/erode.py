"""Automatic scribbles by eroding masks, the paper's way.

Background is the body outside every mask, kept away from the masks by a margin and thinned to
sparse strokes; foreground is the same of a mask from the inside. The margin is a distance in
the patient's millimetres between voxel centres, on any spacing.

Only what could be mistaken counts for the margin: masks and strokes of classes for background,
the outside of the mask and strokes of other codes for foreground. The skin and the border of
the image do not count: beyond them lies nothing of a class.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cmfnet_napari.core.arrays import Codes, Mask
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.geometry.boxes import box_around, grow
from cmfnet_napari.core.geometry.distance import distance_to
from cmfnet_napari.core.images.body import body_mask
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.strokes.imitated import draw_strokes
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, FIRST_CLASS, UNLABELLED

__all__ = ["body_mask", "propose_background", "propose_foreground"]

NEAR_MM = 25.0  # half of the background strokes lie this far beyond the margin at most
_STROKE_MM = 25.0  # a short line by hand


def propose_background(
    scribbles: Codes,
    masks: Sequence[Mask],
    study: Study,
    margin_mm: float = 10.0,
    coverage: float = 0.0006,
    whole: bool = False,
    seed: int = 0,
) -> Codes:
    """Background strokes in the body, away from every mask.

    Half of them lie within `NEAR_MM` beyond the margin, where a mistake is likely, the others
    anywhere in the body.

    Parameters
    ----------
    scribbles : uint8 array (z, y, x)
        Strokes drawn so far; never painted over. Strokes of classes are kept away from like
        masks.
    masks : sequence of bool arrays (z, y, x)
        Everything that is not background.
    study : Study
        It shows the body.
    margin_mm : float
        Smallest distance to masks and class strokes, mm.
    coverage : float
        Share of all voxels to cover, 0 … 1.
    whole : bool
        Return the whole eroded region instead of strokes.
    seed : int
        Same seed, same strokes.

    Returns
    -------
    uint8 array (z, y, x)
        Code 1 at the new strokes, 0 elsewhere.

    Raises
    ------
    UserError
        No mask, or the margin leaves nothing.
    """
    _check(scribbles, masks, study, margin_mm, coverage)
    keep_out = scribbles >= FIRST_CLASS
    for mask in masks:
        keep_out = keep_out | mask
    free = study.body & ~keep_out
    region = free & (scribbles == UNLABELLED)
    box, distance = distance_to(keep_out, study.grid, margin_mm + NEAR_MM)
    too_close = distance < margin_mm
    region[box] &= ~too_close
    if not region.any():
        raise _eaten(free & (scribbles == UNLABELLED), keep_out, study.grid, margin_mm)
    near = np.zeros_like(region)
    near[box] = region[box] & (distance <= margin_mm + NEAR_MM)
    return _strokes((near, region), study.grid, coverage, whole, seed) * np.uint8(BACKGROUND)


def propose_foreground(
    scribbles: Codes,
    mask: Mask,
    code: int,
    study: Study,
    margin_mm: float = 2.0,
    coverage: float = 0.0004,
    whole: bool = False,
    seed: int = 0,
) -> Codes:
    """Strokes of a class inside its mask, away from the mask's border.

    Parameters
    ----------
    scribbles : uint8 array (z, y, x)
        Strokes drawn so far; never painted over. Strokes of other codes are kept away from.
    mask : bool array (z, y, x)
        The class.
    code : int
        Its scribble code, 2 or more.
    study, margin_mm, coverage, whole, seed
        As in `propose_background`.

    Returns
    -------
    uint8 array (z, y, x)
        `code` at the new strokes, 0 elsewhere.

    Raises
    ------
    UserError
        The mask is empty, or the margin leaves nothing.
    """
    _check(scribbles, [mask], study, margin_mm, coverage)
    other = (scribbles != UNLABELLED) & (scribbles != code)
    box = grow(box_around(mask), (1, 1, 1), mask.shape)
    keep_out = (~mask | other)[box]
    region = np.zeros(mask.shape, dtype=bool)
    region[box] = ~keep_out & (scribbles[box] == UNLABELLED)
    free = region.copy()
    _, distance = distance_to(keep_out, study.grid.crop(box), np.inf)
    region[box] &= distance >= margin_mm
    if not region.any():
        raise _eaten(free[box], keep_out, study.grid.crop(box), margin_mm)
    return _strokes((region,), study.grid, coverage, whole, seed) * np.uint8(code)


def _strokes(
    regions: tuple[Mask, ...], grid: Grid, coverage: float, whole: bool, seed: int
) -> Codes:
    """Draw into each region its share; the last region holds all others."""
    everywhere = regions[-1]
    if whole:
        return everywhere.astype(np.uint8)
    rng = np.random.default_rng(seed)
    length = max(4, round(_STROKE_MM / max(grid.spacing[1:])))
    voxels = max(1, round(coverage * everywhere.size))
    drawn = np.zeros_like(everywhere)
    for turn, region in enumerate(regions):
        missing = voxels - int(drawn.sum())
        drawn |= draw_strokes(region & ~drawn, missing // (len(regions) - turn), length, rng)
    return drawn.astype(np.uint8)


def _eaten(free: Mask, keep_out: Mask, grid: Grid, margin_mm: float) -> UserError:
    """The error of a margin that leaves nothing, with the largest one that leaves something."""
    if not free.any():
        return UserError("Nothing of the body is left to draw on beside the masks and strokes.")
    box, distance = distance_to(keep_out, grid, np.inf)
    largest = np.floor(10 * float(distance[free[box]].max())) / 10
    return UserError(
        f"A margin of {margin_mm:g} mm leaves nothing to draw on; the largest that does is "
        f"{largest:g} mm."
    )


def _check(
    scribbles: Codes,
    masks: Sequence[Mask],
    study: Study,
    margin_mm: float,
    coverage: float,
) -> None:
    for array in (scribbles, *masks):
        if array.shape != study.grid.shape:
            raise ValueError(f"array {array.shape} is not on the grid {study.grid.shape}")
    if not any(mask.any() for mask in masks):
        raise UserError("The mask is empty: there is nothing to keep away from. Choose another.")
    if not margin_mm >= 0:
        raise UserError(f"The margin is {margin_mm:g} mm; it must be 0 or more.")
    if not 0 < coverage <= 1:
        raise UserError(f"The coverage is {100 * coverage:g} %; it must lie in 0 to 100 %.")
