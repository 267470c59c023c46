"""Places, decisions and slices looked at, as review.json keeps them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.review.places import Place
from cmfnet_napari.core.review.record import REVIEW_FILE
from cmfnet_napari.core.strokes.entries import Stroke
from cmfnet_napari.gui.review import review as module
from cmfnet_napari.gui.review.review import Review
from tests.gui_logic.stand_ins import SHAPE, StandInResult


def place(z, y, x):
    box = tuple(slice(i, i + 1) for i in (z, y, x))
    return Place((z, y, x), box, 0.2, 0.9, 0.8, "border", 1.0)


NEAR, FAR = place(0, 1, 1), place(3, 4, 3)


class Recorder(QObject):
    recorded = Signal(object)


class Watcher(QObject):
    looked_at = Signal(str, int)
    looked = 0

    def look_again(self):
        self.looked += 1


class Navigation:
    def __init__(self):
        self.went = []

    def look_at(self, voxel):
        self.went.append(voxel)

    def go_to_slice(self, axis, index):
        self.went.append((axis, index))


@pytest.fixture
def review(session, background, said, monkeypatch):
    monkeypatch.setattr(module, "find_places", lambda *_: [NEAR, FAR])
    session.recorder = Recorder()
    session.scribbles = SimpleNamespace(selected_label=2)
    session.chosen = []
    session.select_class = session.chosen.append
    review = Review(session, StandInResult(), Navigation(), Watcher())
    session.open()
    return review


def predict(review, labels=None, updating=False):
    result = review._result
    result.labels = np.zeros(SHAPE, np.uint8) if labels is None else labels
    if labels is None:
        result.labels[:, 1:5, 1:4] = 1
    result.probability = SimpleNamespace(data=None)
    result.run, result.updating = "runs/0001-quick", updating
    result.changed.emit({"Tumour": 1.0})


@pytest.fixture
def doubtful(review):
    predict(review)
    return review


def kept(session):
    return json.loads((session.folder / REVIEW_FILE).read_text())


def test_n_goes_round_the_open_places(doubtful, said):
    doubtful.next_place()
    doubtful.next_place()
    doubtful.next_place()
    assert doubtful._navigation.went == [NEAR.voxel, FAR.voxel, NEAR.voxel]
    doubtful.decide("accepted")
    doubtful.next_place()
    assert doubtful.current == FAR
    doubtful.decide("dismissed")
    doubtful.next_place()
    assert said == ["You have decided about every place."]
    assert doubtful.open_places == 0


def test_without_places_there_is_nowhere_to_go(review, said):
    review.next_place()
    assert said == ["There is no place to look at."]
    with pytest.raises(UserError, match="Choose a place"):
        review.decide("accepted")


def test_the_same_decision_again_opens_the_place(doubtful):
    doubtful.go_to(NEAR)
    doubtful.decide("accepted")
    assert doubtful.state(NEAR) == "accepted"
    doubtful.decide("dismissed")
    assert doubtful.state(NEAR) == "dismissed"
    doubtful.decide("dismissed")
    assert doubtful.state(NEAR) == "open"


def test_nothing_is_decided_about_a_contour_that_is_not_on_the_screen(doubtful):
    doubtful.go_to(NEAR)
    doubtful._result.own = True
    with pytest.raises(UserError, match="The model's own contour is shown"):
        doubtful.decide("accepted")
    assert doubtful.state(NEAR) == "open"


def test_a_case_for_looking_takes_no_decision(doubtful, session):
    session.case.read_only = True
    doubtful.go_to(NEAR)
    for act in (lambda: doubtful.decide("accepted"), doubtful.correct):
        with pytest.raises(UserError, match="Another window"):
            act()
    doubtful.keep()
    assert not (session.folder / REVIEW_FILE).exists()


@pytest.mark.parametrize(
    ("voxel", "source", "state"),
    [((0, 1, 1), "hand", "corrected"), ((0, 1, 1), "import", "open"), ((3, 5, 4), "hand", "open")],
)
def test_a_place_counts_as_corrected_with_the_first_stroke_there(
    doubtful, session, heard, voxel, source, state, monkeypatch
):
    monkeypatch.setattr(module, "_NEAR_MM", 1.0)
    heard.listen(doubtful, "correcting")
    doubtful.go_to(NEAR)
    doubtful.correct()
    assert (heard, session.chosen) == ([("correcting",)], [2])
    at = np.array([np.ravel_multi_index(voxel, SHAPE)])
    session.recorder.recorded.emit(Stroke(at, np.zeros(1, np.uint8), np.ones(1, np.uint8), source))
    assert doubtful.state(NEAR) == state


def test_who_goes_elsewhere_corrects_no_more(doubtful, session):
    doubtful.go_to(NEAR)
    doubtful.correct()
    doubtful.go_to(FAR)
    at = np.array([np.ravel_multi_index((0, 1, 1), SHAPE)])
    session.recorder.recorded.emit(Stroke(at, np.zeros(1, np.uint8), np.ones(1, np.uint8), "hand"))
    assert doubtful.state(NEAR) == "open"


def test_slices_count_while_their_contour_is_the_same(doubtful):
    for z in range(SHAPE[0]):
        doubtful.seen_slices.looked_at.emit("axial", z)
    assert doubtful.coverage("axial") == (4, 4)
    assert doubtful.unseen("axial") == []
    assert not doubtful.complete  # places are open
    labels = doubtful._result.labels.copy()
    labels[2, 1, 1] = 0
    predict(doubtful, labels)
    assert doubtful.unseen("axial") == [2]
    doubtful.seen_slices.looked_at.emit("axial", 2)
    for one in (NEAR, FAR):
        doubtful.go_to(one)
        doubtful.decide("accepted")
    assert doubtful.complete


def test_places_stay_while_a_contour_is_being_updated(doubtful, monkeypatch):
    monkeypatch.setattr(module, "find_places", lambda *_: [])
    predict(doubtful, updating=True)
    assert doubtful.places == [NEAR, FAR]
    predict(doubtful)
    assert doubtful.places == []


def test_a_contour_that_was_replaced_meanwhile_is_not_judged(review, background):
    background.held = True
    predict(review)
    review._result.labels = np.ones(SHAPE, np.uint8)
    background.catch_up()
    assert review.places == []


def test_it_is_written_when_the_user_rests_and_when_the_patient_is_left(doubtful, session):
    doubtful.go_to(NEAR)
    doubtful.decide("accepted")
    assert not (session.folder / REVIEW_FILE).exists()
    doubtful._keeping.fire()
    assert [one["state"] for one in kept(session)["decisions"]] == ["accepted"]
    doubtful.decide("accepted")
    doubtful.close()
    assert kept(session)["decisions"] == []
    assert (doubtful.places, doubtful.current, doubtful.record.decisions) == ([], None, ())


def test_it_comes_back_with_the_patient_and_starts_anew_when_damaged(doubtful, session, said):
    doubtful.go_to(NEAR)
    doubtful.decide("accepted")
    doubtful.close()
    session.opened.emit()
    predict(doubtful)
    assert doubtful.state(NEAR) == "accepted"
    (session.folder / REVIEW_FILE).write_text('{"format": 1, "decisions": 7}')
    session.opened.emit()
    assert "It starts anew." in said[-1]
    assert doubtful.state(NEAR) == "open"


def test_a_slice_is_gone_to_by_its_plane(doubtful):
    doubtful.go_to_slice("coronal", 3)
    doubtful.go_to_slice("axial", 2)
    assert doubtful._navigation.went == [(1, 3), (0, 2)]
