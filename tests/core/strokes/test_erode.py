"""Automatic strokes: never wrong, as far away as asked, as many as asked."""

import re

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.body import body_mask
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.images.volume import Volume
from cmfnet_napari.core.strokes.erode import NEAR_MM, propose_background, propose_foreground

SHAPE, SPACING = (14, 44, 36), (3.0, 1.0, 1.5)


@pytest.fixture
def study():
    """A leg of 20 mm radius along z, off the middle."""
    grid = Grid(SHAPE, SPACING)
    _, y, x = np.indices(SHAPE) * np.array(SPACING)[:, None, None, None]
    hu = np.where(np.hypot(y - 21, x - 27) < 20, 50, -1000).astype(np.int16)
    return Study(Volume(hu, grid, "CT"), None, None, grid)


@pytest.fixture
def tumour():
    mask = np.zeros(SHAPE, bool)
    mask[5:9, 14:24, 12:19] = True
    return mask


def distance_mm(a, b):
    """Every voxel of a to the nearest of b, the slow way."""
    return cdist(np.argwhere(a) * SPACING, np.argwhere(b) * SPACING).min(axis=1)


def blank():
    return np.zeros(SHAPE, np.uint8)


@pytest.mark.parametrize("margin", [0.0, 3.0, 5.5, 8.0])
def test_whole_background_is_the_body_eroded_in_millimetres(study, tumour, margin):
    found = propose_background(blank(), [tumour], study, margin, whole=True) == 1

    body = body_mask(study.first) & ~tumour
    expected = np.zeros(SHAPE, bool)
    expected[body] = distance_mm(body, tumour) >= margin - 1e-6
    np.testing.assert_array_equal(found, expected)


def test_background_strokes_are_where_and_as_many_as_asked(study, tumour):
    drawn = propose_background(blank(), [tumour], study, 4.0, 0.01)

    assert drawn.dtype == np.uint8
    assert set(np.unique(drawn)) == {0, 1}
    assert (drawn > 0).sum() == round(0.01 * drawn.size)
    assert distance_mm(drawn > 0, tumour).min() >= 4.0
    assert body_mask(study.first)[drawn > 0].all()


def test_every_mask_and_class_stroke_is_kept_away_from(study, tumour):
    other = np.zeros(SHAPE, bool)
    other[1:3, 20:24, 24:28] = True
    scribbles = blank()
    scribbles[11, 12:20, 20] = 2
    scribbles[3, 30:36, 18] = 1

    drawn = propose_background(scribbles, [tumour, other], study, 5.0, whole=True) > 0

    for obstacle in (tumour, other, scribbles == 2):
        assert distance_mm(drawn, obstacle).min() >= 5.0
    assert not (drawn & (scribbles > 0)).any()
    # a stroke of background is no obstacle: its neighbours are still background
    assert drawn[3, 29, 18]


def test_half_of_the_strokes_are_near(study, tumour):
    small = np.zeros(SHAPE, bool)
    small[0:1, 3:5, 16:18] = True
    drawn = propose_background(blank(), [small], study, 2.0, 0.004) > 0
    near = distance_mm(drawn, small) <= 2.0 + NEAR_MM
    assert near.mean() > 0.49
    assert not near.all()


def test_same_seed_same_strokes(study, tumour):
    first, again, other = (
        propose_background(blank(), [tumour], study, 4.0, 0.01, seed=s) for s in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_strokes_look_drawn(study, tumour):
    drawn = propose_background(blank(), [tumour], study, 4.0, 0.012) > 0
    in_plane = np.ones((1, 3, 3))
    neighbours = ndimage.convolve(drawn.astype(int), in_plane, mode="constant")[drawn] - 1
    assert (neighbours >= 1).mean() > 0.9  # lines, not dots
    assert (neighbours <= 4).mean() > 0.85  # lines, not blots
    assert (drawn.any(axis=(1, 2))).mean() > 0.7  # slice by slice


def test_more_than_there_is_gives_all_there_is(study, tumour):
    everything = propose_background(blank(), [tumour], study, 8.0, whole=True)
    np.testing.assert_array_equal(
        propose_background(blank(), [tumour], study, 8.0, coverage=0.9), everything
    )


def test_margin_that_eats_the_body_names_the_largest(study, tumour):
    with pytest.raises(UserError, match="A margin of 200 mm leaves nothing") as caught:
        propose_background(blank(), [tumour], study, 200.0)
    largest = float(re.search(r"is ([\d.]+) mm\.", str(caught.value))[1])

    assert propose_background(blank(), [tumour], study, largest).any()
    with pytest.raises(UserError, match="leaves nothing"):
        propose_background(blank(), [tumour], study, largest + 0.11)


@pytest.mark.parametrize("margin", [0.0, 1.4, 2.0, 3.0])
def test_whole_foreground_is_the_mask_eroded_in_millimetres(study, tumour, margin):
    found = propose_foreground(blank(), tumour, 3, study, margin, whole=True)

    expected = np.zeros(SHAPE, np.uint8)
    inner = distance_mm(tumour, ~tumour) >= margin - 1e-6
    expected[tumour] = np.where(inner, 3, 0)
    np.testing.assert_array_equal(found, expected)


def test_foreground_strokes(study, tumour):
    scribbles = blank()
    scribbles[6, 16:20, 15] = 2
    scribbles[7, 20, 14:16] = 1

    drawn = propose_foreground(scribbles, tumour, 2, study, 1.2, 0.002)

    assert set(np.unique(drawn)) == {0, 2}
    assert (drawn > 0).sum() == round(0.002 * drawn.size)
    assert not ((drawn > 0) & (scribbles > 0)).any()
    assert distance_mm(drawn > 0, ~tumour).min() >= 1.2
    assert distance_mm(drawn > 0, scribbles == 1).min() >= 1.2


def test_mask_that_the_image_cuts_is_not_eroded_there(study):
    mask = np.zeros(SHAPE, bool)
    mask[:6, 10:30, 8:28] = True
    found = propose_foreground(blank(), mask, 2, study, 6.0, whole=True) > 0
    assert found[0].any()
    assert not found[5].any()


def test_margin_that_eats_the_mask_names_the_largest(study, tumour):
    with pytest.raises(UserError, match="A margin of 30 mm leaves nothing") as caught:
        propose_foreground(blank(), tumour, 2, study, 30.0)
    largest = float(re.search(r"is ([\d.]+) mm\.", str(caught.value))[1])
    # 10 × 7 voxels of 1 × 1.5 mm in plane, 4 of 3 mm: a middle voxel is 5 mm from the outside
    assert largest == 5.0
    assert propose_foreground(blank(), tumour, 2, study, largest).any()


def test_what_cannot_be_asked(study, tumour):
    with pytest.raises(UserError, match="mask is empty"):
        propose_background(blank(), [np.zeros(SHAPE, bool)], study)
    with pytest.raises(UserError, match="mask is empty"):
        propose_background(blank(), [], study)
    with pytest.raises(UserError, match="margin is -1 mm"):
        propose_foreground(blank(), tumour, 2, study, -1.0)
    with pytest.raises(UserError, match="coverage is 0 %"):
        propose_background(blank(), [tumour], study, coverage=0.0)
    with pytest.raises(ValueError, match="not on the grid"):
        propose_background(np.zeros((3, 3, 3), np.uint8), [tumour], study)


def test_nothing_left_at_all(study, tumour):
    with pytest.raises(UserError, match="Nothing of the body is left"):
        propose_background(blank(), [np.ones(SHAPE, bool)], study)
    with pytest.raises(UserError, match="Nothing of the body is left"):
        propose_foreground(np.where(tumour, 2, 0).astype(np.uint8), tumour, 2, study)


def test_masks_and_scribbles_are_left_as_they_were(study, tumour):
    scribbles, mask = blank(), tumour.copy()
    scribbles[2, 20, 20] = 2
    before = scribbles.copy()
    propose_background(scribbles, [mask], study, 3.0)
    propose_foreground(scribbles, mask, 2, study, 1.0)
    np.testing.assert_array_equal(scribbles, before)
    np.testing.assert_array_equal(mask, tumour)
