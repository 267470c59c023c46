"""A contour within the second: the race between the strokes, around them and on coarse voxels.

The cost of a path is that of `race.race` where it is known how the classes look. The front is
marched by ITK instead of followed voxel by voxel: it is quicker, and it leaves Python free, so that
a window goes on drawing meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from cmfnet_napari.core.arrays import Codes, Doubles, Floats, Mask, Reals, three
from cmfnet_napari.core.clues.appearance import appearance
from cmfnet_napari.core.clues.race import (
    EDGE_MM,
    FAR_MM,
    LOOKS_EDGE_MM,
    UNLIKE,
    edge_strength,
    with_air,
)
from cmfnet_napari.core.contours.components import drop_unmarked
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.geometry.boxes import Box, bounding_box, grow, reaches_side
from cmfnet_napari.core.images.grid import Triple
from cmfnet_napari.core.images.normalise import Limits, to_unit
from cmfnet_napari.core.images.study import Study, limits_of
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, FIRST_CLASS, IGNORE, to_targets

MARGIN_MM = 30.0  # around the strokes of the classes; more where the contour goes on and
# background that may end it lies further out
VOXEL_MM = 2.0  # at least; coarser where there would be too many
MOST_VOXELS = 120_000  # each class marches through all of them; what the second allows


@dataclass(frozen=True)
class Provisional:
    """A contour of a part of the study; outside of it there is none.

    Attributes
    ----------
    region : tuple of slices (z, y, x)
        The part.
    labels : uint8 array (z, y, x) of the region
        Segmentation codes.
    """

    region: Box
    labels: Codes


def provisional_contour(
    study: Study,
    scribbles: Codes,
    limits: tuple[Limits, ...] | None = None,
    most_voxels: int = MOST_VOXELS,
) -> Provisional | None:
    """Contour between the strokes.

    Parameters
    ----------
    study : Study
        One image or two.
    scribbles : uint8 array (z, y, x)
        Strokes on the Study's Grid.
    limits : tuple of (float, float), optional
        Values of each image that become 0 and 1; else they are found, which takes a while.
    most_voxels : int
        Coarser voxels are taken rather than more of them.

    Returns
    -------
    Provisional or None
        None where there is no stroke of a class, or no background: neither strokes nor air.
    """
    found = bounding_box(scribbles >= FIRST_CLASS)
    if found is None:
        return None
    config = Config()
    limits = limits or limits_of(study, config.ct_window, config.mr_percentiles)
    margin, drawn = MARGIN_MM, np.count_nonzero(scribbles == BACKGROUND)
    while True:
        voxels = tuple(round(margin / s) for s in study.grid.spacing)
        region = grow(found, voxels, study.grid.shape)
        cut = np.array(scribbles[region])
        labels = _contour(study, region, cut, limits, most_voxels)
        if labels is None and cut.shape == scribbles.shape:
            return None
        if labels is not None:
            further = np.count_nonzero(cut == BACKGROUND) < drawn
            if not (further and reaches_side(labels > 0, region, scribbles.shape)):
                return Provisional(region, labels)
        margin *= 2  # what ends it lies further out


def _contour(
    study: Study, region: Box, cut: Codes, limits: tuple[Limits, ...], most_voxels: int
) -> Codes | None:
    """Labels of a region from the strokes in it; None without any background."""
    steps = _steps(cut.shape, study.grid.spacing, most_voxels)
    strokes = _coarse_targets(cut, steps)
    targets = with_air(strokes, _coarse(study.body[region], steps) >= 0.5)
    if not (targets == 0).any():
        return None
    spacing = three(s * n for s, n in zip(study.grid.spacing, steps, strict=True))
    images = [_coarse(image, steps) for image in _images(study, region, limits)]
    best, labels = np.full(cut.shape, np.inf, np.float32), np.zeros(cut.shape, np.uint8)
    for code, cost in _costs(images, strokes, spacing).items():
        costs = _fine(march(cost, targets == code, spacing), steps, cut.shape)
        nearer = costs < best
        best[nearer], labels[nearer] = costs[nearer], code
    return drop_unmarked(labels, cut)


def _costs(images: list[Reals], strokes: Codes, spacing: Triple) -> dict[int, Doubles]:
    """Cost of a mm (z, y, x) for the paths of each class that is there, and the background.

    The looks are learnt from strokes: without one of the background, only edges count.
    """
    edges = edge_strength(images, spacing)
    codes = [int(code) for code in np.setdiff1d(strokes, IGNORE)]
    if 0 not in codes:
        return dict.fromkeys((0, *codes), 1 + EDGE_MM * edges)
    looks = appearance(images, strokes, max(codes) + 1)
    return {code: 1 + LOOKS_EDGE_MM * edges + UNLIKE * (1 - looks[code]) for code in codes}


def march(cost: Floats, starts: Mask, spacing: Triple) -> Reals:
    """Least cost of a path from a set of voxels to every voxel, by fast marching.

    Parameters
    ----------
    cost : float array (z, y, x)
        Cost of a mm, above 0.
    starts : bool array (z, y, x)
        Where paths begin.
    spacing : tuple of float
        mm along (z, y, x).

    Returns
    -------
    float32 array (z, y, x)
        mm · cost; very large everywhere when there is no start.
    """
    if not starts.any():
        return np.full(cost.shape, FAR_MM, np.float32)
    rim = starts & ~ndimage.binary_erosion(starts, border_value=1)
    speed = sitk.GetImageFromArray(np.where(starts & ~rim, 1e6, 1 / cost).astype(np.float32))
    speed.SetSpacing(spacing[::-1])
    front = sitk.FastMarchingImageFilter()
    front.SetTrialPoints(np.argwhere(rim if rim.any() else starts)[:, ::-1].tolist())
    front.SetStoppingValue(FAR_MM)
    costs = sitk.GetArrayFromImage(front.Execute(speed))
    return np.where(starts, 0, np.minimum(costs, FAR_MM)).astype(np.float32)


def _images(study: Study, region: Box, limits: tuple[Limits, ...]) -> list[Reals]:
    """Images of the region in [0, 1], full resolution."""
    known = None if study.first_seen is None else study.first_seen[region]
    images = [to_unit(study.first.array[region], limits[0], known)]
    if study.second is not None and study.seen is not None:
        images.append(to_unit(study.second.array[region], limits[1], study.seen[region]))
    return images


def _steps(shape: tuple[int, ...], spacing: Triple, most_voxels: int) -> tuple[int, ...]:
    """How many voxels make a coarse one, along each axis."""
    mm = VOXEL_MM
    while True:
        steps = tuple(max(1, round(mm / s)) for s in spacing)
        if np.prod([-(-n // step) for n, step in zip(shape, steps, strict=True)]) <= most_voxels:
            return steps
        mm *= 1.15


def _coarse(array: np.ndarray, steps: tuple[int, ...]) -> Reals:
    """Means of blocks, float32; the last ones go on as at the border."""
    pad = [(0, -n % step) for n, step in zip(array.shape, steps, strict=True)]
    image = sitk.GetImageFromArray(np.pad(array, pad, mode="edge").astype(np.float32))
    means: Reals = sitk.GetArrayFromImage(sitk.BinShrink(image, steps[::-1]))
    return means


def _coarse_targets(cut: Codes, steps: tuple[int, ...]) -> Codes:
    """Targets (`to_targets`) on coarse voxels; the highest code of a block counts."""
    pad = [(0, -n % step) for n, step in zip(cut.shape, steps, strict=True)]
    wide = np.pad(cut, pad)
    blocks = [k for n, step in zip(wide.shape, steps, strict=True) for k in (n // step, step)]
    return to_targets(wide.reshape(blocks).max(axis=(1, 3, 5)))


def _fine(costs: Reals, steps: tuple[int, ...], shape: tuple[int, ...]) -> Reals:
    """Costs on all voxels, linear between the centres of the coarse ones."""
    fine: Reals = ndimage.zoom(costs, steps, order=1, grid_mode=True, mode="nearest")
    return fine[tuple(slice(n) for n in shape)]
