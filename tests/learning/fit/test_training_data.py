"""What a fit learns from while strokes are held out in turn."""

import numpy as np
import pytest
import torch

from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.engine.state import pack_codes, state_bytes, unpack_codes
from cmfnet_napari.learning.fit.rounds import GROUPS
from cmfnet_napari.learning.fit.training_data import Material
from cmfnet_napari.learning.model.cmfnet import map_count


@pytest.fixture
def material(ball):
    """Without a guide: what lies between the strokes does not matter here."""
    config = ball.config.model_copy(update={"stroke_maps": True, "guide": 0.0})
    return Material(ball.study, ball.scribbles, config)


def learnt(material):
    """Scribble codes that teach, and those whose maps are shown (nearness is 1 at a stroke)."""
    (volume,) = material.volumes(2)
    targets = volume.targets[0].numpy()
    drawn = np.where(targets == IGNORE, 0, targets + 1)
    near = volume.maps[0, :2].float()
    shown = torch.where(near[1] == 1, 2, torch.where(near[0] == 1, 1, 0)).numpy()
    return drawn, np.where(drawn > 0, shown, 0)


def test_without_a_group_all_strokes_teach_and_are_shown(material, ball):
    drawn, shown = learnt(material)
    np.testing.assert_array_equal(drawn, ball.scribbles)
    np.testing.assert_array_equal(shown, ball.scribbles)
    assert not material.held_out.any()
    assert material.seen(2).maps.shape[1] == map_count(2)


def test_strokes_that_grow_teach_more_and_are_shown_as_drawn(ball):
    config = ball.config.model_copy(update={"stroke_maps": True, "seed_growth": 0.5})
    drawn, shown = learnt(Material(ball.study, ball.scribbles, config))
    grown = drawn != ball.scribbles
    assert grown.any()
    assert (drawn[grown] == 2).all()
    assert (ball.scribbles[grown] == 0).all()
    assert ball.truth[grown].mean() > 0.9
    np.testing.assert_array_equal(shown, ball.scribbles)


def test_every_stroke_is_held_out_once_and_another_part_only_taught(material, ball):
    held, hidden = np.zeros_like(ball.scribbles), np.zeros_like(ball.scribbles)
    for group in range(1, GROUPS + 1):
        assert material.hold_out(group)
        drawn, shown = learnt(material)
        out = material.held_out
        np.testing.assert_array_equal(np.where(out > 0, 0, ball.scribbles), drawn)
        assert {1, 2} <= set(np.unique(drawn))
        assert {1, 2} <= set(np.unique(shown))
        assert ((shown == drawn) | (shown == 0)).all()
        assert (held[out > 0] == 0).all()
        held, hidden = held + out, hidden + (drawn - shown)
    assert (held == ball.scribbles).mean() > 0.99
    assert (hidden > 0).any()


def test_what_is_judged_is_not_told_of_what_is_held_out(material):
    material.hold_out(1)
    out = material.held_out == 1
    assert out.any()
    whole, part = material.seen(2).maps, material.seen(2, learnt=True).maps
    assert (whole[0, 0].numpy()[out] == 1).all()
    assert (part[0, 0].numpy()[out] < 1).any()


def test_strokes_drawn_later_count_at_once_in_every_round(ball):
    later = ball.scribbles.copy()
    later[9, 20:22, 15:25] = 2
    plain = ball.config.model_copy(update={"guide": 0.0})  # what lies between does not matter
    material = Material(ball.study, ball.scribbles, plain)
    material.draw(later)
    for group in range(1, GROUPS + 1):
        material.hold_out(group)
        (volume,) = material.volumes(2)
        assert (volume.targets[0, 9, 20:22, 15:25] == 2 - 1).all()


def test_the_same_group_again_is_nothing_new(material):
    assert material.hold_out(2)
    assert not material.hold_out(2)
    assert material.hold_out(0)


def test_groups_are_packed_and_unpacked_as_they_were(material):
    packed = pack_codes(material.groups)
    assert state_bytes(packed) < material.groups.nbytes / 4
    np.testing.assert_array_equal(unpack_codes(packed, material.groups.shape), material.groups)
    with pytest.raises(ValueError, match=r"negative|reshape"):
        unpack_codes(packed, (3, 4, 5))


def test_runs_of_codes_as_counted_by_hand():
    packed = pack_codes(np.array([[0, 0, 2], [2, 1, 0]], np.uint8))
    assert packed["begins"].tolist() == [0, 2, 4, 5]
    assert packed["codes"].tolist() == [0, 2, 1, 0]
