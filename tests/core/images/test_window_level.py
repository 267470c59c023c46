"""Window and level by hand-made numbers."""

from __future__ import annotations

import pytest

from cmfnet_napari.core.images.window_level import CT_PRESETS, dragged, to_level_width, to_limits


def test_soft_tissue_is_black_at_minus_160_and_white_at_240():
    assert to_limits(*CT_PRESETS["Soft tissue"]) == (-160, 240)
    assert to_level_width((-160, 240)) == (40, 400)


def test_a_hundred_pixels_are_half_of_the_width():
    assert dragged((-160, 240), 100, 0, 1) == (-260, 340)  # W 600, L 40
    assert dragged((-160, 240), 0, 100, 1) == (40, 440)  # W 400, L 240: darker
    assert dragged((-160, 240), -100, -50, 1) == (-160, 40)  # W 200, L -60


def test_a_window_never_closes_and_opens_again():
    low, high = dragged((0, 10), -10_000, 0, 1)
    assert (low, high) == (4.5, 5.5)
    assert to_level_width(dragged((5, 5), 200, 0, 1)) == (5, 1)  # from nothing at all


@pytest.mark.parametrize("name", CT_PRESETS)
def test_presets_rise(name):
    low, high = to_limits(*CT_PRESETS[name])
    assert -1400 < low < high < 1400
