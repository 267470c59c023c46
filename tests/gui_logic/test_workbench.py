"""A patient comes and goes: who is told, in which order, and what is arranged. No display."""

from __future__ import annotations

import numpy as np
import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.gui.key_sheet import SHORTCUTS
from cmfnet_napari.gui.patient.classes import change_class
from tests.gui_logic.stand_ins import CT_SHAPE as SHAPE
from tests.gui_logic.stand_ins import come, drop, patient

SIGNALS = ("arriving", "opened", "leaving", "closed", "strokes_changed", "classes_changed")


@pytest.fixture(autouse=True)
def listened(bench, heard):
    heard.listen(bench.session, *SIGNALS)


def names(heard):
    return [name for name, *_ in heard]


def test_without_a_patient_what_belongs_to_one_is_not_there(bench):
    session = bench.session
    assert (session.patient, session.writable) == (None, False)
    for ask in (lambda: session.case, lambda: session.recorder, lambda: session.scribbles):
        with pytest.raises(UserError, match="No patient is open"):
            ask()
    session.select_class(2)  # nothing to do
    session.undo()


def test_a_patient_comes_and_goes(bench, heard):
    session, there = bench.session, []
    session.leaving.connect(lambda: there.append(session.patient))
    opened = patient()
    come(session, lambda: opened)
    assert names(heard) == ["arriving", "opened"]
    assert session.patient is opened
    assert (bench.planes.plane, bench.navigation.voxel()) == ("axial", (2, 4, 3))
    assert session.scribbles.selected_label == 2
    assert session.viewer.layers.selection.active == session.scribbles
    assert len(bench.drawing._pens) == 1
    other = patient(value=50)
    come(session, lambda: other)
    assert names(heard)[2:] == ["leaving", "closed", "arriving", "opened"]
    assert there == [opened]
    assert (opened.case.closed, session.patient) == (True, other)
    assert len(bench.drawing._pens) == 1


def test_one_begins_where_most_strokes_are(bench):
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[1, 2, 2], strokes[3, 2, 2:4], strokes[4, :, :] = 2, 2, 1
    come(bench.session, lambda: patient(strokes=strokes))
    assert bench.navigation.voxel() == (3, 4, 3)


def test_who_holds_the_patient_is_asked_before_another_comes(bench, said, heard):
    session, reasons = bench.session, [""]
    session.holds.append(lambda: reasons[0])
    opened, other = patient(), patient(value=50)
    come(session, lambda: opened)
    reasons[0] = "The bench is in use."
    come(session, lambda: other)
    drop(bench, other)  # a sample, or files that were dropped
    assert said == ["The bench is in use."] * 2
    assert (session.patient, other.case.closed) == (opened, True)
    assert len(session.viewer.layers) == 2  # its own
    assert names(heard) == ["arriving", "opened"]


def test_strokes_and_classes_are_told_and_undone(bench, heard, said):
    session = bench.session
    come(session, patient)
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[2, 3, 3] = 4  # a class that is not there yet
    session.recorder.add(strokes, "hand")
    assert [entry.code for entry in session.case.classes] == [1, 2, 3, 4]
    assert names(heard)[2:] == ["classes_changed", "strokes_changed"]
    session.undo()
    session.undo()
    session.redo()
    session.redo()
    assert said == ["There is no stroke left to undo.", "There is nothing to redo."]
    assert session.scribbles.data[2, 3, 3] == 4
    for expected in (3, 4, 1, 2):
        session.select_next_class()
        assert session.scribbles.selected_label == expected


def test_colour_of_a_class_is_the_predictions_too(bench):
    session = bench.session
    come(session, patient)
    labels = np.zeros(SHAPE, np.uint8)
    bench.result._show(labels, (1, 2), labels.astype(np.float32), None)
    session.set_classes(change_class(session.case.classes, 2, color="#ff0000"))
    np.testing.assert_allclose(session.scribbles.get_color(2), (1, 0, 0, 1))
    np.testing.assert_allclose(bench.result.prediction.get_color(1), (1, 0, 0, 1))


def test_a_preview_is_one_layer_and_goes_when_there_is_a_prediction(bench):
    come(bench.session, patient)
    layers, labels = bench.session.viewer.layers, np.zeros(SHAPE, np.uint8)
    for _ in range(2):
        bench.result.show_preview(labels)
    assert [layer.name for layer in layers] == ["CT", "Preview", "Scribbles"]
    bench.result._show(labels, (1, 2), labels.astype(np.float32), None)
    assert [layer.name for layer in layers] == ["CT", "Probability", "Prediction", "Scribbles"]


def test_every_key_has_something_to_do(bench):
    assert set(bench._what_keys_do()) == set(SHORTCUTS)


def test_removing_the_strokes_leaves_the_patient(bench, said):
    session = bench.session
    opened = patient()
    come(session, lambda: opened)
    session.viewer.layers.remove(session.scribbles)
    assert (session.patient, opened.case.closed) == (None, True)
    assert said == ["The strokes are kept. Open the patient again to see them."]
    assert bench.drawing._pens == []


def test_the_end_leaves_the_patient_and_lets_go_of_the_viewer(bench, heard):
    session = bench.session
    opened = patient()
    come(session, lambda: opened)
    bench.close()
    bench.close()
    assert names(heard)[2:] == ["leaving", "closed"]
    assert (session.ended, opened.case.closed) == (True, True)
    drop(bench, patient(value=60))
    assert session.patient is None


def test_the_last_views_are_written_and_come_back(bench):
    come(bench.session, patient)
    bench.navigation.go_to_voxel((1, 2, 3))
    bench.brush.set_size(4.5)
    bench.training.preset = "standard"
    bench.fusion.set_board(True)
    come(bench.session, lambda: patient(value=50))
    bench.navigation.go_to_voxel((0, 0, 0))
    bench.training.preset = "quick"
    come(bench.session, patient)
    assert (bench.navigation.voxel(), bench.brush.size_mm) == ((1, 2, 3), 4.5)
    assert bench.training.preset == "standard"
