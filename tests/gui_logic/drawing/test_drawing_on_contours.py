"""The tools act on the layer that is selected: the strokes, or a contour, whose edits stand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)
from wrapt import ObjectProxy

from cmfnet_napari.gui.drawing.edits import EDITS, Wish
from cmfnet_napari.gui.drawing.reshaping import BODY
from cmfnet_napari.gui.patient.classes import add_class
from cmfnet_napari.gui.patient.contour_recorder import OWN_SHOWN
from tests.case_runs import write_run
from tests.gui_logic.stand_ins import come, patient

SHAPE = (7, 12, 11)
SPACING = (3.0, 1.0, 1.0)
ML = 0.003
BOX = np.s_[2:5, 3:8, 3:8]


def box(where=BOX, code=1):
    labels = np.zeros(SHAPE, np.uint8)
    labels[where] = code
    return labels


@pytest.fixture
def shown(bench):
    """A window that shows the contour of an earlier training, and draws on it."""
    one = patient(value=-400, shape=SHAPE, spacing=SPACING)
    write_run(one.case, box())
    come(bench.session, lambda: one)
    bench.drawing.draw_on(True)
    bench.brush.set_size(1.0)
    return bench


def drag(layer, *places, meanwhile=lambda: None):
    """Mouse events of napari, over voxels of an axial plane; something else happens before each."""
    for kind, callbacks, place in (
        ("mouse_press", mouse_press_callbacks, places[0]),
        *(("mouse_move", mouse_move_callbacks, place) for place in places[1:]),
        ("mouse_release", mouse_release_callbacks, places[-1]),
    ):
        event = SimpleNamespace(
            type=kind,
            button=1,
            is_dragging=kind == "mouse_move",
            position=layer.data_to_world(place),
            dims_displayed=[1, 2],
            modifiers=(),
        )
        meanwhile()
        callbacks(layer, ObjectProxy(event))


def record(bench):
    """The contour of record, which layer and figures agree with."""
    bench.result._soon.fire()
    labels = bench.result.shown()
    np.testing.assert_array_equal(bench.result.prediction.data, labels)
    assert bench.result.volumes["Tumour"] == pytest.approx(ML * np.count_nonzero(labels == 1))
    return labels


def stands_and_is_one_step(bench, expected):
    """The edit is there, as one entry, and Ctrl+Z and its return lead back and forth."""
    journal = bench.session.case.journal
    assert len(list(journal.standing_corrections())) == 1
    np.testing.assert_array_equal(record(bench), expected)
    bench.session.undo()
    np.testing.assert_array_equal(record(bench), box())
    bench.session.redo()
    np.testing.assert_array_equal(record(bench), expected)


def test_what_is_drawn_on_is_what_is_selected(shown, said):
    session, drawing = shown.session, shown.drawing
    contour, strokes = shown.result.prediction, session.scribbles
    assert session.hand.layer == contour
    assert (drawing.on_contour, contour.mode) == (True, "paint")
    drawing.set_mode("erase")
    drawing.swap()
    assert (session.hand.layer, strokes.mode) == (strokes, "erase")
    session.viewer.layers.selection.active = session.viewer.layers["CT"]
    assert session.hand.layer == strokes
    session.viewer.layers.selection.active = contour  # clicked in napari's list
    session.select_class(1)
    assert (contour.selected_label, strokes.selected_label, contour.mode) == (0, 1, "paint")
    session.select_class(3)
    assert (contour.selected_label, strokes.selected_label) == (2, 3)
    strokes.selected_label = 2  # napari's own field
    strokes.preserve_labels, contour.n_edit_dimensions = True, 3
    assert (contour.selected_label, contour.preserve_labels) == (1, True)
    assert strokes.n_edit_dimensions == 3
    shown.result.show_own(True)
    drawing.set_mode("paint")
    assert said == [OWN_SHOWN]


def test_without_a_contour_there_is_none_to_draw_on(bench, said):
    come(bench.session, patient)
    bench.drawing.draw_on(True)
    assert not bench.drawing.on_contour
    assert [text.count("no contour to draw on") for text in said] == [1]


@pytest.mark.parametrize(
    ("tool", "mode", "places", "changed", "code"),
    [
        ("free", "paint", ((3, 9, 2), (3, 9, 5)), np.s_[3, 9, 2:6], 1),
        ("straight", "erase", ((3, 4, 3), (3, 4, 6)), np.s_[3, 4, 3:7], 0),
        ("lasso", "erase", ((3, 3, 3), (3, 3, 5), (3, 5, 5), (3, 5, 3)), np.s_[3, 3:6, 3:6], 0),
        ("nudge", "paint", ((3, 5, 7), (3, 5, 9)), np.s_[3, 5, 7:10], 1),
        ("nudge", "paint", ((3, 5, 9), (3, 5, 6)), np.s_[3, 5, 6:10], 0),
        ("nudge", "erase", ((3, 5, 7), (3, 5, 9)), np.s_[3, 5, 7:10], 1),
        ("island", "paint", ((4, 5, 5),), BOX, 0),
    ],
)
def test_every_tool_of_the_mouse_edits_the_contour(shown, tool, mode, places, changed, code):
    shown.drawing.choose(tool)
    shown.drawing.set_mode(mode)
    drag(shown.result.prediction, *places)
    expected = box()
    expected[changed] = code
    stands_and_is_one_step(shown, expected)


def test_a_tool_on_the_strokes_leaves_the_contour_alone(shown):
    shown.drawing.draw_on(False)
    shown.drawing.choose("nudge")
    drag(shown.session.scribbles, (3, 9, 2), (3, 9, 5))  # there is none inside yet: nothing
    shown.drawing.choose("free")
    drag(shown.session.scribbles, (3, 9, 2), (3, 9, 5))
    shown.drawing.choose("nudge")
    drag(shown.session.scribbles, (3, 9, 5), (3, 9, 8))
    expected = np.zeros(SHAPE, np.uint8)
    expected[3, 9, 2:9] = 2
    np.testing.assert_array_equal(shown.session.scribbles.data, expected)
    np.testing.assert_array_equal(record(shown), box())


def test_painting_is_kept_to_a_range_of_values(shown):
    """The CT of the stand-in counts its voxels: those from 445 to 448 are four in a row."""
    ct = shown.session.case.study.first.array
    first = int(ct[3, 9, 2])
    shown.drawing.keep_within("CT", first + 1, first + 2)
    shown.drawing.choose("free")
    drag(shown.result.prediction, (3, 9, 2), (3, 9, 5))
    expected = box()
    expected[3, 9, 3:5] = 1
    stands_and_is_one_step(shown, expected)
    shown.drawing.keep_within("MR", 0, 1)  # there is none
    assert shown.brush.within is None


def test_a_layer_of_another_view_draws_on_the_same_contour(shown):
    from napari.layers import Labels

    contour = shown.result.prediction
    linked = Labels(contour.data, scale=contour.scale, translate=contour.translate)
    shown.session.shown_again.emit(contour, linked)
    linked.mode = "erase"
    drag(linked, (3, 4, 3), (3, 4, 6))
    expected = box()
    expected[3, 4, 3:7] = 0
    stands_and_is_one_step(shown, expected)
    pens = len(shown.drawing._pens)
    shown.result._let_go()
    assert len(shown.drawing._pens) == pens - 2


@pytest.mark.parametrize("on_contour", [True, False])
def test_a_stroke_stays_one_whoever_looks_at_it_while_it_is_drawn(shown, on_contour):
    """Figures are measured a moment after the stroke before: that cut the next one in two."""
    shown.drawing.draw_on(on_contour)
    recorder, journal = shown.session.hand, shown.session.case.journal
    places = (3, 9, 2), (3, 9, 3), (3, 9, 5)

    def look():
        recorder.snapshot()
        shown.result.shown()

    drag(recorder.layer, *places, meanwhile=look)
    assert journal.last_id() == 1
    assert recorder.snapshot()[3, 9, 2:6].all()


# --- edits of a whole structure


@pytest.fixture
def answers(shown):
    """What was proposed or refused."""
    heard = []
    shown.reshaping.proposed.connect(heard.append)
    shown.reshaping.refused.connect(heard.append)
    return heard


def do(bench, edit, **wish):
    bench.reshaping.propose(Wish(edit, **wish))
    bench.reshaping.apply()


def wider(by, where=BOX, code=1):
    grown = [slice(s.start - n, s.stop + n) for s, n in zip(where, by, strict=True)]
    return box(tuple(grown), code)


def test_an_edit_is_seen_before_it_is_done(shown, answers):
    shown.reshaping.propose(Wish("grow", sides=((0, 3), (0, 0), (0, 0))))
    (proposal,) = answers
    assert (proposal.change.added, proposal.change.removed, proposal.slices) == (25, 0, 1)
    preview = shown.reshaping.preview
    assert preview in shown.session.viewer.layers
    assert np.argwhere(preview.data)[0].tolist() == [5, 3, 3]
    np.testing.assert_array_equal(record(shown), box())  # nothing is done yet
    assert shown.session.hand.layer == shown.result.prediction
    shown.reshaping.apply()
    assert preview not in shown.session.viewer.layers
    stands_and_is_one_step(shown, box(np.s_[2:6, 3:8, 3:8]))


@pytest.mark.parametrize(
    ("edit", "wish", "expected"),
    [
        ("grow", {"mm": 1.0}, None),
        ("grow", {"mm": 3.0, "here_only": True}, None),
        ("shrink", {"sides": ((0, 0), (2, 0), (0, 1))}, box(np.s_[2:5, 5:8, 3:7])),
        ("shrink", {"mm": 3.0}, box(np.s_[3:3, 3:3, 3:3])),
        ("intersect", {"other": "half"}, box(np.s_[2:5, 3:8, 3:6])),
        ("subtract", {"other": "half"}, box(np.s_[2:5, 3:8, 6:8])),
        ("subtract", {"other": "half", "mm": 1.0}, box(np.s_[2:5, 3:8, 7:8])),
        ("subtract", {"other": "half", "here_only": True}, "one slice"),
        ("add", {"other": "half"}, "both"),
    ],
)
def test_edits_do_what_they_say(shown, edit, wish, expected):
    from cmfnet_napari.gui.patient.layers import placement

    grid = shown.session.case.study.grid
    half = np.zeros(SHAPE, np.uint8)
    half[:, :, :6] = 1
    shown.session.viewer.add_labels(half, name="half", **placement(grid))
    shown.navigation.go_to_voxel((3, 5, 5))
    shown.drawing.draw_on(True)
    if expected is None:
        z, y, x = np.indices(SHAPE)
        out = [np.maximum(np.maximum(3 - i, i - 7), 0) for i in (y, x)]
        away = np.hypot(*out)
        slices = z == 3 if wish.get("here_only") else (z >= 2) & (z < 5)
        expected = (slices & (away <= wish["mm"]) | (box() > 0)).astype(np.uint8)
    elif isinstance(expected, str):
        expected = np.maximum(box(), half) if expected == "both" else box()
        if edit == "subtract":
            expected[3, 3:8, 3:6] = 0
    do(shown, edit, **wish)
    stands_and_is_one_step(shown, expected)


def test_holes_parts_and_roughness(shown):
    layer = shown.result.prediction
    layer.data_setitem((np.array([3, 2]), np.array([5, 10]), np.array([5, 1])), np.array([0, 1]))
    shown.session.record()
    do(shown, "holes")
    assert record(shown)[3, 5, 5] == 1
    do(shown, "largest")
    np.testing.assert_array_equal(record(shown), box())
    layer.data_setitem((np.array([3]), np.array([8]), np.array([5])), 1)
    shown.session.record()
    do(shown, "smooth", mm=1.0)
    smooth = record(shown)
    assert not smooth[3, 8, 5]
    assert not smooth[3, 3, 3]
    assert smooth[3, 3:8, 5].all()


def test_a_contour_is_drawn_anew_between_slices_painted_by_hand(shown, answers):
    """Two slices are cut to a square by hand; the key asks, and those between follow."""
    asked = []
    shown.reshaping.asked.connect(asked.append)
    write = shown.session.corrections.write
    for z in (2, 4):
        rest = box(np.s_[z, 3:8, 3:8]) > 0
        rest[z, 4:7, 4:7] = False
        write(np.flatnonzero(rest), 0, "hand")
    shown.navigation.go_to_voxel((3, 5, 5))
    shown.drawing.fill_between()
    assert asked == ["between"]
    do(shown, "between")
    np.testing.assert_array_equal(record(shown), box(np.s_[2:5, 4:7, 4:7]))
    assert shown.session.corrections.standing[-1][1].source == "interpolation"
    shown.session.undo()
    assert record(shown)[3, 3, 3] == 1


def test_target_from_tumour_with_a_margin_inside_the_body_and_off_bone(shown):
    """GTV + 2 mm, inside Body, without Bone, becomes the CTV; the GTV stays what it is."""
    from cmfnet_napari.gui.patient.layers import placement

    session, grid = shown.session, shown.session.case.study.grid
    body, bone = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    body[:, :9, :] = 1
    bone[:, :, 8] = 7
    for name, mask in (("Body", body), ("Bone", bone)):
        session.viewer.add_labels(mask, name=name, **placement(grid))
    session.set_classes(add_class(session.case.classes, "CTV"))
    shown.drawing.draw_on(True)
    assert {"Tumour", "CTV", "Body", "Bone", BODY} <= set(shown.reshaping.sources)
    do(shown, "grow", mm=2.0, inside="Body", without="Bone", into=3)
    y, x = np.indices(SHAPE)[1:]
    away = np.hypot(*(np.maximum(np.maximum(3 - i, i - 7), 0) for i in (y, x)))
    near = (away <= 2) & (y < 9) & (x != 8)
    near &= np.isin(np.indices(SHAPE)[0], (2, 3, 4))
    expected = box()
    expected[near & (expected == 0)] = 2
    stands_and_is_one_step(shown, expected)


def test_other_classes_are_kept_if_one_says_so(shown):
    write = shown.session.corrections.write
    write(np.flatnonzero(box(np.s_[3, 3:8, 8])), 2, "hand")
    shown.drawing.protect(True)
    do(shown, "grow", mm=1.0, here_only=False)
    assert (record(shown)[3, 3:8, 8] == 2).all()
    shown.drawing.protect(False)
    do(shown, "grow", mm=1.0)
    assert (record(shown)[3, 3:8, 8] == 1).all()


def test_edits_of_strokes(shown):
    session = shown.session
    strokes = box(np.s_[3, 4:7, 4:7], 2)
    strokes[3, 5, 5] = 0
    session.recorder.add(strokes, "hand")
    shown.drawing.draw_on(False)
    session.select_class(2)
    do(shown, "holes")
    assert session.scribbles.data[3, 5, 5] == 2
    session.undo()
    assert session.scribbles.data[3, 5, 5] == 0
    np.testing.assert_array_equal(record(shown), box())


def test_what_cannot_be_done_is_said_and_nothing_changes(shown, answers, background):
    session, reshaping = shown.session, shown.reshaping
    session.select_class(1)
    reshaping.propose(Wish("smooth", mm=1.0))
    session.select_class(3)
    reshaping.propose(Wish("smooth", mm=1.0))
    session.select_class(2)
    reshaping.propose(Wish("add", other="gone"))
    words = ("Choose a class first", "nothing of this class", "gone is not there any more")
    for text, part in zip(answers, words, strict=True):
        assert part in text
    with pytest.raises(Exception, match="No edit is proposed"):
        reshaping.apply()
    reshaping.propose(Wish("grow", mm=1.0))
    session.corrections.write(np.array([0]), 1, "hand")  # meanwhile
    with pytest.raises(Exception, match="changed meanwhile"):
        reshaping.apply()
    reshaping.apply()  # the new proposal
    assert record(shown)[2, 2, 3] == 1
    background.held = True
    reshaping.propose(Wish("shrink", mm=1.0))
    reshaping.drop()  # cancelled before it was computed
    background.catch_up()
    assert reshaping.preview is None
    shown.result.show_own(True)
    reshaping.propose(Wish("grow", mm=1.0))
    assert answers[-1] == OWN_SHOWN


def test_every_edit_asks_for_what_a_wish_has():
    for edit in EDITS.values():
        assert set(edit.asks) <= set(Wish.__dataclass_fields__)
        assert edit.label
        assert not edit.tip.endswith(".")
