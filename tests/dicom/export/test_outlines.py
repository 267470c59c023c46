"""Outlines: filled by others they give the mask back, and they enclose as much."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.path import Path
from scipy import ndimage
from skimage.draw import polygon2mask

from cmfnet_napari.core.dicom.export.outlines import outlines, signed_area


def filled(loops: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Exclusive or of all polygons, as skimage fills them."""
    mask = np.zeros(shape, bool)
    for loop in loops:
        mask ^= polygon2mask(shape, loop)
    return mask


def area(loops: list[np.ndarray]) -> float:
    return sum(signed_area(loop) for loop in loops)


def test_one_voxel_has_four_corners_and_its_area() -> None:
    mask = np.zeros((3, 5), bool)
    mask[1, 3] = True
    (loop,) = outlines(mask)
    assert len(loop) == 4
    np.testing.assert_allclose(sorted(np.abs(loop - (1, 3)).max(axis=1)), [0.5**0.5] * 4)
    assert area([loop]) == pytest.approx(1.0)


def test_straight_edges_have_no_corners() -> None:
    (loop,) = outlines(np.ones((6, 9), bool))
    assert len(loop) == 8  # two at each corner of the image
    assert area([loop]) == pytest.approx(54.0)
    assert loop.min() < 0  # the outline runs outside the centres of the border's voxels


def test_a_hole_is_joined_and_an_island_in_it_is_not() -> None:
    mask = np.ones((11, 13), bool)
    mask[3:8, 4:10] = False
    mask[5, 6] = True
    loops = outlines(mask)
    assert len(loops) == 2
    assert area(loops) == pytest.approx(mask.sum())
    np.testing.assert_array_equal(filled(loops, mask.shape), mask)


def test_parts_that_touch_at_a_corner_are_apart() -> None:
    mask = np.eye(4, dtype=bool)
    assert len(outlines(mask)) == 4


def test_nothing_has_no_outline() -> None:
    assert outlines(np.zeros((4, 5), bool)) == []


@pytest.mark.parametrize("seed", range(12))
def test_any_mask_comes_back(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = (23, 31)
    mask = random.random(shape) < 0.05 + 0.08 * seed
    if seed % 2:
        mask = ndimage.gaussian_filter(random.standard_normal(shape), 1.5) > 0
    loops = outlines(mask)
    assert all(len(loop) >= 3 for loop in loops)
    assert area(loops) == pytest.approx(mask.sum(), abs=1e-6)
    np.testing.assert_array_equal(filled(loops, shape), mask)
    # Another way to fill, for readers that do not combine polygons but draw them over each other.
    centres = np.argwhere(np.ones(shape))
    union = np.zeros(len(centres), bool)
    for loop in loops:
        union |= Path(loop).contains_points(centres)
    np.testing.assert_array_equal(union.reshape(shape), mask)
