"""Connected parts of a segmentation, and the volumes of its classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from cmfnet_napari.core.arrays import Codes, Mask, Wholes
from cmfnet_napari.core.geometry.boxes import bounding_box, box_around
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.strokes.corrections import Words, taught
from cmfnet_napari.core.strokes.scribbles import FIRST_CLASS, count_codes, segmentation_code

_CORNERS_TOUCH = np.ones((3, 3, 3), dtype=bool)  # 26 neighbours


def drop_unmarked(labels: Wholes, scribbles: Codes) -> Codes:
    """Drop every connected part of a class in which the user drew no stroke of that class.

    Parameters
    ----------
    labels : integer array (z, y, x)
        Segmentation codes.
    scribbles : uint8 array (z, y, x)
        Scribble codes on the same grid.

    Returns
    -------
    uint8 array (z, y, x)
        The segmentation without those parts. Voxels that touch at a face, an edge or a corner
        belong together.
    """
    if labels.shape != scribbles.shape:
        raise ValueError(f"labels {labels.shape} and scribbles {scribbles.shape} differ in shape")
    kept = np.zeros(labels.shape, dtype=np.uint8)
    for code in range(FIRST_CLASS, int(scribbles.max(initial=0)) + 1):
        mask = labels == segmentation_code(code)
        box = bounding_box(mask)
        if box is None:
            continue
        parts, count = ndimage.label(mask[box], _CORNERS_TOUCH)
        marked = np.zeros(count + 1, dtype=bool)
        marked[parts[scribbles[box] == code]] = True
        marked[0] = False
        kept[box][marked[parts]] = segmentation_code(code)
    return kept


def kept_of_model(labels: Codes, strokes: Codes, words: Words, marked_only: bool) -> Codes:
    """What is kept of a model's labels, before the corrections are laid over it.

    Parameters
    ----------
    labels : uint8 array (z, y, x)
        Segmentation codes of a model.
    strokes : uint8 array (z, y, x)
        Scribble codes on the same grid.
    words : Words
        What the user says of the voxels that were corrected; it counts as drawn.
    marked_only : bool
        Whether only parts in which something was drawn are kept.

    Returns
    -------
    uint8 array (z, y, x)
        The labels themselves where all of them are kept.
    """
    return drop_unmarked(labels, taught(strokes, words)) if marked_only else labels


def largest_part(mask: Mask) -> Mask:
    """The largest connected part of a bool array (z, y, x); the first, where two are as large.

    Voxels that touch at a face, an edge or a corner belong together.
    """
    kept, box = np.zeros_like(mask), bounding_box(mask)
    if box is not None:
        parts, _ = ndimage.label(mask[box], _CORNERS_TOUCH)
        kept[box] = parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())
    return kept


def part_at(mask: Mask, voxel: Sequence[int]) -> Wholes:
    """Flat indices of the connected part of a mask (z, y, x) that holds a voxel; none outside.

    Voxels that touch at a face, an edge or a corner belong together.
    """
    inside = all(0 <= at < n for at, n in zip(voxel, mask.shape, strict=True))
    if not inside or not mask[tuple(voxel)]:
        return np.zeros(0, np.int64)
    box = box_around(mask)
    start = np.array([part.start for part in box])
    parts, _ = ndimage.label(mask[box], _CORNERS_TOUCH)
    at = np.nonzero(parts == parts[tuple(np.array(voxel) - start)])
    flat: Wholes = np.ravel_multi_index(tuple(np.array(at) + start[:, None]), mask.shape)
    return flat


def volumes_ml(labels: Wholes, grid: Grid, names: Sequence[str] | None = None) -> dict[str, float]:
    """Volume of every class in millilitres, by name.

    Parameters
    ----------
    labels : integer array (z, y, x)
        Segmentation codes.
    grid : Grid
        Where they lie.
    names : sequence of str, optional
        Names of the classes 1, 2, … in order; a named class without a voxel has volume 0.
    """
    return volumes_of(count_codes(labels), grid, names)


def volumes_of(counts: Wholes, grid: Grid, names: Sequence[str] | None = None) -> dict[str, float]:
    """The same from the voxels of each code (`count_codes`)."""
    missing = max(0, 1 + len(names or ()) - len(counts))
    counts = np.pad(counts, (0, missing))
    return {
        class_name(code, names): float(counts[code] * grid.voxel_ml)
        for code in range(1, len(counts))
    }


def class_name(code: int, names: Sequence[str] | None = None) -> str:
    """Name of a segmentation code: ``names[code - 1]``, told apart when two are the same."""
    if names is None or code > len(names):
        return f"class {code}"
    name = names[code - 1]
    return f"{name} ({code})" if list(names).count(name) > 1 else name
