"""Index to patient and back, against SimpleITK's own conversion."""

from dataclasses import replace

import numpy as np
import pytest

from cmfnet_napari.core.images.grid import Grid

INDICES = [(0, 0, 0), (10, 0, 0), (0, 12, 0), (0, 0, 16), (3, 7, 11)]


@pytest.mark.parametrize("index", INDICES)
def test_patient_place_is_simpleitks(oblique_grid, index):
    image = oblique_grid.to_image(np.zeros(oblique_grid.shape, np.uint8))

    place = oblique_grid.to_patient(np.array(index))

    # SimpleITK takes (x, y, z); it knows nothing of our array order
    expected = image.TransformIndexToPhysicalPoint(tuple(int(i) for i in index[::-1]))
    np.testing.assert_allclose(place, expected, atol=1e-9)


def test_fractional_places_go_there_and_back(oblique_grid):
    index = np.array([[0.25, 3.5, 7.75], [9.0, -2.0, 20.5]])
    image = oblique_grid.to_image(np.zeros(oblique_grid.shape, np.uint8))

    points = oblique_grid.to_patient(index)

    np.testing.assert_allclose(oblique_grid.to_index(points), index, atol=1e-9)
    expected = image.TransformPhysicalPointToContinuousIndex(tuple(points[0]))
    np.testing.assert_allclose(expected[::-1], index[0], atol=1e-6)


def test_image_and_grid_are_one(oblique_grid):
    array = np.arange(np.prod(oblique_grid.shape), dtype=np.int32).reshape(oblique_grid.shape)
    image = oblique_grid.to_image(array)

    assert image.GetSize() == (17, 13, 11)
    assert image.GetSpacing() == (0.8, 1.2, 3.0)
    assert image.GetPixel(5, 4, 3) == array[3, 4, 5]
    assert Grid.from_image(image) == oblique_grid


def test_crop_leaves_voxels_where_they_are(oblique_grid):
    part = oblique_grid.crop((slice(2, 7), slice(3, 12), slice(5, 6)))

    assert part.shape == (5, 9, 1)
    np.testing.assert_allclose(
        part.to_patient(np.array([1, 2, 0])), oblique_grid.to_patient(np.array([3, 5, 5]))
    )


def test_voxel_volume():
    assert Grid((2, 2, 2), (3.0, 1.2, 0.8)).voxel_ml == pytest.approx(3.0 * 1.2 * 0.8 / 1000)


def test_same_place_forgives_a_float32_header_only(oblique_grid):
    def moved(mm):
        origin = (oblique_grid.origin[0] + mm, *oblique_grid.origin[1:])
        return Grid(oblique_grid.shape, oblique_grid.spacing, origin, oblique_grid.direction)

    assert oblique_grid.same_place(moved(1e-4))
    assert not oblique_grid.same_place(moved(0.1))
    assert not oblique_grid.same_place(Grid((11, 13, 16), (3.0, 1.2, 0.8)))


def test_letters_of_patient_axes():
    assert Grid((3, 4, 5)).axis_letters == (("I", "S"), ("A", "P"), ("R", "L"))
    sagittal_flipped = Grid((3, 4, 5), direction=(0, 0, -1, 1, 0, 0, 0, -1, 0))
    # array x runs to the back, y to the feet, z to the right
    assert sagittal_flipped.axis_letters == (("L", "R"), ("S", "I"), ("A", "P"))


def test_translate_is_the_origin_along_the_own_axes(oblique_grid):
    own = np.array(oblique_grid.translate)[::-1]  # x, y, z
    np.testing.assert_allclose(oblique_grid.matrix @ own, oblique_grid.origin, atol=1e-9)
    assert Grid((2, 3, 4), origin=(7.0, 8.0, 9.0)).translate == (9.0, 8.0, 7.0)


def test_wrong_shape_is_refused(oblique_grid):
    with pytest.raises(ValueError, match=r"\(13, 11, 17\).*\(11, 13, 17\)"):
        oblique_grid.to_image(np.zeros((13, 11, 17)))


def test_how_far_off_an_image_with_other_axes_would_be_shown():
    grid = Grid((3, 4, 11), (2.0, 1.0, 10.0))
    assert grid.shown_apart(replace(grid, origin=(9.0, 8.0, 7.0), spacing=(1.0, 1.0, 1.0))) == 0
    quarter = replace(grid, direction=(0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    # its far corner, (100, 3) mm in the patient, is (100, 3) along the one's axes, (3, -100)
    # along the other's
    assert grid.shown_apart(quarter) == pytest.approx(np.hypot(97, 103))
