"""Positions of slices in a clinician's words."""

from __future__ import annotations

import pytest

from cmfnet_napari.core.geometry.plane import place_text
from cmfnet_napari.core.images.grid import Grid

GRID = Grid((4, 5, 6), (3.0, 1.0, 1.5), (-20.0, 35.0, -400.0))


@pytest.mark.parametrize(
    ("axis", "mm", "text"),
    [
        (0, -397.0, "I 397.0 mm"),
        (0, 12.46, "S 12.5 mm"),
        (1, 36.0, "P 36.0 mm"),
        (1, -0.04, "P 0.0 mm"),  # no minus zero
        (2, -20.0, "R 20.0 mm"),
        (2, 1.5, "L 1.5 mm"),
    ],
)
def test_letter_and_millimetres(axis, mm, text):
    assert place_text(GRID, axis, mm) == text


def test_letters_are_the_patient_s_on_a_turned_grid():
    turned = Grid((4, 5, 6), direction=(-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
    assert place_text(turned, 2, 7.0) == "R 7.0 mm"  # this array's x runs to the right
