"""Slices looked at and places corrected, with all controllers at work but no window."""

from __future__ import annotations

import numpy as np
import pytest

from tests.gui_logic.stand_ins import come, patient

SHAPE = (12, 20, 16)
INSIDE, OUTSIDE = np.s_[4:7, 8:13, 6:10], np.s_[8:11, 2:6, 11:15]


@pytest.fixture
def doubtful(bench):
    """A prediction that left two places to look at."""
    come(bench.session, lambda: patient(shape=SHAPE, spacing=(3.0, 0.9, 1.1)))
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:8, 8:14, 6:11] = labels[1:3, 1:4, 1:4] = 1
    probability, apart = 0.8 * labels.astype(np.float32), np.zeros(SHAPE, np.float32)
    for box, share in ((INSIDE, 0.8), (OUTSIDE, 0.6)):
        probability[box], apart[box] = 0.5, share
    bench.result._show(labels, (1, 2), probability, apart)
    assert len(bench.review.places) == 2
    return bench


def strokes_in(box, code=1):
    out = np.zeros(SHAPE, np.uint8)
    out[box] = code
    return out


def look(bench, plane, voxel, stays=True):
    """Go to a slice, and look at it until it counts or only fly by."""
    bench.planes.show(plane)
    bench.navigation.go_to_voxel(voxel)
    if stays:
        bench.seen_slices._timer.fire()


def test_slices_that_fly_by_or_have_no_contour_in_sight_do_not_count(doubtful):
    review = doubtful.review
    assert review.coverage("axial")[1] == 6  # 1, 2 of the small box; 4 to 7
    look(doubtful, "axial", (4, 10, 8))
    before = set(review.unseen("axial"))
    assert 4 not in before
    for z in (5, 6, 7):  # scrolling through
        look(doubtful, "axial", (z, 10, 8), stays=False)
    look(doubtful, "axial", (11, 10, 8))  # no contour there
    assert set(review.unseen("axial")) == before
    doubtful.result.prediction.visible = False
    look(doubtful, "axial", (6, 10, 8))
    assert set(review.unseen("axial")) == before
    doubtful.result.prediction.visible = True
    look(doubtful, "axial", (5, 10, 8))
    look(doubtful, "axial", (6, 10, 8))
    assert set(review.unseen("axial")) == before - {5, 6}
    look(doubtful, "coronal", (5, 9, 8))
    assert review.coverage("coronal")[0] == 1


def test_only_a_stroke_by_hand_near_the_place_corrects_it(doubtful):
    session, review = doubtful.session, doubtful.review
    inside, outside = review.places
    near_inside, near_outside = np.s_[5, 9, 7:9], np.s_[8, 8, 12:14]  # 2.7 mm before its border
    review.go_to(inside)
    review.correct()
    session.recorder.add(strokes_in(np.s_[0, 0, 0:2]), "hand")  # far away
    session.recorder.add(strokes_in(np.s_[5, 10, 7:9]), "auto-background")
    session.undo()
    assert review.state(inside) == "open"
    review.go_to(outside)  # and not to be corrected any more
    session.recorder.add(strokes_in(near_inside), "hand")
    assert review.state(inside) == "open"
    review.correct()
    session.recorder.add(strokes_in(near_outside), "hand")
    assert [review.state(place) for place in (inside, outside)] == ["open", "corrected"]


def test_what_is_looked_at_without_the_hands_changes_was_not_looked_at(doubtful):
    """What is signed is the contour of record; the model's own hides what the hand has changed."""
    review, result = doubtful.review, doubtful.result
    before = set(review.unseen("axial"))
    result.show_own(True)
    for z in sorted(before):
        look(doubtful, "axial", (z, 10, 8))
    assert set(review.unseen("axial")) == before
    result.show_own(False)
    doubtful.seen_slices._timer.fire()  # the one on the screen counts from now on
    assert before - set(review.unseen("axial")) == {max(before)}
