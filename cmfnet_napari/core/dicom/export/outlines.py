"""Outlines of a mask in one slice, as polygons that any planning system fills alike.

A voxel's centre is inside where the mask is, so filling the polygons gives the mask back to the
voxel. The level at which marching squares cuts between a voxel inside and one outside is chosen
for each slice so that the polygons enclose as much as the slice's voxels do: at the usual half
way they lose half a voxel for every outline, which is a percent of a small tumour.
"""

from __future__ import annotations

import numpy as np
from skimage.measure import find_contours

from cmfnet_napari.core.arrays import Doubles, Mask

_STRAIGHT = 1e-9  # twice the area of a triangle, in voxels, that counts as none
_OFF_CENTRE = 0.3  # voxels: the channel to a hole runs between the rows of voxel centres


def outlines(mask: Mask) -> list[Doubles]:
    """Closed polygons of a mask, holes joined to their outline.

    Parameters
    ----------
    mask : bool array (rows, columns)
        One slice.

    Returns
    -------
    list of arrays (n, 2), float64
        Rows and columns of each polygon's corners, in voxels, (0, 0) the centre of the first
        one; at least 3 corners, the last not the first again. A hole belongs to the outline
        around it through a channel without width, the keyhole of DICOM PS3.3 C.8.8.6.3. Parts
        that touch at a corner are polygons of their own; so are parts within a hole.
    """
    padded = np.pad(mask, 1).astype(float)
    loops = [loop[:-1] - 1.0 for loop in find_contours(padded, _level(mask))]
    outer = [_straightened(loop) for loop in loops if signed_area(loop) > 0]
    holes = [_straightened(loop) for loop in loops if signed_area(loop) < 0]
    return _keyholes(outer, holes)


def signed_area(loop: Doubles) -> float:
    """Area within a closed polygon (n, 2), rows and columns, in voxels; holes are negative."""
    row, column = loop.T
    return float(column @ np.roll(row, -1) - row @ np.roll(column, -1)) / 2


def _level(mask: Mask) -> float:
    """Level between 0 and 1 at which the outlines enclose as many voxels as the mask has.

    A cell between four voxel centres holds, with c = 1 - level: c²/2 around one corner inside,
    c with two beside each other, 1 - level²/2 with three, c² with two across.
    """
    from scipy.optimize import brentq  # here: it would delay every start of a program by 0.2 s

    grid = np.pad(mask, 1).astype(np.int8)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]
    count = a + b + c + d
    across = (count == 2) & (a == d)
    one, three, four = (int((count == n).sum()) for n in (1, 3, 4))
    two, crossed = int(((count == 2) & ~across).sum()), int(across.sum())

    def surplus(level: float) -> float:
        inside = 1 - level
        area = one * inside**2 / 2 + two * inside + crossed * inside**2
        return area + three * (1 - level**2 / 2) + four - int(mask.sum())

    return float(brentq(surplus, 0, 1)) if mask.any() else 0.5


def _straightened(loop: Doubles) -> Doubles:
    """The loop without corners that lie on a straight line."""
    before, after = loop - np.roll(loop, 1, axis=0), np.roll(loop, -1, axis=0) - loop
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    return loop[np.abs(turns) > _STRAIGHT]


def _keyholes(outer: list[Doubles], holes: list[Doubles]) -> list[Doubles]:
    """Join every hole to the loop that lies left of it, until no hole is left by itself."""
    while holes:
        hole = holes.pop()
        start = hole[hole[:, 1].argmin(), 0] + _OFF_CENTRE
        column, edge = min(_crossings(hole, start))
        others = [
            (*hit, loops, number)
            for loops in (outer, holes)
            for number, loop in enumerate(loops)
            for hit in _crossings(loop, start)
            if hit[0] < column
        ]
        there, other_edge, loops, number = max(others, key=lambda hit: hit[0])
        loop = loops[number]
        near, far = np.array([[start, column]]), np.array([[start, there]])
        turned = np.roll(hole, -edge - 1, axis=0)
        head, tail = loop[: other_edge + 1], loop[other_edge + 1 :]
        loops[number] = np.concatenate([head, far, near, turned, near, far, tail])
    return outer


def _crossings(loop: Doubles, row: float) -> list[tuple[float, int]]:
    """Where a loop crosses a row: column, and the corner that its edge starts from."""
    (y0, x0), (y1, x1) = loop.T, np.roll(loop, -1, axis=0).T
    edges = np.flatnonzero((y0 < row) != (y1 < row))
    columns = x0[edges] + (row - y0[edges]) / (y1[edges] - y0[edges]) * (x1[edges] - x0[edges])
    return [(float(x), int(edge)) for x, edge in zip(columns, edges, strict=True)]
