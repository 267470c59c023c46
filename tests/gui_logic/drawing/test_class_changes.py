"""Classes that are removed or merged: all that speaks of them goes along, and comes back."""

from types import SimpleNamespace

import numpy as np
import pytest
from napari.layers import Labels

from cmfnet_napari.core.case.card import CORRECTED, RECLASSED
from cmfnet_napari.core.case.case_classes import OTHER_CLASSES, RUN_CLASSES
from cmfnet_napari.core.case.folder import open_case, read_card
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.fit.model_card import Card
from cmfnet_napari.core.images.study import load_labels
from cmfnet_napari.core.review.case_contour import case_contour, corrected_model, superseded
from cmfnet_napari.gui.contours.comparison import Comparison
from cmfnet_napari.gui.patient.after_crash import recovered
from cmfnet_napari.gui.patient.classes import add_class
from cmfnet_napari.gui.patient.opened import reopen
from tests.case_runs import write_run
from tests.gui_logic.stand_ins import CT_SHAPE, come, patient

SPACING, ML = (2.0, 1.0, 1.0), 0.001 * 2.0
TUMOUR, NODE, OEDEMA = 2, 3, 4  # codes of strokes
TS, NS, OS = (np.s_[2, 1:3, 1:3], np.s_[2, 4:6, 1:3], np.s_[3, 1:7, 4:6])  # 4, 4, 12 voxels


def three(tumour=1, node=2, oedema=3):
    """A contour of three classes, each where it is, with these labels."""
    labels = np.zeros(CT_SHAPE, np.uint8)
    labels[TS], labels[NS], labels[OS] = tumour, node, oedema
    return labels


@pytest.fixture
def opened():
    """A patient with three classes, a contour of all, strokes of all, and corrections of all."""
    one = patient(spacing=SPACING)
    classes = one.case.classes
    for name in ("Node", "Oedema"):
        classes = add_class(classes, name)
    one.case.save_classes(classes)
    write_run(one.case, three())
    return one


@pytest.fixture
def shown(bench, opened):
    come(bench.session, lambda: opened)
    strokes = np.zeros(CT_SHAPE, np.uint8)
    strokes[0] = 1
    strokes[2, 1, 1], strokes[2, 4, 1], strokes[3, 1, 4] = TUMOUR, NODE, OEDEMA
    bench.session.recorder.add(strokes, "hand")
    voxels = np.array([np.ravel_multi_index((4, 0, x), CT_SHAPE) for x in range(3)])
    bench.session.corrections.write(voxels, np.array([1, 2, 3]), run="runs/0001-quick")
    bench.result._soon.fire()
    return bench


def state(bench):
    """Names; strokes, corrected row, and contour with its volumes, as the window has them."""
    result, session = bench.result, bench.session
    bench.result._soon.fire()
    assert np.array_equal(result.shown(), np.asarray(result.prediction.data))
    assert np.array_equal(session.recorder.recorded_scribbles, session.scribbles.data)
    strokes = session.scribbles.data
    return (
        session.case.class_names,
        [int(strokes[at]) for at in ((0, 0, 0), (2, 1, 1), (2, 4, 1), (3, 1, 4))],
        [int(code) for code in session.corrections.codes[4, 0, :3]],
        [int(result.shown()[at]) for at in ((2, 2, 2), (2, 5, 2), (3, 5, 5), (4, 0, 1), (4, 0, 2))],
        {name: round(ml / ML) for name, ml in result.volumes.items()},
    )


BEFORE = (
    ["Tumour", "Node", "Oedema"],
    [1, 2, 3, 4],
    [2, 3, 4],
    [1, 2, 3, 2, 3],
    {"Tumour": 5, "Node": 5, "Oedema": 13},
)
REMOVED = (
    ["Tumour", "Oedema"],
    [1, 2, 0, 3],
    [2, 0, 3],
    [1, 0, 2, 0, 2],
    {"Tumour": 5, "Oedema": 13},
)
MERGED = (
    ["Tumour", "Oedema"],
    [1, 2, 2, 3],
    [2, 2, 3],
    [1, 1, 2, 1, 2],
    {"Tumour": 10, "Oedema": 13},
)


@pytest.mark.parametrize(("into", "after"), [(0, REMOVED), (TUMOUR, MERGED)])
def test_a_class_goes_with_all_that_is_of_it_in_one_step(shown, opened, into, after):
    session, case = shown.session, opened.case
    assert state(shown) == BEFORE
    undoable, colors = case.journal.undoable, [entry.color for entry in case.classes]
    session.scribbles.selected_label = OEDEMA
    session.remove_class(NODE, into)
    assert (case.journal.undoable, session.scribbles.selected_label) == (undoable + 1, 3)
    assert state(shown) == after
    run = case.folder / "runs" / "0001-quick"
    own = run / "prediction.nii.gz"
    found = case_contour(case.folder)  # the command line
    np.testing.assert_array_equal(found.labels, shown.result.shown())
    assert found.names == after[0]
    labels = load_labels(own, case.study.grid)
    report = corrected_model(case.folder, run, labels, case.study.grid, BEFORE[0])
    np.testing.assert_array_equal(report.labels, shown.result.shown())
    assert (report.names, superseded(own)) == (after[0], True)

    come(session, lambda: reopen(opened))  # as after a restart
    assert state(shown) == after
    session.undo()
    assert state(shown) == BEFORE
    assert [entry.color for entry in session.case.classes] == colors
    session.redo()
    assert state(shown) == after
    session.undo()
    come(session, lambda: reopen(opened))
    assert state(shown) == BEFORE


def test_a_contour_of_the_classes_left_is_read_as_such_when_the_class_is_back(shown, opened):
    session = shown.session
    session.remove_class(NODE)
    event = write_run(session.case, three(node=0, oedema=2), name="0002-quick")
    shown.result.read(event)
    assert state(shown)[3] == [1, 0, 2, 0, 2]
    session.undo()
    assert session.case.class_names == BEFORE[0]
    assert state(shown)[3] == [1, 0, 3, 2, 3]
    run = session.case.folder / "runs" / "0002-quick"  # the command line: report
    report = corrected_model(
        session.case.folder, run, three(node=0, oedema=2), session.case.study.grid, REMOVED[0]
    )
    np.testing.assert_array_equal(report.labels, shown.result.shown())
    assert report.names == BEFORE[0]
    shown.comparison.use_previous()
    np.testing.assert_array_equal(shown.comparison.other, three())
    session.remove_class(TUMOUR, NODE)
    np.testing.assert_array_equal(shown.comparison.other, three(1, 1, 2))


def test_what_is_compared_with_goes_and_comes_back_with_its_class(
    shown, opened, background, monkeypatch
):
    session, comparison, less = shown.session, shown.comparison, three(node=0, oedema=2)
    object.__setattr__(opened, "contour", three())
    monkeypatch.setattr(f"{Comparison.__module__}.read_contour", lambda *_: (three(), []))
    judged = []
    comparison.evaluated.connect(judged.append)
    choices = (
        lambda: comparison.use_layer(Labels(three(), name="three")),
        lambda: comparison.use_file("three.nii.gz"),
        comparison.use_previous,
        comparison.use_sample,
    )
    write_run(session.case, three(), name="0002-quick")
    shown.result.run = "runs/0002-quick"
    for choose in choices:
        choose()
        np.testing.assert_array_equal(comparison.other, three())
        assert list(judged[-1].classes) == BEFORE[0]
        judged.clear()
        session.remove_class(NODE)
        np.testing.assert_array_equal(comparison.other, less)
        assert not any(judged)  # the contour of record has not followed yet
        shown.result._soon.fire()
        comparison._later.fire()
        assert list(judged[-1].classes) == REMOVED[0]
        if choose == comparison.use_sample:
            choose()
            np.testing.assert_array_equal(comparison.other, less)
        session.undo()
        np.testing.assert_array_equal(comparison.other, three())
        shown.result._soon.fire()
        background.held = True  # what is read has the codes that there were when it was asked for
        choose()
        session.remove_class(NODE)
        background.held = False
        background.catch_up()
        np.testing.assert_array_equal(comparison.other, less)
        session.undo()
        np.testing.assert_array_equal(comparison.other, three())
        shown.result._soon.fire()
    background.held = True
    session.remove_class(NODE)
    judged.clear()
    comparison.use_sample()
    background._waiting.reverse()  # in threads, what is asked for last may be done first
    background.held = False
    background.catch_up()
    assert not any(judged)


def test_classes_that_go_while_the_patient_is_read_again(shown, opened):
    session, again = shown.session, reopen(opened)
    session.scribbles.selected_label = 0
    session.remove_class(NODE)
    assert session.scribbles.selected_label == 0  # the eraser
    come(session, lambda: again)
    assert state(shown) == REMOVED
    session.remove_class(3)
    assert session.case.class_names == ["Tumour"]
    session.undo()
    assert state(shown) == REMOVED
    session.undo()
    assert state(shown) == BEFORE


def test_a_run_that_does_not_say_its_classes_is_said(shown, opened, said):
    run = opened.case.folder / "runs" / "0001-quick"
    (run / RUN_CLASSES).write_text("{}")
    shown.preview_choice._run = run
    shown.preview_choice.previews = [SimpleNamespace(labels=run)]
    shown.preview_choice.show(0)
    assert len(said) == 1
    come(shown.session, lambda: reopen(opened))
    assert "The last prediction could not be read and is not shown. classes.json" in said[1]
    (run / "prediction.nii.gz").unlink()
    record = SimpleNamespace(folder=run)
    training = f"{type(shown.training).__module__}.interrupted_run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, lambda _runs: record)
        shown.training._look_for_interrupted()
    assert shown.training.interrupted is None
    assert "cannot be gone on with. classes.json in 0001-quick is damaged" in said[-1]


def test_a_class_that_goes_is_no_stroke_that_was_recovered(shown, opened):
    opened.case.unclean = True
    shown.session.remove_class(NODE)
    assert "Recovered: 1 stroke (" in recovered(opened.case)


def test_a_number_is_given_once(shown, opened):
    """A new class is not taken for the one that went, nor has it the colour of another."""
    session = shown.session
    session.remove_class(OEDEMA)
    session.set_classes(add_class(session.case.classes, "Bladder"))
    assert [e.name for e in session.case.classes] == ["Background", "Tumour", "Node", "Bladder"]
    assert state(shown)[3][:3] == [1, 2, 0]
    session.remove_class(NODE)
    session.set_classes(add_class(session.case.classes, "Rectum"))
    assert session.case.class_names == ["Tumour", "Bladder", "Rectum"]
    assert len({e.color for e in session.case.classes}) == 4
    session.undo()
    assert session.case.class_names == ["Tumour", "Node", "Bladder", "Rectum"]


def test_what_cannot_go_is_said(shown):
    session = shown.session
    for code, words in ((1, "The background stays"), (9, "The background stays")):
        with pytest.raises(UserError, match=words):
            session.remove_class(code)
    session.remove_class(NODE)
    session.remove_class(3)
    with pytest.raises(UserError, match="the only class"):
        session.remove_class(TUMOUR)


def test_while_a_training_learns_classes_they_stay(shown, said):
    shown.session.remove_class(NODE)
    shown.training.state = "training"
    before = state(shown)
    with pytest.raises(UserError, match="Training is running, and learns these classes"):
        shown.session.remove_class(TUMOUR)
    with pytest.raises(UserError, match="Training is running"):
        shown.session.undo()
    assert state(shown) == before
    shown.training.state = "idle"


def test_a_model_of_other_classes_is_not_brought_up_to_date(shown, opened, monkeypatch, heard):
    study = shown.session.case.study.content_hash
    card = Card(config=make_config("quick"), classes=4, study=study)
    monkeypatch.setattr("cmfnet_napari.gui.training.refinement.read_card", lambda _path: card)
    refinement = shown.refinement
    refinement._look_for_contour()
    for _ in range(2):  # steps of a fit; it has taken up all strokes
        refinement._on_fit_goes_on()
    heard.listen(refinement, "failed")
    assert refinement.state == "ready"
    shown.session.remove_class(NODE)
    assert (refinement.state, heard) == ("off", [("failed", OTHER_CLASSES)])
    refinement._look_for_contour()
    assert refinement.state == "off"
    shown.session.undo()
    assert refinement.state == "ready"
    assert not refinement._quiet.isActive()

    shown.session.set_classes(add_class(shown.session.case.classes, "Bladder"))
    draw(shown, (1, 1, 1), 5)
    assert refinement._quiet.isActive()
    shown.session.remove_class(5)  # one that the model does not know
    assert (refinement.state, refinement._quiet.isActive()) == ("ready", True)

    shown.session.remove_class(NODE)
    come(shown.session, lambda: reopen(opened))  # as after a restart
    assert (refinement.state, refinement._quiet.isActive()) == ("off", False)
    draw(shown, (1, 2, 2), TUMOUR)
    shown.session.undo()
    shown.session.undo()
    assert (refinement.state, refinement._quiet.isActive()) == ("ready", True)


def draw(bench, voxel, code):
    strokes = bench.session.recorder.snapshot().copy()
    strokes[voxel] = code
    bench.session.recorder.add(strokes, "hand")


def test_earlier_versions_refuse_a_case_that_lost_a_class(shown, opened):
    folder = opened.case.folder
    assert read_card(folder).format == CORRECTED
    shown.session.remove_class(NODE)
    shown.session.corrections.write(np.array([0]), np.array([1]))
    assert read_card(folder).format == RECLASSED
    looker = open_case(folder, read_only=True)  # as the worker
    assert looker.class_names == ["Tumour", "Oedema"]
    shown.session.undo()
    shown.session.undo()
    assert looker.class_names == ["Tumour", "Oedema"]  # those of the codes that it has read
    looker.journal.catch_up()
    assert looker.class_names == BEFORE[0]
    looker.close()
