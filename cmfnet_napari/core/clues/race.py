"""Geodesic race: every voxel is reached from all strokes; the nearest along the image wins.

Crossing an edge costs, so strokes spread inside what looks like one tissue. The cost of a path
is the integral of 1 + edge · |∇I| over its length in mm, with |∇I| over CT and MR together; where
it is known how likely each class looks, unlike · (1 − p) is added for the paths of a class.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from skimage.graph import MCP_Geometric

from cmfnet_napari.core.arrays import Doubles, Mask, Reals, Wholes
from cmfnet_napari.core.geometry.boxes import bounding_box
from cmfnet_napari.core.images.grid import Triple
from cmfnet_napari.core.strokes.scribbles import IGNORE

EDGE_MM = 100.0  # what an edge of the whole range costs
LOOKS_EDGE_MM = 200.0  # the same where the looks count too
UNLIKE = 3.0
FAR_MM = 1e4  # cost given to a class that no path reaches
_SMOOTH_MM = 1.5  # of the images before their gradient is taken


def with_air(strokes: Wholes, body: Mask) -> Wholes:
    """Strokes (codes, or `IGNORE`) with all that is not the patient as background."""
    return np.where(~body & (strokes == IGNORE), 0, strokes)


def edge_strength(
    images: Sequence[Reals], spacing: Triple, seen: Sequence[Mask] | None = None
) -> Doubles:
    """Gradient magnitude over all images, per mm.

    Parameters
    ----------
    images : sequence of float arrays (z, y, x)
        In [0, 1].
    spacing : tuple of float
        mm along (z, y, x).
    seen : sequence of bool arrays (z, y, x), optional
        Where each image has data: where that ends there is no edge. Everywhere when not given.
    """
    total = np.zeros(images[0].shape)
    for number, image in enumerate(images):
        smooth = ndimage.gaussian_filter(image, [_SMOOTH_MM / s for s in spacing])
        squares = sum(
            np.gradient(smooth, mm, axis=axis) ** 2
            for axis, mm in enumerate(spacing)
            if smooth.shape[axis] > 1
        )
        if seen is not None and not seen[number].all():
            off = ndimage.distance_transform_edt(seen[number], sampling=spacing)
            squares = squares * (off > 3 * _SMOOTH_MM)
        total += squares
    return np.sqrt(total)


def race(
    images: Sequence[Reals],
    targets: Wholes,
    classes: int,
    spacing: Triple,
    edge: float = EDGE_MM,
    looks: Reals | None = None,
    unlike: float = UNLIKE,
) -> Reals:
    """Cost from the strokes of each class to every voxel.

    Parameters
    ----------
    images : sequence of float arrays (z, y, x)
        CT and MR in [0, 1]; 0 where the MR has no data.
    targets : integer array (z, y, x)
        Segmentation codes at strokes, anything else elsewhere.
    classes : int
        Number of codes, background included.
    spacing : tuple of float
        mm along (z, y, x).
    edge : float
        mm that an edge of the whole range costs.
    looks : float array (classes, z, y, x), optional
        How likely every voxel's look is that of each class (`appearance.appearance`).
    unlike : float
        What a voxel costs more that does not look like the class at all.

    Returns
    -------
    float32 array (classes, z, y, x)
        Cost in mm, at most `FAR_MM`: that of a class without a stroke.
    """
    cost = 1 + edge * edge_strength(images, spacing)
    costs = np.full((classes, *targets.shape), FAR_MM, dtype=np.float32)
    for code in range(classes):
        starts = targets == code
        if starts.any():
            own = cost if looks is None else cost + unlike * (1 - looks[code])
            costs[code] = costs_from(starts, own, spacing)
    return costs


def grown(
    images: Sequence[Reals], targets: Wholes, classes: int, spacing: Triple, share: float
) -> Wholes:
    """Strokes of the classes, grown to what is near them along the images (PA-Seg, TMI 2023).

    An unlabelled voxel of the box around a class's strokes becomes that class if its path from
    them costs less than `share` of the costliest one in the box, and less than from any other
    strokes. Unlike in PA-Seg, whose points lie at an object's ends, nothing outside the boxes
    becomes background: strokes do not say where an object ends.

    Parameters
    ----------
    images, targets, classes, spacing
        As in `race`; unlabelled voxels are `IGNORE`.
    share : float
        0 … 1.

    Returns
    -------
    integer array (z, y, x), as `targets`
    """
    costs = race(images, targets, classes, spacing)
    result = targets.copy()
    for code in range(1, classes):
        box = bounding_box(targets == code)
        if box is None:
            continue
        cost = costs[code][box]
        others = np.delete(costs, code, axis=0).min(axis=0)[box]
        near = (cost < share * cost.max()) & (cost < others)
        result[box][near & (targets[box] == IGNORE)] = code
    return result


def costs_from(starts: Mask, cost: Doubles, spacing: Triple) -> Doubles:
    """Cost of paths (mm, float64) from a set of voxels, at most `FAR_MM`.

    Parameters
    ----------
    starts : bool array (z, y, x)
        Where paths begin: at its rim, for what is inside costs none.
    cost : float array (z, y, x)
        Of a mm.
    spacing : tuple of float
        mm along (z, y, x).
    """
    inside = ndimage.binary_erosion(starts, np.ones((3, 3, 3)), border_value=1)
    rim = np.argwhere(starts & ~inside)
    if not len(rim):
        return np.full(cost.shape, 0.0 if starts.any() else FAR_MM)
    found, _ = MCP_Geometric(np.where(inside, -1, cost), sampling=spacing).find_costs(rim)
    return np.where(starts, 0, np.minimum(found, FAR_MM))
