"""Clues and the chances they give, on a bright ball in a grey box."""

import numpy as np
import pytest

from cmfnet_napari.core.clues.chances import find_clues, load_weights
from cmfnet_napari.core.clues.features import Scene, find_races, race_features
from cmfnet_napari.core.clues.race import FAR_MM, with_air
from cmfnet_napari.core.strokes.scribbles import IGNORE

SPACING = (3.0, 1.5, 1.0)
ALL = load_weights()[1]


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
    return find_clues(Scene([image, image], strokes, body, SPACING), 2)


def test_chances_sum_to_one_and_find_the_ball(ball, clues):
    truth, _, strokes, _ = ball
    found = clues.chances
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


def test_weights_may_be_those_of_others(ball):
    """With one feature alone, the chance is its logistic function."""
    _, image, strokes, body = ball
    scene = Scene([image, image], strokes, body, SPACING)
    first = dict.fromkeys(ALL, 0.0) | {"constant": 2.0}  # all of it is inside, 49 ml
    look = dict(race_features(scene, find_races(scene, 2)))["look"]
    second = dict.fromkeys(ALL, 0.0) | {"look": 0.2, "constant": 1.0}
    found = find_clues(scene, 2, (first, second))
    np.testing.assert_allclose(found.chances[1], 1 / (1 + np.exp(-1 - 0.2 * look)), rtol=1e-5)


def test_the_second_regression_counts_less_for_what_is_smaller_than_any_it_knows(ball):
    """The first finds all of it, 28 ml; where that is 7 ml, a quarter of the second counts."""
    _, image, strokes, body = ball
    first = dict.fromkeys(ALL, 0.0) | {"constant": 2.0}
    second = dict.fromkeys(ALL, 0.0) | {"constant": -6.0}
    ml = strokes.size * np.prod(SPACING) / 1000
    for share in (1.0, 0.25):
        scale = (28 * share / ml) ** (1 / 3)
        spacing = tuple(scale * mm for mm in SPACING)
        found = find_clues(Scene([image, image], strokes, body, spacing), 2, (first, second))
        np.testing.assert_allclose(found.chances[1], 1 / (1 + np.exp(-2 + 8 * share)), rtol=1e-4)


def test_between_several_classes_the_informed_race_decides(ball):
    _, image, strokes, body = ball
    two = strokes.copy()
    two[7, 12:15, 16:19] = 2
    found = find_clues(Scene([image, image], two, body, SPACING), 4)
    chance = found.chances
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


@pytest.mark.parametrize("drawn", ["a voxel", "no background"])
def test_few_strokes_still_give_chances(ball, drawn):
    """A background stroke may lie outside the region that is looked at: then air is outside."""
    _, image, strokes, body = ball
    few = np.where(strokes == 1, 1, IGNORE).astype(np.uint8)
    if drawn == "a voxel":
        few[:] = IGNORE
        few[7, 13, 15], few[2, 13, 15] = 1, 0
    found = find_clues(Scene([image, image], few, body, SPACING), 2).chances
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-5)
    assert found[1, 7, 13, 15] > found[1, 7, 2, 3]
