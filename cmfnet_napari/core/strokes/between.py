"""Slices between drawn ones: which they are, and what may be drawn on them.

Shape-based interpolation: in each of two drawn slices every point has a distance to the border
of what is drawn, positive inside; between the slices the distances are mixed (Raya and Udupa,
IEEE TMI 9, 1990). Strokes are thin and seldom lie one over the other, so the two are moved to the
same centre first, and the centre moves from the one to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy import ndimage

from cmfnet_napari.core.arrays import Doubles, Mask, Wholes
from cmfnet_napari.core.geometry.boxes import box_around
from cmfnet_napari.core.images.grid import Triple


def drawn_slices(strokes: Mask, axis: int) -> Wholes:
    """Numbers of the slices across an axis that hold a stroke, in order.

    Parameters
    ----------
    strokes : bool array (z, y, x)
        Strokes of one class.
    axis : int
        Array axis the slices follow each other on.
    """
    return np.flatnonzero(strokes.any(axis=tuple(a for a in range(3) if a != axis)))


def next_undrawn(drawn: Wholes, here: int, step: int, beyond: int, count: int) -> int | None:
    """The next slice without a stroke; None when there is none to go to.

    Parameters
    ----------
    drawn : int array (n,)
        Slices that have one.
    here : int
        The slice to start from.
    step : int
        1 or −1: which way to look.
    beyond : int
        How many slices further than the outermost drawn ones are worth a visit.
    count : int
        Number of slices.
    """
    if not len(drawn):
        return None
    last = min(drawn[-1] + beyond, count - 1) if step > 0 else max(drawn[0] - beyond, 0)
    first = max(drawn[0] - beyond, 0) if step > 0 else min(drawn[-1] + beyond, count - 1)
    start = here + step
    if (first - start) * step > 0:  # from far away: straight to where the strokes are
        start = first
    ways = (at for at in range(int(start), int(last) + step, step) if at not in drawn)
    return next(ways, None)


def fill_between(strokes: Mask, axis: int, here: int, spacing: Triple) -> Mask:
    """Strokes for the empty slices around a slice, from the nearest drawn ones on either side.

    From an empty slice the gap it lies in is filled; from a drawn one, the gap before and the
    gap after it.

    Parameters
    ----------
    strokes : bool array (z, y, x)
        Strokes of one class.
    axis : int
        Array axis the slices follow each other on.
    here : int
        The slice on the screen.
    spacing : tuple of float
        mm along (z, y, x).

    Returns
    -------
    bool array (z, y, x)
        New strokes only.
    """
    drawn = drawn_slices(strokes, axis)
    return _interpolated(strokes, axis, _gaps(drawn, here), spacing)


def redraw_between(mask: Mask, corrected: Wholes, axis: int, here: int, spacing: Triple) -> Mask:
    """A contour whose slices around a slice are drawn anew from the nearest corrected ones.

    What lies between two slices is replaced, so that a few slices drawn well make the rest.

    Parameters
    ----------
    mask : bool array (z, y, x)
        One class of a contour.
    corrected : int array (n,)
        Slices to go by, of which those without contour are passed over. Fewer than two: all
        slices with contour, so that only empty ones are filled.
    axis, here, spacing
        As in `fill_between`.

    Returns
    -------
    bool array (z, y, x)
        The contour; the same where there is nothing to fill.
    """
    drawn = drawn_slices(mask, axis)
    known = np.intersect1d(drawn, corrected)
    gaps = _gaps(known if len(known) > 1 else drawn, here)
    new, made = mask.copy(), _interpolated(mask, axis, gaps, spacing)
    for low, high in gaps:
        between = (slice(None),) * axis + (slice(low + 1, high),)
        new[between] = made[between]
    return new


def _gaps(drawn: Wholes, here: int) -> list[tuple[int, int]]:
    """Neighbouring drawn slices around a slice, or before and after it where it is drawn."""
    before, after = drawn[drawn < here], drawn[drawn > here]
    ends = [*before[-1:], *([here] if here in drawn else []), *after[:1]]
    return [(int(low), int(high)) for low, high in pairwise(ends)]


def _interpolated(mask: Mask, axis: int, gaps: Sequence[tuple[int, int]], spacing: Triple) -> Mask:
    """The slices between others, bool (z, y, x); elsewhere nothing."""
    new = np.zeros_like(mask)
    by_slice, found = np.moveaxis(mask, axis, 0), np.moveaxis(new, axis, 0)
    plane = np.delete(np.array(spacing), axis)
    for low, high in gaps:
        for at in range(low + 1, high):
            share = (at - low) / (high - low)
            found[at] = _mixed(by_slice[low], by_slice[high], share, plane)
    return new


def _mixed(low: Mask, high: Mask, share: float, spacing: Doubles) -> Mask:
    """The shape at a share (0 … 1) of the way from one shape to another, bool (rows, columns)."""
    centres = np.array([np.argwhere(shape).mean(axis=0) for shape in (low, high)])
    centre = (1 - share) * centres[0] + share * centres[1]
    box = _reach(low, high)
    moved = [
        ndimage.shift(_signed(shape[box], spacing), centre - own, order=1, mode="nearest")
        for shape, own in zip((low, high), centres, strict=True)
    ]
    mixed = np.zeros(low.shape, bool)
    mixed[box] = (1 - share) * moved[0] + share * moved[1] >= 0
    return mixed


def _reach(low: Mask, high: Mask) -> tuple[slice, slice]:
    """The part of a slice that holds both shapes, and so every shape between them."""
    box = box_around((low | high)[None])[1:]
    rows, columns = (
        slice(max(s.start - 1, 0), min(s.stop + 1, n)) for s, n in zip(box, low.shape, strict=True)
    )
    return rows, columns


def _signed(shape: Mask, spacing: Doubles) -> Doubles:
    """Distance to the border, mm: positive inside, negative outside."""
    wide = np.pad(shape, 1)
    inside: Doubles = ndimage.distance_transform_edt(wide, spacing)
    outside: Doubles = ndimage.distance_transform_edt(~wide, spacing)
    return (inside - outside)[1:-1, 1:-1]
