"""What is sent is what was exported, and an answer is about the file that it names."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cmfnet_napari.core.dicom.export.provenance import Maker
from cmfnet_napari.core.dicom.export.receipt import Receipt
from cmfnet_napari.core.dicom.export.roi import make_rois
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.strokes.scribbles import DEFAULT_CLASSES
from cmfnet_napari.gui.export import dicom_export
from cmfnet_napari.gui.export.dicom_export import OUTDATED, Choice, Contour, DicomExport

ARIA = SimpleNamespace(name="ARIA")


class Window:
    """An export of a contour that a test changes; what is sent is read."""

    def __init__(self, folder, monkeypatch, heard):
        self.labels, self.open, self.sent, self.refuses = np.ones((2, 2, 2), np.uint8), True, [], ""
        self.file = folder / "GTV.dcm"
        monkeypatch.setattr(dicom_export, "_export", self.write)
        monkeypatch.setattr(dicom_export.pacs, "send", self.send)
        self.export = DicomExport(self.contour)
        self.heard = heard.listen(self.export, "sent", "not_sent", "late")

    def contour(self):
        if not self.open:
            raise UserError("No patient is open.")
        study = SimpleNamespace(source_grid=1)
        return Contour(self.labels.copy(), study, DEFAULT_CLASSES, Maker())

    def write(self, contour, choice):
        content = "A: " + ", ".join(roi.name for roi in choice.rois)
        Path(choice.out).write_text(content)
        return Receipt((), sha256=sha256(content.encode()).hexdigest())

    def send(self, _node, paths, progress):
        (path,) = paths
        if self.refuses:
            raise UserError(self.refuses)
        self.sent.append((path.name, path.read_text()))
        progress(1, 1)
        return 1

    def write_file(self, *names):
        rois = tuple(make_rois([1], list(names)))
        self.export.export(Choice(rois, "folder", "rtstruct", str(self.file)))


@pytest.fixture
def window(tmp_path, monkeypatch, background, said, heard):
    return Window(tmp_path, monkeypatch, heard)


def test_the_file_is_sent_as_it_was_written_or_not_at_all(window):
    window.write_file("GTV")
    window.export.send(ARIA)
    assert window.sent == [("GTV.dcm", "A: GTV")]
    assert window.heard == [("sent", "ARIA has it.")]
    window.file.write_text("B: another patient's")
    window.export.send(ARIA)
    window.file.unlink()
    window.export.send(ARIA)
    assert len(window.sent) == 1
    (first, changed), (second, gone) = window.heard[1:]
    assert first == second == "not_sent"
    assert "GTV.dcm is not the file that was exported" in changed
    assert "cannot be read any more" in gone


def test_what_is_chosen_anew_outdates_the_file(window, background):
    window.write_file("GTV")
    assert window.export.current
    window.export.outdate()
    assert not window.export.current
    window.export.send(ARIA)
    assert (window.sent, window.heard) == ([], [("not_sent", OUTDATED)])
    background.held = True
    window.write_file("CTV_High")
    window.export.outdate()  # while it is being written
    background.catch_up()
    assert not window.export.current
    window.write_file("PTV")
    background.catch_up()
    assert window.export.current


def test_an_answer_that_comes_after_another_contour_or_patient_names_its_file(window, background):
    window.write_file("GTV")
    background.held = True
    window.export.send(ARIA)
    window.labels[0] = 0  # an update
    background.catch_up()
    late = "GTV (GTV.dcm), exported before the last change"
    assert window.heard == [("late", f"ARIA has {late}.")]
    window.labels[0], window.refuses = 1, "ARIA is away."
    window.export.send(ARIA)
    window.open = False
    window.export.forget()
    background.catch_up()
    assert window.heard[1:] == [("late", f"Sending {late}: ARIA is away.")]
