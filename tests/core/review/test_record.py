"""What was looked at and decided, as long as the contour is the same."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.review.places import Place
from cmfnet_napari.core.review.record import (
    REVIEW_FILE,
    Record,
    digest,
    read_record,
    slice_digests,
    write_record,
)

GRID = Grid((8, 12, 10), (3.0, 1.0, 1.2))


@pytest.fixture
def labels():
    array = np.zeros(GRID.shape, np.uint8)
    array[2:6, 3:8, 4:9] = 1
    return array


def place(voxel=(4, 6, 5), box=np.s_[3:6, 4:9, 3:8]):
    return Place(voxel, box, 0.1, 0.9, 0.3, "border", 27.0)


def test_every_slice_with_contour_has_a_digest(labels):
    found = slice_digests(labels)
    assert {plane: sorted(slices) for plane, slices in found.items()} == {
        "axial": [2, 3, 4, 5],
        "coronal": [3, 4, 5, 6, 7],
        "sagittal": [4, 5, 6, 7, 8],
    }
    assert slice_digests(np.zeros_like(labels)) == {"axial": {}, "coronal": {}, "sagittal": {}}


def test_a_slice_counts_until_its_own_contour_changes(labels):
    record = Record()
    for index in (2, 3, 4):
        record = record.with_seen("axial", index, slice_digests(labels)["axial"][index])
    assert record.seen_slices("axial", slice_digests(labels)) == {2, 3, 4}
    assert record.seen_slices("coronal", slice_digests(labels)) == set()
    changed = labels.copy()
    changed[3, 2, 4] = 1  # also changes where the contour's box begins
    changed[7, 0, 0] = 1
    assert record.seen_slices("axial", slice_digests(changed)) == {2, 4}
    assert record.seen_slices("axial", slice_digests(labels)) == {2, 3, 4}  # as after an undo
    moved = np.roll(labels, 1, axis=2)
    assert record.seen_slices("axial", slice_digests(moved)) == set()
    other_class = labels.copy()
    other_class[2][other_class[2] > 0] = 2
    assert record.seen_slices("axial", slice_digests(other_class)) == {3, 4}


def test_a_decision_counts_until_the_contour_around_it_changes(labels):
    record = Record().with_decision(place(), "accepted", labels, GRID)
    assert record.state_of(place(), labels, GRID) == "accepted"
    far = labels.copy()
    far[2, 3, 4] = 0
    assert record.state_of(place(), far, GRID) == "accepted"
    near = labels.copy()
    near[4, 4, 4] = 0
    assert record.state_of(place(), near, GRID) == "open"


def test_the_same_place_of_another_prediction_is_told_from_its_neighbour(labels):
    record = Record().with_decision(place(), "dismissed", labels, GRID)
    beside = place((3, 8, 5))  # 3.6 mm away
    assert record.state_of(beside, labels, GRID) == "dismissed"
    neighbour = place((6, 7, 5))  # 6.1 mm away, and 9.1 mm, though both boxes overlap
    assert record.state_of(neighbour, labels, GRID) == "open"
    both = record.with_decision(neighbour, "accepted", labels, GRID)
    assert both.state_of(place(), labels, GRID) == "dismissed"
    assert [one.state for one in both.decisions] == ["dismissed", "accepted"]
    changed = both.with_decision(beside, "corrected", labels, GRID)
    assert [one.state for one in changed.decisions] == ["accepted", "corrected"]
    assert both.without_decision(place(), GRID).state_of(place(), labels, GRID) == "open"


def test_it_comes_back_from_disk(labels, tmp_path):
    assert read_record(tmp_path) == Record()
    record = Record().bound_to("runs/0001-quick", digest(labels))
    record = record.with_seen("sagittal", 5, slice_digests(labels)["sagittal"][5])
    record = record.with_decision(place(), "corrected", labels, GRID)
    write_record(record, tmp_path)
    again = read_record(tmp_path)
    assert again == record
    assert again.decisions[0].run == "runs/0001-quick"
    assert again.decisions[0].box == place().box
    assert again.seen_slices("sagittal", slice_digests(labels)) == {5}


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"seen": {"axial": {"3": "../../etc"}}},
        {"seen": {"oblique": {}}},
        {"seen": {"axial": {"-1": "0" * 16}}},
        {"decisions": [{"voxel": [0, 0]}]},
    ],
)
def test_a_damaged_file_is_refused(change, tmp_path):
    values = Record().model_dump(mode="json") | change
    (tmp_path / REVIEW_FILE).write_text(json.dumps(values))
    with pytest.raises(UserError, match="review of this case"):
        read_record(tmp_path)


def test_a_file_that_is_no_json_is_refused(tmp_path):
    (tmp_path / REVIEW_FILE).write_text("{")
    with pytest.raises(UserError, match="damaged"):
        read_record(tmp_path)
