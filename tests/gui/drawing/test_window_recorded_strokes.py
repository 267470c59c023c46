"""Painting with the mouse: what is seen is what the journal holds."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.study import load_labels
from cmfnet_napari.core.strokes.entries import Stroke
from cmfnet_napari.gui.patient.opened import open_files
from tests.gui.conftest import SHAPE, SMALL, as_opened
from tests.gui.event_loop import own_time

WINDOW = SMALL

NAPARI_UNDOES = 100  # strokes


@pytest.fixture
def journal(opened):
    return opened.session.case.journal


def last(journal):
    return list(journal.strokes())[-1][1]


def wait_for(qtbot, journal, number):
    began = own_time("self/task/*")
    qtbot.waitUntil(lambda: journal.last_id() >= number)
    assert own_time("self/task/*") - began < 0.5  # the promise to the user
    assert journal.last_id() == number


def agrees(opened):
    np.testing.assert_array_equal(opened.session.case.scribbles(), opened.session.scribbles.data)


def test_strokes_of_the_mouse_one_after_another(opened, hand, journal, qtbot, patient):
    """On one patient: to open one takes longer than to draw."""
    for part in (
        a_line_in_every_plane,
        overpaint_erase_undo_redo_are_strokes,
        fill_is_a_stroke,
        coverage_is_counted,
        three_dimensional_brush_and_looking_elsewhere,
        keys_choose_classes,
    ):
        part(opened, hand, journal, qtbot)
        as_opened(opened)
    undo_over_planes_and_a_restart(opened, hand, journal, qtbot, patient)


def a_line_in_every_plane(opened, hand, journal, qtbot):
    opened.session.select_class(2)
    opened.session.scribbles.brush_size = 1
    for plane, start, end, painted in (
        ("axial", (5, 8, 6), (5, 8, 10), np.s_[5, 8, 6:11]),
        ("sagittal", (3, 9, 7), (8, 9, 7), np.s_[3:9, 9, 7]),
        ("coronal", (3, 12, 7), (8, 12, 7), np.s_[3:9, 12, 7]),
    ):
        hand.look_at(plane, start)
        before = journal.last_id()
        hand.drag(start, end)
        wait_for(qtbot, journal, before + 1)
        expected = np.zeros(SHAPE, np.uint8)
        expected[painted] = 2
        np.testing.assert_array_equal(opened.session.scribbles.data, expected)
        stroke = last(journal)
        np.testing.assert_array_equal(np.sort(stroke.voxels), np.flatnonzero(expected))
        assert (stroke.source, set(stroke.old), set(stroke.new)) == ("hand", {0}, {2})
        opened.session.undo()
        wait_for(qtbot, journal, before + 2)


def overpaint_erase_undo_redo_are_strokes(opened, hand, journal, qtbot):
    begun = journal.last_id()
    hand.look_at("axial", (5, 8, 6))
    layer = opened.session.scribbles
    layer.brush_size = 1
    opened.session.select_class(2)
    hand.drag((5, 8, 6), (5, 8, 10))
    wait_for(qtbot, journal, begun + 1)
    hand.press("Q")
    hand.drag((5, 8, 9), (5, 8, 12))
    wait_for(qtbot, journal, begun + 2)
    assert (
        sorted(zip(last(journal).old, last(journal).new, strict=True))
        == [(0, 1)] * 2 + [(2, 1)] * 2
    )
    hand.press("E")
    hand.drag((5, 8, 6), (5, 8, 7))
    wait_for(qtbot, journal, begun + 3)
    assert list(last(journal).new) == [0, 0]
    hand.press("Ctrl+Z")
    wait_for(qtbot, journal, begun + 4)
    assert (list(last(journal).old), list(last(journal).new)) == ([0, 0], [2, 2])
    hand.press("Ctrl+Shift+Z")
    wait_for(qtbot, journal, begun + 5)
    agrees(opened)
    np.testing.assert_array_equal(layer.data[5, 8, 5:14], [0, 0, 0, 2, 1, 1, 1, 1, 0])


def fill_is_a_stroke(opened, hand, journal, qtbot):
    begun = journal.last_id()
    hand.look_at("axial", (5, 8, 6))
    opened.session.scribbles.mode = "fill"
    opened.session.scribbles.selected_label = 1
    hand.drag((5, 8, 6))
    wait_for(qtbot, journal, begun + 1)
    assert len(last(journal).voxels) == SHAPE[1] * SHAPE[2]
    agrees(opened)


def three_dimensional_brush_and_looking_elsewhere(opened, hand, journal, qtbot):
    begun = journal.last_id()
    hand.look_at("axial", (5, 10, 8))
    layer = opened.session.scribbles
    opened.session.select_class(2)
    layer.n_edit_dimensions, layer.brush_size = 3, 9
    hand.drag((5, 10, 8))
    wait_for(qtbot, journal, begun + 1)
    assert set(np.nonzero(layer.data)[0]) == {4, 5, 6}  # 4.05 mm reach one slice of 3 mm
    opened.session.viewer.dims.current_step = (0, 0, 0)  # undo what is out of sight
    hand.press("Ctrl+Z")
    wait_for(qtbot, journal, begun + 2)
    assert not layer.data.any()
    agrees(opened)


def keys_choose_classes(opened, hand, journal, qtbot):
    layer = opened.session.scribbles
    opened.scribble_panel.classes.add_button.click()
    opened.session.viewer.layers.selection.active = opened.session.viewer.layers["CT"]
    for key, code in (("Q", 1), ("W", 2), ("Shift+W", 3), ("Shift+W", 1)):
        hand.press(key)
        assert (layer.selected_label, layer.mode) == (code, "paint")
        assert opened.session.viewer.layers.selection.active == layer
        assert opened.scribble_panel.classes.table.currentRow() == code - 1


def undo_over_planes_and_a_restart(opened, hand, journal, qtbot, patient):
    """More strokes than napari itself undoes, in all planes, undone in another after a restart."""
    session, layer = opened.session, opened.session.scribbles
    begun = journal.last_id()
    session.select_class(2)
    layer.brush_size = 1
    hand.look_at("sagittal", (5, 8, 6))
    hand.drag((5, 8, 6), (8, 8, 6))
    hand.look_at("coronal", (5, 9, 6))
    hand.drag((5, 9, 6), (5, 9, 9))
    wait_for(qtbot, journal, begun + 2)
    states, written = [], NAPARI_UNDOES + 5
    for k in range(written):
        states.append(layer.data.copy())
        session.recorder.write(np.array([k, k + 1, k + 2]), np.full(3, k % 3 + 1), "hand")
    with qtbot.waitSignal(session.opened, timeout=20000):
        session.open(partial(open_files, patient.ct, patient.mr))
    journal = session.case.journal
    hand.look_at("axial", (2, 3, 4))
    session.select_class(2)
    for k in reversed(range(written)):
        session.undo()
        np.testing.assert_array_equal(session.scribbles.data, states[k])
    session.viewer.layers.selection.active = session.viewer.layers["CT"]
    hand.press("Ctrl+Z")  # from any layer
    hand.press("Ctrl+Z")
    undone = begun + 2 * (2 + written)
    wait_for(qtbot, journal, undone)
    assert not session.scribbles.data.any()
    agrees(opened)
    hand.press("Ctrl+Shift+Z")
    wait_for(qtbot, journal, undone + 1)
    assert set(zip(*np.nonzero(session.scribbles.data), strict=True)) == {
        (z, 8, 6) for z in range(5, 9)
    }
    agrees(opened)


def test_classes_are_kept_with_the_case(opened):
    panel = opened.scribble_panel.classes
    panel.add_button.click()
    panel.table.item(2, 1).setText("Oedema")
    names = [entry.name for entry in opened.session.case.classes]
    assert names == ["Background", "Tumour", "Oedema"]
    assert opened.scribble_panel.auto.kind.itemText(2) == "Oedema, inside"


def coverage_is_counted(opened, hand, journal, qtbot):
    begun = journal.last_id()
    hand.look_at("axial", (5, 8, 6))
    opened.session.select_class(2)
    opened.session.scribbles.brush_size = 1
    hand.drag((5, 8, 6), (5, 8, 10))
    wait_for(qtbot, journal, begun + 1)
    table = opened.scribble_panel.classes.table
    assert table.item(1, 3).text() == "5"
    bar = table.cellWidget(1, 4)
    assert (bar.text(), bar.value()) == ("0.130", 100)  # 5 of 3840; the paper has 0.04 %
    assert table.cellWidget(0, 4).value() == 0


def test_save_and_load(opened, tmp_path, qtbot, scribble, patient):
    session, panel = opened.session, opened.scribble_panel
    scribble()
    drawn = session.scribbles.data.copy()
    panel.save(str(tmp_path / "s.nii.gz"))
    qtbot.waitUntil(lambda: "saved" in panel.message.text(), timeout=5000)
    file = load_labels(tmp_path / "s.nii.gz", session.case.study.grid)
    np.testing.assert_array_equal(file, drawn)
    session.recorder.replace(np.zeros(SHAPE, np.uint8))
    panel.load(str(tmp_path / "s.nii.gz"))
    qtbot.waitUntil(lambda: "loaded" in panel.message.text(), timeout=5000)
    np.testing.assert_array_equal(session.scribbles.data, drawn)
    agrees(opened)
    assert last(session.case.journal).source == "import"
    session.undo()
    qtbot.wait(200)
    agrees(opened)
    assert not session.scribbles.data.any()


def test_file_on_another_grid_is_refused(opened, patient, tmp_path, qtbot):
    import SimpleITK as sitk

    image = sitk.ReadImage(str(patient.tumour))
    image.SetOrigin((0.0, 0.0, 0.0))
    sitk.WriteImage(image, str(tmp_path / "elsewhere.nii.gz"))
    notification_manager.records.clear()
    opened.scribble_panel.load(str(tmp_path / "elsewhere.nii.gz"))
    qtbot.waitUntil(lambda: bool(notification_manager.records), timeout=5000)
    assert "another grid than the CT" in notification_manager.records[-1].message


def test_unsaved_stroke_is_said_and_tried_again(opened, qtbot, scribble, monkeypatch):
    session = opened.session
    journal = session.case.journal
    append, said = journal.append, []
    session.recorder.failed.connect(said.append)

    def full(_stroke):
        raise UserError("The stroke could not be saved (disk full).")

    monkeypatch.setattr(journal, "append", full)
    session.scribbles.paint((5, 8, 8), 2)
    qtbot.waitUntil(lambda: bool(said))
    monkeypatch.setattr(journal, "append", append)
    session.scribbles.paint((6, 8, 8), 2)
    wait_for(qtbot, journal, 1)
    agrees(opened)


def test_changes_out_of_sight_are_found(opened, journal, qtbot):
    opened.workbench.navigation.go_to_voxel((2, 3, 4))
    opened.session.scribbles.data[7, 3, 2:5] = 2
    opened.session.scribbles.refresh()
    wait_for(qtbot, journal, 1)
    agrees(opened)


def test_a_stroke_in_three_dimensions(opened, journal, qtbot):
    opened.session.viewer.dims.ndisplay = 3
    opened.session.scribbles.paint((5, 8, 8), 2)
    wait_for(qtbot, journal, 1)
    agrees(opened)


def test_strokes_drawn_while_a_patient_was_read_are_counted(opened, patient, qtbot):
    session = opened.session
    again = open_files(patient.ct, patient.mr)
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[5, 8, 6:10] = 2
    session.recorder.add(strokes, "hand")
    with qtbot.waitSignal(session.opened, timeout=20000):
        session.open(lambda: again)
    assert list(session.recorder.counts[:3]) == [strokes.size - 4, 0, 4]
    assert list(session.recorder.present) == [0, 2]


def test_undo_takes_back_a_stroke_of_another_window_in_this_program(opened, patient):
    session = opened.session
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[5, 8, 6:10] = 2
    session.recorder.add(strokes, "hand")
    other = open_files(patient.ct, patient.mr).case
    other.journal.append(Stroke(np.arange(3), np.zeros(3, np.uint8), np.full(3, 1, np.uint8)))
    session.undo()
    agrees(opened)
    assert list(session.recorder.counts[:3]) == [strokes.size - 4, 0, 4]
    session.undo()
    agrees(opened)
    other.close()
    assert list(session.recorder.present) == [0]
