"""Places to look at: found, ranked, and the same twice. Doubt worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cmfnet_napari.core.contours.doubt import from_percent, to_percent, uncertainty
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.review.places import LEAST_ML, MOST_PLACES, find_places

GRID = Grid((20, 60, 50), (3.0, 1.0, 1.2))
VOXEL = 3.6  # mm³
LARGE, SMALL, FAR = np.s_[5:9, 10:22, 8:18], np.s_[5:9, 40:48, 30:36], np.s_[14:17, 12:20, 34:42]

MEDIUM = np.s_[5:9, 40:49, 28:38]


def volumes(**boxes):
    """Labels, probability and disagreement, with (probability, disagreement) in boxes."""
    labels = np.zeros(GRID.shape, np.uint8)
    probability, apart = np.zeros((2, *GRID.shape), np.float32)
    for name, (p, d) in boxes.items():
        probability[globals()[name]], apart[globals()[name]] = p, d
    return labels, probability, apart


def inside(voxel, box):
    return all(s.start <= v < s.stop for v, s in zip(voxel, box, strict=True))


def test_uncertainty_is_one_where_either_is_as_likely():
    p = np.array([0.0, 0.25, 0.5, 0.9, 1.0, 1.2])
    np.testing.assert_allclose(uncertainty(p), [0, 0.75, 1, 0.36, 0, 0], atol=1e-6)


def test_percent_there_and_back():
    share = np.array([0.0, 0.004, 0.006, 0.5, 1.0, 1.7], np.float32)
    assert to_percent(share).tolist() == [0, 0, 1, 50, 100, 100]
    np.testing.assert_allclose(from_percent(to_percent(share)), np.clip(share, 0, 1), atol=0.0051)


def test_places_are_ranked_by_uncertainty_disagreement_and_size():
    labels, p, d = volumes(LARGE=(0.5, 0.4), SMALL=(0.5, 0.9), FAR=(0.4, 0.3))
    places = find_places(labels, p, GRID, d)
    assert [any(inside(one.voxel, box) for box in (LARGE, SMALL, FAR)) for one in places]
    # size × disagreement × uncertainty, mm³: 480 · 0.4 > 192 · 0.9 > 192 · 0.3 · 0.96
    assert [inside(one.voxel, b) for one, b in zip(places, (LARGE, SMALL, FAR), strict=True)] == [
        True,
        True,
        True,
    ]
    for one in places:
        expected = one.uncertainty * one.disagreement * 1000 * one.volume_ml
        assert one.score == pytest.approx(expected)
    assert places[0].score > places[1].score > places[2].score


def test_means_and_size_of_a_place_by_hand():
    labels, p, d = volumes(LARGE=(0.5, 0.5))
    (place,) = find_places(labels, p, GRID, d)
    box = np.s_[4:10, 7:25, 5:21]  # smoothing carries it over the border by 3 mm at most
    assert all(b.start <= s.start and s.stop <= b.stop for s, b in zip(place.box, box, strict=True))
    assert place.volume_ml == pytest.approx(4 * 12 * 10 * VOXEL / 1000, rel=0.5)
    assert 0.6 < place.uncertainty <= 1
    assert place.disagreement == pytest.approx(place.uncertainty / 2, rel=1e-5)
    assert place.where == "outside"


def test_where_a_place_lies():
    labels, p, d = volumes(LARGE=(0.5, 0.5))
    labels[3:11, 5:30, 3:24] = 1
    assert find_places(labels, p, GRID, d)[0].where == "inside"
    labels[:, :16] = 0
    assert find_places(labels, p, GRID, d)[0].where == "border"


def test_runs_without_disagreement_are_ranked_by_uncertainty_and_size():
    labels, p, _ = volumes(LARGE=(0.5, 0), MEDIUM=(0.5, 0))
    places = find_places(labels, p, GRID)
    assert [inside(one.voxel, b) for one, b in zip(places, (LARGE, MEDIUM), strict=True)] == [
        True,
        True,
    ]
    assert {one.disagreement for one in places} == {None}


def test_where_the_branches_agree_uncertainty_alone_ranks():
    labels, p, agreeing = volumes(LARGE=(0.5, 0.02))
    (place,) = find_places(labels, p, GRID, agreeing)
    assert place.disagreement is None
    assert [place] == find_places(labels, p, GRID)


def test_the_thin_shell_around_a_sure_contour_is_no_place():
    z, y, x = np.indices(GRID.shape)
    away = np.sqrt((3 * (z - 10)) ** 2 + (y - 30.0) ** 2 + (1.2 * (x - 25)) ** 2)
    p = 1 / (1 + np.exp(2.0 * (away - 15)))  # from 0.98 to 0.02 within 4 mm
    assert find_places((p > 0.5).astype(np.uint8), p, GRID, np.full(p.shape, 0.15)) == []


def test_a_long_doubtful_region_becomes_several_places_in_reach():
    labels, p, d = volumes()
    band = np.s_[8:12, 2:58, 20:28]
    rng = np.random.default_rng(0)
    p[band] = 0.5
    d[band] = 0.3 + 0.1 * rng.random(d[band].shape)
    places = find_places(labels, p, GRID, d)
    assert len(places) >= 2
    centres = np.array([one.voxel for one in places]) * GRID.spacing
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    assert apart[apart > 0].min() >= 12.0


def test_most_places_least_size_and_nothing():
    labels, p, d = volumes()
    assert find_places(labels, p, GRID, d) == []
    for y in range(3, 60, 14):
        for x in range(3, 50, 12):
            for z in range(2, 20, 5):
                p[z : z + 2, y : y + 4, x : x + 4], d[z : z + 2, y : y + 4, x : x + 4] = 0.5, 0.9
    places = find_places(labels, p, GRID, d)
    assert len(places) == MOST_PLACES
    assert all(one.volume_ml >= LEAST_ML for one in places)
    assert places == find_places(labels.copy(), p.copy(), GRID, d.copy())
    assert len(find_places(labels, p, GRID, d, most=3)) == 3
