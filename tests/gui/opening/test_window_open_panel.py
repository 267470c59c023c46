"""Opening a patient: layers at their place, in words when it does not work."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import SimpleITK as sitk
from napari.utils.notifications import notification_manager

from cmfnet_napari.core.case.structures import Structure, save_structures
from cmfnet_napari.core.images.study import open_study
from cmfnet_napari.core.samples import phantom
from cmfnet_napari.gui.patient.classes import change_class, classes_up_to
from cmfnet_napari.gui.patient.opened import open_files
from tests.gui.conftest import SHAPE, SPACING, image_of


def test_layers_lie_on_the_grid(opened, patient):
    layers = opened.session.viewer.layers
    assert [layer.name for layer in layers] == ["CT", "MR", "Scribbles"]
    grid = open_study(patient.ct, patient.mr).grid
    for layer in layers:
        assert layer.data.shape == SHAPE
        np.testing.assert_allclose(layer.scale, SPACING, rtol=1e-5)
        np.testing.assert_allclose(layer.translate, grid.translate)
        assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
        assert layer.axis_labels == ("I – S", "A – P", "R – L")
    ct, _, scribbles = layers
    np.testing.assert_array_equal(ct.data, patient.arrays["ct"])
    assert tuple(ct.contrast_limits) == (-160, 240)
    assert scribbles.data.dtype == np.uint8
    assert opened.session.viewer.canvas.overlays.scale_bar.visible


def test_panel_says_where_the_case_is(opened, cases):
    text = opened.open_panel.info.text().replace("\u200b", "")
    assert str(cases) in text
    assert "16 × 20 × 12 voxels of 1.10 × 0.90 × 3.00 mm" in text


def test_files_are_opened_with_the_button(dock, patient, qtbot):
    panel = dock.open_panel
    panel.first.path, panel.second.path = str(patient.ct), str(patient.mr)
    with qtbot.waitSignal(dock.session.opened, timeout=20000):
        panel.open_button.click()
        assert not panel.open_button.isEnabled()  # at once: reading goes on elsewhere
    assert panel.open_button.isEnabled()


@pytest.mark.parametrize(
    ("name", "words"), [("missing.nii.gz", "does not exist"), ("text.nrrd", "cannot be read")]
)
def test_bad_file_is_said_in_words(dock, tmp_path, qtbot, name, words):
    (tmp_path / "text.nrrd").write_text("no image")
    notification_manager.records.clear()
    dock.open_panel.first.path = str(tmp_path / name)
    dock.open_panel.open_button.click()
    qtbot.waitUntil(lambda: bool(notification_manager.records), timeout=10000)
    record = notification_manager.records[-1]
    assert words in record.message
    assert not hasattr(record, "exception")  # such a notification would offer a traceback
    assert dock.open_panel.info.text() == "No patient is open."


def test_no_ct_is_said(dock):
    notification_manager.records.clear()
    dock.open_panel.open_button.click()
    assert "No image is chosen" in notification_manager.records[-1].message


def test_strokes_come_back_and_another_file_does_not_replace_them(
    opened, patient, qtbot, scribble, tmp_path
):
    from cmfnet_napari.core.images.study import save_labels

    session = opened.session
    scribble()
    drawn = session.scribbles.data.copy()
    save_labels(np.roll(drawn, 1, 0), session.case.study, tmp_path / "other.nii.gz")
    notification_manager.records.clear()
    with qtbot.waitSignal(session.opened, timeout=20000):
        session.open(partial(open_files, patient.ct, patient.mr, tmp_path / "other.nii.gz"))
    np.testing.assert_array_equal(session.scribbles.data, drawn)
    assert any("were kept" in record.message for record in notification_manager.records)
    assert len(session.viewer.layers) == 3


@pytest.mark.canvas
def test_synthetic_sample_from_the_menu(dock, qtbot, synthetic, monkeypatch):
    monkeypatch.setattr(phantom, "make_phantom", lambda seed: synthetic)
    viewer = dock.session.viewer
    with qtbot.waitSignal(dock.session.opened, timeout=60000):
        viewer.open_sample("cmfnet-napari", "synthetic")
    assert set(np.flatnonzero(dock.session.recorder.counts)) >= {0, 1, 2}
    qtbot.wait(50)
    with qtbot.waitSignal(dock.session.opened, timeout=60000):  # again, over the open one
        viewer.open_sample("cmfnet-napari", "synthetic")
    names = [layer.name for layer in viewer.layers]
    assert names == ["CT", "MR", "Contour", "Scribbles"]
    assert not viewer.layers["Contour"].visible
    assert dock.workbench.automatic_strokes.masks() == [viewer.layers["Contour"]]


def test_manifest_is_valid():
    from npe2 import PluginManifest

    manifest = PluginManifest.from_distribution("cmfnet-napari")
    manifest.validate_imports()
    contributions = manifest.contributions
    assert [widget.display_name for widget in contributions.widgets] == ["CmFNet"]
    assert [sample.key for sample in contributions.sample_data] == ["synthetic", "real"]


@pytest.mark.parametrize("name", ["structures.json", "0001.nii.gz"])
def test_damaged_structures_do_not_keep_the_patient_shut(patient, name):
    first = open_files(patient.ct)
    mask = patient.arrays["tumour"] > 0
    save_structures(first.case, [Structure("GTV", "#ff0000", mask)])
    first.case.close()
    (first.case.folder / "structures" / name).write_bytes(b"damaged")
    again = open_files(patient.ct)
    assert again.structures == ()
    assert "Opened without its structures." in again.notice
    assert name in again.notice
    again.case.close()


def test_a_case_that_cannot_be_shown_is_let_go_of(patient, monkeypatch):
    first = open_files(patient.ct)
    folder = first.case.folder
    first.case.close()

    def full(_case):
        raise OSError("no memory")

    monkeypatch.setattr("cmfnet_napari.gui.patient.opened.load_structures", full)
    with pytest.raises(OSError, match="no memory"):
        open_files(patient.ct)
    assert not (folder / "in-use.json").exists()


def test_an_empty_window_says_what_to_do(dock, patient, qtbot):
    overlays = dock.session.viewer.canvas.overlays

    def welcome():
        (text,) = (overlays[key] for key in overlays if key.endswith("welcome"))
        return text.text if text.visible else ""

    assert dock.open_panel.dicom_button.text() in welcome()  # the button that the words name
    with qtbot.waitSignal(dock.session.opened, timeout=20000):
        dock.session.open(partial(open_files, patient.ct))
    assert welcome() == ""
    dock.session.viewer.layers.clear()
    assert welcome()


def test_a_ct_without_offset_is_said_and_the_offset_is_subtracted(dock, patient, tmp_path, qtbot):
    stored = np.clip(patient.arrays["ct"].astype(int) + 1024, 0, 4095).astype(np.uint16)
    sitk.WriteImage(image_of(stored), str(tmp_path / "stored.nii.gz"))
    notification_manager.records.clear()
    with qtbot.waitSignal(dock.session.opened, timeout=20000):
        dock.session.open(partial(open_files, tmp_path / "stored.nii.gz", patient.mr))
    assert any("no Hounsfield units" in r.message for r in notification_manager.records)
    assert dock.open_panel.subtract_button.isVisibleTo(dock.open_panel)
    session = dock.session
    first = session.case.folder
    session.set_classes(classes_up_to(session.case.classes, 4))
    session.set_classes(change_class(session.case.classes, 4, name="Rectum"))
    session.remove_class(3)  # codes move
    session.scribbles.data[5, 8, 8:11] = 1, 2, 3
    session.record()
    session.corrections.write(np.array([7, 9]), np.array([0, 2]))
    with qtbot.waitSignal(dock.session.opened, timeout=20000):
        dock.open_panel.subtract_button.click()
    assert [entry.name for entry in session.case.classes][2:] == ["Rectum"]
    assert session.scribbles.data[5, 8, 8:11].tolist() == [1, 2, 3]
    assert session.corrections.codes.reshape(-1)[[7, 8, 9]].tolist() == [1, 0, 3]
    np.testing.assert_array_equal(dock.session.case.study.first.array, stored.astype(int) - 1024)
    assert not dock.open_panel.subtract_button.isVisibleTo(dock.open_panel)
    assert dock.session.case.folder != first


def test_two_mr_are_called_what_they_are_and_may_be_called_otherwise(
    dock, patient, qtbot, tmp_path, monkeypatch
):
    """Files do not say what they are; the window does, and its user has the last word."""
    other = tmp_path / "other.nii.gz"
    sitk.WriteImage(image_of(350 - patient.arrays["mr"]), str(other))
    session, panel, view = dock.session, dock.open_panel, dock.view_panel
    panel.first.path, panel.second.path = str(patient.mr), str(other)
    with qtbot.waitSignal(session.opened, timeout=20000):
        panel.open_button.click()
    assert [layer.name for layer in session.viewer.layers] == ["MR 1", "MR 2", "Scribbles"]
    low, high = session.viewer.layers[0].contrast_limits
    assert 0 < low < high < 500  # percentiles, no window of HU
    assert [widget.text()[:4] for widget in view.windows.buttons] == ["MR 1", "MR 2"]
    assert [label.text() for label in view.fusion.ends] == ["MR 1", "MR 2"]
    actions = view.windows.buttons[0].menu().actions()
    assert [action.text() for action in actions] == ["Automatic"]
    assert view.layouts.findText("MR 1 | MR 2") >= 0
    assert panel.registration.title() == "MR 2 on the MR 1"
    assert "MR 2: has data" in panel.info.text()
    reshaping = dock.workbench.reshaping
    assert "Body (from the MR 1)" in reshaping.sources
    assert "Hounsfield" in reshaping.missing

    first, second = panel.kinds.boxes
    second.setCurrentIndex(second.findData("PT"))
    with qtbot.waitSignal(session.opened, timeout=20000):
        second.activated.emit(second.currentIndex())
    assert session.image_names == ("MR", "PT")
    assert first.currentData() == "MR"
    with qtbot.waitSignal(session.opened, timeout=20000):  # kept with the case, whatever is guessed
        panel.open_button.click()
    assert session.image_names == ("MR", "PT")
    monkeypatch.setattr(session, "_refused", lambda: True)  # as while a training goes on
    second.setCurrentIndex(second.findData("CT"))
    second.activated.emit(second.currentIndex())
    assert second.currentData() == "PT"  # what is in force
