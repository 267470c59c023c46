"""The contour of record: every edit by hand stands, and everything speaks of the same contour."""

import csv
import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import hash_file
from cmfnet_napari.core.images.study import load_labels
from cmfnet_napari.core.report import page
from cmfnet_napari.core.review.case_contour import case_contour, case_stage, superseded
from cmfnet_napari.core.strokes.entries import Correction
from cmfnet_napari.gui.export import dicom_export, report_export
from cmfnet_napari.gui.export.dicom_export import OUTDATED, Choice, Contour, DicomExport
from cmfnet_napari.gui.patient.opened import reopen
from tests.case_runs import write_run
from tests.gui_logic.stand_ins import CT_SHAPE, come, patient

BOX = np.s_[1:4, 2:6, 2:5]
ML = 0.001 * 2.0 * 1.0 * 1.0  # of a voxel
SPACING = (2.0, 1.0, 1.0)


def box(where=BOX, code=1):
    labels = np.zeros(CT_SHAPE, np.uint8)
    labels[where] = code
    return labels


def flat(*places):
    return np.sort([np.ravel_multi_index(place, CT_SHAPE) for place in places])


@pytest.fixture
def opened():
    one = patient(spacing=SPACING)
    write_run(one.case, box())
    return one


@pytest.fixture
def shown(bench, opened):
    """A window that shows the contour of an earlier training."""
    come(bench.session, lambda: opened)
    return bench


def edit(bench, where, code):
    """Paint on the Prediction layer with napari's own brush, whatever it then does."""
    layer = bench.result.prediction
    index = np.nonzero(box(where))
    layer.data_setitem(index, code)
    bench.session.record()
    bench.result._soon.fire()


def everything(bench):
    """The contour as each of those who speak of it has it."""
    result = bench.result
    return [result.shown(), result.labels, np.asarray(result.prediction.data)]


def all_are(bench, expected):
    for labels in everything(bench):
        np.testing.assert_array_equal(labels, expected)
    assert bench.result.volumes == {"Tumour": pytest.approx(ML * np.count_nonzero(expected == 1))}
    areas = {z: (expected[z] > 0).sum() for z in range(len(expected)) if expected[z].any()}
    assert bench.review.coverage("axial")[1] == len(areas)
    return True


def test_an_unedited_contour_is_the_models(shown, opened):
    assert all_are(shown, box())
    assert not shown.result.hand
    assert not opened.case.journal.last_id()


def test_edits_outlive_all_that_makes_another_contour(shown, opened):
    """On the code before, each of these threw the edits away."""
    result = shown.result
    edit(shown, np.s_[1, 2, 2:5], 0)
    edit(shown, np.s_[0, 0, 0:2], 1)
    edited = box()
    edited[1, 2, 2:5], edited[0, 0, 0:2] = 0, 1
    assert all_are(shown, edited)
    assert result.hand.added_ml == {"Tumour": pytest.approx(2 * ML)}
    assert result.hand.removed_ml == {"Tumour": pytest.approx(3 * ML)}
    assert result.hand.slices == 2

    larger = box(np.s_[1:5, 2:6, 2:6])
    both = larger.copy()
    both[1, 2, 2:5], both[0, 0, 0:2] = 0, 1
    result.follow(larger)  # an update that is under way
    assert all_are(shown, both)
    result.read(write_run(opened.case, larger, "0002-quick"))  # a new fit, a preview chosen
    assert all_are(shown, both)
    result.show_preview(box())
    np.testing.assert_array_equal(result._preview.data, edited)
    assert not result._preview.editable
    result.remove_preview()
    result.keep_marked_only(True)  # the hand drew in no part of the model's, but in its own
    only = np.zeros(CT_SHAPE, np.uint8)
    only[0, 0, 0:2] = 1
    assert all_are(shown, only)
    result.keep_marked_only(False)
    assert all_are(shown, both)
    come(shown.session, lambda: reopen(opened))
    assert all_are(shown, both)
    assert shown.result.hand.slices == 2


def test_an_update_changes_the_layer_where_the_model_has_changed_and_nowhere_else(shown):
    """Of a study of 512×512×400 an array more, or a look at all of it, is felt as a freeze."""
    result, recorder = shown.result, shown.result._recorder
    array = result.prediction.data
    edit(shown, np.s_[1, 2, 2:5], 0)
    larger = box(np.s_[1:5, 2:6, 2:6])
    result.follow(larger)
    expected = larger.copy()
    expected[1, 2, 2:5] = 0
    assert all_are(shown, expected)
    part = np.s_[4:5, 2:4, 0:3]
    larger[part] = 1  # in place, as a provisional contour is
    larger[0, 7, 6] = 1  # not said
    recorder.show(larger, [part])
    expected[part] = 1
    assert all_are(shown, expected)
    assert result.prediction.data is array


def test_half_an_edit_is_not_measured(shown, background):
    """It is copied where nobody waits; an edit that came meanwhile may be in it in part."""
    result = shown.result
    edit(shown, np.s_[0, 0, 0:2], 1)
    whole = result.labels
    background.held = True
    result._measure()
    index = np.nonzero(box(np.s_[1, 2, 2:5]))
    result.prediction.data_setitem(index, 0)
    shown.session.record()
    background.catch_up()
    assert result.labels is whole
    background.held = False
    result._soon.fire()
    expected = box()
    expected[0, 0, 0:2], expected[1, 2, 2:5] = 1, 0
    assert all_are(shown, expected)


def test_what_can_be_exported_is_known_without_a_copy(shown):
    classes = shown.session.case.classes

    def copied():
        raise AssertionError("the contour was copied")

    export = DicomExport(copied, counted=lambda: (classes, np.array([7, 0])))
    assert export.offered == (classes, frozenset([1]))
    export = DicomExport(copied, counted=lambda: (classes, np.array([7, 3])))
    assert export.offered == (classes, frozenset())


def test_undo_takes_back_strokes_and_corrections_in_the_order_they_were_made(shown, opened):
    session = shown.session
    edit(shown, np.s_[1, 2, 2:5], 0)
    session.recorder.write(flat((0, 0, 0)), np.uint8([2]), "hand")
    edit(shown, np.s_[4, 7, 6], 1)
    kinds = [type(entry) for _, entry in opened.case.journal.entries()]
    assert [kind is Correction for kind in kinds] == [True, False, True]
    come(session, lambda: reopen(opened))
    session.undo()
    expected = box()
    expected[1, 2, 2:5] = 0
    assert shown.result._soon.on
    shown.result._soon.fire()
    assert all_are(shown, expected)
    assert session.scribbles.data[0, 0, 0] == 2
    session.undo()
    assert session.scribbles.data[0, 0, 0] == 0
    assert all_are(shown, expected)
    session.undo()
    shown.result._soon.fire()
    assert all_are(shown, box())
    for _ in range(3):
        session.redo()
    shown.result._soon.fire()
    expected[4, 7, 6] = 1
    assert all_are(shown, expected)
    assert session.scribbles.data[0, 0, 0] == 2


def test_a_later_stroke_wins_over_a_correction(shown):
    session, at = shown.session, flat((1, 2, 2))
    edit(shown, np.s_[1, 2, 2:5], 0)
    session.recorder.write(at, np.uint8([2]), "hand")
    shown.result._soon.fire()
    expected = box()
    expected[1, 2, 3:5] = 0
    assert all_are(shown, expected)
    lessons = session.corrections.lessons()
    assert list(lessons[1, 2, 2:5]) == [2, 1, 1]
    session.undo()
    shown.result._soon.fire()
    expected[1, 2, 2] = 0
    assert all_are(shown, expected)
    assert list(session.corrections.lessons()[1, 2, 2:5]) == [1, 1, 1]
    session.corrections.set_teach(False)
    assert not session.corrections.lessons().any()


def test_a_stroke_over_the_same_stroke_is_said_again(shown):
    """Drawn, corrected away, drawn again: the layer's voxels do not change."""
    session = shown.session
    session.recorder.write(flat((1, 2, 2), (1, 2, 3)), np.uint8(2), "hand")
    edit(shown, np.s_[1, 2, 2:5], 0)
    session.recorder.begin()
    session.recorder.end(np.zeros(0, int), flat((1, 2, 2)))
    assert shown.result.shown()[1, 2, 2:5].tolist() == [1, 0, 0]
    session.undo()
    assert shown.result.shown()[1, 2, 2:5].tolist() == [0, 0, 0]


def test_a_stroke_that_passes_a_voxel_twice_is_recorded_once(shown):
    """Drawn, corrected away, and the stroke erased with the brush going to and fro."""
    session, at = shown.session, flat((1, 2, 2), (1, 2, 3))
    session.recorder.write(at, np.uint8(2), "hand")
    edit(shown, np.s_[1, 2, 2:5], 0)
    session.recorder.begin()
    session.scribbles.data_setitem(np.unravel_index(at, CT_SHAPE), 0)
    session.recorder.end(at, at)
    number = session.case.journal.last_id()
    session.record()
    assert session.case.journal.last_id() == number == 3
    assert not session.case.scribbles().any()
    assert session.recorder.counts[2] == 0
    assert shown.result.shown()[1, 2, 2:5].tolist() == [0, 0, 0]


def test_what_was_painted_over_is_meant_even_where_it_was_right(shown):
    """A model that later says something else there does not cut holes into it."""
    layer = shown.result.prediction
    recorder = shown.session.recorder_of(layer)
    recorder.begin()
    layer.data_setitem(np.nonzero(box(np.s_[1, 1, 2:5])), 1)
    recorder.end(flat((1, 1, 2), (1, 1, 3), (1, 1, 4)), flat((1, 2, 2), (1, 2, 3)))
    shown.result.follow(np.zeros(CT_SHAPE, np.uint8))
    assert shown.result.shown().nonzero()[2].tolist() == [2, 3, 4, 2, 3]


def test_another_contour_waits_for_the_end_of_an_edit(shown):
    layer = shown.result.prediction
    recorder = shown.session.recorder_of(layer)
    recorder.begin()
    layer.data_setitem((np.array([0]),) * 3, 1)
    shown.result.follow(np.zeros(CT_SHAPE, np.uint8))
    assert layer.data[0, 0, 0] == 1
    layer.data_setitem((np.array([0]), np.array([0]), np.array([1])), 1)
    shown.result._soon.start()
    shown.result._soon.fire()  # figures of an earlier edit do not cut this one in two
    assert not shown.session.corrections.standing
    recorder.end(flat((0, 0, 0), (0, 0, 1)), np.zeros(0, int))
    assert len(shown.session.corrections.standing) == 1
    assert np.flatnonzero(shown.result.shown()).tolist() == [0, 1]
    assert np.flatnonzero(shown.result.labels).tolist() == [0, 1]


def test_an_edit_that_cannot_be_saved_is_not_replaced(shown, opened, said, monkeypatch):
    layer = shown.result.prediction

    def full(_correction):
        raise UserError("The disk is full.")

    with monkeypatch.context() as disk:
        disk.setattr(opened.case, "correct", full)
        layer.data_setitem((np.array([0]),) * 3, 1)
        shown.result.follow(np.zeros(CT_SHAPE, np.uint8))
        assert layer.data[0, 0, 0] == 1
        assert said == ["The disk is full."]
        with pytest.raises(UserError, match="full"):
            shown.result.shown()
    recorder = shown.session.recorder_of(layer)
    recorder._redrawn.start()
    recorder._redrawn.fire()
    assert np.flatnonzero(shown.result.shown()).tolist() == [0]


def test_naparis_own_undo_puts_nothing_old_into_a_new_contour(shown):
    layer = shown.result.prediction
    layer.mode = "paint"
    edit(shown, np.s_[1, 2, 2:5], 0)
    shown.result.follow(box(np.s_[1:4, 2:6, 2:7]))
    expected = shown.result.shown()
    layer.undo()
    np.testing.assert_array_equal(layer.data, expected)
    assert layer.mode == "paint"


def test_the_models_own_contour_is_only_looked_at(shown):
    edit(shown, np.s_[1, 2, 2:5], 0)
    record = shown.result.shown()
    shown.result.show_own(True)
    layer = shown.result.prediction
    np.testing.assert_array_equal(layer.data, box())
    assert not layer.editable
    np.testing.assert_array_equal(shown.result.shown(), record)
    shown.session.undo()
    shown.session.redo()
    shown.result.show_own(False)
    np.testing.assert_array_equal(layer.data, record)
    assert layer.editable


def test_how_a_contour_was_looked_at_stays_with_its_patient(shown, opened):
    edit(shown, np.s_[1, 2, 2:5], 0)
    shown.result.keep_marked_only(True)
    shown.result.show_own(True)
    shown.session.corrections.set_teach(False)
    come(shown.session, lambda: patient(value=70, spacing=SPACING))
    result, corrections = shown.result, shown.session.corrections
    assert (result.marked_only, result.own, corrections.teach) == (False, False, True)
    come(shown.session, lambda: reopen(opened))
    result, corrections = shown.result, shown.session.corrections
    assert (result.marked_only, result.own, corrections.teach) == (True, False, False)


TWO_PARTS = np.s_[1:3, 1:3, 1:3], np.s_[1:4, 5:7, 4:7]


@pytest.fixture
def marked(bench):
    """A contour of two parts; a stroke lies in each, and only parts with a stroke are shown."""
    strokes = np.zeros(CT_SHAPE, np.uint8)
    strokes[2, 1, 1] = strokes[2, 5, 5] = 2
    one = patient(strokes=strokes, spacing=SPACING)
    write_run(one.case, box(TWO_PARTS[0]) | box(TWO_PARTS[1]))
    come(bench.session, lambda: one)
    bench.result.keep_marked_only(True)
    return bench


def rub_out(bench):
    """The stroke of the second part."""
    bench.session.scribbles.data_setitem(np.nonzero(box(np.s_[2, 5, 5])), 0)
    bench.session.record()


def signed_everywhere(bench, labels):
    """What is signed is what is exported, here and by the command line, now and opened again."""
    for index in range(CT_SHAPE[0]):
        bench.seen_slices.looked_at.emit("axial", index)
    bench.sign_off.sign("reviewed")
    bench.last_view.keep()
    one, folder = bench.session.patient, bench.session.case.folder
    for again in (False, True):
        if again:
            come(bench.session, lambda: patient(value=99))
            come(bench.session, lambda: reopen(one))
        np.testing.assert_array_equal(bench.result.shown(), labels)
        np.testing.assert_array_equal(bench.result.prediction.data, labels)
        np.testing.assert_array_equal(case_contour(folder).labels, labels)
        assert bench.sign_off.standing.stage == case_stage(folder)[0].stage == "reviewed"


def test_a_part_whose_stroke_is_rubbed_out_goes_at_once(marked):
    first = box(TWO_PARTS[0])
    rub_out(marked)
    marked.result._soon.fire()
    signed_everywhere(marked, first)


def test_a_part_that_is_corrected_by_hand_comes_back_at_once(marked):
    rub_out(marked)
    marked.result._soon.fire()
    edit(marked, np.s_[2, 5, 5], 1)
    signed_everywhere(marked, box(TWO_PARTS[0]) | box(TWO_PARTS[1]))


def test_a_contour_whose_parts_are_still_being_found_is_not_given(marked, background, said):
    before, result = marked.result.shown(), marked.result
    background.held = True
    rub_out(marked)
    with pytest.raises(UserError, match="still follows"):
        result.shown()
    result._soon.fire()
    with pytest.raises(UserError, match="still follows"):
        marked.sign_off.sign("reviewed")
    marked.session.undo()  # what is being computed is too old now
    background.catch_up()
    with pytest.raises(UserError, match="still follows"):
        result.shown()
    result._soon.fire()
    background.catch_up()
    background.catch_up()
    np.testing.assert_array_equal(result.shown(), before)


def test_corrections_are_taken_back_one_by_one_by_place_and_as_a_whole(shown):
    corrections, result = shown.session.corrections, shown.result
    edit(shown, np.s_[1, 2, 2:5], 0)
    edit(shown, np.s_[1, 2, 4], 1)  # over the first
    edit(shown, np.s_[4, 7, 5:7], 1)
    numbers = [number for number, _ in corrections.standing]
    corrections.take_back(numbers[1])
    assert result.shown()[1, 2, 2:5].tolist() == [0, 0, 0]
    assert result.shown()[4, 7, 5:7].all()
    corrections.take_back_around((4, 6, 6))
    assert not result.shown()[4].any()
    assert not result.shown()[1, 2, 2:5].any()
    corrections.take_back_all()
    np.testing.assert_array_equal(result.shown(), box())
    for _ in range(3):
        shown.session.undo()
    assert result.shown()[1, 2, 2:5].tolist() == [0, 0, 1]


def test_a_slice_that_was_edited_was_looked_at_until_the_model_changes_it(shown):
    review = shown.review
    assert review.unseen("axial") == [1, 2, 3]
    edit(shown, np.s_[2, 2, 2:5], 0)
    assert review.unseen("axial") == [1, 3]
    labels = box()
    labels[2, 5, 6] = 1
    shown.result.follow(labels)
    assert review.unseen("axial") == [1, 2, 3]


def test_report_table_and_files_say_the_same(shown, tmp_path, monkeypatch):
    """One PDF said 0.0 ml in its text and 0.4 ml in its table."""
    facts = []
    real = report_export.gather_facts

    def gather(*arguments, **known):
        facts.append(real(*arguments, **known))
        return facts[-1]

    monkeypatch.setattr(report_export, "gather_facts", gather)
    monkeypatch.setattr(page, "save_report", lambda *_: tmp_path / "r.pdf")
    shown.comparison._use("file", box(), shown.session.case.order.numbers)
    shown.comparison._later.fire()
    layer = shown.result.prediction
    layer.data_setitem(np.nonzero(box()), 0)
    layer.data_setitem((np.array([0]),) * 3, 1)  # and nothing has been recorded yet
    shown.report_export.save_report(str(tmp_path / "r.pdf"))
    shown.report_export.save_table(str(tmp_path / "t.csv"))
    shown.result.save(str(tmp_path / "c.nii.gz"))
    (fact,) = facts
    rows = page.score_rows(fact.volumes_ml, fact.evaluation)
    assert fact.volumes_ml["Tumour"] == fact.evaluation.classes["Tumour"].volume_ml == ML
    assert rows[1]["Volume, ml"] == ["0.0"]
    assert "  Tumour +0.00 −0.07 ml on 4 axial slices" in "\n".join(page.contour_words(fact))
    with open(tmp_path / "t.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert float(row["volume_ml"]) == float(row["added_by_hand_ml"]) == ML
    assert float(row["removed_by_hand_ml"]) == pytest.approx(36 * ML)
    grid = shown.session.case.study.grid
    np.testing.assert_array_equal(load_labels(tmp_path / "c.nii.gz", grid), shown.result.shown())


def test_the_command_line_has_the_contour_of_the_window(shown, opened):
    edit(shown, np.s_[1, 2, 2:5], 0)
    shown.result.keep_marked_only(True)
    shown.last_view.keep()
    found = case_contour(opened.case.folder)
    np.testing.assert_array_equal(found.labels, shown.result.shown())
    assert (found.run, found.corrected, found.by_itself) == ("0001-quick", True, False)
    own = opened.case.folder / "runs" / "0001-quick" / "prediction.nii.gz"
    assert superseded(own)
    shown.session.undo()
    assert not superseded(own)


def test_a_file_that_is_no_longer_the_contour_is_not_sent(shown, tmp_path, monkeypatch, heard):
    sent = []
    file = tmp_path / "a.dcm"
    file.write_bytes(b"")
    written = SimpleNamespace(sha256=hash_file(file))
    monkeypatch.setattr(dicom_export, "_export", lambda *_: written)
    monkeypatch.setattr(dicom_export.pacs, "send", lambda *arguments: sent.append(arguments))

    def contour():
        case = shown.session.case
        return Contour(shown.result.shown(), case.study, case.classes, None)

    out = DicomExport(contour)
    said = heard.listen(out, "not_sent")
    roi = SimpleNamespace(code=1, name="GTV", type="GTV", color="#000000")
    out.export(Choice((roi,), "folder", "seg", str(file)))
    node = SimpleNamespace(name="here")
    out.send(node)
    assert len(sent) == 1
    shown.result.prediction.data_setitem((np.array([0]),) * 3, 1)  # a moment ago
    out.send(node)
    assert (len(sent), said) == (1, [("not_sent", OUTDATED)])


def test_codes_too_high_are_said(shown):
    with pytest.raises(UserError, match="code 64; 63 is the highest"):
        shown.session.corrections.write(np.array([0]), np.array([64]))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_corrections_one_over_the_other_are_all_taken_back(shown, order):
    """Whichever goes first, the model is left; one that is hidden waits for the newer one."""
    corrections, result = shown.session.corrections, shown.result
    edit(shown, np.s_[1, 2, 2:5], 0)
    edit(shown, np.s_[1, 2, 2:4], 1)
    edit(shown, np.s_[1, 2, 2:4], 0)
    numbers = [number for number, _ in corrections.one_by_one()]
    gone = [index for index in order if corrections.take_back(numbers[index]) is not None]
    assert gone == [index for index in order if index != 1 or order.index(2) < order.index(1)]
    for number, _ in corrections.one_by_one():
        corrections.take_back(number)
    assert not corrections.one_by_one()
    np.testing.assert_array_equal(result.shown(), box())
    shown.session.undo()
    assert len(corrections.one_by_one()) == 1  # it can be given up again


def test_a_fill_beyond_the_brush_is_recorded_before_an_update_is_shown(shown):
    layer, recorder = shown.result.prediction, shown.result._recorder
    shown.navigation.go_to_slice(0, 1)
    layer.brush_size, layer.n_edit_dimensions = 1, 3
    drag = recorder._follow_drag(layer, SimpleNamespace(type="mouse_press"))
    next(drag)
    layer.data[BOX] = 0  # napari's fill: on all slices
    layer.events.paint(value=[])
    update = box()
    update[1:4, 1, 2:5] = 1
    shown.result.follow(update)
    drag.close()  # the button is let go
    recorder._stroke_ended.fire()
    update[BOX] = 0
    np.testing.assert_array_equal(layer.data, update)
    np.testing.assert_array_equal(shown.result.shown(), update)


def test_a_label_that_no_class_can_have_is_taken_out_and_the_rest_is_kept(shown, said):
    strokes, contour = shown.session.scribbles, shown.result.prediction
    strokes.data[0, 0, :3] = 2, 100, 255
    contour.data[1, 2, 2:5] = 0, 64, 1
    shown.session.record()
    assert strokes.data[0, 0, :4].tolist() == [2, 0, 0, 0]
    assert contour.data[1, 2, 2:5].tolist() == [0, 1, 1]
    assert ["64 is the highest" in words for words in said] == [True, False]
    assert "label 64; 63 is the highest" in said[1]
    strokes.data[0, 0, 5] = 2  # it goes on
    shown.session.record()
    assert shown.session.recorder.counts[2] == 2
    shown.session.undo()
    assert strokes.data[0, 0, :6].tolist() == [2, 0, 0, 0, 0, 0]
