"""Where the scores of a network for any structure begin."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from cmfnet_napari.core.clues.race import FAR_MM
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.model.first_chance import (
    first_chance,
    load_weights,
    stroke_features,
)
from cmfnet_napari.learning.model.nearness import Strokes

SHAPE = (6, 8, 10)


@pytest.fixture
def scene():
    """The class bright on the left of the first image; the second is seen in its lower half."""
    first = np.full(SHAPE, 0.2, np.float32)
    first[..., :5] = 0.8
    seen = np.zeros(SHAPE, bool)
    seen[3:] = True
    codes = np.full(SHAPE, IGNORE, np.uint8)
    codes[4, 4, 1:4], codes[4, 4, 7:9] = 1, 0
    return first, np.where(seen, 1 - first, 0).astype(np.float32), seen, codes


def strokes_on(first, second, seen, codes):
    return Strokes.on(first, second, seen, codes, np.zeros(SHAPE, bool))


def test_what_it_sees_by_hand(scene):
    _, _, seen, codes = scene
    strokes = strokes_on(*scene)
    look = np.full(SHAPE, 0.5, np.float32)
    found = strokes.features(look)
    assert set(found) | {"constant"} == set(load_weights())
    for name, side in (("line", 0), ("own line", 1)):
        np.testing.assert_allclose(found[name], np.log(distance_transform_edt(codes != side) + 1.5))
    np.testing.assert_allclose(found["own"], np.log(strokes.own + 3))
    assert found["own"][4, 4, 1] == pytest.approx(np.log(3))  # at a stroke of its own
    lead = np.log(strokes.other + 3) - np.log(strokes.own + 3)
    np.testing.assert_allclose(found["lead cubed"], lead.clip(-1.8, 1.8) ** 3)
    for name in ("look", "look around", "look widely around", "look far off"):
        np.testing.assert_allclose(found[name], 0, atol=1e-6)
    # intensities at strokes: 0.8 three times and 0.2 twice, of standard deviation 0.294
    spread = np.std([0.8, 0.8, 0.8, 0.2, 0.2]) + 0.03
    np.testing.assert_allclose(found["first image"][..., :5], -0.6 / spread, rtol=1e-5)
    np.testing.assert_allclose(found["first image"][..., 5:], 0.6 / spread, rtol=1e-5)
    assert (found["second image"][~seen] == 0).all()
    np.testing.assert_allclose(found["second image"][3:, :, :5], -0.6 / spread, rtol=1e-5)


def test_it_is_sure_at_strokes_and_needs_no_strokes_of_the_others(scene):
    first, second, seen, codes = scene
    chance = strokes_on(*scene).maps()[-1]
    assert chance[codes == 1].min() > 0.9 > 0.1 > chance[codes == 0].max()
    alone = np.where(codes == 0, IGNORE, codes).astype(np.uint8)
    strokes = strokes_on(first, second, seen, alone)
    assert (strokes.other == FAR_MM).all()
    maps = strokes.maps()
    assert maps[-1][alone == 1].min() > 0.5  # the surer of itself the further the others are
    assert (maps[-2] == 0.5).all()  # the look is not known


def test_how_the_user_draws_by_hand(scene):
    _, _, _, codes = scene
    strokes = strokes_on(*scene)
    found = strokes.features(np.full(SHAPE, 0.5, np.float32))
    # own strokes at x = 1, 2, 3, the others' at 7 and 8 of the same line
    assert found["gap line"].item() == pytest.approx(np.log([7.5, 6.5, 5.5]).mean())
    assert found["gap line back"].item() == pytest.approx(np.log([5.5, 6.5]).mean())
    assert found["nearest back"].item() == pytest.approx(np.log(5.5) + 0.1 * np.log(6.5 / 5.5))
    assert found["gap"].item() == pytest.approx(np.log(strokes.other[codes == 1] + 3).mean())
    assert found["gap back"].item() == pytest.approx(np.log(strokes.own[codes == 0] + 3).mean())
    assert found["drawn"].item() == pytest.approx(np.log(4))
    assert found["drawn back"].item() == pytest.approx(np.log(3))
    nearer = found["own line"] - found["line"]
    np.testing.assert_allclose(found["nearer cubed"], nearer**3)
    beyond = found["beyond gap"]
    assert beyond[4, 4, 2] == 0
    assert beyond[0, 0, 9] == pytest.approx(found["own line"][0, 0, 9] - found["gap line"].item())


def test_more_lead_never_counts_against_a_side():
    weights, lead = load_weights(), np.linspace(-6, 6, 200)
    cubed = lead.clip(-1.8, 1.8) ** 3
    score = weights["far"] * lead + weights["lead cubed"] * cubed  # the cost to the others grows
    assert (np.diff(score) > -0.01).all()


def test_a_chance_is_what_the_weights_say():
    features = dict.fromkeys(load_weights(), np.zeros((1, 1, 2)))
    del features["constant"]
    features["own"] = np.array([[[0.0, 1.0]]])
    weights = load_weights()
    score = weights["constant"] + np.array([0, weights["own"]])
    np.testing.assert_allclose(first_chance(features)[0, 0], 1 / (1 + np.exp(-score)), rtol=1e-6)


def test_features_of_a_second_image_do_not_depend_on_where_it_has_no_data(scene):
    first, second, seen, codes = scene
    look = np.full(SHAPE, 0.5, np.float32)
    costs = np.ones(SHAPE), np.ones(SHAPE)
    other = np.where(seen, second, 0.7).astype(np.float32)
    everywhere = np.ones(SHAPE, bool)
    found = [
        stroke_features(((first, everywhere), (image, seen)), codes, *costs, look)["second image"]
        for image in (second, other)
    ]
    np.testing.assert_array_equal(*found)
