"""Lines that a hand draws on a slice: through the middle, along a border, straight beside it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.draw import line
from skimage.morphology import skeletonize

from cmfnet_napari.core.arrays import Doubles, Mask, Wholes


def middle_line(inside: Mask, share: float, least: int, rng: np.random.Generator) -> Wholes:
    """Part of the middle line of a mask (rows, columns) around one of its points, (n, 2).

    `share` (0 … 1) of it, but `least` voxels at least; one voxel where there is no middle line.
    """
    middle = np.argwhere(skeletonize(inside))
    if not len(middle):
        return np.argwhere(inside)[:1]
    start = middle[rng.integers(len(middle))]
    count = max(least, round(share * len(middle)))
    return middle[np.argsort(np.abs(middle - start).sum(axis=1))[:count]]


def border_line(
    signed: Doubles,
    off: float,
    share: float,
    shake: tuple[float, float],
    width: float,
    rng: np.random.Generator,
) -> Wholes:
    """Part of the line at a distance from a border, which the hand's shaking bends, (n, 2).

    Parameters
    ----------
    signed : float array (rows, columns)
        Distance from the border, negative inside.
    off : float
        Of the line, as `signed` is measured.
    share : float
        Of the way around, 0 … 1.
    shake : (float, float)
        How far the line wanders, and over how many voxels.
    width : float
        Half of the line's.
    rng : numpy Generator
        Same state, same line.
    """
    bends = ndimage.gaussian_filter(rng.normal(size=signed.shape), shake[1])
    wander = shake[0] * bends / max(float(bends.std()), 1e-9)
    points = np.argwhere(np.abs(signed - off - wander) <= width)
    if not len(points):
        return points
    angle = np.arctan2(*(points - np.argwhere(signed < 0).mean(axis=0)).T)
    part: Wholes = points[(angle - rng.uniform(-np.pi, np.pi)) % (2 * np.pi) < 2 * np.pi * share]
    return part


def straight_line(
    signed: Doubles,
    off: float,
    tolerance: float,
    length: float,
    spacing: tuple[float, float],
    rng: np.random.Generator,
) -> Wholes:
    """A straight line whose middle lies about so far from a border, in any direction, (n, 2)."""
    near = np.argwhere((signed > off - tolerance) & (signed < off + tolerance))
    if not len(near):
        return near
    middle, angle = near[rng.integers(len(near))], rng.uniform(0, np.pi)
    half = length / 2 * np.array([np.sin(angle), np.cos(angle)]) / spacing
    ends = np.clip(np.rint([middle - half, middle + half]), 0, np.array(signed.shape) - 1)
    points: Wholes = np.stack(line(*ends[0].astype(int), *ends[1].astype(int)), axis=1)
    return points


def brushed(points: Wholes, signed: Doubles, inside: bool, thick: int, slip: float) -> Mask:
    """What a brush along points paints, bool (rows, columns), on its own side of the border.

    `thick` voxels wider on each side than a line; over the border by less than `slip`.
    """
    stroke = np.zeros(signed.shape, dtype=bool)
    stroke[tuple(points.T)] = True
    if thick:
        stroke = ndimage.binary_dilation(stroke, iterations=thick)
    own_side: Mask = signed < slip if inside else signed > -slip
    return stroke & own_side
