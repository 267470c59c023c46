"""Strokes of other classes are kept when the user says so: with the mouse."""

from __future__ import annotations

import numpy as np
import pytest

from tests.gui.conftest import SHAPE, SMALL

WINDOW = SMALL


@pytest.fixture
def drawn(opened, hand):
    """A row of background and one of tumour in an axial slice; others are protected."""
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[5, 8, 6:10], strokes[5, 8, 10:14] = 1, 2
    opened.session.recorder.add(strokes, "import")
    hand.look_at("axial", (5, 8, 6))
    opened.scribble_panel.tools.protect.setChecked(True)
    opened.session.select_class(2)
    opened.session.scribbles.brush_size = 1
    return strokes[5, 8]


def row(session):
    return session.scribbles.data[5, 8]


def test_painting_keeps_or_takes_other_classes(opened, hand, drawn):
    """On one patient: to open one takes longer than all of these."""
    session, protect = opened.session, opened.scribble_panel.tools.protect
    filling_changes_nothing_of_another_class(opened, hand, drawn, protect)
    session.undo()
    protect.setChecked(True)
    erasing_takes_the_chosen_class_only(opened, hand)
    session.undo()
    what_is_not_painted_is_not_held_up(session, drawn)


def filling_changes_nothing_of_another_class(opened, hand, drawn, protect):
    layer = opened.session.scribbles
    layer.mode = "fill"
    hand.drag((5, 8, 7))
    np.testing.assert_array_equal(row(opened.session), drawn)
    protect.setChecked(False)
    hand.drag((5, 8, 7))
    np.testing.assert_array_equal(row(opened.session)[6:14], [2] * 8)


def erasing_takes_the_chosen_class_only(opened, hand):
    opened.session.scribbles.mode = "erase"
    hand.drag((5, 8, 6), (5, 8, 13))
    np.testing.assert_array_equal(row(opened.session)[6:14], [1, 1, 1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(opened.session.case.scribbles(), opened.session.scribbles.data)


def what_is_not_painted_is_not_held_up(session, drawn):
    """Automatic strokes, a file and undo go their own way."""
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[5, 9, 6:10] = 1
    session.recorder.add(strokes, "auto-background")
    assert (session.scribbles.data[5, 9, 6:10] == 1).all()
    session.load_scribbles(np.where(strokes > 0, 2, 0).astype(np.uint8))
    assert (session.scribbles.data == 2).sum() == 4
    assert (session.scribbles.data > 0).sum() == 4
    session.undo()
    np.testing.assert_array_equal(row(session), drawn)
