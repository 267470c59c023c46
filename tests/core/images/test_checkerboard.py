"""Squares in every plane of an anisotropic image, computed here voxel by voxel."""

from __future__ import annotations

import numpy as np
import pytest

from cmfnet_napari.core.images.checkerboard import Checkerboard

SPACING = (12.5, 5.0, 10.0)
SQUARE = 15.0  # mm: a quarter of 12 × 5 mm
IMAGE = np.arange(6 * 12 * 7, dtype=np.int16).reshape(6, 12, 7)


@pytest.fixture
def board():
    return Checkerboard(IMAGE, SPACING)


def expected():
    out = np.full(IMAGE.shape, np.nan, np.float32)
    for index in np.ndindex(IMAGE.shape):
        squares = [int(i * s // SQUARE) for i, s in zip(index, SPACING, strict=True)]
        if sum(squares) % 2:
            out[index] = IMAGE[index]
    return out


@pytest.mark.parametrize(
    "key",
    [
        (3, slice(None), slice(None)),
        (slice(None), 7, slice(None)),
        (slice(None), slice(None), 4),
        (slice(1, 5), slice(None, None, 2), slice(2, None)),
        (5, 11, 6),
        4,
        slice(None),
    ],
)
def test_every_way_of_slicing(board, key):
    np.testing.assert_array_equal(board[key], expected()[key])


def test_the_image_stays_as_it_is(board):
    before = IMAGE.copy()
    np.asarray(board)
    board[2]
    np.testing.assert_array_equal(IMAGE, before)
    assert board.shape == IMAGE.shape
    assert board.dtype == np.float32


def test_squares_are_25_mm_in_a_large_image():
    image = np.ones((4, 200, 200), np.float32)
    board = Checkerboard(image, (60.0, 1.0, 1.0))
    row = np.isfinite(board[0, 0])
    np.testing.assert_array_equal(np.flatnonzero(np.diff(row.astype(int))) + 1, range(25, 200, 25))
