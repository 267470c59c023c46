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


def test_every_group_is_held_out_in_turn(rounds):
    groups = [rounds.group(step) for step in range(STEPS)]
    assert groups[:20] == [1] * 20
    assert groups[::20] == [1, 2, 3, 4, 5] * 2


def test_the_paper_holds_nothing_out():
    rounds = Rounds(make_config("paper"))
    assert {rounds.group(step) for step in range(500)} == {0}
    assert not rounds.over(2000)


def test_a_round_is_recorded_once_also_after_a_break(rounds):
    assert not rounds.over(19)
    assert rounds.over(20)
    assert rounds.over(21)  # broken off before it was recorded
    rounds.record(0.5, weights(0))
    assert not rounds.over(20)
    other = Rounds(make_config("quick", steps=STEPS))
    other.restore(rounds.state())
    assert not other.over(39)
    assert other.over(40)


def test_agreement_is_the_mean_over_the_latest_of_every_group(rounds):
    for number in range(GROUPS - 1):
        rounds.record(0.1 * number, weights(number))
        assert rounds.agreement is None
    rounds.record(0.4, weights(4))
    assert rounds.agreement == pytest.approx(0.2)
    rounds.record(1.0, weights(5))
    assert rounds.agreement == pytest.approx((0.1 + 0.2 + 0.3 + 0.4 + 1.0) / 5)


def test_an_empty_group_counts_for_nothing(rounds):
    for agreed in (0.8, math.nan, 0.6, math.nan, 0.7):
        rounds.record(agreed, weights(0))
    assert rounds.agreement == pytest.approx(0.7)


def test_clearly_better_weights_of_an_earlier_round_are_kept(rounds):
    for number in range(GROUPS):
        rounds.record(0.9, weights(number))
    assert rounds.better is None
    for number in range(GROUPS):
        rounds.record(0.895, weights(10 + number))
    assert rounds.better is None  # hardly worse: the latest have learnt longer
    for number in range(GROUPS):
        rounds.record(0.5, weights(20 + number))
    assert rounds.better == weights(GROUPS - 1)


def test_kept_weights_do_not_follow_the_network(rounds):
    network = torch.nn.Linear(1, 1)
    for _ in range(GROUPS):
        rounds.record(0.9, network.state_dict())
    before = network.weight.item()
    with torch.no_grad():
        network.weight += 1
    for _ in range(GROUPS):
        rounds.record(0.1, network.state_dict())
    assert rounds.better["weight"].item() == pytest.approx(before)


def test_other_strokes_begin_anew(rounds):
    for _ in range(GROUPS):
        rounds.record(0.9, weights(1))
    rounds.forget()
    for _ in range(GROUPS):
        rounds.record(0.2, weights(2))
    assert rounds.better is None
    assert rounds.agreement == pytest.approx(0.2)


def test_a_base_model_as_it_is_holds_nothing_out():
    rounds = Rounds(make_config("quick", steps=0))
    assert rounds.group(0) == 0
    assert not rounds.over(0)
