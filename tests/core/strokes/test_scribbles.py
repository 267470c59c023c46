"""The two codings, and what can be trained on."""

import numpy as np
import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.strokes.scribbles import (
    IGNORE,
    PALETTE,
    check_codes,
    check_trainable,
    class_color,
    count_codes,
    coverage,
    segmentation_code,
    to_scribbles,
    to_targets,
)


def test_unlabelled_is_never_background():
    scribbles = np.array([0, 1, 2, 3], np.uint8)
    np.testing.assert_array_equal(to_targets(scribbles), [IGNORE, 0, 1, 2])
    assert [segmentation_code(code) for code in (1, 2, 3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="unlabelled"):
        segmentation_code(0)


def test_there_and_back():
    segmentation = np.array([0, 1, 2, 0], np.uint8)
    scribbles = to_scribbles(segmentation, np.array([True, True, True, False]))
    np.testing.assert_array_equal(scribbles, [1, 2, 3, 0])
    np.testing.assert_array_equal(to_targets(scribbles), [0, 1, 2, IGNORE])


def test_coverage_counts_what_is_drawn():
    scribbles = np.zeros((4, 5, 10), np.uint8)
    scribbles[0, 0, :6] = 1
    scribbles[1, 1, 1] = 3
    assert coverage(scribbles) == {1: (6, 0.03), 3: (1, 0.005)}
    assert coverage(np.zeros((2, 2, 2), np.uint8)) == {}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-1.0, r"The value -1 in S\.nii\.gz is no code"),
        (1.5, r"The value 1\.5 in S\.nii\.gz is no code"),
        (65.0, r"65 in S\.nii\.gz is no code: 0 is unlabelled, 1 background"),
        (255.0, r"255 in S\.nii\.gz is no code: 0 is unlabelled, 1 background"),
        (np.nan, r"in 1 of 3 voxels of S\.nii\.gz, is no code"),
    ],
)
def test_values_that_are_no_code(value, words):
    with pytest.raises(UserError, match=words):
        check_codes(np.array([0.0, 1.0, value]), "S.nii.gz")


def test_whole_numbers_of_any_type_are_codes():
    codes = check_codes(np.array([0.0, 64.0]))
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codes, [0, 64])


@pytest.mark.parametrize(
    ("drawn", "words"),
    [([0, 1], "no tumour"), ([0, 2], "no background"), ([0], "no tumour"), ([1, 2, 4], "class 3")],
)
def test_scribbles_too_poor_to_train(drawn, words):
    with pytest.raises(UserError, match=words):
        check_trainable(np.array(drawn, np.uint8))


@pytest.mark.parametrize("least", [1, 9])
def test_codes_are_counted_slice_by_slice(least):
    codes = np.random.default_rng(0).integers(0, 5, (4, 6, 7)).astype(np.uint8)
    codes[2] = 0
    counts = count_codes(codes, least)
    np.testing.assert_array_equal(counts, np.bincount(codes.ravel(), minlength=least))
    assert count_codes(np.zeros((2, 3, 4), np.uint8)).tolist() == [24]


def test_number_of_classes_holds_the_background():
    assert check_trainable(np.array([0, 1, 2], np.uint8)) == 2
    assert check_trainable(np.array([3, 1, 2], np.uint8)) == 3


def test_colours_come_round():
    assert class_color(1) == PALETTE[0]
    assert class_color(len(PALETTE) + 2) == PALETTE[1]
