"""The prediction: parts, saving at the right place, agreement with a reference."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from napari.utils.notifications import notification_manager

from tests.gui.conftest import SHAPE


def test_a_prediction_is_shown_saved_cleaned_and_judged(predicted, patient, tmp_path, qtbot):
    contour_and_probability(predicted)
    save_to_a_folder_that_is_not_there(predicted, tmp_path, qtbot)
    saved_file_lies_on_the_ct(predicted, patient, tmp_path, qtbot)
    parts_without_a_stroke_can_be_dropped(predicted, qtbot)
    evaluate_shows_a_table(predicted, patient, qtbot)
    corrected_prediction_is_what_is_saved(predicted, tmp_path, qtbot)


def parts_without_a_stroke_can_be_dropped(predicted, qtbot):
    layer = predicted.workbench.result.prediction
    assert layer.data[1, 1, 1] == 1
    predicted.result_panel.marked_only.click()
    qtbot.waitUntil(lambda: layer.data[1, 1, 1] == 0, timeout=5000)
    assert np.count_nonzero(layer.data) == 4 * 6 * 5
    predicted.result_panel.marked_only.click()
    qtbot.waitUntil(lambda: layer.data[1, 1, 1] == 1, timeout=5000)


def saved_file_lies_on_the_ct(predicted, patient, tmp_path, qtbot):
    ct = sitk.ReadImage(str(patient.ct))
    # Independent of our axes: the big box is where the tumour of the file is.
    tumour = sitk.GetArrayFromImage(sitk.ReadImage(str(patient.tumour)))
    for ending in (".nii.gz", ".nrrd", ".mha"):
        target = tmp_path / f"prediction{ending}"
        with qtbot.waitSignal(predicted.workbench.result.saved, timeout=5000):
            predicted.workbench.result.save(str(target))
        saved = sitk.ReadImage(str(target))
        assert saved.GetSize() == ct.GetSize()
        np.testing.assert_allclose(saved.GetOrigin(), ct.GetOrigin(), atol=1e-3)
        np.testing.assert_allclose(saved.GetDirection(), ct.GetDirection(), atol=1e-5)
        prediction = sitk.GetArrayFromImage(saved)
        assert prediction[tumour > 0].all()
        assert prediction.sum() == tumour.sum() + 2 * 3 * 3


def evaluate_shows_a_table(predicted, patient, qtbot):
    """The part without a stroke is dropped first."""
    panel = predicted.review_panel
    predicted.tabs.setCurrentIndex(3)
    panel.result.marked_only.click()
    qtbot.waitUntil(lambda: predicted.workbench.result.prediction.data[1, 1, 1] == 0, timeout=5000)
    predicted.workbench.comparison.use_file(str(patient.tumour))
    table = panel.slices.table
    qtbot.waitUntil(table.isVisible, timeout=5000)
    assert table.isVisible()
    rows = [table.verticalHeaderItem(r).text() for r in range(table.rowCount())]
    values = dict(zip(rows, (table.item(r, 0).text() for r in range(len(rows))), strict=True))
    assert table.horizontalHeaderItem(0).text() == "Tumour"
    assert values == {
        "DSC": "1.000",
        "ASD, mm": "0.00",
        "HD95, mm": "0.0",
        "Surface DSC at 2 mm": "1.000",
        "Added path, mm": "0",
        "Added path, share": "0.000",
        "Volume, ml": "0.4",
        "Reference, ml": "0.4",
    }


def save_to_a_folder_that_is_not_there(predicted, tmp_path, qtbot):
    notification_manager.records.clear()
    predicted.workbench.result.save(str(tmp_path / "nowhere" / "p.nii.gz"))
    qtbot.waitUntil(lambda: bool(notification_manager.records), timeout=5000)
    assert "does not exist" in notification_manager.records[-1].message


def contour_and_probability(predicted):
    panel, result = predicted.result_panel, predicted.workbench.result
    assert not result.probability.visible
    assert result.probability.data.max() == pytest.approx(0.8)
    panel.probability.click()
    assert result.probability.visible
    panel.filled.click()
    assert result.prediction.contour == 0


def corrected_prediction_is_what_is_saved(predicted, tmp_path, qtbot):
    with qtbot.waitSignal(predicted.workbench.result.changed, timeout=5000):  # parts are left out
        predicted.workbench.result.prediction.data_setitem((np.array([0]),) * 3, 1)
    with qtbot.waitSignal(predicted.workbench.result.saved, timeout=5000):
        predicted.workbench.result.save(str(tmp_path / "p.nrrd"))
    saved = sitk.DICOMOrient(sitk.ReadImage(str(tmp_path / "p.nrrd")), "LPS")
    assert sitk.GetArrayFromImage(saved).shape == SHAPE
    assert sitk.GetArrayFromImage(saved)[0, 0, 0] == 1


def test_the_mouse_on_the_prediction_makes_corrections_in_every_view(predicted, hand, qtbot):
    """Napari's own brush, in the main view and in one beside it; Ctrl+Z; a stroke; the panel."""
    session, result = predicted.session, predicted.workbench.result
    before, layer = result.shown(), result.prediction
    hand.look_at("axial", (0, 3, 3))
    session.viewer.layers.selection.active = layer
    layer.mode, layer.selected_label, layer.brush_size = "paint", 1, 1
    hand.drag((0, 3, 3), (0, 3, 6))
    qtbot.waitUntil(lambda: len(session.corrections.standing) == 1, timeout=5000)
    ((_, first),) = session.corrections.standing
    expected = before.copy()
    expected[0, 3, 3:7] = 1
    np.testing.assert_array_equal(np.sort(first.voxels), np.flatnonzero(expected != before))
    assert (first.run, first.source) == ("runs/0001-quick", "hand")
    predicted.workbench.layouts.show("planes")
    qtbot.wait(300)
    pane = predicted.view_grid.panes[0]
    plane = tuple(pane.view.model.dims.displayed)
    start, end = (np.array([5, 10, 8]) for _ in range(2))
    end[plane[1]] += 2
    hand.over(pane).drag(tuple(start), tuple(end))
    qtbot.waitUntil(lambda: len(session.corrections.standing) == 2, timeout=5000)
    np.testing.assert_array_equal(result.shown(), layer.data)
    twice = result.shown()
    qtbot.waitUntil(lambda: result.hand.slices > 0, timeout=5000)
    assert "ml on" in predicted.review_panel.corrections.message.text()
    hand.press("Ctrl+Z")
    np.testing.assert_array_equal(result.shown(), expected)
    hand.press("Ctrl+Shift+Z")
    np.testing.assert_array_equal(result.shown(), twice)
