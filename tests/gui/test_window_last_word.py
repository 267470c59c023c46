"""The hand has the last word, on one way through the window, with mouse and keyboard.

A result is edited with every tool, drawn over, refined, trained anew, gone back in; the window is
killed and opened again; all that is exported and read back is the same contour, to the voxel.
"""

from __future__ import annotations

import csv
import re
import shutil
import zlib
from functools import partial
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog, QLineEdit

from cmfnet_napari.gui.patient.opened import open_files
from tests.dicom.conftest import write_ct
from tests.gui.conftest import SMALL

WINDOW = SMALL

LEFT = Qt.MouseButton.LeftButton
VOXEL_ML = 3.0 * 3.0 * 4.0 / 1000


@pytest.fixture
def patient(tmp_path):
    """A DICOM series, so that a structure set can be written for it."""
    folder = write_ct(tmp_path / "ct", PixelSpacing=[3.0, 4.0])
    return SimpleNamespace(ct=folder, mr=None)


class Ledger:
    """What the hand said of every voxel last, written down here; wherever one looks it stands."""

    def __init__(self, dock, qtbot):
        self.dock, self.qtbot = dock, qtbot
        self.said = np.full(dock.session.case.study.grid.shape, -1)

    def edit(self, act):
        """One edit of the contour: one entry of the journal."""
        result, journal = self.dock.workbench.result, self.dock.session.case.journal
        before, number = result.shown(), journal.last_id()
        act()
        self.qtbot.waitUntil(lambda: journal.last_id() == number + 1)
        after = result.shown()
        changed = after != before
        assert changed.any()
        self.said[changed] = after[changed]
        self.stands()

    def stands(self):
        result = self.dock.workbench.result
        for labels in (result.shown(), np.asarray(result.prediction.data)):
            known = self.said >= 0
            np.testing.assert_array_equal(labels[known], self.said[known])


def test_every_correction_stands_and_every_figure_agrees(
    opened, hand, fake, qtbot, monkeypatch, tmp_path
):
    dock, bench, session = opened, opened.workbench, opened.session
    result, tools = bench.result, opened.scribble_panel.tools
    fake("good")
    dock.tabs.setCurrentIndex(1)

    # A class gets its name while it is made: its letters are no keys of tools
    dock.window().activateWindow()
    qtbot.waitUntil(dock.window().isActiveWindow)
    QTest.mouseClick(dock.scribble_panel.classes.add_button, LEFT)
    qtbot.waitUntil(lambda: isinstance(QApplication.focusWidget(), QLineEdit))
    QTest.keyClicks(QApplication.focusWidget(), "row deq nukjop")
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: session.case.class_names == ["Tumour", "row deq nukjop"])
    assert (tools.tools["free"].isChecked(), session.scribbles.mode) == (True, "paint")
    assert bench.layouts.name == "one"

    # Strokes, and a training
    hand.look_at("axial", (5, 11, 8))
    bench.brush.set_size(4.0)
    hand.press("W")
    hand.drag((5, 11, 7), (5, 11, 9))
    hand.press("Q")
    hand.drag((5, 2, 2), (5, 2, 9))
    train(dock, qtbot)

    # Every tool of the mouse, and an edit of the whole structure
    ledger = Ledger(dock, qtbot)
    hand.press("Y")
    assert tools.on_contour.isChecked()
    hand.press("W")
    for key, way in (
        ("D", ((5, 4, 4), (5, 4, 6), (5, 4, 7))),
        ("S", ((5, 5, 3), (5, 5, 8))),
        ("O", ((6, 3, 3), (6, 6, 3), (6, 6, 7), (6, 3, 7))),
        ("U", ((7, 11, 9), (7, 11, 10), (7, 11, 11))),
        ("J", ((2, 2, 2),)),
    ):
        hand.look_at("axial", way[0])
        hand.press(key)
        ledger.edit(lambda way=way: hand.drag(*way))
    reshape = dock.scribble_panel.reshape
    reshape.choose("grow")
    qtbot.waitUntil(reshape.apply_button.isEnabled)
    ledger.edit(lambda: QTest.mouseClick(reshape.apply_button, LEFT))
    hand.press("D")
    hand.press("E")
    hand.look_at("sagittal", (6, 11, 8))
    ledger.edit(lambda: hand.drag((5, 11, 8), (6, 11, 8), (7, 11, 8)))
    hand.press("P")

    # A stroke over it wins there, and the contour follows
    hand.press("Y")
    hand.look_at("axial", (6, 11, 8))
    hand.press("W")
    with qtbot.waitSignal(bench.refinement.finished):
        hand.drag((6, 11, 7), (6, 11, 9))
    drawn = session.scribbles.data[6] == 2
    assert (ledger.said[6][drawn] == 0).any()
    ledger.said[6][drawn & (ledger.said[6] >= 0)] = 1
    ledger.stands()

    # Another training, and back to an earlier contour of it
    train(dock, qtbot)
    ledger.stands()
    dock.tabs.setCurrentIndex(2)
    choice = dock.training_panel.preview_choice
    choice.slider.setFocus()
    QTest.keyClick(choice.slider, Qt.Key.Key_Left)
    qtbot.waitUntil(choice.keep_button.isEnabled)
    whole = np.count_nonzero(result.model_labels)
    with qtbot.waitSignal(bench.refinement.finished):
        QTest.mouseClick(choice.keep_button, LEFT)
    qtbot.waitUntil(lambda: np.count_nonzero(result.model_labels) < whole)
    ledger.stands()

    # The window is killed: what is on the disk now is all there is
    shown, undoable, run = result.shown(), session.case.journal.undoable, result.run
    shutil.copytree(session.case.folder, tmp_path / "left" / session.case.folder.name)
    monkeypatch.setenv("CMFNET_CASES", str(tmp_path / "left"))
    with qtbot.waitSignal(session.opened):
        session.open(partial(open_files, tmp_path / "ct", None))
    qtbot.waitUntil(lambda: result.exists)
    assert session.case.folder.parent == tmp_path / "left"
    assert session.case.unclean
    assert (session.case.journal.undoable, result.run) == (undoable, run)
    np.testing.assert_array_equal(result.shown(), shown)
    ledger.stands()

    # Exports; the empty class is none of them, and goes with a click
    dock.tabs.setCurrentIndex(4)
    structures = dock.export_panel.dicom.structures
    states = [structures.item(row, 0).checkState() for row in range(structures.rowCount())]
    assert states == [Qt.CheckState.Checked, Qt.CheckState.Unchecked]
    session.select_class(3)
    QTest.mouseClick(dock.scribble_panel.classes.remove_button, LEFT)
    assert session.case.class_names == ["Tumour"]
    assert structures.rowCount() == 1
    ledger.stands()
    written = export(dock, qtbot, monkeypatch, tmp_path)

    # All of them, and the panel, speak of the same contour
    ml = np.count_nonzero(result.shown()) * VOXEL_ML
    assert ml > 3
    assert f"Tumour: <b>{ml:.1f} ml</b>" in dock.result_panel.volumes.text()
    saved = nibabel.load(written["nii.gz"])
    assert np.count_nonzero(saved.dataobj) == np.count_nonzero(result.shown())
    assert abs(np.linalg.det(saved.affine)) / 1000 == pytest.approx(VOXEL_ML, rel=1e-4)
    with open(written["csv"], newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["volume_ml"]) == pytest.approx(ml, rel=1e-3)
    added = np.count_nonzero((result.shown() > 0) & (result.model_labels == 0)) * VOXEL_ML
    removed = np.count_nonzero((result.shown() == 0) & (result.model_labels > 0)) * VOXEL_ML
    assert float(row["added_by_hand_ml"]) == pytest.approx(added, rel=1e-3)
    assert float(row["removed_by_hand_ml"]) == pytest.approx(removed, rel=1e-3)
    words = pdf_words(written["pdf"])
    assert f"Tumour: {ml:.1f} ml" in words
    assert f"Tumour +{added:.2f}" in words
    receipt = dock.export_panel.dicom.receipt
    assert [receipt.item(r, 0).text() for r in range(3)] == ["OK", "1.000", f"{ml:.2f}"]

    # Compared with the structure set that was written
    slices = dock.review_panel.slices
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(written["dcm"]), ""))
    slices.choice.activated.emit(slices.choice.findData("file"))
    qtbot.waitUntil(lambda: bench.comparison.evaluation is not None)
    rows = [slices.table.verticalHeaderItem(r).text() for r in range(slices.table.rowCount())]
    values = [slices.table.item(r, 0).text() for r in range(len(rows))]
    told = dict(zip(rows, values, strict=True))
    assert (told["DSC"], told["Volume, ml"], told["Reference, ml"]) == (
        "1.000",
        f"{ml:.1f}",
        f"{ml:.1f}",
    )


def train(dock, qtbot):
    with qtbot.waitSignal(dock.workbench.training.finished):
        QTest.mouseClick(dock.training_panel.train_button, LEFT)
    qtbot.waitUntil(lambda: dock.workbench.result.exists)
    qtbot.waitUntil(lambda: "ml" in dock.result_panel.volumes.text())


def export(dock, qtbot, monkeypatch, folder):
    """Press every button, answer its dialog, wait for its file."""
    panel = dock.export_panel
    made = {}
    for button, ending in (
        (panel.save_button, "nii.gz"),
        (panel.report_button, "pdf"),
        (panel.table_button, "csv"),
        (panel.dicom.export_button, "dcm"),
    ):
        made[ending] = folder / f"contour.{ending}"
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, t=str(made[ending]): (t, ""))
        QTest.mouseClick(button, LEFT)
        qtbot.waitUntil(made[ending].exists)
    qtbot.waitUntil(panel.dicom.receipt.isVisible)
    return made


def pdf_words(path):
    """The text of a page that matplotlib has written."""
    words = []
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", path.read_bytes(), re.DOTALL):
        try:
            page = zlib.decompress(stream)
        except zlib.error:
            continue
        for line in re.findall(rb"BT(.*?)ET", page, re.DOTALL):
            pieces = re.findall(rb"\(((?:\\.|[^()\\])*)\)", line)
            words.append(b"".join(pieces).decode("cp1252", "replace"))
    return " ".join(words)
