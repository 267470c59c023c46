"""Automatic strokes: live preview, applied into layer and journal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cmfnet_napari.gui.patient.classes import add_class
from tests.gui.conftest import SHAPE, SPACING


@pytest.fixture
def contour(opened, patient, qtbot):
    """The tumour's contour, loaded from its file with the button's action."""
    auto = opened.workbench.automatic_strokes
    with qtbot.waitSignal(auto.mask_loaded, timeout=5000):
        auto.load_mask(str(patient.tumour))
    return opened


def propose(opened, qtbot, **changes):
    panel, auto = opened.scribble_panel.auto, opened.workbench.automatic_strokes
    counts = []
    auto.proposed.connect(counts.append)
    for name, value in changes.items():
        getattr(panel, name).setValue(value)
    assert panel._timer.isActive()
    qtbot.waitUntil(lambda: not panel._timer.isActive() and auto._proposal is not None)
    return counts[-1]


def test_contour_file_becomes_the_chosen_layer(contour, patient):
    panel = contour.scribble_panel.auto
    assert panel.contour.value.name == "Contour"
    np.testing.assert_array_equal(panel.contour.value.data, patient.arrays["tumour"])
    assert panel.preview.isChecked()


def test_background_preview_then_apply(contour, patient, qtbot):
    session, panel = contour.session, contour.scribble_panel.auto
    by_hand = np.zeros(SHAPE, np.uint8)
    by_hand[2, 9:12, 8] = 2
    session.recorder.add(by_hand, "hand")
    count = propose(contour, qtbot, margin=3.0, coverage=2.0)
    preview = np.array(contour.workbench.automatic_strokes.preview.data)
    assert count == np.count_nonzero(preview) == round(0.02 * preview.size)
    assert f"{count} voxels" in panel.message.text()
    assert not (session.scribbles.data == 1).any()  # nothing is drawn yet
    panel.apply_button.click()
    np.testing.assert_array_equal(session.scribbles.data, np.where(by_hand, by_hand, preview))
    assert "Proposed strokes" not in [layer.name for layer in session.viewer.layers]
    sources = session.case.journal.sources(SHAPE)
    np.testing.assert_array_equal(sources["auto-background"], preview > 0)
    np.testing.assert_array_equal(sources["hand"], by_hand > 0)
    distance = ndimage.distance_transform_edt(patient.arrays["tumour"] == 0, sampling=SPACING)
    assert distance[preview > 0].min() >= 3.0
    np.testing.assert_array_equal(session.case.scribbles(), session.scribbles.data)


def test_preview_follows_strokes_by_hand(contour, qtbot):
    session = contour.session
    propose(contour, qtbot, margin=3.0, coverage=2.0)
    there = np.argwhere(np.array(contour.workbench.automatic_strokes.preview.data))[0]
    with qtbot.waitSignal(contour.workbench.automatic_strokes.proposed, timeout=5000):
        session.scribbles.paint(tuple(there), 1)
    assert contour.workbench.automatic_strokes.preview.data[tuple(there)] == 0


def test_foreground_inside_the_contour(contour, patient, qtbot):
    session, panel = contour.session, contour.scribble_panel.auto
    panel.kind.setCurrentIndex(1)
    assert (panel.margin.value(), panel.coverage.value()) == (2.0, 0.04)
    propose(contour, qtbot, margin=1.0, coverage=0.5)
    panel.apply_button.click()
    drawn = session.scribbles.data
    assert set(np.unique(drawn)) == {0, 2}
    assert patient.arrays["tumour"][drawn == 2].all()
    assert list(session.case.journal.sources(SHAPE)) == ["auto-foreground"]

    for name in ("Node", "Oedema"):
        session.set_classes(add_class(session.case.classes, name))
    panel.kind.setCurrentIndex(2)
    panel.margin.setValue(7.0)
    session.remove_class(2)  # the one that is chosen stays so, whatever its place
    assert (panel.kind.currentText(), panel.kind.currentData()) == ("Node, inside", 2)
    assert panel.margin.value() == 7.0
    session.undo()
    session.remove_class(3)
    assert (panel.kind.currentText(), panel.margin.value()) == ("Background, outside", 10.0)


def test_too_wide_a_margin_is_said_in_the_panel(contour, qtbot):
    auto, panel = contour.workbench.automatic_strokes, contour.scribble_panel.auto
    with qtbot.waitSignal(auto.refused, timeout=5000):
        panel.margin.setValue(150.0)
    assert "leaves nothing to draw on" in panel.message.text()
    assert not panel.apply_button.isEnabled()
    assert auto.preview is None


def test_only_layers_on_the_grid_are_offered(contour):
    viewer = contour.session.viewer
    viewer.add_labels(np.zeros((3, 4, 5), np.uint8), name="elsewhere")
    offered = [layer.name for layer in contour.workbench.automatic_strokes.masks()]
    assert offered == ["Contour"]


def test_undo_takes_applied_strokes_back(contour, qtbot):
    session = contour.session
    propose(contour, qtbot, margin=3.0, coverage=2.0)
    contour.scribble_panel.auto.apply_button.click()
    assert session.scribbles.data.any()
    session.undo()
    qtbot.wait(250)
    assert not session.case.scribbles().any()
