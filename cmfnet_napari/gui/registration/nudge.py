"""Moving the second image by hand: what a key means on the plane that is shown, as matrices."""

from __future__ import annotations

import numpy as np

from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.gui.views.planes import HEAD_AXIS

STEP_MM, STEP_DEGREES = 1.0, 1.0
# What keys do: right, down, into the screen (mm); clockwise (degrees).
KEYS = {
    "Alt-Right": (1, 0, 0, 0),
    "Alt-Left": (-1, 0, 0, 0),
    "Alt-Down": (0, 1, 0, 0),
    "Alt-Up": (0, -1, 0, 0),
    "Alt-PageUp": (0, 0, 1, 0),
    "Alt-PageDown": (0, 0, -1, 0),
    "Alt-Shift-Right": (0, 0, 0, 1),
    "Alt-Shift-Left": (0, 0, 0, -1),
}


def nudged(
    matrix: np.ndarray,
    grid: Grid,
    order: tuple[int, int, int],
    centre: np.ndarray,
    step: tuple[float, float, float, float],
) -> np.ndarray:
    """The matrix from the first's points to the second's with that moved as it is seen.

    Parameters
    ----------
    matrix : float array (4, 4)
        Where the second image lies.
    grid : Grid
        The Study's Grid.
    order : tuple of int
        Array axes: across the slices, along the screen's vertical, along its horizontal.
    centre : float array (3,)
        What it is turned about, (x, y, z) in LPS, mm.
    step : tuple of float
        Right, down and to higher slices, mm; clockwise, degrees.
    """
    across, rows, columns = (grid.matrix[:, 2 - axis] for axis in order)
    down = -rows if order[1] == HEAD_AXIS else rows  # the head points up on the screen
    right, low, deep, degrees = step
    move = np.eye(4)
    turn = _turn(np.cross(columns, down), np.radians(degrees))
    move[:3, :3] = turn
    shift = right * columns + low * down + deep * across
    move[:3, 3] = centre + shift - turn @ centre
    return matrix @ np.linalg.inv(move)


def _turn(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotation about a unit axis, 3×3 (Rodrigues)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
