import ctypes
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
import torch

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.fit.model_card import Card
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.learning.data.prepare import Frame, Inputs, card_frame, make_frame, make_inputs
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.predict.predictor import predict, predict_study

MIB = 2**20


def network(ball):
    torch.manual_seed(4)
    return build(plain(ball), 2).eval()


def plain(ball):
    return ball.config.model_copy(update={"normalisation": "none"})


def long_inputs(shape):
    ct, mr = torch.rand(2, 1, 1, *shape, generator=torch.Generator().manual_seed(1))
    whole = tuple(slice(0, n) for n in shape)
    return Inputs(ct, mr, torch.ones_like(ct), Frame(shape, whole, (1, 1, 1)))


def record_sizes(model):
    """Sizes that are shown to the network from now on."""
    sizes, fused = [], model.fused
    model.fused = lambda ct, *others: sizes.append(tuple(ct.shape[2:])) or fused(ct, *others)
    return sizes


def peak_of(work: Callable[[], object]) -> int:
    """Peak resident memory of a call above what the process held, bytes."""
    ctypes.CDLL(None).malloc_trim(0)  # else what was freed before holds some of it unseen
    before = psutil.Process().memory_info().rss
    Path("/proc/self/clear_refs").write_text("5")
    work()
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(s.split()[1]) for s in status if s.startswith("VmHWM")) - before


def test_labels_are_the_likelier_class_on_the_whole_grid(ball):
    inputs = make_inputs(ball.study, make_frame(ball.study.grid, None, ball.config), ball.config)
    model = network(ball)
    result = predict(model, inputs, plain(ball))
    with torch.no_grad():
        by_hand = model.fused(inputs.ct, inputs.mr).softmax(dim=1)[0, 1].numpy()
    np.testing.assert_allclose(result.probability, by_hand, atol=1e-6)
    np.testing.assert_array_equal(result.labels, by_hand > 0.5)


def test_tiles_of_a_small_budget_agree_with_the_whole_volume():
    config, inputs = (
        make_config(stroke_maps=False, width=4, normalisation="none"),
        long_inputs((24, 60, 250)),
    )
    torch.manual_seed(4)
    model = build(config, 2).eval()
    whole = predict(model, inputs, config)
    sizes = record_sizes(model)
    tiled = predict(model, inputs, config, memory=320 * MIB)
    assert len(sizes) > 1
    spread = whole.probability.std()
    assert np.abs(tiled.probability - whole.probability).max() < 0.05 * spread
    assert spread > 0


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of resident memory is Linux's")
def test_the_budget_is_kept_and_the_whole_volume_would_not_have_kept_it():
    config, inputs = (
        make_config(stroke_maps=False, width=4, normalisation="none"),
        long_inputs((32, 128, 256)),
    )
    model = build(config, 2).eval()
    budget = 256 * MIB
    assert peak_of(lambda: predict(model, inputs, config, memory=budget)) < budget
    assert peak_of(lambda: predict(model, inputs, config, memory=1000 * MIB)) > budget


def test_a_budget_too_small_for_any_tile_is_refused_with_both_figures(ball):
    inputs = make_inputs(ball.study, make_frame(ball.study.grid, None, ball.config), ball.config)
    for config in (ball.config, plain(ball)):
        with pytest.raises(UserError, match=r"needs \d\d+ MiB of memory .* may use 50 MiB"):
            predict(build(config, 2), inputs, config, memory=50 * MIB)


def test_the_fine_grid_is_reached_slab_by_slab_as_at_once():
    config = make_config(stroke_maps=False, width=2, normalisation="none")
    coarse = long_inputs((37, 16, 32))
    region = (slice(1, 74), slice(0, 31), slice(2, 34))
    inputs = replace(coarse, frame=Frame((76, 40, 40), region, (2, 2, 1)))
    model = build(config, 3).eval()
    with torch.no_grad():
        scores = model.fused(inputs.ct, inputs.mr)
    at_once = inputs.frame.refine(scores.softmax(dim=1))
    result = predict(model, inputs, config)
    np.testing.assert_allclose(result.probability[region], 1 - at_once[0, :, :31], atol=1e-6)
    sure = (at_once.topk(2, dim=0).values.diff(dim=0).abs() > 1e-5)[0, :, :31]
    labels = at_once.argmax(dim=0)[:, :31]
    np.testing.assert_array_equal(result.labels[region][sure], labels[sure])
    assert sure.float().mean() > 0.99


def test_an_instance_normalised_network_sees_tiles_of_its_training_patch(ball):
    config = ball.config.model_copy(update={"patch": (16, 16, 16)})
    inputs = make_inputs(ball.study, make_frame(ball.study.grid, None, config), config)
    model = build(config, 2).eval()
    sizes = record_sizes(model)
    assert predict(model, inputs, config).labels.shape == ball.study.grid.shape
    assert set(sizes) == {(16, 16, 16)}


def test_outside_the_region_is_background(ball):
    config = ball.config.model_copy(update={"region_margin": 5.0})
    inputs = make_inputs(ball.study, make_frame(ball.study.grid, ball.scribbles, config), config)
    result = predict(network(ball), inputs, plain(ball))
    inside = np.zeros(ball.study.grid.shape, dtype=bool)
    inside[inputs.frame.region] = True
    assert result.probability[inside].min() > 0
    assert result.probability[~inside].max() == 0
    assert result.labels[~inside].max() == 0


def test_a_model_works_on_its_region_only_on_its_own_study(ball):
    region = [[5, 13], [10, 25], [8, 30]]
    model = network(ball)
    card = Card(config=plain(ball), classes=2, study=ball.study.content_hash, region=region)
    own = predict_study(model, card, ball.study)
    other = predict_study(model, card.model_copy(update={"study": "another"}), ball.study)
    assert (own.probability > 0).sum() == 8 * 15 * 22
    assert (other.probability > 0).all()


def test_on_another_study_only_the_box_around_the_body_is_worked_on():
    ct = np.full((20, 40, 60), -1000.0, dtype=np.float32)
    ct[5:15, 12:30, 20:40] = 40
    image = sitk.GetImageFromArray(ct)
    image.SetSpacing((2, 4, 5))
    study = study_from_images(image)
    config = make_config(stroke_maps=False, width=2, normalisation="none", spacing=None)
    frame = card_frame(config, study, "another", [])
    # 10 mm of air around: 2 slices, 3 rows, 5 columns
    assert frame.region == (slice(3, 17), slice(9, 33), slice(15, 45))
    card = Card(config=config, classes=2, study="another")
    result = predict_study(build(config, 2), card, study, memory=400 * MIB)
    assert (result.probability > 0).sum() == 14 * 24 * 30


def test_a_study_of_air_alone_is_worked_on_whole():
    air = np.full((4, 6, 5), -1000, np.int16)
    air[0, 0, 0] = -990
    study = study_from_images(sitk.GetImageFromArray(air))
    frame = card_frame(make_config(), study, "another", [])
    assert frame.region == (slice(0, 4), slice(0, 6), slice(0, 5))


@pytest.mark.parametrize("normalisation", ["none", "instance"])
def test_disagreement_is_the_span_of_the_branches_and_changes_nothing_else(ball, normalisation):
    config = ball.config.model_copy(
        update={"normalisation": normalisation, "confidence": 1.7, "patch": (32, 48, 48)}
    )
    inputs = make_inputs(ball.study, make_frame(ball.study.grid, None, config), config)
    torch.manual_seed(4)
    model = build(config, 2).eval()
    alone, result = predict(model, inputs, config), predict(model, inputs, config, branches=True)
    assert alone.disagreement is None
    np.testing.assert_array_equal(result.labels, alone.labels)
    np.testing.assert_allclose(result.probability, alone.probability, atol=1e-6)
    with torch.no_grad():
        outputs = model(inputs.ct, inputs.mr)
    tumour = np.stack([torch.sigmoid(1.7 * (y[0, 1] - y[0, 0])).numpy() for y in outputs])
    by_hand = tumour.max(axis=0) - tumour.min(axis=0)
    assert by_hand.max() > 0.01
    np.testing.assert_allclose(result.disagreement, by_hand, atol=1e-5)


def test_disagreement_in_tiles_on_coarser_voxels(ball):
    config = plain(ball)
    frame = Frame(ball.study.grid.shape, np.s_[2:18, 3:34, 0:38], (1, 2, 2))
    inputs, model = make_inputs(ball.study, frame, config), network(ball)
    result = predict(model, inputs, config, branches=True)
    assert result.disagreement.shape == ball.study.grid.shape
    assert result.disagreement.dtype == np.float32
    assert not result.disagreement[:2].any()
    assert not result.disagreement[:, :3].any()
    assert 0 < result.disagreement.max() <= 1
