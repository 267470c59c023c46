"""A DICOM folder opened as a clinician does it: button, chooser, ticks, Open."""

from __future__ import annotations

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialogButtonBox, QFileDialog, QMessageBox

from cmfnet_napari.core.images.grid import Grid
from tests.dicom_files import (
    CENTRE,
    CT_GRID,
    MR_GRID,
    circles,
    rewrite,
    write_patient,
    write_slices,
    write_structures,
)


@pytest.fixture
def choose(dock, qtbot, monkeypatch):
    """Press the button, choose a folder, wait for the chooser."""

    def close():
        if dock.open_panel.chooser is not None:
            dock.open_panel.chooser.reject()
            qtbot.wait(20)

    def press(folder):
        close()
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_args: str(folder))
        dock.open_panel.dicom_button.click()
        assert not dock.open_panel.dicom_button.isEnabled()
        qtbot.waitUntil(lambda: dock.open_panel.chooser is not None, timeout=10000)
        return dock.open_panel.chooser

    yield press
    close()


def rows(dialog):
    """Texts of the tree, level by level."""
    found, stack = [], [(dialog.tree.invisibleRootItem(), -1)]
    while stack:
        item, level = stack.pop(0)
        if level >= 0:
            found.append((level, *(item.text(column) for column in range(5))))
        stack = [(item.child(k), level + 1) for k in range(item.childCount())] + stack
    return found


def tick(dialog, text, on=True):
    (item,) = dialog.tree.findItems(text, Qt.MatchFlag.MatchExactly | Qt.MatchFlag.MatchRecursive)
    item.setCheckState(0, Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
    return item


def open_button(dialog):
    return dialog.buttons.button(QDialogButtonBox.StandardButton.Open)


def test_the_chooser_of_one_folder_after_another(choose, tmp_path):
    for act in (
        it_lists_and_proposes,
        an_empty_structure_is_called_that_and_not_offered,
        one_ct_at_a_time_and_none_is_said,
        a_series_with_a_fault_is_shown_with_it,
        to_register_is_proposed_for_each_mr_and_then_up_to_the_user,
        two_mr_or_one_are_enough_and_three_are_too_many,
    ):
        act(choose, tmp_path / act.__name__)


def it_lists_and_proposes(choose, tmp_path):
    dialog = choose(write_patient(tmp_path))
    ct = (2, "planning CT", "CT, image 1", "2020-01-02", "34 × 30 × 14", "1.80 × 2.00 × 3.00")
    mr = (2, "T1", "MR, image 2", "2020-01-02", "28 × 26 × 12", "2.10 × 1.90 × 3.30")
    found = rows(dialog)
    assert found[0][:2] == (0, "Made Up P1")
    assert ct in found
    assert mr in found
    assert (2, "PLAN", "RTSTRUCT", "2020-01-02", "1 structure", "") in found
    assert [dialog.item(image).text(0) for image in dialog.picked] == ["planning CT", "T1"]
    assert open_button(dialog).isEnabled()
    assert not dialog.register.isChecked()


def an_empty_structure_is_called_that_and_not_offered(choose, tmp_path):
    folder = write_patient(tmp_path)

    def edit(data):
        data.ROIContourSequence[0].ContourSequence = []

    rewrite(folder / "rs-ct.dcm", edit)
    dialog = choose(folder)
    (empty,) = (row for row in rows(dialog) if "(empty: no contour)" in row[1])
    (item,) = dialog.tree.findItems(
        empty[1], Qt.MatchFlag.MatchExactly | Qt.MatchFlag.MatchRecursive
    )
    assert item.isDisabled()
    assert dialog._structures() == ((), frozenset())


def one_ct_at_a_time_and_none_is_said(choose, tmp_path):
    folder = write_patient(tmp_path)
    other = np.random.default_rng(0).integers(0, 9, CT_GRID.shape).astype(np.int16)
    write_slices(folder / "second", other, CT_GRID, "CT", series="control CT")
    dialog = choose(folder)
    tick(dialog, "control CT")
    assert [image.origin.description for image in dialog.picked] == ["control CT", "T1"]
    tick(dialog, "control CT", on=False)
    assert [image.origin.description for image in dialog.picked] == ["T1"]  # is enough
    assert open_button(dialog).isEnabled()
    tick(dialog, "T1", on=False)
    assert not open_button(dialog).isEnabled()
    assert "Tick a CT" in dialog.note.text()


def a_series_with_a_fault_is_shown_with_it(choose, tmp_path):
    folder = write_patient(tmp_path)
    sorted((folder / "mr").iterdir())[5].unlink()
    dialog = choose(folder)
    texts = [row[1] for row in rows(dialog)]
    assert any("a slice is missing or the distance changes" in text for text in texts)
    assert (2, "T1", "MR", "2020-01-02", "28 × 26 × 11", "cannot be read") in rows(dialog)
    assert len(dialog.picked) == 1


def to_register_is_proposed_for_each_mr_and_then_up_to_the_user(choose, tmp_path):
    folder = write_patient(tmp_path)
    far = np.full((8, 20, 20), 5, np.uint16)
    far[2:6, 5:15, 5:15] = 300
    grid = Grid(far.shape, (4.0, 2.0, 2.0), (-20.0, -20.0, 45.0))
    write_slices(folder / "far", far, grid, "MR", series="far", frame="mr frame")
    dialog = choose(folder)
    assert not dialog.register.isChecked()
    tick(dialog, "far")
    assert dialog.register.isChecked()
    tick(dialog, "T1")
    assert not dialog.register.isChecked()
    tick(dialog, "far")
    dialog.register.click()  # no
    tick(dialog, "GTV CT")
    assert not dialog.register.isChecked()
    tick(dialog, "T1")
    dialog.register.click()  # all the same
    tick(dialog, "GTV MR")
    assert dialog.register.isChecked()
    tick(dialog, "far")
    assert dialog.register.isChecked()


def two_mr_or_one_are_enough_and_three_are_too_many(choose, tmp_path):
    folder = write_patient(tmp_path)
    values = np.random.default_rng(0).integers(1, 900, MR_GRID.shape).astype(np.uint16)
    write_slices(folder / "t2", values, MR_GRID, "MR", series="T2")
    write_slices(folder / "pet", values, MR_GRID, "PT", series="PET")
    dialog = choose(folder)

    def picked():
        return [image.origin.description for image in dialog.picked]

    before = picked()
    assert before[0] == "planning CT"  # it is drawn on
    tick(dialog, "PET")
    assert picked() == ["planning CT", "PET"]  # beside a CT there is room for one
    tick(dialog, "planning CT", on=False)
    tick(dialog, "T2")
    assert picked() == ["PET", "T2"]
    tick(dialog, "PET", on=False)
    tick(dialog, "T1")
    assert picked() == ["T2", "T1"]  # two of a kind, in the order they were ticked
    assert dialog.item(dialog.picked[0]).text(1) == "MR, image 1"
    tick(dialog, "PET")
    assert picked() == ["T2", "PET"]
    tick(dialog, "planning CT")
    assert picked() == ["planning CT", "T2"]
    assert open_button(dialog).isEnabled()


def test_opened_with_a_structure_that_can_be_eroded(dock, choose, tmp_path, qtbot):
    dialog = choose(write_patient(tmp_path))
    tick(dialog, "GTV CT")
    with qtbot.waitSignal(dock.session.opened, timeout=20000):
        open_button(dialog).click()
    layers = dock.session.viewer.layers
    assert [layer.name for layer in layers] == ["CT", "MR", "GTV CT (structure)", "Scribbles"]
    mask = layers["GTV CT (structure)"]
    grid = dock.session.case.study.grid
    middle = grid.to_patient(np.argwhere(mask.data).mean(axis=0))
    np.testing.assert_allclose(middle, CENTRE, atol=0.5)
    assert mask.contour == 1
    np.testing.assert_allclose(mask.colormap.map(1), (0, 158 / 255, 115 / 255, 1), atol=0.01)
    assert dock.workbench.automatic_strokes.masks() == [mask]
    state = dock.open_panel.registration.state
    qtbot.waitUntil(lambda: "as its file says" in state.text(), timeout=5000)
    assert "Made" not in dock.open_panel.info.text()

    dialog = choose(tmp_path)  # once more, nothing ticked: structures come back with the case
    with qtbot.waitSignal(dock.session.opened, timeout=20000):
        open_button(dialog).click()
    assert "GTV CT (structure)" in [layer.name for layer in dock.session.viewer.layers]


def test_two_frames_of_reference_are_registered(dock, choose, tmp_path, qtbot):
    dialog = choose(write_patient(tmp_path, "mr frame", (200.0, 0.0, -90.0)))
    assert dialog.register.isChecked()
    assert "do not share a frame of reference" in dialog.note.text()
    with qtbot.waitSignal(dock.session.opened, timeout=30000):
        open_button(dialog).click()
    assert dock.session.case.registrations.current.how == "automatic"


def test_contours_of_another_frame_are_asked_about(dock, choose, tmp_path, qtbot, monkeypatch):
    folder = write_patient(tmp_path)
    ball = circles(CT_GRID, CENTRE)
    write_structures(folder / "far.dcm", [{"name": "Far", "contours": ball}], frame="unknown")
    dialog = choose(folder)
    tick(dialog, "Far")
    asked = []
    answers = iter([QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes])

    def answer(_parent, _title, text, _buttons, defaultButton):  # noqa: N803 (Qt's name)
        asked.append(text)
        assert defaultButton == QMessageBox.StandardButton.No
        return next(answers)

    monkeypatch.setattr(QMessageBox, "question", answer)
    open_button(dialog).click()
    assert "PLAN lies in another frame of reference" in asked[0]
    assert dialog.isVisible()
    with qtbot.waitSignal(dock.session.opened, timeout=20000):
        open_button(dialog).click()
    assert "Far (structure)" in [layer.name for layer in dock.session.viewer.layers]


def test_another_patients_structures_are_refused(dock, choose, tmp_path, qtbot):
    folder = write_patient(tmp_path)
    rewrite(folder / "rs-ct.dcm", lambda data: setattr(data, "PatientID", "P9"))
    dialog = choose(folder)
    tick(dialog, "GTV CT")
    notification_manager.records.clear()
    open_button(dialog).click()
    qtbot.waitUntil(lambda: bool(notification_manager.records), timeout=10000)
    assert "is of another patient" in notification_manager.records[-1].message
    assert dock.session.patient is None


def test_a_folder_without_dicom(dock, tmp_path, qtbot, monkeypatch):
    (tmp_path / "x").write_bytes(b"no")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_args: str(tmp_path))
    notification_manager.records.clear()
    dock.open_panel.dicom_button.click()
    qtbot.waitUntil(lambda: bool(notification_manager.records), timeout=10000)
    assert "holds no DICOM images" in notification_manager.records[-1].message
    assert dock.open_panel.dicom_button.isEnabled()


def test_looking_through_can_be_cancelled(dock, tmp_path, qtbot, monkeypatch):
    folder = write_patient(tmp_path)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_args: str(folder))
    notification_manager.records.clear()
    dock.open_panel.dicom_button.click()
    dock.open_panel.cancel_button.click()
    qtbot.waitUntil(dock.open_panel.dicom_button.isEnabled, timeout=10000)
    qtbot.wait(100)
    assert dock.open_panel.chooser is None
    assert not notification_manager.records
