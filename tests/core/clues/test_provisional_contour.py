"""The provisional contour on made-up patients, and its fronts against an independent search."""

from __future__ import annotations

import numpy as np
import pytest

from cmfnet_napari.core.clues.provisional_contour import march, provisional_contour
from cmfnet_napari.core.clues.race import EDGE_MM, edge_strength, race
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.images.volume import Volume

SPACING = (3.0, 1.0, 1.25)
SHAPE = (20, 60, 64)


def ball(centre, radius_mm):
    offset = [(i - c) * s for i, c, s in zip(np.indices(SHAPE), centre, SPACING, strict=True)]
    return np.sqrt(sum(o**2 for o in offset)) <= radius_mm


@pytest.fixture(scope="module")
def study():
    """A body in air with two tumours; only the MR shows the second, only the CT the first."""
    rng = np.random.default_rng(4)
    body = np.zeros(SHAPE, bool)
    body[:, 6:54, 6:58] = True
    ct = np.where(body, 40 + 60 * ball((7, 24, 20), 11), -1000) + rng.normal(0, 8, SHAPE)
    mr = np.where(body, 200 + 150 * ball((12, 36, 42), 10), 0) + rng.normal(0, 10, SHAPE)
    grid = Grid(SHAPE, SPACING)
    fov = np.ones(SHAPE, bool)
    images = Volume(ct, grid, "CT"), Volume(mr.astype(np.float32), grid, "MR")
    return Study(*images, fov, grid)


@pytest.fixture(scope="module")
def scribbles():
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[7, 22:27, 18:23] = 2
    strokes[12, 34:39, 40:45] = 3
    strokes[10, 30, 8:56] = 1
    strokes[7, 40:44, 10:30] = strokes[12, 16:20, 34:52] = 1
    strokes[2, 20:28, 20] = strokes[17, 30:40, 42] = 1
    return strokes


def dsc(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def whole(found):
    labels = np.zeros(SHAPE, np.uint8)
    labels[found.region] = found.labels
    return labels


def test_two_classes_seen_by_ct_and_by_mr(study, scribbles):
    labels = whole(provisional_contour(study, scribbles))
    assert set(np.unique(labels)) == {0, 1, 2}
    assert dsc(labels == 1, ball((7, 24, 20), 11)) > 0.85
    assert dsc(labels == 2, ball((12, 36, 42), 10)) > 0.85
    for code in (1, 2, 3):
        assert (labels[scribbles == code] == code - 1).mean() > 0.95


def test_limits_of_the_mr_that_are_known_change_nothing(study, scribbles):
    limits = ((-160.0, 240.0), tuple(np.percentile(study.second.array, (1, 99))))
    np.testing.assert_array_equal(
        whole(provisional_contour(study, scribbles)),
        whole(provisional_contour(study, scribbles, limits)),
    )


def test_coarser_voxels_give_nearly_the_same(study, scribbles):
    labels = whole(provisional_contour(study, scribbles, most_voxels=8000))
    assert dsc(labels == 1, ball((7, 24, 20), 11)) > 0.8
    assert dsc(labels == 2, ball((12, 36, 42), 10)) > 0.8


def test_ct_alone_and_air_as_the_only_background(study, scribbles):
    """All that is known: the tumour is here, and air is not tumour."""
    alone = Study(study.first, None, None, study.grid)
    only = np.where(scribbles == 2, scribbles, 0).astype(np.uint8)
    labels = whole(provisional_contour(alone, only))
    assert (labels[ball((7, 24, 20), 10)] == 1).all()
    assert not labels[~study.body].any()


def test_background_may_be_drawn_far_from_something_large():
    """And one more correct stroke, which is near, does not cut the contour off around it."""
    grid = Grid((20, 60, 64), (10.0, 3.0, 3.0))
    rng = np.random.default_rng(0)
    organ = np.zeros(grid.shape, bool)
    organ[4:16, 15:45, 15:50] = True
    ct = Volume(np.where(organ, 90, 10) + rng.normal(0, 4, grid.shape), grid, "CT")
    strokes = np.zeros(grid.shape, np.uint8)
    strokes[10, 28:32, 30:34] = 2
    strokes[10, 5, 10:54] = strokes[10, 54, 10:54] = strokes[1, 28, 20:44] = 1  # 60 mm and more
    strokes[18, 28, 20:44] = strokes[10, 10:50, 5] = strokes[10, 10:50, 59] = 1
    study = Study(ct, None, None, grid)
    first = dsc(whole(provisional_contour(study, strokes)) == 1, organ)
    assert first > 0.85
    organ[4:9] = False  # the organ ends near its strokes below
    ct.array[4:9] = rng.normal(10, 4, ct.array[4:9].shape)
    strokes[8, 28:32, 30:34] = 1  # 20 mm below
    assert dsc(whole(provisional_contour(study, strokes)) == 1, organ) > 0.8


def test_nothing_to_tell(study, scribbles):
    assert provisional_contour(study, np.zeros(SHAPE, np.uint8)) is None
    assert provisional_contour(study, np.where(scribbles == 1, 1, 0).astype(np.uint8)) is None
    filled = Volume(np.full(SHAPE, 40.0), study.grid, "CT")
    no_air = Study(filled, None, None, study.grid)
    assert provisional_contour(no_air, np.where(scribbles == 2, 2, 0).astype(np.uint8)) is None


def test_fronts_are_distances_where_nothing_is_in_the_way():
    starts = np.zeros(SHAPE, bool)
    starts[8:11, 30, 30] = True
    costs = march(np.full(SHAPE, 2.0), starts, SPACING)
    z, y, x = np.indices(SHAPE)
    away = np.abs(z - 9) - 1
    distance = np.sqrt((np.maximum(away, 0) * 3.0) ** 2 + (y - 30.0) ** 2 + ((x - 30) * 1.25) ** 2)
    far = distance > 12  # close to a point the scheme of first order is coarser
    np.testing.assert_allclose(costs[far], 2 * distance[far], rtol=0.15)
    assert (costs[starts] == 0).all()
    assert np.isfinite(march(np.ones(SHAPE), np.zeros(SHAPE, bool), SPACING)).all()


def test_fronts_go_around_as_the_race_does():
    """A wall with a gap: the same winner nearly everywhere as by paths from voxel to voxel."""
    image = np.zeros(SHAPE)
    image[:, 30, :50] = 1.0
    targets = np.full(SHAPE, 255)
    targets[10, 20, 10], targets[10, 40, 50] = 1, 0
    cost = 1 + EDGE_MM * edge_strength([image], SPACING)
    ours = [march(cost, targets == code, SPACING) for code in (0, 1)]
    theirs = race([image], targets, 2, SPACING)
    assert ((ours[0] < ours[1]) == (theirs[0] < theirs[1])).mean() > 0.95
