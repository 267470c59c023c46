"""Lessons, and the training of a network for any structure."""

import json

import numpy as np
import pytest
import torch

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.folder_lock import alone
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.material.material_file import Material, Shares, make_material
from cmfnet_napari.learning.model.checkpoint import load_model
from cmfnet_napari.learning.model.nearness import MAPS, Strokes
from cmfnet_napari.learning.pretrain.lesson import PATCH, Lesson, vary
from cmfnet_napari.learning.pretrain.pretraining import Watch, pretrain, pretrain_config


def small_config(steps, **changes):
    return pretrain_config(steps, width=2, batch=1, precision="float32", **changes)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material") / "made"
    make_material(folder, 1, (), Shares(0, 0, 1))
    return folder


def test_a_patch_is_the_same_object_turned(material):
    sample = Material(material)[0]
    for seed in range(5):
        patch = vary(sample, np.random.default_rng(seed))
        assert patch.object.shape == (PATCH,) * 3
        assert 0 < patch.object.sum() <= sample.object.sum()
        assert not patch.second[~patch.seen].any()


def test_a_lesson_shows_strokes_and_teaches_the_object(material):
    lesson = Lesson(Material(material)[0], np.random.default_rng(0))
    batch = lesson.batch()
    assert batch.maps.shape == (1, MAPS, PATCH, PATCH, PATCH)
    np.testing.assert_array_equal(batch.targets[0].numpy() > 0, lesson.object)
    assert batch.maps.min() >= 0
    assert batch.maps.max() <= 1
    assert batch.maps[0, 1].sum() > 0  # strokes of the object
    assert not batch.maps[0, 3:5].any()  # nothing is newest yet


def test_a_lesson_corrects_what_is_wrong_and_ends(material):
    for seed in range(20):
        lesson = Lesson(Material(material)[0], np.random.default_rng(seed))
        empty, strokes = np.zeros((PATCH,) * 3, dtype=bool), 0
        while lesson.correct(empty):
            newest = lesson.batch().maps[0, 3:5]
            assert newest.any()
            strokes += 1
            assert strokes <= 8
        if strokes:
            return
    pytest.fail("no lesson had a correction")


def test_one_more_stroke_costs_what_all_strokes_together_cost():
    """Brute force: races from scratch, with the stroke among the others."""
    rng = np.random.default_rng(0)
    first = rng.random((12, 14, 16)).astype(np.float32)
    second, seen = rng.random(first.shape).astype(np.float32), rng.random(first.shape) > 0.2
    codes = np.full(first.shape, IGNORE, dtype=np.uint8)
    codes[3, 4, 2:9], codes[8, 2:11, 12] = 1, 0
    none = np.zeros(first.shape, dtype=bool)
    begun = Strokes.on(first, second, seen, codes, none)
    for code, row in ((0, 7), (1, 12)):
        stroke = none.copy()
        stroke[5, row, 3:12] = True
        stroke[8, 2:5, 12] |= code == 1  # over background
        more = begun.with_stroke(stroke, code)
        anew = Strokes.on(
            first, second, seen, np.where(stroke, code, codes).astype(np.uint8), stroke
        )
        np.testing.assert_allclose(more.own, anew.own, atol=1e-9)
        np.testing.assert_allclose(more.other, anew.other, atol=1e-9)
        np.testing.assert_array_equal(more.maps(), anew.maps())


def test_the_end_of_the_second_image_is_no_edge():
    flat = np.full((20, 20, 20), 0.5, dtype=np.float32)
    seen = np.ones(flat.shape, dtype=bool)
    seen[:, :, 10:] = False
    codes = np.full(flat.shape, IGNORE, dtype=np.uint8)
    codes[10, 10, 2], codes[10, 10, 18] = 1, 0
    strokes = Strokes.on(flat, np.where(seen, flat, 0), seen, codes, seen & False)
    # ten voxels of 2 mm, and hardly more: an edge of one half would cost 50 mm
    assert strokes.own[10, 10, 12] == pytest.approx(20.0, abs=0.5)


def test_a_training_goes_on_where_it_was_broken_off(material, tmp_path):
    broken, config = tmp_path / "broken", small_config(2)
    calls, told = iter([False, True, True]), []
    watch = Watch(show=lambda _share, note: told.append(note), stop=lambda: next(calls))
    assert pretrain(material, broken, config, watch=watch) is None
    assert (broken / "state.pt").exists()
    with alone(broken), pytest.raises(UserError, match="Another process is writing into broken"):
        pretrain(material, broken, config, watch=watch)
    watch = Watch(show=lambda _share, note: told.append(note))
    with torch.compiler.set_stance("force_eager"):  # else it takes minutes
        model = pretrain(material, broken, config, watch=watch, device="cpu", compiled=True)
    assert model is not None
    assert [note.split(",")[0] for note in told] == ["step 1", "step 2"]
    assert not (broken / "state.pt").exists()
    _, card = load_model(model, torch.device("cpu"))
    assert card.reads_anywhere
    assert card.steps == 2
    assert pretrain(material, broken, config, device="cpu") == model  # complete: nothing to do
    plan = json.loads((broken / "pretraining.json").read_text())
    for later in ("consistency", "variance"):  # settings that an earlier version did not know
        del plan[later]
    (broken / "pretraining.json").write_text(json.dumps(plan))
    assert pretrain(material, broken, config, device="cpu") == model
    with pytest.raises(UserError, match="steps 2 instead of 3"):
        pretrain(material, broken, small_config(3), device="cpu")
