"""Strokes of a simulated user, from a reference contour."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.morphology import skeletonize

from cmfnet_napari.core.grid import Grid
from cmfnet_napari.core.scribbles import BACKGROUND, FIRST_CLASS

SLICES = 5
RIM_MM = 10.0


def careful(truth: np.ndarray, grid: Grid, seed: int = 0) -> np.ndarray:
    """Strokes of a careful user on five axial slices, and where the tumour ends.

    The tumour stroke follows the middle of the tumour, the background stroke most of its
    outline at about a centimetre; the slices beyond both ends get a background stroke.

    Parameters
    ----------
    truth : bool array (z, y, x)
        Reference contour.
    grid : Grid
        Its grid.
    seed : int
        Which user.

    Returns
    -------
    uint8 array (z, y, x)
        Scribble codes.
    """
    rng = np.random.default_rng(seed)
    scribbles = np.zeros(truth.shape, dtype=np.uint8)
    levels = np.flatnonzero(truth.any(axis=(1, 2)))
    chosen = np.linspace(levels[0] + 1, levels[-1] - 1, SLICES).round().astype(int)
    for z in chosen:
        _tumour_stroke(scribbles[z], truth[z], rng)
        _rim_stroke(scribbles[z], truth[z], grid.spacing[1:], rng)
    gap = max(1, round(RIM_MM / 2 / grid.spacing[0]))
    for z, end in ((levels[0] - gap, levels[0]), (levels[-1] + gap, levels[-1])):
        if 0 <= z < len(truth):
            middle = skeletonize(truth[end])
            scribbles[z][middle & ~truth[z]] = BACKGROUND
    return scribbles


def _tumour_stroke(plane: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> None:
    line = np.argwhere(skeletonize(truth))
    if len(line) == 0:
        return
    start = line[rng.integers(len(line))]
    near = np.argsort(np.abs(line - start).sum(axis=1))[: max(6, len(line) // 2)]
    plane[tuple(line[near].T)] = FIRST_CLASS


def _rim_stroke(
    plane: np.ndarray, truth: np.ndarray, spacing: tuple[float, float], rng: np.random.Generator
) -> None:
    away = ndimage.distance_transform_edt(~truth, sampling=spacing)
    rim = np.abs(away - RIM_MM) <= min(spacing) / 2
    points = np.argwhere(rim)
    if len(points) == 0:
        return
    angle = np.arctan2(*(points - np.argwhere(truth).mean(axis=0)).T)
    open_part = (angle - rng.uniform(-np.pi, np.pi)) % (2 * np.pi) < 2 * np.pi * 0.7
    plane[tuple(points[open_part].T)] = BACKGROUND
