"""Contours in the patient to a mask on a Grid, by geometry alone.

A voxel belongs to a structure when its centre lies inside the contours of its slice, by the
even–odd rule: a contour within another one is a hole, and so is what a keyhole goes round
(PS3.3 C.8.8.6.3). Contours that do not lie on the Grid's slices, such as those drawn on an
oblique MR, are turned into distances to their border, interpolated between their planes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import ndimage

from cmfnet_napari.core.arrays import Doubles, Mask, Reals, Wholes, three
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.geometry.boxes import Box
from cmfnet_napari.core.images.grid import Grid

_ON_SLICE = 0.1  # of a slice's distance: contours are written with few digits
_DIGITS = 3  # of a voxel: a contour through voxel centres must not depend on rounding
_FLAT_MM = 0.5
_SAME_PLANE_MM = 0.1
_FINE = 0.5  # of the Grid's smallest voxel side: pixels of the contours' own planes
_GAP = 1.5  # times the usual distance of planes: nothing is drawn between
_ORDER = {2: "second", 3: "third", 4: "fourth"}
_SPARSE = tuple(_ORDER)  # slices from one contour to the next: those between were left to others
_TIE = 4e-3  # of a depth: decides for voxel centres that lie on an end
_ENOUGH = 2  # steps that tell a habit from two parts
_MOST_PIXELS = 1 << 31  # of all planes together


def rasterise(contours: Sequence[Doubles], grid: Grid, name: str) -> tuple[Mask, str]:
    """Fill contours.

    Parameters
    ----------
    contours : sequence of arrays (n, 3)
        Closed contours, points (x, y, z) in LPS, mm.
    grid : Grid
        Where the mask is wanted.
    name : str
        What messages call the structure.

    Returns
    -------
    mask : bool array (z, y, x)
    note : str
        Sentences when a part lies outside the Grid, is drawn on every second slice or so (those
        between are filled in, as on other planes), or not on some; else empty.

    Raises
    ------
    UserError
        No contour, contours that are not flat, none on the Grid, or smaller than a voxel.
    """
    if not contours:
        raise UserError(f"The structure {name} is empty: it has no closed contour.")
    contours = list({points.tobytes(): points for points in contours}.values())
    places = [grid.to_index(points) for points in contours]
    outside = [_outside(place, grid.shape) for place in places]
    if all(part == "all" for part in outside):
        raise UserError(
            f"The structure {name} lies outside the image ({_where(np.concatenate(contours))}; "
            f"image {grid}). Check that it was drawn on these images."
        )
    on_slices = all(
        np.ptp(place[:, 0]) <= _ON_SLICE and abs(_slice(place) - place[:, 0].mean()) <= _ON_SLICE
        for place in places
    )
    step, missing = _steps(places) if on_slices else (0, 0)
    sparse = step in _SPARSE
    if on_slices and not sparse:
        mask = _slice_by_slice(places, grid)
    else:
        if sparse:  # rounding of what was written must not decide where it ends
            contours = [grid.to_patient(_on_its_slice(place)) for place in places]
        axes = _axes(contours, grid)
        missing = missing if on_slices else _planes_left_out(contours, axes)
        mask = _between_planes(contours, axes, grid, name)
    if not mask.any():
        raise UserError(
            f"The structure {name} is smaller than a voxel of the image: nothing is left of it."
        )
    cut = sum(part != "no" for part in outside)
    notes = []
    if cut:
        notes.append(
            f"{name}: {cut} of {len(contours)} contours lie outside the image, in part or whole."
        )
    if sparse:
        notes.append(
            f"{name} is drawn on every {_ORDER[step]} slice; those between were filled in."
        )
    if missing:
        notes.append(
            f"{name} has no contour on {missing} slice{'s' if missing > 1 else ''} between its "
            "first and its last; nothing was filled in there."
        )
    return mask, " ".join(notes)


def fill(polygons: Sequence[Doubles], shape: tuple[int, int]) -> Mask:
    """Pixels whose centres lie inside polygons, even–odd.

    Every edge turns its rows round from where it crosses them; libraries compare every pixel
    with every edge, which takes half a minute for a body of 200 slices.

    Parameters
    ----------
    polygons : sequence of arrays (n, 2)
        Corners (row, column) in pixels.
    shape : tuple of int
        Rows, columns.

    Returns
    -------
    bool array
        A centre on a border belongs to one side of it: the one of higher rows and columns.
    """
    turns = np.zeros((shape[0], shape[1] + 1), dtype=np.int64)
    for polygon in polygons:
        start = np.round(polygon, _DIGITS)
        end = np.roll(start, -1, axis=0)
        first = np.ceil(np.minimum(start[:, 0], end[:, 0])).clip(0, shape[0]).astype(int)
        stop = np.ceil(np.maximum(start[:, 0], end[:, 0])).clip(0, shape[0]).astype(int)
        count = stop - first
        edge = np.repeat(np.arange(len(start)), count)
        row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
        slope = (end[edge, 1] - start[edge, 1]) / (end[edge, 0] - start[edge, 0])
        crossing = np.round(start[edge, 1] + (row - start[edge, 0]) * slope, _DIGITS)
        column = np.ceil(crossing).clip(0, shape[1]).astype(int)
        np.add.at(turns, (row, column), 1)
    passed: Wholes = turns[:, :-1].cumsum(axis=1)
    inside: Mask = passed % 2 == 1
    return inside


def _slice_by_slice(places: list[Doubles], grid: Grid) -> Mask:
    mask = np.zeros(grid.shape, dtype=bool)
    slices: dict[int, list[Doubles]] = {}
    for place in places:
        slices.setdefault(_slice(place), []).append(place[:, 1:])
    for k, polygons in slices.items():
        if 0 <= k < grid.shape[0]:
            mask[k] = fill(polygons, grid.shape[1:])
    return mask


def _steps(places: list[Doubles]) -> tuple[int, int]:
    """Slices from one that is drawn on to the next, usually; how many others are left out."""
    drawn = np.unique([_slice(place) for place in places])
    steps = np.diff(drawn)
    kinds, counts = np.unique(steps, return_counts=True)
    often = kinds[(counts >= _ENOUGH) & (2 * counts >= len(steps))]
    usual = int(often[0]) if len(often) and often[0] in _SPARSE else 1
    wide = steps[steps > _GAP * usual]
    return usual, int((np.rint(wide / usual) - 1).sum())


def _planes_left_out(contours: list[Doubles], axes: Doubles) -> int:
    """How many planes are left out by contours on planes of their own."""
    steps = np.diff([place for place, _ in _planes([points @ axes.T for points in contours])])
    if not len(steps):
        return 0
    usual = float(np.median(steps))
    wide = steps[steps > _GAP * usual]
    return int((np.rint(wide / usual) - 1).sum())


def _between_planes(contours: list[Doubles], axes: Doubles, grid: Grid, name: str) -> Mask:
    """Distances to the border on the contours' own planes, read off at the Grid's voxels."""
    turned = [points @ axes.T for points in contours]  # (plane, row, column), mm
    if any(np.ptp(points[:, 0]) > _FLAT_MM for points in turned):
        raise UserError(
            f"The contours of {name} do not lie in parallel planes, which cannot be filled. Export "
            "them as planar contours."
        )
    pixel = _FINE * min(grid.spacing)
    every = np.concatenate(turned)
    low, high = _within(every[:, 1:], grid, axes[1:], 3 * pixel)
    rows, columns = np.ceil((high - low) / pixel).astype(int) + 1
    drawn: list[float] = []
    masks: list[Mask] = []
    planes = _planes(turned)
    if len(planes) * rows * columns > _MOST_PIXELS:
        raise UserError(
            f"The contours of {name} lie in {len(planes)} planes, which need too much memory. "
            "Export them on the slices of the image."
        )
    for place, group in planes:
        drawn.append(place)
        masks.append(fill([(points[:, 1:] - low) / pixel for points in group], (rows, columns)))
    usual = float(np.median(np.diff(drawn))) if len(drawn) > 1 else max(grid.spacing)
    places, depths = _with_ends(drawn, [_depth(mask, pixel) for mask in masks], usual)
    box = _box(every, axes, usual, grid)
    at = grid.crop(box).to_patient(np.stack([*np.indices([s.stop - s.start for s in box])], -1))
    at = at @ axes.T
    index = [np.interp(at[..., 0], places, np.arange(len(places)))]
    index += [(at[..., axis] - low[axis - 1]) / pixel for axis in (1, 2)]
    mask = np.zeros(grid.shape, dtype=bool)
    mask[box] = ndimage.map_coordinates(depths, index, order=1, mode="nearest") > 0
    return mask


def _within(points: Doubles, grid: Grid, axes: Doubles, margin: float) -> tuple[Doubles, Doubles]:
    """Lowest and highest (row, column) of points, mm; what lies beyond the Grid is not needed."""
    corners = np.array(np.meshgrid(*[(-1, n) for n in grid.shape])).reshape(3, -1).T
    box = grid.to_patient(corners) @ axes.T
    low = np.maximum(points.min(axis=0), box.min(axis=0)) - margin
    return low, np.maximum(np.minimum(points.max(axis=0), box.max(axis=0)) + margin, low)


def _axes(contours: list[Doubles], grid: Grid) -> Doubles:
    """Rows: normal of the contours' planes; two directions in it, near the Grid's own.

    They point where the Grid's axes do, whichever way round the points were written.
    """
    areas = [np.cross(p - p[0], np.roll(p, -1, axis=0) - p[0]).sum(axis=0) for p in contours]
    normal = max(areas, key=np.linalg.norm)
    normal = normal / np.linalg.norm(normal)
    nearest = grid.matrix.T[np.argsort(np.abs(grid.matrix.T @ normal))[0]]
    column = nearest - normal * (nearest @ normal)
    column = column / np.linalg.norm(column)
    axes = np.array([normal, np.cross(column, normal), column])
    along = axes @ grid.matrix
    nearest_axis = np.abs(along).argmax(axis=1)
    turned: Doubles = axes * np.sign(along[range(3), nearest_axis])[:, None]
    return turned


def _planes(turned: list[Doubles]) -> list[tuple[float, list[Doubles]]]:
    """Contours by the place of their plane, in order."""
    groups: list[tuple[float, list[Doubles]]] = []
    for points in sorted(turned, key=lambda p: float(p[:, 0].mean())):
        place = float(points[:, 0].mean())
        if groups and place - groups[-1][0] <= _SAME_PLANE_MM:
            groups[-1][1].append(points)
        else:
            groups.append((place, [points]))
    return groups


def _depth(mask: Mask, pixel: float) -> Reals:
    """Distance to the border, mm, positive inside."""
    inside: Doubles = ndimage.distance_transform_edt(mask)
    outside: Doubles = ndimage.distance_transform_edt(~mask)
    depth: Reals = pixel * (inside - outside).astype(np.float32)
    return depth


def _with_ends(places: list[float], depths: list[Reals], usual: float) -> tuple[Doubles, Reals]:
    """Add planes where nothing is drawn, so that every end lies half a distance beyond."""
    ends = [places[0] - usual], [_beyond(depths[0])]
    for k, (place, depth) in enumerate(zip(places, depths, strict=True)):
        ends[0].append(place)
        ends[1].append(depth)
        after = places[k + 1] if k + 1 < len(places) else np.inf
        if after - place > _GAP * usual:
            step = min(usual, (after - place) / 2.0001)
            ends[0].append(place + step)
            ends[1].append(_beyond(depth))
            if np.isfinite(after):
                ends[0].append(after - step)
                ends[1].append(_beyond(depths[k + 1]))
    return np.array(ends[0]), np.stack(ends[1])


def _beyond(depth: Reals) -> Reals:
    """Depths a whole distance beyond a plane, so that what is inside ends half way.

    Voxel centres may lie right there, as on every second slice. The inner half of the area counts,
    at every end: all of it would be half a slice too much, none of it too little.
    """
    inside = depth[depth > 0]
    inner = depth > np.median(inside) if inside.size else np.zeros(depth.shape, dtype=bool)
    beyond: Reals = -np.abs(depth) * np.where(inner, 1 - _TIE, 1 + _TIE).astype(np.float32)
    return beyond


def _box(every: Doubles, axes: Doubles, usual: float, grid: Grid) -> Box:
    """The part of the Grid that the contours and half a distance beyond them can reach."""
    low, high = every.min(axis=0), every.max(axis=0)
    low[0] -= usual
    high[0] += usual
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T @ axes
    index = grid.to_index(corners)
    start = np.clip(np.floor(index.min(axis=0)), 0, np.array(grid.shape) - 1).astype(int)
    stop = np.clip(np.ceil(index.max(axis=0)) + 1, start + 1, grid.shape).astype(int)
    return three(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))


def _on_its_slice(place: Doubles) -> Doubles:
    return np.column_stack([np.full(len(place), _slice(place)), place[:, 1:]])


def _slice(place: Doubles) -> int:
    return int(np.rint(place[:, 0].mean()))


def _outside(place: Doubles, shape: tuple[int, ...]) -> Literal["no", "part", "all"]:
    """Whether all of a contour lies outside the Grid, a part, or nothing (``no``)."""
    low, high = place.min(axis=0), place.max(axis=0)
    if (high < -0.5).any() or (low > np.array(shape) - 0.5).any():
        return "all"
    return "part" if (low < -0.5).any() or (high > np.array(shape) - 0.5).any() else "no"


def _where(points: Doubles) -> str:
    low, high = points.min(axis=0), points.max(axis=0)
    ranges = zip("xyz", low, high, strict=True)
    return ", ".join(f"{axis} {a:.0f} to {b:.0f}" for axis, a, b in ranges) + " mm"
