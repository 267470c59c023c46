"""Strokes of simulated users on a whole patient, from a reference contour, in millimetres.

A user is a `Style`: on how many slices strokes are drawn, how far from the contour, how much of
it is followed, how thick, how shaky. `STYLES` names some that differ a lot.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from skimage.morphology import skeletonize

from cmfnet_napari.core.arrays import Codes, Mask, Wholes
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.strokes.erode import propose_background
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, FIRST_CLASS
from cmfnet_napari.learning.material.hand_lines import (
    border_line,
    brushed,
    middle_line,
    straight_line,
)

_SLIP_MM = 2.0  # a stroke that slips crosses the contour so far
_LEAST_MIDDLE = 6  # voxels of a stroke along the middle
_SHAKEN = 8.0  # voxels over which a hand wanders
_NEAR_MM = 3.0  # that a straight stroke may be nearer or further than meant


@dataclass(frozen=True)
class Style:
    """How a user draws.

    Attributes
    ----------
    slices : int
        Axial slices with strokes, evenly spread over the tumour.
    tumour : float
        Share of the tumour's middle line that its stroke follows.
    inside : float
        Share of the outline that a stroke inside the tumour follows.
    inside_mm : float
        How far inside the contour that is.
    rim : float
        Share of the outline that the background stroke follows; 0: straight strokes instead.
    rim_mm : float
        How far outside the contour background is drawn.
    straight : int
        Straight background strokes a slice.
    straight_mm : float
        Length of one.
    straight_reach_mm : float
        How much further outside they may lie.
    shake_mm : float
        How far a stroke wanders from where it is meant to be.
    slips : float
        Share of the strokes that cross the contour a little.
    thick : int
        Voxels that a stroke is widened by on each side; 1 is about the brush of the window, 3 mm.
    ends : bool
        Whether background marks where the tumour ends above and below.
    automatic : bool
        Whether background comes from eroding a first mask as well: the reference, grown.
    across : int
        Array axis that the slices drawn on follow each other on: 0 for axial ones.
    """

    slices: int = 5
    tumour: float = 0.5
    inside: float = 0.0
    inside_mm: float = 3.0
    rim: float = 0.7
    rim_mm: float = 10.0
    straight: int = 0
    straight_mm: float = 20.0
    straight_reach_mm: float = 0.0
    shake_mm: float = 0.0
    slips: float = 0.0
    thick: int = 1
    ends: bool = True
    automatic: bool = False
    across: int = 0


_HASTY = Style(tumour=0.3, rim=0.0, straight=3, rim_mm=14.0, shake_mm=5.0)
STYLES: dict[str, Style] = {
    "careful": Style(),
    "hasty": _HASTY,
    "few": replace(_HASTY, slices=3),
    "many": Style(slices=9, rim=0.9, rim_mm=6.0, thick=0),
    "thick": Style(slices=4, thick=3, shake_mm=2.0),
    "sloppy": Style(slices=4, rim=0.4, shake_mm=4.0, slips=0.25),
    "automatic": Style(slices=3, rim=0.0, automatic=True),
    # What a physicist draws for a base model: most slices, close to the contour on both sides.
    "thorough": Style(
        slices=40,
        tumour=1.0,
        inside=0.9,
        rim=0.9,
        rim_mm=4.0,
        straight=6,
        straight_reach_mm=25.0,
        shake_mm=1.0,
        thick=0,
    ),
}


def draw(truth: Mask, study: Study, style: Style, seed: int = 0) -> Codes:
    """Strokes of a user.

    Parameters
    ----------
    truth : bool array (z, y, x)
        Reference contour.
    study : Study
        Its images; only automatic strokes look at them.
    style : Style
        How the user draws.
    seed : int
        Which user of this style.

    Returns
    -------
    uint8 array (z, y, x)
        Scribble codes.
    """
    rng = np.random.default_rng(seed)
    scribbles: Codes = np.zeros(truth.shape, dtype=np.uint8)
    turned: Codes = np.moveaxis(scribbles, style.across, 0)
    mask: Mask = np.moveaxis(truth, style.across, 0)
    mm = list(study.grid.spacing)
    thickness = mm.pop(style.across)
    levels = np.flatnonzero(mask.any(axis=(1, 2)))
    inner = np.linspace(levels[0], levels[-1], min(style.slices, len(levels)) + 2)[1:-1]
    for level in np.unique(inner.round().astype(int)):
        _draw_slice(turned[level], mask[level], (mm[0], mm[1]), style, rng)
    if style.ends:
        _mark_ends(turned, mask, levels, thickness)
    if style.automatic:
        grown = ndimage.binary_dilation(truth, iterations=3)
        scribbles |= propose_background(scribbles, [grown], study, seed=seed)
    return scribbles


def _draw_slice(
    plane: Codes,
    truth: Mask,
    spacing: tuple[float, float],
    style: Style,
    rng: np.random.Generator,
) -> None:
    """Strokes on one slice: the tumour's first, background never over them."""
    if not truth.any():
        return
    outside = ndimage.distance_transform_edt(~truth, sampling=spacing)
    inside = ndimage.distance_transform_edt(truth, sampling=spacing)
    signed = np.where(truth, -inside, outside)
    shake, width = (style.shake_mm, _SHAKEN), min(spacing) / 2

    def put(points: Wholes, code: int) -> None:
        slip = _SLIP_MM if rng.random() < style.slips else 0.0
        painted = brushed(points, signed, code == FIRST_CLASS, style.thick, slip)
        plane[painted & (plane == 0)] = code

    put(middle_line(truth, style.tumour, _LEAST_MIDDLE, rng), FIRST_CLASS)
    if style.inside > 0:
        off = -style.inside_mm
        put(border_line(signed, off, style.inside, shake, width, rng), FIRST_CLASS)
    if style.rim > 0:
        put(border_line(signed, style.rim_mm, style.rim, shake, width, rng), BACKGROUND)
    for _ in range(style.straight):
        off = style.rim_mm + style.straight_reach_mm * rng.random()
        off += style.shake_mm * abs(rng.normal())
        put(straight_line(signed, off, _NEAR_MM, style.straight_mm, spacing, rng), BACKGROUND)


def _mark_ends(scribbles: Codes, truth: Mask, levels: Wholes, thickness: float) -> None:
    """Background over the tumour's middle line, half a centimetre beyond its last slices."""
    gap = max(1, round(5.0 / thickness))
    for z, end in ((levels[0] - gap, levels[0]), (levels[-1] + gap, levels[-1])):
        if 0 <= z < len(truth):
            scribbles[z][skeletonize(truth[end]) & ~truth[z]] = BACKGROUND
