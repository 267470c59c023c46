"""Simulated users of all kinds, on one sample: first strokes in any plane, then corrections.

A user draws on some slices, thick or thin, near the border or far from it, along it or across,
and slips now and then. Distances are in voxels, since samples have no millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.morphology import skeletonize

from cmfnet_napari.core.arrays import Codes, Floats, Mask, Wholes
from cmfnet_napari.core.geometry.boxes import box_around
from cmfnet_napari.core.images.grid import Triple
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.material.hand_lines import (
    border_line,
    brushed,
    middle_line,
    straight_line,
)

_NEAT = 0.4  # of the users
_SECOND_PLANE = 0.15  # how often slices across a second axis are drawn on
_AUTOMATIC = 0.15  # how often background comes from eroding a first mask as well
_SLIP = 1.5  # voxels that a stroke which slips crosses the border by
_MISTAKEN = 0.02  # of the corrections: on the wrong side
_LEAST_MIDDLE = 3  # voxels of a stroke along the middle
_SHAKEN = 4.0  # voxels over which a hand wanders
_NEAR = 1.5  # voxels that a straight stroke may be nearer or further than meant


@dataclass(frozen=True)
class Style:
    """How a user draws; lengths in voxels, shares 0 … 1.

    Attributes
    ----------
    slices : int
        Slices with strokes, spread over the object.
    middle : float
        Share of the object's middle line that a stroke follows.
    inside, inside_off : float
        Share of the border that a stroke within follows, and how far from it; 0: none does.
    rim, rim_off : float
        The same outside.
    straight, length, reach : float
        Straight background strokes a slice, their length, how much further out they may lie.
    shake : float
        How far a stroke wanders.
    slips : float
        Share of the strokes that cross the border.
    thick : int
        Voxels that a stroke is widened by on each side.
    ends : bool
        Whether background marks where the object ends across the slices.
    """

    slices: int
    middle: float
    inside: float
    inside_off: float
    rim: float
    rim_off: float
    straight: int
    length: float
    reach: float
    shake: float
    slips: float
    thick: int
    ends: bool


def neat_style(rng: np.random.Generator) -> Style:
    """A user who draws much, and close to the border."""
    return Style(
        slices=int(rng.integers(3, 9)),
        middle=rng.uniform(0.4, 1),
        inside=rng.uniform(0.3, 0.9) if rng.random() < 0.3 else 0.0,
        inside_off=rng.uniform(1, 3),
        rim=rng.uniform(0.4, 1),
        rim_off=rng.uniform(1.5, 6),
        straight=int(rng.integers(0, 2)),
        length=rng.uniform(3, 24),
        reach=rng.uniform(0, 12),
        shake=rng.uniform(0, 1),
        slips=0.0,
        thick=int(rng.integers(0, 3)),
        ends=rng.random() < 0.9,
    )


def any_style(rng: np.random.Generator) -> Style:
    """A user by chance."""
    if rng.random() < _NEAT:
        return neat_style(rng)
    along = rng.random() < 0.5
    return Style(
        slices=int(rng.integers(1, 10)),
        middle=rng.uniform(0.1, 1),
        inside=rng.uniform(0.2, 0.9) if rng.random() < 0.3 else 0.0,
        inside_off=rng.uniform(0.5, 4),
        rim=rng.uniform(0.3, 1) if along else 0.0,
        rim_off=rng.uniform(0.7, 9),
        straight=int(rng.integers(0, 3) if along else rng.integers(1, 6)),
        length=rng.uniform(3, 24),
        reach=rng.uniform(0, 12) if rng.random() < 0.5 else 0.0,
        shake=rng.uniform(0, 3),
        slips=0.2 if rng.random() < 0.3 else 0.0,
        thick=int(rng.choice(3, p=(0.4, 0.45, 0.15))),
        ends=rng.random() < 0.8,
    )


def first_strokes(inside: Mask, rng: np.random.Generator) -> Codes:
    """Strokes of a user who sees an object for the first time.

    Parameters
    ----------
    inside : bool array (z, y, x)
        The object; not empty.
    rng : numpy Generator
        Same state, same strokes.

    Returns
    -------
    uint8 array (z, y, x)
        1 at strokes of the object (some always), 0 at strokes of background, else `IGNORE`.
    """
    codes: Codes = np.full(inside.shape, IGNORE, dtype=np.uint8)
    axes = rng.permutation(3)[: 1 + (rng.random() < _SECOND_PLANE)]
    for axis in axes:
        style = any_style(rng)
        turned: Codes = np.moveaxis(codes, axis, 0)
        mask: Mask = np.moveaxis(inside, axis, 0)
        levels = np.flatnonzero(mask.any(axis=(1, 2)))
        for level in _spread(levels, style.slices, rng):
            _draw_slice(turned[level], mask[level], style, rng)
        if style.ends:
            _mark_ends(turned, mask, levels, rng)
    if rng.random() < _AUTOMATIC:
        _automatic(codes, inside, rng)
    if not (codes == 1).any():
        depth = ndimage.distance_transform_edt(inside)
        codes[np.unravel_index(depth.argmax(), depth.shape)] = 1
    return codes


def correction(
    wrong: Mask,
    inside: Mask,
    codes: Codes,
    rng: np.random.Generator,
    *,
    spacing: Triple = (1.0, 1.0, 1.0),
    mistaken: float = _MISTAKEN,
) -> tuple[Mask, int]:
    """A stroke into the largest of the errors.

    Parameters
    ----------
    wrong : bool array (z, y, x)
        Where the contour is not the object.
    inside : bool array (z, y, x)
        The object.
    codes : uint8 array (z, y, x)
        Strokes so far, as `first_strokes` gives them.
    rng : numpy Generator
        Same state, same stroke.
    spacing : tuple of float
        Of the voxels (z, y, x), in widths of the thinnest brush; those of lessons are as wide.
    mistaken : float
        Share of strokes that say the opposite of what is right.

    Returns
    -------
    bool array (z, y, x), int
        Voxels of the stroke, and 1 (object) or 0 (background). Empty when nothing is wrong.
    """
    stroke = np.zeros_like(wrong)
    parts, count = ndimage.label(wrong & (codes == IGNORE))
    if not count:
        return stroke, 0
    sizes = np.bincount(parts.ravel())[1:]
    part = parts == 1 + _one_of_the_largest(sizes, rng)
    box = box_around(part)
    padded = np.pad(part[box], 1)
    depth = ndimage.distance_transform_edt(padded, sampling=spacing)[1:-1, 1:-1, 1:-1]
    deepest = np.array(np.unravel_index(depth.argmax(), depth.shape))
    place = tuple(int(n) + s.start for n, s in zip(deepest, box, strict=True))
    code = int(inside[place])
    axis = int(rng.integers(3))
    plane, free = np.take(part, place[axis], axis), np.take(inside == bool(code), place[axis], axis)
    sides = np.delete(spacing, axis)
    drawn = _along(plane, tuple(np.delete(place, axis)), sides, rng)
    thick = max(int(rng.integers(0, 3)), 0.5)
    drawn = ndimage.distance_transform_edt(~drawn, sampling=sides) <= thick
    if rng.random() >= 0.1:  # now and then the brush reaches over the border
        drawn &= free
    level: list[slice | int] = [slice(None)] * 3
    level[axis] = place[axis]
    stroke[tuple(level)] = drawn
    return stroke, (1 - code if rng.random() < mistaken else code)


def _one_of_the_largest(sizes: Wholes, rng: np.random.Generator) -> int:
    """Mostly the largest error, else one of the next two."""
    order = np.argsort(sizes)[::-1]
    return int(order[0 if rng.random() < 0.8 else rng.integers(min(3, len(order)))])


def _along(plane: Mask, place: tuple[int, ...], sides: Floats, rng: np.random.Generator) -> Mask:
    """Part of the middle line of an error on a slice, around a place in it."""
    middle = np.argwhere(skeletonize(plane))
    drawn = np.zeros_like(plane)
    drawn[place] = True
    if len(middle):
        reach = rng.uniform(1, 12)
        steps = (middle - np.array(place)) * sides
        near = middle[np.linalg.norm(steps, axis=1) <= reach]
        drawn[tuple(near.T)] = True
    return drawn


def _spread(levels: Wholes, count: int, rng: np.random.Generator) -> Wholes:
    """Slices more or less evenly spread over those of the object."""
    edges = np.linspace(0, len(levels), min(count, len(levels)) + 1)
    at = edges[:-1] + rng.uniform(0.2, 0.8, len(edges) - 1) * np.diff(edges)
    chosen: Wholes = levels[at.astype(int)]
    return chosen


def _draw_slice(plane: Codes, inside: Mask, style: Style, rng: np.random.Generator) -> None:
    """Strokes on one slice, those of the object first; nothing is painted over."""
    signed = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    shake = style.shake, _SHAKEN

    def put(points: Wholes, code: int) -> None:
        slip = _SLIP if rng.random() < style.slips else 0.0
        plane[brushed(points, signed, code == 1, style.thick, slip) & (plane == IGNORE)] = code

    put(middle_line(inside, style.middle, _LEAST_MIDDLE, rng), 1)
    if style.inside > 0:
        put(border_line(signed, -style.inside_off, style.inside, shake, 0.5, rng), 1)
    if style.rim > 0:
        put(border_line(signed, style.rim_off, style.rim, shake, 0.5, rng), 0)
    for _ in range(style.straight):
        off = style.rim_off + style.reach * rng.random() + style.shake * abs(rng.normal())
        put(straight_line(signed, off, _NEAR, style.length, (1.0, 1.0), rng), 0)


def _mark_ends(codes: Codes, inside: Mask, levels: Wholes, rng: np.random.Generator) -> None:
    """Background over the object's middle line, a little beyond its last slices."""
    for end, side in ((levels[0], -1), (levels[-1], 1)):
        level = end + side * int(rng.integers(1, 5))
        if 0 <= level < len(inside):
            free = skeletonize(inside[end]) & ~inside[level] & (codes[level] == IGNORE)
            codes[level][ndimage.binary_dilation(free) & ~inside[level]] = 0


def _automatic(codes: Codes, inside: Mask, rng: np.random.Generator) -> None:
    """Sparse background away from a first mask."""
    away = ndimage.distance_transform_edt(~inside) > rng.uniform(3, 8)
    lines = ndimage.gaussian_filter(rng.normal(size=inside.shape), (0, 1.5, 1.5))
    sparse = away & (np.abs(lines) < 0.004) & (codes == IGNORE)
    codes[sparse] = 0
