"""Reading strokes on voxels that follow what is drawn; the network here says what the race says."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy import ndimage

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.model_card import Card
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.learning.fit.callbacks import Hooks
from cmfnet_napari.learning.fit.start import fit
from cmfnet_napari.learning.model.checkpoint import save_model
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.predict import any_structure
from cmfnet_napari.learning.predict.any_structure import read_strokes
from cmfnet_napari.learning.predict.last_contour import Found
from cmfnet_napari.learning.predict.predictor import predict_study
from cmfnet_napari.learning.predict.scale import Scale, scale_around
from cmfnet_napari.learning.pretrain.pretraining import pretrain_config

SHIPPED = pretrain_config(1, width=2, precision="float32")
CONFIG = SHIPPED.model_copy(update={"drawn_voxels": 16})  # a third of the work


def dsc(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build(CONFIG, 2).eval()


def two_balls(millimetres: float = 1.0, slices: float = 3.0):
    """Two touching balls of radius 11 and a box around, CT alone; lengths times `millimetres`."""
    shape = (18, 34, 60)
    z, y, x = np.meshgrid(*[np.arange(n, dtype=float) for n in shape], indexing="ij")
    spacing = np.array([slices, 1.5, 1.0])
    balls = [
        (spacing[0] * (z - 9)) ** 2 + (spacing[1] * (y - 17)) ** 2 + (x - middle) ** 2 < 11**2
        for middle in (19, 41)
    ]
    truth = balls[0].astype(np.uint8) + 2 * (balls[1] & ~balls[0])
    hounsfield = np.select([truth == 1, truth == 2], [120, 180], 20)
    array = hounsfield + np.random.default_rng(0).normal(0, 4, shape)
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing([float(mm * millimetres) for mm in spacing[::-1]])
    scribbles = np.zeros(shape, dtype=np.uint8)
    scribbles[9, 15:19, 19], scribbles[9, 15:19, 41] = 2, 3
    scribbles[9, 3, 5:55] = scribbles[9, 31, 5:55] = scribbles[9, 3:32, 3] = 1
    scribbles[9, 3:32, 57] = scribbles[3, 17, 10:50] = scribbles[15, 17, 10:50] = 1
    return study_from_images(image), scribbles, truth


@pytest.fixture(scope="module")
def prediction(model):
    """Of the two balls as they are; nobody changes it."""
    return read_strokes(model, CONFIG, *two_balls()[:2], branches=True)


@pytest.mark.parametrize(
    ("millimetres", "config"),
    [(0.5, CONFIG), (1.0, SHIPPED), (2.0, CONFIG)],
    ids=["0.5", "1, in two attempts", "2"],
)
def test_any_size_is_contoured_alike(model, millimetres, config):
    study, scribbles, truth = two_balls(millimetres)
    labels = read_strokes(model, config, study, scribbles).labels
    assert dsc(labels == 1, truth == 1) > 0.9
    assert dsc(labels == 2, truth == 2) > 0.9


def test_strokes_are_obeyed_and_classes_leave_no_gap(prediction):
    _, scribbles, truth = two_balls()
    for code in (1, 2, 3):
        assert (prediction.labels[scribbles == code] == code - 1).all()
    assert set(np.unique(prediction.labels)) == {0, 1, 2}
    between = np.s_[9, 17, 25:36]
    assert (prediction.labels[between][truth[between] > 0] > 0).all()
    assert prediction.probability.min() >= 0
    assert prediction.probability.max() <= 1
    assert prediction.disagreement is not None


def test_each_class_is_as_good_alone(model, prediction):
    study, scribbles, truth = two_balls()
    together = prediction.labels
    alone = np.where(scribbles == 3, 1, scribbles).astype(np.uint8)
    apart = read_strokes(model, CONFIG, study, alone).labels
    # The voxels differ: they follow a first contour, which differs.
    assert dsc(together == 1, truth == 1) >= dsc(apart == 1, truth == 1) - 0.03


def test_a_part_without_a_stroke_is_dropped(model):
    study, scribbles, _ = two_balls()
    only_one = np.where(scribbles == 3, 0, scribbles).astype(np.uint8)
    labels = read_strokes(model, CONFIG, study, only_one).labels
    _, parts = ndimage.label(labels)
    assert parts == 1


def test_coarse_voxels_are_means_and_fine_ones_lie_between():
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    region = tuple(slice(0, n) for n in array.shape)
    means = Scale(region, (2, 3, 2)).coarsen(array)
    np.testing.assert_allclose(means, array.reshape(2, 3, 2, 2).mean(axis=3))
    fine = Scale(region, (4, 3, 4)).coarsen(array)
    np.testing.assert_allclose(fine[:, 0, 0], [0, 3, 9, 12])  # a quarter of the way, linear


def test_thin_strokes_are_not_lost_on_coarse_voxels():
    stroke = np.zeros((10, 20, 30), dtype=bool)
    stroke[5, 11, 7] = True
    region = tuple(slice(0, n) for n in stroke.shape)
    assert Scale(region, (2, 4, 6)).touched(stroke).sum() == 1


def test_strokes_lie_where_they_were_drawn_on_finer_voxels():
    """Their middle, as that of the images: a stroke on one slice of ten, on 32 voxels."""
    region = (slice(0, 10), slice(0, 4), slice(0, 4))
    off = []
    for level in range(10):
        stroke = np.zeros((10, 4, 4), dtype=bool)
        stroke[level] = True
        found = np.flatnonzero(Scale(region, (32, 4, 4)).touched(stroke)[:, 0, 0])
        assert len(found) in (3, 4)
        off.append((found.mean() + 0.5) / 3.2 - (level + 0.5))
    assert abs(np.mean(off)) < 0.02


def test_a_run_of_such_a_model_trains_nothing_and_takes_any_number_of_classes(model, tmp_path):
    study, scribbles, _ = two_balls()
    base = save_model(
        model, Card(config=CONFIG, classes=2), tmp_path / "any.safetensors", half=True
    )
    run = tmp_path / "run"
    run.mkdir()
    told = []
    config = CONFIG.model_copy(update={"steps": 0})
    finished = fit(study, scribbles, run, config, base=base, device="cpu", hooks=Hooks(told.append))
    assert finished is not None
    assert finished.steps == 0
    assert len(finished.volumes_ml) == 2
    assert [type(event).__name__ for event in told] == ["Started", "Preview", "Finished"]
    with pytest.raises(UserError, match="steps must be 0"):
        fit(study, scribbles, run, config.model_copy(update={"steps": 5}), base=base, device="cpu")


def test_without_strokes_it_says_what_it_needs(model, prediction):
    study, scribbles, _ = two_balls()
    card = Card(config=CONFIG, classes=2)
    with pytest.raises(UserError, match="reads strokes"):
        predict_study(model, card, study)
    same = predict_study(model, card, study, scribbles=scribbles).labels
    np.testing.assert_array_equal(same, prediction.labels)


def test_a_model_that_reads_anywhere_says_so():
    assert Card(config=CONFIG, classes=2).reads_anywhere
    fixed = CONFIG.model_copy(update={"drawn_voxels": None})
    assert not Card(config=fixed, classes=2).reads_anywhere


@pytest.mark.parametrize(("radius", "off"), [(6, 12), (10, 20), (10, 25)])
def test_background_drawn_far_off_ends_it_too(model, radius, off):
    """Further off than the margin around it: without any background nothing would be found."""
    study, ball = one_ball(radius)
    scribbles = np.zeros(ball.shape, dtype=np.uint8)
    scribbles[40, 38:43, 40] = scribbles[38:43, 40, 40] = scribbles[40, 40, 38:43] = 2
    for side in (40 - radius - off, 40 + radius + off):
        scribbles[40, side, 25:55] = scribbles[side, 40, 25:55] = scribbles[40, 25:55, side] = 1
    assert dsc(read_strokes(model, CONFIG, study, scribbles).labels > 0, ball) > 0.5


def one_ball(radius: float):
    """Bright, of so many voxels of 1 mm, CT alone."""
    shape = (81, 81, 81)
    away = sum((n - 40.0) ** 2 for n in np.indices(shape))
    ball = away <= radius**2
    array = np.where(ball, 120, 20) + np.random.default_rng(0).normal(0, 4, shape)
    return study_from_images(sitk.GetImageFromArray(array.astype(np.float32))), ball


def test_one_slice_is_contoured(model):
    study, ball = one_ball(10)
    flat = sitk.GetImageFromArray(study.first.array[40:41].astype(np.float32))
    scribbles = np.zeros((1, 81, 81), dtype=np.uint8)
    scribbles[0, 36:45, 40] = 2
    scribbles[0, 20:60, 22] = scribbles[0, 20:60, 58] = scribbles[0, 22, 20:60] = 1
    scribbles[0, 58, 20:60] = 1
    labels = read_strokes(model, CONFIG, study_from_images(flat), scribbles).labels
    assert dsc(labels > 0, ball[40:41]) > 0.8


def test_a_long_cord_has_cubic_voxels():
    grid = Grid((400, 60, 60), (1.0, 1.0, 1.0))
    cord = np.zeros(grid.shape, dtype=bool)
    cord[:, 24:36, 24:36] = True
    others = np.zeros_like(cord)
    others[::50, 20, 20:40] = True
    scale = scale_around(cord, others, grid, 1.4)
    sides = [(s.stop - s.start) / n for s, n in zip(scale.region, scale.size, strict=True)]
    assert max(sides) / min(sides) < 1.05
    assert np.prod(scale.size) < 1.2e6


def test_many_unlikely_classes_are_background(model, monkeypatch):
    """Five classes of chance 0.13 each: background is likelier than any of them."""
    study, scribbles, _ = two_balls()
    for code in (4, 5, 6):
        scribbles[9, 8, 10 * code - 30 : 10 * code - 27] = code
    whole = tuple(slice(0, n) for n in scribbles.shape)
    low = np.full(scribbles.shape, 0.13, dtype=np.float16)
    found = Found(Scale(whole, scribbles.shape), 1.0, low, low)
    monkeypatch.setattr(any_structure._Reader, "_anew", lambda *_: found)
    labels = read_strokes(model, CONFIG, study, scribbles).labels
    assert not labels[scribbles == 0].any()
