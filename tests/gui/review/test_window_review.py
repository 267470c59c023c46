"""The review: places to look at, decisions, slices looked at, comparison. A worker in doubt."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from napari.utils.notifications import notification_manager

from cmfnet_napari.core.fit.events import Finished, encode
from cmfnet_napari.core.fit.runs import EVENTS_FILE
from cmfnet_napari.core.images.volume import write_image
from cmfnet_napari.core.review.record import REVIEW_FILE
from cmfnet_napari.gui.patient.opened import open_files
from cmfnet_napari.gui.review.seen_slices import LOOK_MS
from tests.gui.conftest import SHAPE, image_of

INSIDE, OUTSIDE = np.s_[4:7, 8:13, 6:10], np.s_[8:11, 2:6, 11:15]  # fake_worker.DOUBTFUL
FILES = "labels", "probabilities", "disagreement"


@pytest.fixture
def doubtful(opened, qtbot):
    """The dock on step Review, with a run that left two places to look at."""
    session = opened.session
    grid, run = session.case.study.grid, session.case.new_run("quick")
    labels, percent = np.zeros((2, *SHAPE), np.uint8)
    labels[4:8, 8:14, 6:11] = labels[1:3, 1:4, 1:4] = 1
    probability = 0.8 * labels.astype(np.float32)
    for box, apart in ((INSIDE, 80), (OUTSIDE, 60)):
        probability[box], percent[box] = 0.5, apart
    names = {}
    for name, array in zip(FILES, (labels, probability, percent), strict=True):
        write_image(grid.to_image(array), run / f"{name}.nrrd")
        names[name] = f"runs/{run.name}/{name}.nrrd"
    event = Finished(model="", volumes_ml={}, **names)
    (run / EVENTS_FILE).write_text(encode(event) + "\n")
    opened.workbench.result.read(event)
    qtbot.waitUntil(lambda: len(opened.workbench.review.places) == 2, timeout=10000)
    opened.tabs.setCurrentIndex(3)
    return opened


@pytest.fixture
def followed(opened, fake, scribble, qtbot):
    """The same from a worker that goes on listening for strokes."""
    fake("doubts")
    scribble()
    with qtbot.waitSignal(opened.workbench.training.finished, timeout=30000):
        opened.training_panel.train_button.click()
    qtbot.waitUntil(lambda: len(opened.workbench.review.places) == 2, timeout=10000)
    assert opened.tabs.currentIndex() == 3
    return opened


def rows(dock):
    widget = dock.review_panel.places.list
    return [widget.item(row).text() for row in range(widget.count())]


def holds(box, voxel):
    return all(s.start <= v < s.stop for v, s in zip(voxel, box, strict=True))


def look(dock, plane, voxel, qtbot):
    """Stay on a slice until it counts."""
    timer = dock.workbench.review.seen_slices._timer
    assert timer.interval() == LOOK_MS
    dock.workbench.planes.show(plane)
    dock.session.viewer.dims.current_step = voxel
    qtbot.waitUntil(lambda: not timer.isActive())
    qtbot.wait(20)


def test_places_by_key_by_clicks_and_decided(doubtful, hand, qtbot):
    n_goes_from_place_to_place_and_decisions_are_kept(doubtful, hand)
    clicks_on_the_curve_and_in_the_list_go_there(doubtful, hand, qtbot)


def n_goes_from_place_to_place_and_decisions_are_kept(doubtful, hand):
    session, panel = doubtful.session, doubtful.review_panel.places
    review = doubtful.workbench.review
    assert [one.where for one in review.places] == ["border", "outside"]
    assert all(row.startswith("○ ") and "CT and MR" in row for row in rows(doubtful))
    assert panel.summary.text().startswith("2 of 2 places are open")
    hand.press("N")
    assert holds(INSIDE, session.viewer.dims.current_step)
    middle = hand.canvas.size() / 2
    at = hand.pixel(review.places[0].voxel)
    assert abs(at.x() - middle.width()) <= 1
    assert abs(at.y() - middle.height()) <= 1
    assert panel.list.currentRow() == 0
    panel.accept_button.click()
    assert rows(doubtful)[0].startswith("✓ ")
    hand.press("N")
    assert holds(OUTSIDE, session.viewer.dims.current_step)
    panel.dismiss_button.click()
    assert panel.summary.text().startswith("0 of 2 places are open")
    hand.press("N")  # nothing is left: it stays
    assert holds(OUTSIDE, session.viewer.dims.current_step)
    panel.dismiss_button.click()  # the same again takes it back
    assert review.state(review.places[1]) == "open"
    review.keep()
    kept = json.loads((session.case.folder / REVIEW_FILE).read_text())
    assert [one["state"] for one in kept["decisions"]] == ["accepted"]
    assert kept["run"] == "runs/0001-quick"


def clicks_on_the_curve_and_in_the_list_go_there(doubtful, hand, qtbot):
    from qtpy.QtCore import QPointF, Qt

    session, panel = doubtful.session, doubtful.review_panel.slices
    doubtful.workbench.planes.show("axial")
    qtbot.waitUntil(lambda: panel.plot.area.yData is not None, timeout=5000)
    areas = np.zeros(12)
    areas[1:3], areas[4:8] = 9 * 0.99 / 100, 30 * 0.99 / 100  # pixels of 0.9×1.1 mm
    np.testing.assert_allclose(panel.plot.area.yData, areas, atol=1e-4)
    box = panel.plot.plot.getPlotItem().vb
    where = panel.plot.plot.mapFromScene(box.mapViewToScene(QPointF(7.0, 0.1)))
    doubtful.tabs.currentWidget().ensureWidgetVisible(panel.plot)
    qtbot.mouseClick(panel.plot.plot.viewport(), Qt.MouseButton.LeftButton, pos=where)
    qtbot.waitUntil(lambda: session.viewer.dims.current_step[0] == 7, timeout=3000)
    assert panel.plot.here.value() == 7
    doubtful.workbench.planes.show("sagittal")
    widget = doubtful.review_panel.places.list
    at = widget.visualItemRect(widget.item(1)).center()
    qtbot.mouseClick(widget.viewport(), Qt.MouseButton.LeftButton, pos=at)
    voxel = doubtful.workbench.review.places[1].voxel
    assert tuple(session.viewer.dims.current_step) == voxel
    assert abs(hand.pixel(voxel).x() - hand.canvas.width() / 2) <= 1


def test_slices_a_second_observer_and_layers(doubtful, tmp_path, qtbot):
    slices_count_once_they_stay_on_the_screen(doubtful, qtbot)
    doubtful.workbench.planes.show("axial")
    a_second_observer_in_curve_layer_and_table(doubtful, tmp_path, qtbot)
    layers_are_shown_deleted_and_renamed(doubtful, qtbot)


def slices_count_once_they_stay_on_the_screen(doubtful, qtbot):
    bar = doubtful.review_panel.slices.bar
    look(doubtful, "axial", (4, 10, 8), qtbot)
    before = set(doubtful.workbench.review.unseen("axial"))
    assert 4 not in before
    review, viewer = doubtful.workbench.review, doubtful.session.viewer
    timer = review.seen_slices._timer
    timer.setInterval(3_600_000)  # however slow this machine is, a user's scrolling is quicker
    for z in (5, 6, 7):  # scrolling through
        viewer.dims.current_step = (z, 10, 8)
        qtbot.wait(20)
        assert timer.isActive()
    timer.setInterval(LOOK_MS)
    look(doubtful, "axial", (11, 10, 8), qtbot)  # no contour there
    assert set(review.unseen("axial")) == before
    doubtful.workbench.result.prediction.visible = False
    look(doubtful, "axial", (6, 10, 8), qtbot)
    assert set(review.unseen("axial")) == before
    doubtful.workbench.result.prediction.visible = True
    look(doubtful, "axial", (5, 10, 8), qtbot)
    look(doubtful, "axial", (6, 10, 8), qtbot)
    seen, all_ = review.coverage("axial")
    assert all_ == 6  # 1, 2 of the small box; 4 to 7
    assert seen == all_ - len(before - {5, 6})
    assert bar.format() == f"{seen} of 6 axial slices with contour looked at"
    assert (bar.value(), bar.maximum()) == (seen, 6)
    look(doubtful, "coronal", (5, 9, 8), qtbot)
    assert doubtful.workbench.review.coverage("coronal")[0] == 1
    assert "coronal" in bar.format()


def a_second_observer_in_curve_layer_and_table(doubtful, tmp_path, qtbot):
    session, panel = doubtful.session, doubtful.review_panel.slices
    other = np.zeros(SHAPE, np.uint8)
    other[4:8, 8:14, 6:9] = 1
    path = tmp_path / "other.nii.gz"
    sitk.WriteImage(image_of(other), str(path))
    doubtful.workbench.comparison.use_file(str(path))
    qtbot.waitUntil(lambda: panel.table.isVisibleTo(panel), timeout=10000)
    assert panel.choice.currentText().startswith("A contour from a file")
    qtbot.waitUntil(lambda: panel.plot.change.yData is not None, timeout=5000)
    change = np.zeros(12)
    change[1:3], change[4:8] = 9 * 0.99 / 100, 12 * 0.99 / 100
    np.testing.assert_allclose(panel.plot.change.yData, change, atol=1e-4)
    ours, shared, theirs = 4 * 30 + 18, 4 * 18, 4 * 18
    assert panel.table.item(0, 0).text() == f"{2 * shared / (ours + theirs):.3f}"
    layer = next(one for one in session.viewer.layers if one.name == "Compared with")
    layer.name = "mine"  # users rename layers
    panel.choice.setCurrentIndex(0)
    panel.choice.activated.emit(0)
    assert layer not in session.viewer.layers
    assert not panel.table.isVisibleTo(panel)
    assert panel.choice.findData("sample") == -1  # none came with this patient
    notification_manager.records.clear()
    index = panel.choice.findData("previous")
    panel.choice.setCurrentIndex(index)
    panel.choice.activated.emit(index)
    assert "no earlier training" in notification_manager.records[-1].message
    assert panel.choice.currentText() == "Nothing"


def layers_are_shown_deleted_and_renamed(doubtful, qtbot):
    session, result = doubtful.session, doubtful.workbench.result
    assert result.disagreement.name == "Disagreement of CT and MR"
    assert not result.disagreement.visible
    assert result.disagreement.data.max() == pytest.approx(0.8)
    assert result.disagreement.data[5, 10, 8] == pytest.approx(0.8)
    doubtful.result_panel.disagreement.click()
    assert result.disagreement.visible
    session.viewer.layers.remove(doubtful.workbench.result.disagreement)
    doubtful.workbench.result.prediction.name = "mine"
    doubtful.workbench.review.next_place()
    doubtful.result_panel.marked_only.click()
    qtbot.waitUntil(lambda: doubtful.workbench.result.prediction.data[1, 1, 1] == 0, timeout=5000)
    session.viewer.layers.remove(doubtful.workbench.result.prediction)
    doubtful.workbench.comparison.use_nothing()
    look(doubtful, "axial", (5, 10, 8), qtbot)
    assert doubtful.workbench.result.exists  # it comes back: every figure speaks of it
    assert doubtful.workbench.result.prediction in session.viewer.layers


def test_correct_leads_to_strokes_and_a_changed_contour_is_open_again(followed, qtbot):
    session, review = followed.session, followed.workbench.review
    qtbot.waitUntil(lambda: review.coverage("axial") == (0, 6), timeout=5000)
    for z in (4, 5):
        look(followed, "axial", (z, 10, 8), qtbot)
    review.next_place()
    followed.review_panel.places.correct_button.click()
    followed.workbench.planes.show("sagittal")  # no axial slice is on the screen
    assert followed.tabs.currentIndex() == 1
    assert session.viewer.layers.selection.active == session.scribbles
    assert session.scribbles.mode == "paint"
    place = review.places[0]
    assert review.state(place) == "open"  # not before there is a stroke
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[5, 9, 7:9] = 1
    session.recorder.add(strokes, "hand")
    assert review.state(place) == "corrected"
    qtbot.waitUntil(lambda: 5 in review.unseen("axial"), timeout=15000)
    assert followed.workbench.result.prediction.data[5, 9, 7] == 0
    assert 4 not in review.unseen("axial")  # its contour is what it was
    qtbot.waitUntil(lambda: not followed.workbench.result.updating, timeout=15000)
    qtbot.waitUntil(lambda: review.state(review.places[0]) == "open", timeout=10000)
    assert [one.state for one in review.record.decisions] == ["corrected"]


def strokes_in(box, code=1):
    out = np.zeros(SHAPE, np.uint8)
    out[box] = code
    return out


def test_it_survives_a_restart_of_the_window_but_not_damage(doubtful, patient, qtbot):
    session = doubtful.session
    look(doubtful, "axial", (5, 10, 8), qtbot)
    doubtful.workbench.review.next_place()
    doubtful.workbench.review.decide("accepted")
    with qtbot.waitSignal(session.opened, timeout=20000):
        session.open(lambda: open_files(patient.ct, patient.mr))
    assert doubtful.workbench.review.places == []
    qtbot.waitUntil(lambda: len(doubtful.workbench.review.places) == 2, timeout=10000)
    assert doubtful.workbench.review.state(doubtful.workbench.review.places[0]) == "accepted"
    assert 5 not in doubtful.workbench.review.unseen("axial")
    doubtful.workbench.review.close()
    (session.case.folder / REVIEW_FILE).write_text('{"format": 1, "decisions": 7}')
    with qtbot.waitSignal(session.opened, timeout=20000):
        session.open(lambda: open_files(patient.ct, patient.mr))
    assert doubtful.workbench.review.record.decisions == ()  # a damaged record starts anew


def test_two_readers_sign_off_by_its_buttons(doubtful, qtbot):
    """What is refused is said; the sentence follows the contour; the log can be saved."""
    panel, review = doubtful.review_panel.sign_off, doubtful.workbench.review
    assert panel.message.text() == "Draft: nobody has signed it off."
    assert not panel.draft.isEnabled()
    assert not panel.compare.isEnabled()
    panel.reader.setText("Anna <b>Vogel</b>")
    panel.reviewed.click()
    qtbot.waitUntil(lambda: panel.message.text().startswith("Reviewed by Anna <b>Vogel</b> "))
    panel.peer.click()
    assert "a second reader is somebody else" in notification_manager.records[-1].message
    panel.reader.setText("Bert")
    panel.reader.editingFinished.emit()
    before = review.contour
    layer = doubtful.workbench.result.prediction
    layer.data_setitem(np.nonzero(np.pad(np.ones((1, 2, 2), bool), ((5, 6), (9, 9), (7, 7)))), 0)
    doubtful.session.record()
    qtbot.waitUntil(lambda: review.contour != before)
    assert panel.message.text().startswith("Draft again: the contour has changed since it was ")
    panel.peer.click()
    qtbot.waitUntil(lambda: panel.message.text().startswith("Peer-reviewed by Bert "))
    assert "The second reader changed 1 axial slice: Tumour: Dice " in panel.message.text()
    panel.compare.click()
    qtbot.waitUntil(lambda: doubtful.workbench.comparison.kind == "reading")
    assert doubtful.review_panel.slices.choice.currentText() == "What a reader signed off"
    out = doubtful.session.case.folder / "log.pdf"
    with qtbot.waitSignal(doubtful.workbench.result.saved):
        doubtful.workbench.log_export.save(str(out))
    assert out.read_bytes().startswith(b"%PDF")
    panel.draft.click()
    assert panel.message.text().startswith("Draft: Bert ")
