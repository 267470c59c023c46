"""Lessons, and the training of a network for any structure."""

import json
import os
import signal
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import read_json, write_json
from cmfnet_napari.core.folder_lock import alone
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.material.material_file import Material, Shares, make_material
from cmfnet_napari.learning.model.checkpoint import load_model, save_model
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.model.nearness import MAPS, Strokes
from cmfnet_napari.learning.pretrain import lesson_book
from cmfnet_napari.learning.pretrain.lesson import PATCH, Lesson, vary
from cmfnet_napari.learning.pretrain.lesson_book import Book, Maker
from cmfnet_napari.learning.pretrain.pretraining import Watch, pretrain, pretrain_config
from tests.forked import Forked


def small_config(steps, **changes):
    return pretrain_config(steps, width=2, batch=1, precision="float32", **changes)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material") / "made"
    make_material(folder, 3, (), Shares(0, 0, 1))
    plan = read_json(folder / "material.json")
    write_json(folder / "material.json", {**plan, "patients": ["b", "a"]})  # as if cut from two
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


def test_beyond_the_images_nothing_is_drawn_taught_or_corrected(material):
    sample = Material(material)[0]
    there = np.ones_like(sample.there)
    there[:, :, : there.shape[2] // 2] = False
    cut = replace(
        sample,
        first=np.where(there, sample.first, 0),
        second=np.where(there, sample.second, 0),
        object=sample.object & there,
        there=there,
    )
    for seed in range(6):
        lesson = Lesson(cut, np.random.default_rng(seed), corrections=3)
        out = ~lesson.there
        assert out.any()
        while lesson.correct(lesson.object ^ out):  # wrong there alone, if that counted
            pytest.fail("what lies beyond the images was corrected")
        lesson = Lesson(cut, np.random.default_rng(seed), corrections=2)
        while lesson.correct(np.zeros_like(out)):
            pass
        batch = lesson.batch()
        assert (batch.targets[0].numpy()[out] == IGNORE).all()
        assert (batch.targets[0].numpy()[~out] == lesson.object[~out]).all()
        assert not batch.ct[0, 0].numpy()[out].any()
        assert (lesson.strokes.codes[out] == IGNORE).all()


def test_a_lesson_corrects_what_is_wrong_and_ends(material):
    lesson = Lesson(Material(material)[0], np.random.default_rng(0), corrections=2)
    empty = np.zeros((PATCH,) * 3, dtype=bool)
    for left in (1, 0):
        before = lesson.strokes.codes
        assert lesson.correct(empty)
        assert lesson.left == left
        newest = lesson.batch().maps[0, 3:5]
        assert newest.any()
        drawn = lesson.strokes.codes != before
        assert drawn.any()
        assert newest.any(dim=0).numpy()[drawn].all()
    assert not lesson.correct(empty)


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


def write_lesson(book, number):
    """Known by its number, and every channel by its factor."""
    field = np.random.default_rng(number).integers(1, 9, (PATCH,) * 3) / 16 + number
    factors = 1 / 2 ** np.arange(2 + MAPS)
    file = np.load(book.path, mmap_mode="r+")
    lesson = [factor * field for factor in factors] + [field % 1 > 0.25]
    file[book.place(number)] = np.stack(lesson)


def test_lessons_are_shown_new_and_again_each_turned_as_a_whole(tmp_path, monkeypatch):
    """While those of the next round are written over the oldest."""
    monkeypatch.setattr(lesson_book, "ROUND", 2)
    monkeypatch.setattr(lesson_book, "KEPT", 2)
    book = Book(tmp_path, 2, seed=0)
    for number in book.new(range(2)):
        write_lesson(book, number)
    seen, turned = [], 0
    for step in range(8):
        if step % 2 == 0:
            for number in book.new(range(step + 2, step + 4)):
                write_lesson(book, number)
        batch = book.draw(step)
        for shown in range(2):
            image = batch.ct[shown, 0].numpy()
            number = int(image.min())
            seen.append((step, number))
            field = np.random.default_rng(number).integers(1, 9, image.shape) / 16 + number
            np.testing.assert_array_equal(np.sort(image.ravel()), np.sort(field.ravel()))
            turned += (image != field).any()
            np.testing.assert_array_equal(batch.mr[shown, 0], image / 2)
            np.testing.assert_array_equal(batch.maps[shown, MAPS - 1], image / 2 ** (MAPS + 1))
            np.testing.assert_array_equal(batch.fov[shown, 0], batch.maps[shown, 0])
            np.testing.assert_array_equal(batch.targets[shown], image % 1 > 0.25)
    assert [number for _, number in seen[::2]] == list(range(8))  # the new ones, in turn
    assert all(2 * (step // 2 - 1) <= number <= step for step, number in seen[1::2])
    assert turned > 12


def hold_a_maker():
    with lesson_book.makers(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(300)


def test_who_makes_lessons_ends_with_the_training_and_not_by_ctrl_c():
    training = Forked("training", f"{__name__}:hold_a_maker")
    maker = psutil.Process(int(training.stdout.readline()))
    maker.send_signal(signal.SIGINT)
    with pytest.raises(psutil.TimeoutExpired):
        maker.wait(0.3)
    training.kill()
    training.wait()
    training.close()
    assert not psutil.wait_procs([maker], timeout=30)[1]


def test_killed_before_its_first_step_or_without_its_lessons_it_is_not_complete(
    material, tmp_path, monkeypatch
):
    """Lessons that are gone are made again; a process that is lost is named."""
    out, config = tmp_path / "out", small_config(2)

    def lost(*_):
        raise BrokenProcessPool

    with monkeypatch.context() as patch:
        patch.setattr(lesson_book.Maker, "write", lost)
        with pytest.raises(UserError, match="process that makes lessons was lost"):
            pretrain(material, out, config, device="cpu", processes=0)
    assert (out / "state.pt").exists()
    calls = iter([False, True])
    watch = Watch(stop=lambda: next(calls))
    assert pretrain(material, out, config, None, watch, "cpu", processes=0) is None
    whole = np.load(out / "lessons.npy", mmap_mode="r")[:2].copy()
    (out / "lessons.npy").unlink()
    drawn, draw = [], Book.draw

    def keep(book, step):
        drawn.append((step, np.array(book._file[:2])))
        return draw(book, step)

    monkeypatch.setattr(Book, "draw", keep)
    assert pretrain(material, out, config, device="cpu", processes=0) is not None
    ((step, lessons),) = drawn
    assert step == 1
    np.testing.assert_array_equal(lessons[:, :2], whole[:, :2])  # the images; strokes follow them
    assert lessons[:, -1].any(axis=(1, 2, 3)).all()


def test_a_training_goes_on_where_it_was_broken_off(material, tmp_path):
    broken, straight, config = tmp_path / "broken", tmp_path / "straight", small_config(2)
    calls, told = iter([False, True, True]), []
    watch = Watch(show=lambda _share, note: told.append(note), stop=lambda: next(calls))
    assert pretrain(material, broken, config, watch=watch, device="cpu", processes=0) is None
    assert (broken / "state.pt").exists()
    with alone(broken), pytest.raises(UserError, match="Another process is writing into broken"):
        pretrain(material, broken, config, watch=watch)
    watch = Watch(show=lambda _share, note: told.append(note))
    with torch.compiler.set_stance("force_eager"):  # else it takes minutes
        model = pretrain(material, broken, config, None, watch, "cpu", compiled=True, processes=0)
    assert model is not None
    assert [note.split(",")[0] for note in told] == ["step 1", "step 2"]
    assert not {file.name for file in broken.glob("*.*")} & {"state.pt", "lessons.npy"}
    network, card = load_model(model, torch.device("cpu"))
    assert card.reads_anywhere
    assert card.steps == 2
    assert card.data == ("a", "b")  # who is in the material
    # Without a break, with lessons from another process, and judged:
    make_material(held := tmp_path / "held", 1, (), Shares(0, 0, 1), seed=1)
    whole = pretrain(material, straight, config, held, device="cpu")
    other, _ = load_model(whole, torch.device("cpu"))
    for ours, theirs in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    rows = (straight / "scores.csv").read_text().splitlines()
    assert rows[0] == "step,dsc,corrected,taught"
    assert all(0.5 < float(score) < 1 for score in rows[1].split(",")[1:])
    untaught = save_model(build(config, 2), card, tmp_path / "untaught.safetensors")
    first, corrected = Maker(held, untaught).judge(0)
    assert 0 < first < corrected < 1  # what the strokes say: more of them say more
    assert pretrain(material, broken, config, device="cpu") == model  # complete: nothing to do
    plan = json.loads((broken / "pretraining.json").read_text())
    for later in ("consistency", "variance"):  # settings that an earlier version did not know
        del plan[later]
    (broken / "pretraining.json").write_text(json.dumps(plan))
    assert pretrain(material, broken, config, device="cpu") == model
    with pytest.raises(UserError, match="steps 2 instead of 3"):
        pretrain(material, broken, small_config(3), device="cpu")
