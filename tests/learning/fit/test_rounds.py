import math

import pytest
import torch

from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.learning.fit.rounds import GROUPS, Rounds

STEPS = 200  # rounds of 20


@pytest.fixture
def rounds():
    return Rounds(make_config("quick", steps=STEPS))


def weights(value):
    return {"w": torch.tensor(float(value))}


def follow(rounds, steps=STEPS, agreed=0.5):
    """The group held out in every step of a fit that its steps end."""
    groups = []
    for step in range(steps):
        if rounds.over(step / steps):
            rounds.record(agreed, weights(step), step / steps)
        groups.append(rounds.group)
    return groups


def record(rounds, *agreed, first=0):
    """Rounds that are over, one after another, whenever."""
    for number, value in enumerate(agreed, start=first):
        rounds.record(value, weights(number), 0.0)


def test_every_group_is_held_out_in_turn(rounds):
    groups = follow(rounds)
    assert groups[:20] == [1] * 20
    assert groups[::20] == [1, 2, 3, 4, 5] * 2


def test_a_fit_that_time_ends_holds_each_out_twice_too():
    """100 steps fit into the time for 100,000: rounds by steps never came to an end."""
    rounds = Rounds(make_config("quick", steps=100_000))
    groups = follow(rounds, steps=100)
    assert groups[::10] == [1, 2, 3, 4, 5] * 2
    assert rounds.agreement == pytest.approx(0.5)


def test_a_round_that_took_long_is_one():
    rounds = Rounds(make_config("quick"))
    assert rounds.over(0.37)
    rounds.record(0.5, weights(0), 0.37)
    assert rounds.group == 2
    assert not rounds.over(0.39)
    assert rounds.over(0.4)


def test_a_short_fit_has_fewer_rounds():
    assert Rounds(make_config("quick", steps=50)).comparable
    assert not Rounds(make_config("quick", steps=49)).comparable
    groups = follow(Rounds(make_config("quick", steps=30)), steps=30)
    assert groups == [1] * 10 + [2] * 10 + [3] * 10


def test_the_paper_holds_nothing_out():
    rounds = Rounds(make_config("paper"))
    assert rounds.group == 0
    assert not rounds.over(1.0)


def test_a_round_is_recorded_once_also_after_a_break(rounds):
    assert not rounds.over(19 / STEPS)
    assert rounds.over(20 / STEPS)
    assert rounds.over(21 / STEPS)  # broken off before it was recorded
    rounds.record(0.5, weights(0), 20 / STEPS)
    assert not rounds.over(20 / STEPS)
    other = Rounds(make_config("quick", steps=STEPS))
    other.restore(rounds.state())
    assert not other.over(39 / STEPS)
    assert other.over(40 / STEPS)
    earlier = {"done": 1, "agreed": [0.5], "best": None}  # a version that counted steps
    other.restore(earlier)
    assert not other.over(39 / STEPS)
    assert other.over(40 / STEPS)


def test_agreement_is_the_mean_over_the_latest_of_every_group(rounds):
    for number in range(GROUPS - 1):
        record(rounds, 0.1 * number)
        assert rounds.agreement is None
    record(rounds, 0.4)
    assert rounds.agreement == pytest.approx(0.2)
    record(rounds, 1.0)
    assert rounds.agreement == pytest.approx((0.1 + 0.2 + 0.3 + 0.4 + 1.0) / 5)


def test_an_empty_group_counts_for_nothing(rounds):
    record(rounds, 0.8, math.nan, 0.6, math.nan, 0.7)
    assert rounds.agreement == pytest.approx(0.7)


def test_clearly_better_weights_of_an_earlier_round_are_kept(rounds):
    record(rounds, *[0.9] * GROUPS)
    assert rounds.better is None
    record(rounds, *[0.895] * GROUPS, first=10)
    assert rounds.better is None  # hardly worse: the latest have learnt longer
    record(rounds, *[0.5] * GROUPS, first=20)
    assert rounds.better == (pytest.approx(0.9), weights(GROUPS - 1))


def test_training_that_agrees_no_better_than_before_it_is_in_vain(rounds):
    rounds.begin([0.9, math.nan, 1.0, 0.8, 0.9], weights(-1))
    record(rounds, 0.9, math.nan, 1.0, 0.8)
    assert not rounds.in_vain  # one group has still to come
    record(rounds, 0.9)
    assert rounds.in_vain
    assert rounds.better == (pytest.approx(0.9), weights(-1))
    other = Rounds(make_config("quick", steps=STEPS))
    other.restore(rounds.state())
    assert other.in_vain
    record(rounds, 0.95, first=5)
    assert not rounds.in_vain
    assert rounds.better is None


def test_a_round_that_was_better_than_the_beginning_is_kept_when_the_last_is_not(rounds):
    rounds.begin([0.9] * GROUPS, weights(-1))
    record(rounds, *[0.905] * GROUPS)
    record(rounds, *[0.9] * GROUPS, first=10)
    assert not rounds.in_vain
    assert rounds.better == (pytest.approx(0.905), weights(GROUPS - 1))


def test_no_stroke_is_held_out_and_nothing_is_said(rounds):
    rounds.begin([math.nan] * GROUPS, weights(-1))
    record(rounds, *[math.nan] * GROUPS)
    assert not rounds.in_vain
    assert rounds.better is None


def test_kept_weights_do_not_follow_the_network(rounds):
    network = torch.nn.Linear(1, 1)
    for _ in range(GROUPS):
        rounds.record(0.9, network.state_dict(), 0.0)
    before = network.weight.item()
    with torch.no_grad():
        network.weight += 1
    for _ in range(GROUPS):
        rounds.record(0.1, network.state_dict(), 0.0)
    assert rounds.better[1]["weight"].item() == pytest.approx(before)


def test_other_strokes_begin_anew(rounds):
    rounds.begin([1.0] * GROUPS, weights(0))
    record(rounds, *[0.9] * GROUPS)
    rounds.forget()
    record(rounds, *[0.2] * GROUPS)
    assert rounds.better is None
    assert not rounds.in_vain
    assert rounds.agreement == pytest.approx(0.2)


def test_a_base_model_as_it_is_holds_nothing_out():
    rounds = Rounds(make_config("quick", steps=0))
    assert rounds.group == 0
    assert not rounds.over(1.0)
