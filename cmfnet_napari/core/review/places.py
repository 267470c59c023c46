"""A queue of places to look at, the most doubtful first."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from cmfnet_napari.core.arrays import Floats, Labels, Mask, Reals, Wholes, three
from cmfnet_napari.core.contours.doubt import uncertainty
from cmfnet_napari.core.geometry.boxes import Box, bounding_box, grow
from cmfnet_napari.core.images.grid import Grid

Where = Literal["inside", "border", "outside"]

MOST_PLACES = 20
LEAST_DOUBT = 0.1  # uncertainty × disagreement of a voxel that counts, or
LEAST_UNCERTAINTY = 0.8  # uncertainty alone, where the branches were not compared (p 0.28 … 0.72)
LEAST_ML = 0.1  # about 5 mm in each direction
_SMOOTH_MM = 2.0  # doubt as thin as a voxel is the border of every contour, and no place
APART_MM = 12.0  # between the centres of two places: one look shows what lies nearer
_MOSTLY = 0.8  # of a place's voxels


@dataclass(frozen=True)
class Place:
    """A connected part of the image where the prediction is doubtful.

    Attributes
    ----------
    voxel : tuple of int
        Where the doubt, smoothed, is largest: (z, y, x) on the Study's Grid.
    box : Box
        Its extent.
    volume_ml : float
        Its size.
    uncertainty : float
        Mean over its voxels (`doubt.uncertainty`, 0 … 1).
    disagreement : float or None
        Mean over its voxels (0 … 1); None where the branches were not compared.
    where : str
        ``inside`` the contour, ``outside``, or at its ``border``.
    score : float
        Uncertainty × disagreement × size, mm³; what the queue is ranked by.
    """

    voxel: tuple[int, int, int]
    box: Box
    volume_ml: float
    uncertainty: float
    disagreement: float | None
    where: Where
    score: float


def find_places(
    labels: Labels,
    probability: Floats,
    grid: Grid,
    disagreement: Floats | None = None,
    most: int = MOST_PLACES,
) -> list[Place]:
    """Places to look at, by uncertainty × disagreement × size.

    Doubt is smoothed over 2 mm, so that the thin unsure shell around every contour stands back
    behind places that are unsure in all directions. Each peak of it, 12 mm from the next at
    least, then takes the doubtful voxels that hang together with it (watershed). The same
    prediction gives the same places.

    Parameters
    ----------
    labels : integer array (z, y, x)
        Segmentation codes, as shown to the user.
    probability : float array (z, y, x)
        Calibrated, of not being background.
    grid : Grid
        Of all three.
    disagreement : float array (z, y, x), optional
        Between the branches, 0 … 1. Without it, or where they nowhere disagree on what is
        unsure, uncertainty and size alone rank: branches that begin with the same clues of the
        strokes agree for long.
    most : int
        Places at most.

    Returns
    -------
    list of Place
        The most doubtful first; empty when there is nothing to doubt.
    """
    least = LEAST_UNCERTAINTY if disagreement is None else LEAST_DOUBT
    candidate = uncertainty(probability) > least
    if disagreement is not None:
        candidate &= uncertainty(probability) * disagreement > least
    box = bounding_box(candidate)
    if box is None:
        return [] if disagreement is None else find_places(labels, probability, grid, None, most)
    reach = tuple(int(np.ceil(3 * _SMOOTH_MM / s)) for s in grid.spacing)
    box = grow(box, reach, grid.shape)
    unsure = uncertainty(probability[box])
    apart = None if disagreement is None else disagreement[box].astype(np.float32)
    doubt = unsure if apart is None else unsure * apart
    peaks, parts = _part(doubt, least, grid)
    places = [
        _place(peak, found, parts[found] == number, box, labels, unsure, apart, grid)
        for number, (peak, found) in enumerate(
            zip(peaks, ndimage.find_objects(parts), strict=True), start=1
        )
    ]
    places = [place for place in places if place.volume_ml >= LEAST_ML]
    if not places and disagreement is not None:
        return find_places(labels, probability, grid, None, most)
    return sorted(places, key=lambda place: (-place.score, place.voxel))[:most]


def _part(doubt: Reals, least: float, grid: Grid) -> tuple[Wholes, Wholes]:
    """Peaks (n, 3), and the number 1 … n of the peak that each voxel belongs to; 0: none."""
    smooth = ndimage.gaussian_filter(doubt, [_SMOOTH_MM / s for s in grid.spacing])
    marked = smooth >= least
    peaks = _peaks(smooth, marked, grid)
    seeds = np.zeros(doubt.shape, dtype=np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return peaks, watershed(-smooth, seeds, mask=marked)


def _peaks(smooth: Reals, marked: Mask, grid: Grid) -> Wholes:
    """Local maxima (n, 3), each `APART_MM` from every higher one; of equals, the first."""
    if not marked.any():
        return np.empty((0, 3), dtype=int)
    found: Wholes = peak_local_max(smooth, labels=marked.astype(np.int32), exclude_border=False)
    found = found[np.lexsort((*found.T[::-1], -smooth[tuple(found.T)]))]
    millimetres = found * np.array(grid.spacing)
    kept: list[int] = []
    free = np.ones(len(found), dtype=bool)
    for number in range(len(found)):
        if free[number]:
            kept.append(number)
            away = np.linalg.norm(millimetres - millimetres[number], axis=1)
            free &= away >= APART_MM
    return found[kept]


def _place(
    peak: Wholes,
    found: Box,
    mask: Mask,
    box: Box,
    labels: Labels,
    unsure: Reals,
    apart: Reals | None,
    grid: Grid,
) -> Place:
    """One part of `_part` as a Place; `found` is its extent within the box worked on."""
    here = three(
        slice(inner.start + outer.start, inner.stop + outer.start)
        for inner, outer in zip(found, box, strict=True)
    )
    share = float((labels[here][mask] > 0).mean())
    where: Where = "border"
    if share >= _MOSTLY:
        where = "inside"
    elif share <= 1 - _MOSTLY:
        where = "outside"
    mean = float(unsure[found][mask].mean())
    between = None if apart is None else float(apart[found][mask].mean())
    size = int(mask.sum()) * prod(grid.spacing)
    return Place(
        voxel=three(int(p) + s.start for p, s in zip(peak, box, strict=True)),
        box=here,
        volume_ml=size / 1000,
        uncertainty=mean,
        disagreement=between,
        where=where,
        score=mean * (1.0 if between is None else between) * size,
    )
