"""What a key that moves the MR means on the plane that is shown."""

from __future__ import annotations

import numpy as np

from cmfnet_napari.gui.registration.nudge import nudged


def test_a_turn_is_clockwise_on_the_screen(oblique_grid):
    grid = oblique_grid
    centre = grid.to_patient(np.array([5.0, 10.0, 8.0]))
    right = centre + 10 * grid.matrix[:, 0]
    for order, way in (((0, 1, 2), grid.matrix[:, 1]), ((1, 0, 2), -grid.matrix[:, 2])):
        matrix = nudged(np.eye(4), grid, order, centre, (0, 0, 0, 90))
        back = np.linalg.inv(matrix) @ [*right, 1]
        np.testing.assert_allclose(back[:3], centre + 10 * way, atol=1e-9)  # right goes down
