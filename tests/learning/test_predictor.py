import numpy as np
import torch

from cmfnet_napari.learning import predictor
from cmfnet_napari.learning.checkpoint import Card
from cmfnet_napari.learning.cmfnet import build
from cmfnet_napari.learning.predictor import predict, predict_study
from cmfnet_napari.learning.prepare import make_frame, make_inputs


def network(ball):
    torch.manual_seed(4)
    return build(plain(ball), 2).eval()


def plain(ball):
    return ball.config.model_copy(update={"normalisation": "none"})


def test_labels_are_the_likelier_class_on_the_whole_grid(ball):
    inputs = make_inputs(ball.study, make_frame(ball.study.grid, None, ball.config), ball.config)
    model = network(ball)
    result = predict(model, inputs, plain(ball))
    with torch.no_grad():
        by_hand = model.fused(inputs.ct, inputs.mr).softmax(dim=1)[0, 1].numpy()
    np.testing.assert_allclose(result.probability, by_hand, atol=1e-6)
    np.testing.assert_array_equal(result.labels, by_hand > 0.5)


def test_tiles_agree_with_the_whole_volume(ball, monkeypatch):
    inputs = make_inputs(ball.study, make_frame(ball.study.grid, None, ball.config), ball.config)
    model = network(ball)
    whole = predict(model, inputs, plain(ball))
    monkeypatch.setattr(predictor, "_fits", lambda *_: False)
    monkeypatch.setattr(predictor, "_TILE", (16, 32, 32))
    tiled = predict(model, inputs, plain(ball))
    assert np.abs(tiled.probability - whole.probability).mean() < 0.05


def test_an_instance_normalised_network_sees_tiles_of_its_training_patch(ball, monkeypatch):
    config = ball.config.model_copy(update={"patch": (16, 16, 16)})
    inputs = make_inputs(ball.study, make_frame(ball.study.grid, None, config), config)
    model = build(config, 2).eval()
    sizes = []
    monkeypatch.setattr(
        model,
        "fused",
        lambda ct, mr, fused=model.fused: sizes.append(tuple(ct.shape[2:])) or fused(ct, mr),
    )
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
    own = predict_study(model, Card(plain(ball), 2, ball.study.content_hash, region), ball.study)
    other = predict_study(model, Card(plain(ball), 2, "another", region), ball.study)
    assert (own.probability > 0).sum() == 8 * 15 * 22
    assert (other.probability > 0).all()
