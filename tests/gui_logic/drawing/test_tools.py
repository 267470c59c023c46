"""Every tool is a row: what it draws between the same places, and that it has a key of its own."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels

from cmfnet_napari.gui.drawing import drawing_keys
from cmfnet_napari.gui.drawing.tools import TOOLS, UnfinishedStroke, ground_of

CORNERS = ((1, 1), (1, 5), (5, 5))  # y, x on the only slice


def drawn(tool):
    layer = Labels(np.zeros((1, 7, 7), np.uint8))
    layer.selected_label = 2
    stroke = UnfinishedStroke(layer)
    places = [np.array((0, *corner), float) for corner in CORNERS]
    way = TOOLS[tool].begin(stroke, ground_of(layer, (1, 2), 0.5), places[0])
    for place in places:
        way.move(place)
    way.end()
    assert set(np.flatnonzero(layer.data)) <= set(stroke.voxels)
    return {(int(y), int(x)) for _, y, x in np.argwhere(layer.data == 2)}


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        ("free", {(1, x) for x in range(1, 6)} | {(y, 5) for y in range(1, 6)}),
        ("straight", {(k, k) for k in range(1, 6)}),
        ("lasso", {(y, x) for x in range(1, 6) for y in range(1, x + 1)}),
    ],
)
def test_what_a_tool_draws(tool, expected):
    assert drawn(tool) == expected


def test_every_tool_has_its_key_among_those_to_draw_with():
    shortcuts = [tool.shortcut for tool in TOOLS.values()]
    assert set(shortcuts) <= set(drawing_keys.SHORTCUTS)
    assert len({shortcut.key for shortcut in shortcuts}) == len(TOOLS)
