import numpy as np
import pytest

from cmfnet_napari.core.clues.appearance import appearance
from cmfnet_napari.core.strokes.scribbles import IGNORE

SHAPE = (8, 24, 20)


@pytest.fixture
def halves():
    """Left dark, right bright on CT; on MR upper half bright."""
    rng = np.random.default_rng(0)
    ct, mr = (0.3 + 0.02 * rng.normal(size=SHAPE) for _ in range(2))
    ct[..., 10:] += 0.4
    mr[:, 12:] += 0.4
    return [ct, mr]


def strokes(**places):
    targets = np.full(SHAPE, IGNORE, np.uint8)
    for code, place in enumerate(places.values()):
        targets[place] = code
    return targets


def test_looks_alike_is_likely_wherever_it_lies(halves):
    left, right = np.s_[2, 4:10, 2:8], np.s_[2, 4:10, 12:18]
    found = appearance(halves, strokes(background=left, tumour=right), 2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-5)
    assert found[1, 6, 4:10, 13:18].min() > 0.8  # slices away from any stroke
    assert found[0, 6, 4:10, 1:7].min() > 0.8


def test_both_images_count(halves):
    upper, lower = np.s_[2, 2:8, 2:6], np.s_[2, 15:21, 2:6]
    found = appearance(halves, strokes(background=upper, tumour=lower), 2)
    assert found[1, 6, 16:20, 2:6].min() > 0.8 > 0.2 > found[1, 6, 3:8, 2:6].max()


def test_a_class_without_a_stroke_is_impossible(halves):
    found = appearance(halves, strokes(background=np.s_[2, 4:10, 2:8]), 3)
    assert (found[0] == 1).all()
    assert (found[1:] == 0).all()


def test_the_same_strokes_give_the_same_answer(halves):
    targets = strokes(background=np.s_[2, 4:10, 2:8], tumour=np.s_[2, 4:10, 12:18])
    np.testing.assert_array_equal(appearance(halves, targets, 2), appearance(halves, targets, 2))
