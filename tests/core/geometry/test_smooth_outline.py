"""Smooth outlines: where the mask is, no steps, nothing lost."""

from __future__ import annotations

import numpy as np

from cmfnet_napari.core.geometry.smooth_outline import smooth_outlines


def area(line):
    """Area inside a closed line (shoelace)."""
    y, x = line[:, 0], line[:, 1]
    return abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2


def test_a_disc_keeps_its_place_and_size_and_turns_nowhere_sharply():
    y, x = np.indices((60, 80))
    (line,) = smooth_outlines((y - 25) ** 2 + (x - 50) ** 2 <= 15**2)
    assert np.array_equal(line[0], line[-1])
    radius = np.hypot(line[:, 0] - 25, line[:, 1] - 50)
    assert radius.min() > 14.3
    assert radius.max() < 15.7
    assert abs(area(line) / (np.pi * 15**2) - 1) < 0.02
    steps = np.diff(line, axis=0)
    angles = np.arctan2(steps[:, 0], steps[:, 1])
    turns = np.abs((np.diff(angles) + np.pi) % (2 * np.pi) - np.pi)
    assert np.degrees(turns).max() < 35  # 45 and 90 along voxels


def test_small_parts_holes_and_the_border_of_the_image_have_their_lines():
    mask = np.zeros((12, 12), bool)
    assert smooth_outlines(mask) == []
    mask[0, 0] = True  # a single voxel in the corner
    mask[3:10, 3:10] = True
    mask[6, 6] = False
    lines = sorted(smooth_outlines(mask), key=area)
    assert len(lines) == 3
    middles = [line[:-1].mean(axis=0) for line in lines]
    assert {tuple(np.round(middle)) for middle in middles} == {(0, 0), (6, 6)}
    assert all(area(line) > 0.05 for line in lines)
    assert 44 < area(lines[2]) < 49
