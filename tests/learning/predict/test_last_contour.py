"""New strokes change a contour around them: the network here is told what to answer."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from cmfnet_napari.core.fit.model_card import Card
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.learning.fit.callbacks import Hooks
from cmfnet_napari.learning.fit.reading import Reading
from cmfnet_napari.learning.fit.run_folder import CHANCES_FILE, RunFolder
from cmfnet_napari.learning.fit.start import fit
from cmfnet_napari.learning.model.checkpoint import save_model
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.predict.any_structure import _Reader, read_strokes
from cmfnet_napari.learning.predict.last_contour import (
    Drawn,
    Found,
    Last,
    blended,
    load_last,
    save_last,
)
from cmfnet_napari.learning.predict.scale import Scale
from cmfnet_napari.learning.pretrain.pretraining import pretrain_config

CONFIG = pretrain_config(1, width=2, precision="float32", drawn_voxels=16)
SHAPE = (20, 40, 90)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build(CONFIG, 2).eval()


@pytest.fixture(scope="module")
def long_object():
    """A bar of 60 × 12 × 12 voxels, and strokes on it and around it."""
    truth = np.zeros(SHAPE, dtype=bool)
    truth[4:16, 14:26, 15:75] = True
    image = sitk.GetImageFromArray(np.where(truth, 120.0, 20.0).astype(np.float32))
    scribbles = np.zeros(SHAPE, dtype=np.uint8)
    scribbles[10, 20, 18:72] = 2
    scribbles[10, 8, 5:85] = scribbles[10, 32, 5:85] = 1
    return study_from_images(image), scribbles, truth


def answering(chance):
    """A reader whose network gives every voxel the same chance."""

    def ask(_self, _own, scale):
        shape = tuple(s.stop - s.start for s in scale.region)
        return np.full(shape, chance, np.float16), np.full(shape, 1 - chance, np.float16)

    return ask


@pytest.mark.parametrize("before_it", [{}, {"more": (1, 25, 2), "less": (9, 3, 9)}])
def test_what_is_near_counts_as_it_is_now_and_what_is_far_as_it_was(before_it):
    """Nearer than what was drawn before it, a stroke reaches further."""
    rng = np.random.default_rng(0)
    here = (slice(2, 12), slice(0, 30), slice(3, 23))
    there = (slice(0, 9), slice(4, 40), slice(5, 15))
    sizes = [tuple(s.stop - s.start for s in box) for box in (here, there)]
    now, before = (
        Found(Scale(box, size), 1.0, *rng.random((2, *size)).astype(np.float16))
        for box, size in zip((here, there), sizes, strict=True)
    )
    drawn = {"more": (5, 10, 4), "less": (6, 20, 15)}
    masks = {name: Drawn(*np.zeros((2, *sizes[0]), dtype=bool)) for name in drawn}
    for name, at in drawn.items():
        masks[name].new[at] = True
        if before_it:
            masks[name].old[before_it[name]] = True
    found = blended(now, before, **masks)
    grew = set()
    for at in np.ndindex(sizes[0]):
        away = {side: np.linalg.norm(np.subtract(at, drawn[side])) for side in drawn}
        for side, old in before_it.items():
            away[side] *= min(1, away[side] / max(np.linalg.norm(np.subtract(at, old)), 1))
        near = {side: np.exp(-((d / 8.0) ** 2)) for side, d in away.items()}
        past = tuple(a + s.start - o.start for a, s, o in zip(at, here, there, strict=True))
        inside = all(0 <= n < size for n, size in zip(past, sizes[1], strict=True))
        new, old = now.chance[at], before.chance[past] if inside else 0.0
        share = near["more"] if new > old else near["less"]  # each stroke its own way
        grew.add(bool(new > old))
        assert found.chance[at] == pytest.approx(share * new + (1 - share) * old, abs=1e-3)
        new, old = now.apart[at], before.apart[past] if inside else 0.0
        share = max(near.values())
        assert found.apart[at] == pytest.approx(share * new + (1 - share) * old, abs=1e-3)
    assert grew == {True, False}
    assert found.region == here


def test_a_new_stroke_changes_the_contour_around_it_alone(model, long_object, monkeypatch):
    study, scribbles, _ = long_object
    monkeypatch.setattr(_Reader, "_ask", answering(0.875))
    first = read_strokes(model, CONFIG, study, scribbles, branches=True)
    assert (first.labels == 1).mean() > 0.5
    again = read_strokes(model, CONFIG, study, scribbles, first.last, branches=True)
    for field in ("labels", "probability", "disagreement"):
        assert np.array_equal(getattr(again, field), getattr(first, field))
    monkeypatch.setattr(_Reader, "_ask", answering(0.125))
    more = scribbles.copy()
    more[10, 17, 70:74] = 2  # of the class, which takes nothing from it
    found = read_strokes(model, CONFIG, study, more, first.last, branches=True)
    assert np.array_equal(found.probability, first.probability)
    more[10, 17, 70:74] = 1
    found = read_strokes(model, CONFIG, study, more, first.last, branches=True)
    assert found.last.classes[1].voxel == first.last.classes[1].voxel  # it does not jump
    near = found.probability[10, 22, 70:74]
    assert (near < 0.5).all()
    far = np.s_[:, :, :20]  # 50 mm from what is new, on voxels of 1 to 2 mm
    assert np.abs(found.probability[far] - first.probability[far]).max() < 0.01
    assert np.array_equal(found.labels[far], first.labels[far])
    assert (found.labels[more == 1] == 0).all()


def test_a_class_that_nothing_new_is_near_to_is_not_read_again(model, long_object, monkeypatch):
    study, scribbles, _ = long_object
    small = np.zeros(SHAPE, dtype=bool)
    small[9:12, 19:22, 80:83] = True
    scribbles = np.where(small, 3, scribbles).astype(np.uint8)
    scribbles[10, 20, 86] = 1
    first = read_strokes(model, CONFIG, study, scribbles)
    asked, ask = [], _Reader._ask

    def note(self, own, scale):
        asked.append(int(self.scribbles[own].max()))
        return ask(self, own, scale)

    monkeypatch.setattr(_Reader, "_ask", note)
    more = scribbles.copy()
    more[10, 17, 16:20] = 2  # at the other end
    found = read_strokes(model, CONFIG, study, more, first.last)
    assert set(asked) == {2}
    assert found.last.classes[2] is first.last.classes[2]


def test_a_part_that_was_dropped_is_not_gone_back_to(model, long_object, monkeypatch):
    """Its chance is remembered; were it taken for the contour, the next region would reach it."""
    study, scribbles, truth = long_object
    chance = np.where(truth, 0.9, 0.1).astype(np.float16)
    chance[:, :3, 85:] = 0.9
    whole = tuple(slice(0, n) for n in SHAPE)
    last = Last(scribbles, {1: Found(Scale(whole, SHAPE), 0.2, chance, chance)})
    regions, ask = [], _Reader._ask

    def note(self, own, scale):
        regions.append(scale.region)
        return ask(self, own, scale)

    monkeypatch.setattr(_Reader, "_ask", note)
    more = scribbles.copy()
    more[10, 17, 40:44] = 2
    read_strokes(model, CONFIG, study, more, last)
    assert regions[0][2].stop < 85
    assert regions[0][1].start > 3


def reading_of(model, folder, study):
    base = save_model(model, Card(config=CONFIG, classes=2), folder / "any.safetensors", half=True)
    run = folder / "run"
    run.mkdir()
    return Reading(study, RunFolder(run, run), base, "cpu")


def test_a_reading_holds_on_to_nobody_who_asked_it(model, long_object, tmp_path):
    study, scribbles, _ = long_object
    reading = reading_of(model, tmp_path, study)
    hooks = {
        len(module._forward_hooks)
        for module in reading._model.modules()
        if isinstance(module, torch.nn.Conv3d)
    }
    assert hooks == {1}
    for level in (12, 13):
        scribbles = scribbles.copy()
        scribbles[level, 20, 40:44] = 2
        assert reading.read(scribbles, Hooks()) is not None
    for module in reading._model.modules():
        if isinstance(module, torch.nn.Conv3d):
            assert len(module._forward_hooks) == 1
    assert reading._request() == ""


def test_strokes_without_a_background_do_not_end_a_reading(model, long_object, tmp_path):
    """All of it may be erased for a moment, while a contour is made."""
    study, scribbles, _ = long_object
    came = [np.where(scribbles == 1, 0, scribbles).astype(np.uint8)]
    told = []
    hooks = Hooks(told.append, new_scribbles=lambda: came.pop() if came else None)
    assert reading_of(model, tmp_path, study).read(scribbles, hooks) is not None
    assert not came
    assert [type(event).__name__ for event in told] == ["Preview", "Finished"]


def test_who_asked_for_the_first_contour_may_keep_what_read_it(model, long_object, tmp_path):
    study, scribbles, _ = long_object
    base = save_model(model, Card(config=CONFIG, classes=2), tmp_path / "any.safetensors")
    (tmp_path / "run").mkdir()
    kept = []
    config = CONFIG.model_copy(update={"steps": 0})
    hooks = Hooks(keep_reading=kept.append)
    fit(study, scribbles, tmp_path / "run", config, base=base, device="cpu", hooks=hooks)
    assert kept[0].run.folder == tmp_path / "run"
    assert np.array_equal(kept[0]._last.scribbles, scribbles)


def test_what_is_read_after_a_restart_is_what_would_have_been_read(model, long_object, tmp_path):
    study, scribbles, _ = long_object
    first = reading_of(model, tmp_path, study)
    first.read(scribbles, Hooks())
    run, more = first.run, scribbles.copy()
    more[10, 17, 70:74] = 1
    begun = load_last(run.folder / CHANCES_FILE, scribbles)
    assert begun.classes[1].scale == first._last.classes[1].scale
    again = Reading(study, run, run.folder, "cpu")
    found = [reading._contour(more) for reading in (first, again)]
    assert np.array_equal(found[0].probability, found[1].probability)
    assert np.array_equal(found[0].labels, found[1].labels)


@pytest.mark.parametrize("fault", ["cut", "gone", "other strokes", "outside"])
def test_what_cannot_be_gone_on_from_is_read_anew(long_object, tmp_path, fault):
    _, scribbles, truth = long_object
    file, chance = tmp_path / CHANCES_FILE, truth.astype(np.float16)
    whole = tuple(slice(0, n) for n in SHAPE)
    save_last(Last(scribbles, {1: Found(Scale(whole, SHAPE), 1.0, chance, chance)}), file)
    assert np.array_equal(load_last(file, scribbles).classes[1].chance, chance)
    asked = scribbles.copy()
    if fault == "cut":
        file.write_bytes(file.read_bytes()[:-200])
    elif fault == "gone":
        file.unlink()
    elif fault == "other strokes":
        asked[10, 17, 16:20] = 2
    else:
        beyond = tuple(slice(5, n + 5) for n in SHAPE)
        save_last(Last(scribbles, {1: Found(Scale(beyond, SHAPE), 1.0, chance, chance)}), file)
    found = load_last(file, asked)
    assert not found.classes
    assert np.array_equal(found.scribbles, asked)
