"""Clues and the chances they give, on a bright ball in a grey box."""

import numpy as np
import pytest

from cmfnet_napari.core.clues import FAR_MM, Clues, chances, features, find_clues, with_air
from cmfnet_napari.core.scribbles import IGNORE

SPACING = (3.0, 1.5, 1.0)


@pytest.fixture(scope="module")
def ball():
    z, y, x = np.indices((14, 26, 30))
    truth = (3 * (z - 7)) ** 2 + (1.5 * (y - 13)) ** 2 + (x - 15.0) ** 2 < 10**2
    rng = np.random.default_rng(0)
    image = (0.3 + 0.4 * truth + rng.normal(0, 0.03, truth.shape)).astype(np.float32)
    strokes = np.full(truth.shape, IGNORE, np.uint8)
    strokes[7, 12:15, 12:19] = 1
    strokes[7, 3, 5:25] = strokes[7, 23, 5:25] = strokes[2, 13, 8:22] = strokes[12, 13, 8:22] = 0
    body = np.ones(truth.shape, bool)
    body[..., :2] = False
    return truth, image, strokes, body


@pytest.fixture(scope="module")
def clues(ball):
    _, image, strokes, body = ball
    return find_clues([image, image], strokes, body, 2, SPACING)


def test_chances_sum_to_one_and_find_the_ball(ball, clues):
    truth, _, strokes, _ = ball
    found = chances(clues)
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-5)
    assert (found[1][strokes == 1] > 0.5).all()
    assert (found[0][strokes == 0] > 0.5).all()
    mask = found[1] > 0.5
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.85


def test_looks_tell_the_ball_from_the_box(ball, clues):
    truth = ball[0]
    assert clues.looks[1][truth].mean() > clues.looks[1][~truth].mean() + 0.5


def test_what_a_stroke_does_not_look_like_is_further_from_it(ball, clues):
    """The informed race pays more for all edges, but most for paths out of the ball."""
    longer, truth = clues.informed[1] - clues.plain[1], ball[0]
    assert longer[~truth].mean() > 5 * longer[truth].mean()


def test_features_compare_the_class_with_the_background():
    costs = np.array([[7.0, 1.0], [0.0, 97.0]]).reshape(2, 1, 1, 2)
    third = np.stack([np.full((1, 1, 2), 2 / 3), np.full((1, 1, 2), 1 / 3)])
    far, own, near, informed, look, smooth, lost, cubed = features(
        Clues(costs, 2 * costs, third, third)
    )
    np.testing.assert_allclose(far[0, 0], np.log([10, 4]))
    np.testing.assert_allclose(own[0, 0], np.log([3, 100]))
    np.testing.assert_allclose(near[0, 0], np.log([17, 5]))
    np.testing.assert_allclose(informed[0, 0], np.log([3, 197]))
    np.testing.assert_allclose(look, -np.log(2), rtol=1e-6)  # the logit of a third
    np.testing.assert_allclose(smooth, look)
    np.testing.assert_allclose(lost, look * (far + own))
    np.testing.assert_allclose(cubed, (near - informed) ** 3)


def test_between_several_classes_the_informed_race_decides(ball):
    _, image, strokes, body = ball
    two = strokes.copy()
    two[7, 12:15, 16:19] = 2
    found = find_clues([image, image], two, body, 4, SPACING)
    chance = chances(found)
    np.testing.assert_allclose(chance.sum(axis=0), 1, rtol=1e-5)
    reached = found.informed[:3]
    assert (chance.argmax(axis=0) == reached.argmin(axis=0)).all()
    assert (found.plain[3] == FAR_MM).all()  # a class nobody drew: no path
    assert chance[3].max() < 1e-6
    assert found.looks[3].max() == 0


def test_air_is_background_but_no_stroke_is_overruled(ball):
    _, _, strokes, _ = ball
    everything = with_air(strokes, np.zeros(strokes.shape, bool))
    drawn = strokes != IGNORE
    assert (everything[drawn] == strokes[drawn]).all()
    assert (everything[~drawn] == 0).all()
