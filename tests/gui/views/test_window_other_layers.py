"""Layers that are not ours, finer than the CT or with a time axis, beside an open patient."""

from __future__ import annotations

import json

import numpy as np
import pytest
from qtpy.QtTest import QTest

from cmfnet_napari.core.case.view_state import VIEWS_FILE
from cmfnet_napari.core.fit.preflight_checks import Finding
from cmfnet_napari.gui.patient.opened import open_files
from cmfnet_napari.gui.training.preflight import Preflight
from tests.gui.conftest import SHAPE, SMALL

WINDOW = SMALL


@pytest.fixture
def finer(opened):
    add_finer(opened)
    return opened


def add_finer(opened):
    """A layer that begins before the CT, with voxels of 0.3 mm; napari counts its steps."""
    session = opened.session
    first = np.array(session.case.study.grid.translate) - 6.0
    session.viewer.add_image(np.zeros((20, 20, 20)), scale=(0.3,) * 3, translate=first)
    opened.workbench.navigation.look_at((4, 10, 8))
    assert session.viewer.dims.current_step[0] == 60  # (4 × 3 mm + 6 mm) / 0.3 mm


def test_places_are_voxels_of_the_ct(finer, patient, qtbot):
    session, bench = finer.session, finer.workbench
    review = bench.review
    assert bench.navigation.voxel() == (4, 10, 8)
    assert review.seen_slices.place == ("axial", 4)
    review.go_to_slice("sagittal", 12)
    review.go_to_slice("axial", 99)  # the last there is
    assert bench.navigation.voxel() == (SHAPE[0] - 1, 10, 12)
    bench.navigation.go_to(np.array(session.case.study.grid.translate) - 5.0)
    assert bench.navigation.voxel() == (0, 0, 0)
    bench.review.go_to_slice("axial", 7)
    bench.last_view.keep()
    assert json.loads((session.case.folder / VIEWS_FILE).read_text())["slices"] == [7, 0, 0]
    with qtbot.waitSignal(session.opened, timeout=20000):
        session.open(lambda: open_files(patient.ct, patient.mr))
    assert bench.navigation.voxel() == (7, 0, 0)


def test_slices_without_strokes_and_those_between_are_the_cts(finer):
    session, bench = finer.session, finer.workbench
    for z in (3, 7):
        strokes = np.zeros(SHAPE, np.uint8)
        strokes[z, 8:12, 6:10] = 2
        session.recorder.add(strokes, "hand")
    session.select_class(2)
    bench.drawing.step(1)
    assert bench.navigation.voxel()[0] == 5
    bench.drawing.fill_between()
    assert list(np.flatnonzero((session.scribbles.data == 2).any(axis=(1, 2)))) == [3, 4, 5, 6, 7]


def test_layers_come_and_go_in_the_window(opened, hand, qtbot):
    """On one patient: to open one takes longer than both."""
    a_layer_with_a_time_axis_breaks_nothing(opened, hand, qtbot)
    add_finer(opened)
    a_finding_is_shown_at_its_voxel(opened, hand)


def a_finding_is_shown_at_its_voxel(opened, hand):
    finding = Finding("warning", "Look.", voxel=(9, 3, 2))
    opened.training_panel.findChild(Preflight).go_to(finding)
    assert opened.workbench.navigation.voxel() == (9, 3, 2)
    middle = hand.canvas.rect().center()
    assert (hand.pixel((9, 3, 2)) - middle).manhattanLength() <= 3


def a_layer_with_a_time_axis_breaks_nothing(opened, hand, qtbot):
    session = opened.session
    point = hand.pixel((5, 10, 8))
    layer = session.viewer.add_image(np.zeros((3, *SHAPE)), scale=(1, 3.0, 0.9, 1.1))
    QTest.mouseMove(hand.canvas, point)
    hand.drag_pixels(point, point, button="right")
    hand.drag_pixels(point, point, modifier="Shift")
    opened.workbench.navigation.look_at((6, 9, 7))
    assert opened.workbench.navigation.voxel() == (6, 9, 7)
    session.viewer.layers.remove(layer)
    qtbot.wait(50)
    opened.workbench.navigation.look_at((5, 10, 8))
    assert opened.workbench.review.seen_slices.place == ("axial", 5)
