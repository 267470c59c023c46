"""Export to the clinic: structures chosen, receipt shown, sent to a real PACS."""

from __future__ import annotations

from dataclasses import replace
from threading import Event

import numpy as np
import pydicom
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from cmfnet_napari.core.dicom.export import formats
from cmfnet_napari.core.dicom.export.provenance import Maker
from cmfnet_napari.core.dicom.export.roi import make_rois
from cmfnet_napari.core.dicom.export.rtstruct import write_structure_set
from cmfnet_napari.core.dicom.pacs.nodes import find_node
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.study import open_study
from cmfnet_napari.core.strokes.scribbles import DEFAULT_CLASSES, ScribbleClass
from cmfnet_napari.gui.export import dicom_export
from cmfnet_napari.gui.export.dicom_export import Choice, Contour, DicomExport
from cmfnet_napari.gui.export.dicom_export_panel import DicomExportPanel, file_name
from cmfnet_napari.gui.export.pacs_send_dialog import PacsSendDialog
from tests.dicom.conftest import (  # noqa: F401  fixtures
    orthanc,
    passwords,
    running_orthanc,
    web,
    write_ct,
)
from tests.dicom.orthanc import free_port

CLASSES = (*DEFAULT_CLASSES, ScribbleClass(3, "Knochen", "#009e73"))


@pytest.fixture
def contour(tmp_path):
    """On a study read from the DICOM series; its axes are not the series'."""
    study = open_study(write_ct(tmp_path / "window-ct"))
    labels = np.zeros(study.grid.shape, np.uint8)
    labels[tuple(slice(3, n - 3) for n in labels.shape)] = 1
    labels[1, 2, 3] = 2
    return Contour(labels, study, CLASSES, Maker("leg"))


@pytest.fixture
def panel(contour, qtbot, tmp_path):
    dicom_export = DicomExport(lambda: contour)
    widget = DicomExportPanel(dicom_export)
    qtbot.addWidget(widget)
    widget.show()
    widget.folder.setText(str(tmp_path / "window-ct"))
    return widget


@pytest.fixture
def press_export(panel, qtbot, monkeypatch):
    """Press Export and answer the file dialog; wait until it has said how it went."""

    def press(path):
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *words: (str(path), ""))
        qtbot.mouseClick(panel.export_button, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(panel.export_button.isEnabled, timeout=20000)

    return press


def cells(table):
    return [
        [table.item(r, c).text() for c in range(table.columnCount())]
        for r in range(table.rowCount())
    ]


def test_structures_of_the_classes_are_exported_with_a_receipt(panel, press_export, tmp_path):
    panel.structures.item(0, 0).setText("GTV links")
    panel.structures.cellWidget(1, 1).setCurrentText("ORGAN")
    press_export(tmp_path / "out")  # the ending is added
    assert [panel.receipt.horizontalHeaderItem(c).text() for c in (0, 1)] == [
        "GTV links",
        "Knochen",
    ]
    assert cells(panel.receipt)[:2] == [["OK", "OK"], ["1.000", "1.000"]]
    assert panel.receipt.isVisible()
    assert "Written as" in panel.said.text()
    made = pydicom.dcmread(tmp_path / "out.dcm")
    assert [r.ROIName for r in made.StructureSetROISequence] == ["GTV links", "Knochen"]
    kinds = [o.RTROIInterpretedType for o in made.RTROIObservationsSequence]
    assert kinds == ["GTV", "ORGAN"]
    assert made.ManufacturerModelName == "leg"
    assert made.ROIContourSequence[1].ROIDisplayColor == [0, 158, 115]


def test_one_structure_as_seg_and_one_added_to_a_set(panel, press_export, tmp_path):
    panel.structures.item(0, 0).setCheckState(Qt.CheckState.Unchecked)
    press_export(tmp_path / "bone.dcm")
    panel.structures.item(0, 0).setCheckState(Qt.CheckState.Checked)
    panel.structures.item(1, 0).setCheckState(Qt.CheckState.Unchecked)
    panel.add_to.setText(str(tmp_path / "bone.dcm"))
    press_export(tmp_path / "both.dcm")
    both = pydicom.dcmread(tmp_path / "both.dcm")
    assert [r.ROIName for r in both.StructureSetROISequence] == ["Knochen", "Tumour"]
    panel.kind.setCurrentIndex(1)
    assert not panel.add_to_row.isEnabled()
    press_export(tmp_path / "seg.dcm")
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (seg.Modality, [s.SegmentLabel for s in seg.SegmentSequence]) == ("SEG", ["Tumour"])


def test_a_bad_receipt_is_said_and_nothing_is_there(panel, press_export, tmp_path, monkeypatch):
    def forget(structure_set, path):
        structure_set.ROIContourSequence[0].ContourSequence.pop()
        write_structure_set(structure_set, path)

    monkeypatch.setattr(formats, "write_structure_set", forget)
    press_export(tmp_path / "out.dcm")
    assert "out.dcm was not written, because" in panel.said.text()
    assert not panel.receipt.isVisible()
    assert not (tmp_path / "out.dcm").exists()
    assert not panel.pacs_button.isEnabled()


def test_a_missing_folder_is_asked_for(panel, press_export, tmp_path):
    from napari.utils.notifications import notification_manager

    panel.folder.clear()
    press_export(tmp_path / "out.dcm")
    assert "Choose the folder with the DICOM series" in notification_manager.records[-1].message


def test_another_contour_keeps_what_was_chosen(panel, press_export, tmp_path):
    panel.structures.item(0, 0).setText("GTV")
    press_export(tmp_path / "out.dcm")
    panel.refresh()
    assert panel.rois[0].name == "GTV"
    assert not panel.receipt.isVisible()
    assert not panel.pacs_button.isEnabled()


@pytest.mark.parametrize("what", ["name", "type", "tick", "format", "set", "folder"])
def test_a_file_that_is_not_what_is_chosen_now_is_not_sent(panel, press_export, tmp_path, what):
    press_export(tmp_path / "out.dcm")
    assert panel.pacs_button.isEnabled()
    if what == "name":
        panel.structures.item(0, 0).setText("CTV_High")
    elif what == "type":
        panel.structures.cellWidget(0, 1).setCurrentText("CTV")
    elif what == "tick":
        panel.structures.item(0, 0).setCheckState(Qt.CheckState.Unchecked)
    elif what == "format":
        panel.kind.setCurrentIndex(1)
    else:
        (panel.add_to if what == "set" else panel.folder).setText("elsewhere")
    assert not panel.pacs_button.isEnabled()
    assert not panel._dicom_export.current
    assert not panel.receipt.isVisible()


def test_what_was_exported_is_forgotten_with_its_patient(
    panel, press_export, tmp_path, qtbot, monkeypatch
):
    press_export(tmp_path / "first.dcm")
    assert panel.pacs_button.isEnabled()
    panel.forget()
    assert panel._dicom_export.file == ""
    assert not panel.pacs_button.isEnabled()

    go_on, ended = Event(), Event()

    def slow(*arguments):
        go_on.wait(10)
        receipt = export(*arguments)
        ended.set()
        return receipt

    export = dicom_export._export
    monkeypatch.setattr(dicom_export, "_export", slow)
    panel.folder.setText(str(tmp_path / "window-ct"))
    panel.export(str(tmp_path / "late.dcm"))
    panel.forget()  # another patient is opened while it is written
    go_on.set()
    qtbot.waitUntil(ended.is_set, timeout=20000)
    qtbot.wait(100)
    assert (tmp_path / "late.dcm").exists()
    assert panel._dicom_export.file == ""
    assert panel.export_button.isEnabled()
    assert not panel.pacs_button.isEnabled()
    assert panel.said.text() == ""


def test_a_patient_that_is_left_takes_its_export_along(opened, qtbot):
    dicom = opened.export_panel.dicom
    dicom._dicom_export.file = "earlier.dcm"
    dicom.add_to.setText("earlier-set.dcm")
    opened.workbench.close()
    assert dicom._dicom_export.file == ""
    assert dicom.add_to.text() == ""


def test_without_a_contour_there_is_nothing_to_press(qtbot):
    def nothing():
        raise UserError("There is no prediction yet.")

    widget = DicomExportPanel(DicomExport(nothing))
    qtbot.addWidget(widget)
    assert not widget.isEnabled()


def test_sent_to_a_pacs(panel, press_export, web, orthanc, tmp_path, qtbot):  # noqa: F811
    press_export(tmp_path / "out.dcm")
    dialog = PacsSendDialog(panel._dicom_export, panel)
    dialog.show()
    assert dialog.chooser.name == "web"
    qtbot.mouseClick(dialog.chooser.test_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.said.text() == "web answers.", timeout=10000)
    qtbot.mouseClick(dialog.send_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.said.text() == "web has it.", timeout=10000)
    (series,) = orthanc.rest("/series?expand")
    assert series["MainDicomTags"]["Modality"] == "RTSTRUCT"
    dialog.close()


def test_a_pacs_is_added_by_the_form_and_is_away(panel, press_export, passwords, tmp_path, qtbot):  # noqa: F811
    press_export(tmp_path / "out.dcm")
    dialog = PacsSendDialog(panel._dicom_export, panel)
    dialog.show()
    assert not dialog.send_button.isEnabled()
    qtbot.mouseClick(dialog.chooser.add_button, Qt.MouseButton.LeftButton)
    form = dialog.chooser.form
    form.name.setText("klinik")
    form.host.setText("127.0.0.1")
    form.port.setValue(free_port())
    qtbot.mouseClick(form.add_button, Qt.MouseButton.LeftButton)
    assert "needs a DICOMweb address" in form.said.text()
    form.title.setText("PACS")
    form.our_port.setValue(4242)
    form.ca_file.setText("clinic-ca.pem")
    form.timeout.setValue(5)
    qtbot.mouseClick(form.add_button, Qt.MouseButton.LeftButton)
    node = find_node("klinik")
    assert (node.our_port, node.ca_file, node.timeout_s) == (4242, "clinic-ca.pem", 5.0)
    assert dialog.said.text() == "klinik was added."
    qtbot.mouseClick(dialog.send_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "cannot be reached" in dialog.said.text(), timeout=10000)
    assert dialog.send_button.isEnabled()
    dialog.close()


def test_of_two_series_in_a_folder_that_is_exported_for_that_was_drawn_on(contour, tmp_path):
    folder = tmp_path / "window-ct"
    write_ct(folder / "more", study="2")
    for path in (folder / "more").iterdir():
        path.rename(folder / f"more-{path.name}")
    series = pydicom.dcmread(next(folder.glob("more-*"))).SeriesInstanceUID
    rois = tuple(make_rois([1, 2]))
    choice = Choice(rois, str(folder), "rtstruct", str(tmp_path / "out.dcm"))
    with pytest.raises(UserError, match="2 DICOM image series"):
        dicom_export._export(contour, choice)
    own = replace(contour, series=series, folder=str(folder))
    assert dicom_export._export(own, choice).ok
    assert dicom_export._series(own, replace(choice, folder=str(tmp_path))) == ""


def test_a_files_name_has_no_signs_that_windows_forbids():
    assert file_name('GTV: 50/2 "post" <a|b>?*\\') == "GTV- 50-2 -post- -a-b----.dcm"
