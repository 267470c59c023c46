"""Smoothing in mm and filled holes."""

from __future__ import annotations

import numpy as np
import pytest

from cmfnet_napari.core.geometry.shape import filled, smoothed

SPACING = (3.0, 0.9, 1.3)
SHAPE = (13, 40, 30)


def box():
    mask = np.zeros(SHAPE, bool)
    mask[3:10, 8:32, 6:24] = True
    return mask


def test_smoothing_is_a_gaussian_in_mm_cut_at_one_half():
    """Against the sum over all pairs of voxels along each axis."""
    mask = box()
    mask[6, 32:37, 15] = True  # a spike
    share = mask.astype(float)
    for axis, (n, mm) in enumerate(zip(SHAPE, SPACING, strict=True)):
        steps = np.arange(n)[:, None] - np.arange(n)
        weights = np.exp(-((steps * mm) ** 2) / (2 * 2.0**2))
        weights /= np.exp(-((np.arange(-99, 100) * mm) ** 2) / (2 * 2.0**2)).sum()
        share = np.moveaxis(np.tensordot(weights, share, (1, axis)), 0, axis)
    clear = np.abs(share - 0.5) > 1e-3
    np.testing.assert_array_equal(smoothed(mask, SPACING, 2.0)[clear], share[clear] > 0.5)


def test_flat_borders_stay_and_spikes_corners_and_notches_go():
    mask = box()
    mask[6, 32:37, 15] = True
    mask[6, 8:11, 15] = False
    smooth = smoothed(mask, SPACING, 1.5)
    assert not smooth[6, 33:].any()
    assert smooth[6, 9:11, 15].all()
    assert not smooth[3, 8, 6]
    assert smooth[6, 8, 10]  # a flat border, away from all that
    assert not smooth[6, 7, 10]


def test_what_is_thinner_than_the_length_goes_and_nothing_is_done_for_no_length():
    thin = np.zeros(SHAPE, bool)
    thin[6, 10:30, 15] = True
    assert not smoothed(thin, SPACING, 3.0).any()
    np.testing.assert_array_equal(smoothed(thin, SPACING, 0.0), thin)
    assert not smoothed(~np.ones(SHAPE, bool), SPACING, 3.0).any()


def test_at_the_end_of_the_image_it_goes_on():
    mask = np.zeros(SHAPE, bool)
    mask[:, 8:32, 6:24] = True
    assert smoothed(mask, SPACING, 2.0)[:, 9:31, 10:20].all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_holes_are_filled_on_the_slices_of_a_plane(axis):
    """A tunnel along an axis is a hole on its slices only; a cavity is one on all."""
    mask = box()
    tunnel = [slice(5, 7), slice(15, 17), slice(12, 14)]
    tunnel[axis] = slice(None)
    mask[tuple(tunnel)] = False
    mask[8, 25, 20] = False
    np.testing.assert_array_equal(filled(mask, axis), box())
    other = filled(mask, (axis + 1) % 3)
    assert other[8, 25, 20]
    assert not other[tuple(tunnel)].all()
