"""One tool and one size for all pens."""

from __future__ import annotations

import pytest

from cmfnet_napari.gui.drawing.brush_settings import LARGEST_MM, SMALLEST_MM, Brush


@pytest.fixture
def brush(heard):
    brush = Brush()
    heard.listen(brush, "resized", "changed")
    return brush


@pytest.mark.parametrize(("mm", "size"), [(4.0, 4.0), (0.0, SMALLEST_MM), (1e4, LARGEST_MM)])
def test_a_size_has_bounds(brush, heard, mm, size):
    brush.set_size(mm)
    assert brush.size_mm == size
    assert heard == [("resized",), ("changed",)]


def test_the_whole_voxels_that_layers_have_do_not_come_back_as_the_size(brush):
    brush.resized.connect(lambda: brush.follow(4.9))
    brush.set_size(4.0)
    assert brush.size_mm == 4.0
    brush.follow(4.9)  # napari's own slider
    assert brush.size_mm == 4.9


def test_a_tool_is_chosen(brush, heard):
    brush.choose("lasso")
    assert (brush.tool, heard) == ("lasso", [("changed",)])
