"""Features of the clues, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from cmfnet_napari.core.clues.chances import load_weights
from cmfnet_napari.core.clues.features import (
    Races,
    Scene,
    contour_features,
    race_features,
    second_features,
    stroke_features,
    weigh,
)
from cmfnet_napari.core.strokes.scribbles import IGNORE

SPACING = (3.0, 2.0, 1.0)
SHAPE = (12, 14, 20)


@pytest.fixture
def scene():
    """A stroke of the class along x, of background beside it; the last columns are air."""
    strokes = np.full(SHAPE, IGNORE, np.uint8)
    strokes[6, 7, 5:12] = 1
    strokes[6, 2, 5:12] = 0
    body = np.ones(SHAPE, bool)
    body[..., 18:] = False
    rng = np.random.default_rng(0)
    images = [rng.random(SHAPE).astype(np.float32) for _ in range(2)]
    return Scene(images, strokes, body, SPACING)


def test_race_features_compare_the_class_with_the_background():
    costs = np.array([[7.0, 1.0], [0.0, 97.0]]).reshape(2, 1, 1, 2)
    third = np.stack([np.full((1, 1, 2), 2 / 3), np.full((1, 1, 2), 1 / 3)])
    nowhere = np.zeros((1, 1, 2), bool)
    empty = Scene([], nowhere, nowhere, SPACING)
    found = dict(race_features(empty, Races(costs, 2 * costs, third)))
    far, own = found["far"], found["own"]
    np.testing.assert_allclose(far[0, 0], np.log([10, 4]))
    np.testing.assert_allclose(own[0, 0], np.log([3, 100]))
    np.testing.assert_allclose(found["far informed"][0, 0], np.log([17, 5]))
    np.testing.assert_allclose(found["own informed"][0, 0], np.log([3, 197]))
    np.testing.assert_allclose(found["look"], -np.log(2), rtol=1e-6)  # the log-odds of a third
    np.testing.assert_allclose(found["look around"], found["look"])
    np.testing.assert_allclose(found["look far off"], found["look"] * (far + own))
    lead = found["far informed"] - found["own informed"]
    np.testing.assert_allclose(found["lead cubed"], lead**3)


def test_stroke_features_are_distances_in_mm_and_how_the_user_draws(scene):
    costs = np.stack([np.full(SHAPE, 500.0), np.zeros(SHAPE)])
    costs[0, 6, 7, 5:12] = [10, 20, 80, 40, 80, 80, 80]
    found = dict(stroke_features(scene, Races(costs, 2 * costs, costs)))
    assert found["far mm"][0, 0, 0] == 100  # at most
    assert found["far mm"][6, 7, 8] == 40
    assert found["far mm informed"][6, 7, 8] == 80
    assert found["gap"] == pytest.approx(np.log(10 * 2 ** (15 / 7)))  # the geometric mean
    assert found["gap informed"] == pytest.approx(np.log(20 * 2 ** (15 / 7)))
    assert found["line mm"][6, 7, 8] == 10  # five rows of 2 mm
    assert found["line mm"][6, 2, 5] == 0
    wide = dict(
        stroke_features(replace(scene, spacing=(3.0, 4.0, 2.0)), Races(costs, costs, costs))
    )
    # the line is 20 mm off; air begins 26 … 14 mm to the right: nearer than that from the fifth on
    mm = np.array([20, 20, 20, 20, 18, 16, 14])
    assert wide["gap line"] == pytest.approx(np.log(mm).mean())


def test_a_stroke_over_the_skin_does_not_close_the_gap(scene):
    """The body ends at one of its voxels, which counts 3 mm; the line is 40 mm off."""
    costs = np.ones((2, *SHAPE))
    wide = replace(scene, spacing=(3.0, 8.0, 6.0))
    wide.body[6, 7, 5] = False
    found = dict(stroke_features(wide, Races(costs, costs, costs)))["gap line"]
    assert found == pytest.approx(np.log([3, 6, 12, 18, 24, 30, 36]).mean())


def past_end(strokes, spacing=SPACING):
    costs = np.ones((2, *strokes.shape))
    scene = Scene([], strokes, np.ones(strokes.shape, bool), spacing)
    return dict(stroke_features(scene, Races(costs, costs, costs)))["past end"]


def nothing(*shape):
    return np.full(shape, IGNORE, np.uint8)


def test_past_the_last_drawn_slice_is_a_share_of_the_way_to_the_next_with_background():
    strokes = nothing(*SHAPE)
    strokes[[4, 7], 7, 5:12] = 1
    strokes[[1, 9], 8, 5:12] = strokes[[4, 7], 2, 5:12] = 0
    found = past_end(strokes)
    expected = [4 / 3, 1, 2 / 3, 1 / 3, 0, 0, 0, 0, 1 / 2, 1, 3 / 2, 2]
    np.testing.assert_allclose(found.ravel(), expected)
    assert np.broadcast_to(found, SHAPE)[0, 0, 0] == pytest.approx(4 / 3)


def test_background_beside_the_strokes_is_no_end():
    """A margin of 5 mm counts as over them: two rows of 2 mm."""
    strokes = nothing(*SHAPE)
    strokes[[4, 7], 7, 5:12] = 1
    strokes[8, 3, 5:12] = strokes[8, 7, 18] = 0  # 8 mm and 7 mm beside
    strokes[10, 5, 5:12] = 0
    np.testing.assert_allclose(past_end(strokes).ravel()[7:], [0, 1 / 3, 2 / 3, 1, 4 / 3])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_may_be_drawn_across_any_axis(axis):
    strokes = nothing(20, 22, 24)
    strokes[[5, 6, 11], 7:9, 5:12] = 1
    strokes[14, 7, 5:12] = 0
    found = past_end(np.moveaxis(strokes, 0, axis), (2.0, 2.0, 2.0))
    # below nothing says where it ends: then 10 mm away, which is more than drawn slices are apart
    along = np.array([(5 - k) / 5 if k < 5 else max(0, k - 11) / 3 for k in range(20)])
    np.testing.assert_allclose(found.ravel(), along.clip(max=2))
    assert found.shape[axis] == 20


def test_one_slice_drawn_on_and_no_end_marked():
    strokes = nothing(*SHAPE)
    strokes[6, 7, 3:6] = strokes[6, 8, 14:17] = 1  # apart, but not because slices are left out
    np.testing.assert_allclose(past_end(strokes).ravel()[:7], 0.3 * np.arange(6, -1, -1))


def test_strokes_in_two_planes_reach_as_far_as_either():
    strokes = nothing(*SHAPE)
    strokes[[4, 8], 6:9, 4:15] = 1
    strokes[2:10, 5:10, 9] = 1  # across another axis: no slice is left out
    strokes[[0, 11], 7, 9] = 0
    np.testing.assert_allclose(past_end(strokes).ravel(), [1, 0.5] + [0] * 8 + [0.5, 1])


def test_slices_far_apart_end_as_far_away():
    strokes = nothing(30, 8, 8)
    strokes[[8, 14, 20], 3:5, 3:5] = 1
    found = past_end(strokes).ravel()  # every 18 mm
    np.testing.assert_allclose(found[[0, 2, 20, 23, 26, 29]], [8 / 6, 1, 0, 0.5, 1, 1.5])


def test_a_first_contour_gives_depth_and_volume_of_the_part_with_a_stroke(scene):
    score = np.full(SHAPE, -8.0)
    score[4:9, 5:10, 3:14] = 8.0
    score[0, 0, 0] = 8.0  # a part without a stroke
    found = dict(contour_features(scene, score))
    depth = found["depth"]
    assert depth[6, 7, 8] == pytest.approx(6.0)  # out through y: three rows of 2 mm
    assert depth[6, 5, 8] == pytest.approx(2.0)
    assert depth[6, 4, 8] == pytest.approx(-2.0)
    assert depth[0, 0, 0] < -10
    assert found["depth around 6"][6, 7, 8] < depth[6, 7, 8]
    assert abs(found["depth around 12"]).max() < abs(found["depth around 6"]).max()


def test_numbers_stay_within_what_the_weights_have_seen(scene):
    """A stroke of 6 mm and a contour of 1.65 ml are taken for the least that was seen."""
    costs = np.stack([np.full(SHAPE, 9000.0), np.zeros(SHAPE)])
    found = dict(stroke_features(scene, Races(costs, costs, costs)))
    assert found["reach"] == pytest.approx(np.log(15))
    assert found["gap"] == pytest.approx(np.log(133))
    long = replace(scene, spacing=(3.0, 2.0, 50.0))
    found = dict(stroke_features(long, Races(costs, costs, costs)))
    assert found["reach"] == pytest.approx(np.log(6 * 50 / 3))  # along x alone, of three axes
    score = np.full(SHAPE, -8.0)
    score[4:9, 5:10, 3:14] = 8.0
    assert dict(contour_features(scene, score))["volume"] == pytest.approx(np.log(28))
    large = dict(contour_features(long, score))["volume"]
    assert large == pytest.approx(np.log(5 * 5 * 11 * 300 / 1000))


def test_looks_are_learnt_again_from_the_contour(scene):
    """Strokes on a dull part say little; the first contour holds the bright part too."""
    inside = np.zeros(SHAPE, bool)
    inside[4:9, 5:10, 3:14] = True
    bright = inside.copy()
    bright[6, 7, 5:12] = False
    image = np.where(bright, 0.9, 0.2).astype(np.float32)
    image += np.random.default_rng(0).normal(0, 0.02, SHAPE).astype(np.float32)
    same = Scene([image, image], scene.strokes, scene.body, SPACING)
    found = dict(contour_features(same, np.where(inside, 4.0, -4.0)))
    look = found["look again"]
    assert look[bright].mean() > 2
    assert look[~inside & scene.body].mean() < -2


def test_without_a_first_contour_everything_is_outside(scene):
    found = dict(contour_features(scene, np.full(SHAPE, -1.0)))
    assert (found["depth"] == -30).all()
    assert found["volume"] == pytest.approx(np.log(28))
    assert all(np.isfinite(value).all() for value in found.values())


def test_every_feature_has_a_weight_and_every_weight_a_feature(scene):
    costs = np.ones((2, *SHAPE))
    first, second = load_weights()
    races = Races(costs, costs, costs / 2)
    known = dict(race_features(scene, races))
    assert known.keys() | {"constant"} == set(first)
    more = dict(second_features(scene, races, weigh(known.items(), first)))
    assert known.keys() | more.keys() | {"constant"} == set(second)


def test_weighing_adds_weight_times_feature_and_the_constant():
    found = [("a", np.array([1.0, 2.0])), ("b", 10.0)]
    np.testing.assert_allclose(weigh(found, {"a": 3.0, "b": 0.5, "constant": -1.0}), [7.0, 10.0])
