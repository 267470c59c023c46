"""What is written, what is said of it, and the ticks on the steps."""

from __future__ import annotations

import csv

import pytest
from napari.utils.notifications import notification_manager

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.gui.export.export_panel import missing_words


@pytest.fixture
def predicted(predicted):
    predicted.tabs.setCurrentIndex(4)
    return predicted


def saved(dock, qtbot, action):
    with qtbot.waitSignal(dock.workbench.result.saved, timeout=20000) as blocker:
        action()
    return blocker.args[0]


def titles(dock):
    return [dock.tabs.tabText(index) for index in range(dock.tabs.count())]


def answer(monkeypatch, path):
    """What the user answers to the file dialog."""
    dialog = "qtpy.QtWidgets.QFileDialog.getSaveFileName"
    monkeypatch.setattr(dialog, lambda *_args: (str(path), ""))


def test_what_is_written_and_what_is_said_of_it(predicted, patient, tmp_path, qtbot, monkeypatch):
    what_was_not_looked_at_is_said_and_blocks_nothing(predicted, tmp_path, qtbot, monkeypatch)
    report_and_table_are_written_and_named(predicted, patient, tmp_path, qtbot, monkeypatch)
    the_table_is_about_the_contour_with_its_edits_by_hand(predicted, patient, tmp_path, qtbot)


def report_and_table_are_written_and_named(predicted, patient, tmp_path, qtbot, monkeypatch):
    panel = predicted.export_panel
    answer(monkeypatch, tmp_path / "page")  # the ending is added
    saved(predicted, qtbot, panel.report_button.click)
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    assert "Saved: page.pdf" in panel.written.text()
    assert panel.written.isVisible()
    predicted.workbench.comparison.use_file(str(patient.tumour))
    qtbot.waitUntil(lambda: predicted.workbench.comparison.evaluation is not None, timeout=5000)
    answer(monkeypatch, tmp_path / "table.csv")
    saved(predicted, qtbot, panel.table_button.click)
    with open(tmp_path / "table.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["class"] == "Tumour"
    # The tumour, 4·6·5 voxels, and the small box beside it, 2·3·3
    assert float(row["dsc"]) == pytest.approx(2 * 120 / (120 + 138))
    answer(monkeypatch, tmp_path / "contour.nrrd")
    saved(predicted, qtbot, panel.save_button.click)
    assert (tmp_path / "contour.nrrd").exists()
    lines = panel.written.text().splitlines()
    assert [line for line in lines if line.startswith("Saved")] == [
        "Saved: contour.nrrd",
        "Saved: table.csv",
        "Saved: page.pdf",
    ]


def the_table_is_about_the_contour_with_its_edits_by_hand(predicted, patient, tmp_path, qtbot):
    layer = predicted.workbench.result.prediction
    predicted.workbench.comparison.use_file(str(patient.tumour))
    qtbot.waitUntil(lambda: predicted.workbench.comparison.evaluation is not None, timeout=5000)
    layer.data[1:3] = 0  # the small box is erased
    table = str(tmp_path / "table.csv")
    for compared in (True, False):
        if not compared:
            predicted.workbench.comparison.use_nothing()
        saved(predicted, qtbot, lambda: predicted.workbench.report_export.save_table(table))
        with open(table, newline="") as file:
            (row,) = csv.DictReader(file)
        assert float(row["volume_ml"]) == pytest.approx(120 * 3.0 * 0.9 * 1.1 / 1000, rel=1e-3)
        assert not compared or float(row["dsc"]) == 1


def what_was_not_looked_at_is_said_and_blocks_nothing(predicted, tmp_path, qtbot, monkeypatch):
    panel = predicted.export_panel
    qtbot.waitUntil(lambda: "axial slices" in panel.missing.text(), timeout=5000)
    assert "not looked at" in panel.missing.text()
    assert panel.missing.isVisible()
    assert panel.save_button.isEnabled()
    assert missing_words(0, 0) == ""
    assert missing_words(1, 0).startswith("Still open: 1 axial slice of the contour not looked")
    assert "2 places not decided" in missing_words(0, 2)
    answer(monkeypatch, "")
    for button in (panel.report_button, panel.table_button):
        button.click()
    qtbot.wait(200)
    assert panel.written.text() == ""
    notification_manager.records.clear()
    predicted.workbench.report_export.save_report(str(tmp_path / "none" / "r.pdf"))
    qtbot.waitUntil(lambda: bool(notification_manager.records), timeout=10000)
    assert "r.pdf could not be written" in notification_manager.records[-1].message


def test_steps_show_what_is_done(opened, fake, scribble, qtbot, tmp_path):
    assert titles(opened) == ["✓ Open", "2 Scribble", "3 Train", "4 Review", "5 Export"]
    assert "no tumour stroke" in opened.tabs.tabToolTip(1)
    assert not opened.export_panel.save_button.isEnabled()
    assert opened.export_panel.missing.text() == "There is no prediction to save yet."
    with pytest.raises(UserError, match="no prediction"):
        opened.workbench.report_export.save_report("r.pdf")
    fake("good")
    scribble()
    assert titles(opened)[:3] == ["✓ Open", "✓ Scribble", "3 Train"]
    with qtbot.waitSignal(opened.workbench.training.finished, timeout=30000):
        opened.training_panel.train_button.click()
    qtbot.waitUntil(lambda: titles(opened)[2] == "✓ Train", timeout=5000)
    saved(opened, qtbot, lambda: opened.workbench.result.save(str(tmp_path / "c.nrrd")))
    assert titles(opened)[3:] == ["4 Review", "✓ Export"]
    timer = opened.workbench.review.seen_slices._timer
    timer.setInterval(20)  # how long a look takes, review/test_window_review.py tests
    for z in (1, 2, 4, 5, 6, 7):
        opened.session.viewer.dims.current_step = (z, 10, 8)
        qtbot.waitUntil(lambda: not timer.isActive())
    qtbot.waitUntil(lambda: titles(opened)[3] == "✓ Review", timeout=3000)
    opened.session.viewer.layers.remove(opened.session.scribbles)  # the patient is left
    assert titles(opened) == ["1 Open", "2 Scribble", "3 Train", "4 Review", "5 Export"]
