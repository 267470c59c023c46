"""The whole way on a real patient, with mouse and keyboard: from a DICOM folder to the clinic.

CMFNET_PICTURES names a folder that takes a picture of the screen at every step.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QFileDialog

from cmfnet_napari.core.geometry.boxes import box_around
from tests.gui.conftest import Hand, real_command

LEFT = Qt.MouseButton.LeftButton
STEPS, SPACING, WIDTH = 12, 4.0, 4  # of a training that only has to run


class Camera:
    """Pictures of the screen, one a step, where the variable asks for them."""

    def __init__(self, qtbot: object) -> None:
        self._qtbot = qtbot
        self._folder = os.environ.get("CMFNET_PICTURES")
        self.taken = 0

    def take(self, name: str) -> None:
        if self._folder:
            self._qtbot.wait(1500)  # all is drawn
            self.taken += 1
            picture = QApplication.primaryScreen().grabWindow(0).copy(0, 0, 1280, 800)
            assert picture.save(f"{self._folder}/{self.taken:02d}-{name}.png")


def click(widget: object) -> None:
    assert widget.isEnabled()
    QTest.mouseClick(widget, LEFT)


def line(mask: np.ndarray, axis: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Ends of a stroke through the middle half of a mask (z, y, x), across one axis of it."""
    at = int(mask.sum(axis=tuple(k for k in range(3) if k != axis)).argmax())
    points = np.argwhere(np.take(mask, at, axis))
    column = 1  # of the slice: what the stroke runs along
    row = int(np.median(points[:, 0]))
    ends = np.percentile(points[points[:, 0] == row, column], (25, 75)).round().astype(int)
    return tuple(tuple(int(v) for v in np.insert((row, end), axis, at)) for end in ends)


@pytest.mark.slow
@pytest.mark.canvas
def test_from_a_dicom_folder_to_the_clinic(dock, test_data, qtbot, monkeypatch, tmp_path):
    camera, session = Camera(qtbot), dock.session
    dock.window().move(0, 0)
    dock.workbench.training.command = real_command

    # Open: the folder of an export, CT and MR and the contour that came with them
    folder = test_data / "sts" / "dicom_STS_025"
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    click(dock.open_panel.dicom_button)
    qtbot.waitUntil(lambda: dock.open_panel.chooser is not None, timeout=60000)
    dialog = dock.open_panel.chooser
    camera.take("chooser")
    with qtbot.waitSignal(session.opened, timeout=60000):
        click(dialog.buttons.button(QDialogButtonBox.StandardButton.Open))
    qtbot.wait(200)
    study, hand = session.case.study, Hand(dock, qtbot)
    truth = gtv_of(test_data, study)
    camera.take("open")

    # Window and level with the right button; the CT's own
    ct = next(layer for layer in session.viewer.layers if layer.name == "CT")
    before = ct.contrast_limits
    middle = hand.canvas.rect().center()
    hand.drag_pixels(middle, middle + type(middle)(-60, 40), button="right")
    assert ct.contrast_limits != before

    # Scribble: in three planes, inside and around
    dock.tabs.setCurrentIndex(1)
    for plane, axis in (("axial", 0), ("sagittal", 2), ("coronal", 1)):
        start, end = line(truth, axis)
        hand.look_at(plane, start)
        hand.press("W")
        hand.drag(start, end)
        hand.press("Q")
        for stroke in around(truth, axis, start[axis]):
            hand.drag(*stroke)
    drawn = session.case.scribbles()
    assert (drawn == 2).any()
    assert (drawn == 1).any()
    assert not truth[drawn == 1].any()

    # A provisional contour, before anything is trained
    qtbot.waitUntil(lambda: dock.workbench.provisional.layer is not None, timeout=20000)
    hand.look_at("axial", line(truth, 0)[0])
    hand.press("G")  # CT beside MR
    camera.take("provisional")
    hand.press("G")  # three planes and 3D
    qtbot.wait(200)
    camera.take("views")
    hand.press("G")
    hand.press("G")
    assert dock.workbench.layouts.name == "one"

    # Train, and draw meanwhile
    dock.tabs.setCurrentIndex(2)
    begin = dock.training_panel.begin
    begin.base.setCurrentIndex(0)
    begin.settings.fields["steps"].native.setValue(STEPS)
    begin.settings.fields["spacing"].native.setValue(SPACING)
    begin.settings.fields["width"].native.setValue(WIDTH)
    training, workers, done = dock.workbench.training, [], []
    training.stepped.connect(lambda _: workers.append(training.process_id))
    training.finished.connect(done.append)  # where others are busy, between two of the mouse
    with qtbot.waitSignal(training.stepped, timeout=120000):
        click(dock.training_panel.train_button)
    strokes = session.case.journal.last_id()
    hand.press("W")
    z, y, x = line(truth, 0)[0]
    hand.drag((z, y, x), (z, y + 2, x))
    camera.take("training")
    qtbot.waitUntil(lambda: bool(done), timeout=240000)
    assert session.case.journal.last_id() > strokes
    qtbot.waitUntil(lambda: dock.workbench.result.exists, timeout=20000)
    qtbot.waitUntil(lambda: bool(dock.workbench.review.places), timeout=20000)
    camera.take("trained")
    found = dock.workbench.result.labels > 0
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.6

    # Review: accept one place, correct another; the contour follows
    assert dock.tabs.currentIndex() == 3
    places = dock.review_panel.places
    hand.press("N")
    first = dock.workbench.review.current
    camera.take("review")
    click(places.accept_button)
    assert dock.workbench.review.state(first) == "accepted"
    hand.press("N")
    second = dock.workbench.review.current
    assert second != first
    click(places.correct_button)
    assert dock.tabs.currentIndex() == 1
    inside = truth[second.voxel]
    hand.press("W" if inside else "Q")
    z, y, x = second.voxel
    with qtbot.waitSignal(dock.workbench.refinement.finished, timeout=120000):
        hand.drag((z, y, x), (z, y, x + 2))
    assert dock.workbench.refinement.process_id == workers[0]  # no restart
    assert session.case.scribbles()[second.voxel] == (2 if inside else 1)
    qtbot.waitUntil(
        lambda: (dock.workbench.result.labels[second.voxel] > 0) == inside, timeout=20000
    )
    camera.take("corrected")

    # Export: contour, report, structure set with its receipt
    dock.tabs.setCurrentIndex(4)
    panel = dock.export_panel
    for button, name in (
        (panel.save_button, "contour.nii.gz"),
        (panel.report_button, "report.pdf"),
        (panel.dicom.export_button, "gtv.dcm"),
    ):
        target = str(tmp_path / name)
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, t=target: (t, ""))
        click(button)
        qtbot.waitUntil(lambda path=Path(target): path.exists(), timeout=60000)
    qtbot.waitUntil(panel.dicom.receipt.isVisible, timeout=60000)
    assert panel.dicom.receipt.item(0, 0).text() == "OK"
    camera.take("export")
    written = pydicom.dcmread(tmp_path / "gtv.dcm")
    assert written.Modality == "RTSTRUCT"
    assert written.ApprovalStatus == "UNAPPROVED"
    saved = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "contour.nii.gz")))
    assert (saved > 0).sum() == (dock.workbench.result.shown() > 0).sum()
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def gtv_of(test_data: Path, study: object) -> np.ndarray:
    """The published contour on the study's grid, bool (z, y, x)."""
    image = sitk.ReadImage(str(test_data / "sts" / "cases" / "STS_025" / "gtv.nii.gz"))
    like = study.grid.to_image(np.zeros(study.grid.shape, np.uint8))
    return (
        sitk.GetArrayFromImage(
            sitk.Resample(image, like, sitk.Transform(), sitk.sitkNearestNeighbor)
        )
        > 0
    )


def around(mask: np.ndarray, axis: int, at: int) -> list[tuple[tuple[int, int, int], ...]]:
    """Two background strokes beside a mask on a slice, about a centimetre from it."""
    _, rows, columns = box_around(np.take(mask, at, axis)[None])
    gap = 8 if axis == 0 else 3
    strokes = []
    for column in (columns.start - 10, columns.stop + 10):
        ends = (rows.start, column), (rows.stop + gap, column)
        strokes.append(tuple(tuple(int(v) for v in np.insert(end, axis, at)) for end in ends))
    return strokes
