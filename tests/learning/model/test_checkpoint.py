import pickle

import pytest
import torch

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.fit.model_card import MODEL_FILE, Card
from cmfnet_napari.learning.model.checkpoint import load_model, save_model
from cmfnet_napari.learning.model.cmfnet import build

CPU = torch.device("cpu")


@pytest.fixture
def saved(tmp_path):
    config = make_config("quick", width=2, stroke_maps=False)
    model = build(config, 3).eval()
    card = Card(config=config, classes=3, study="abc", region=[[0, 4], [1, 5], [2, 6]], steps=7)
    return model, card, save_model(model, card, tmp_path / MODEL_FILE)


def test_model_and_card_come_back(saved):
    model, card, path = saved
    loaded, loaded_card = load_model(path.parent, CPU)
    assert loaded_card == card
    ct, mr = torch.rand(2, 1, 1, 16, 16, 16)
    with torch.no_grad():
        assert torch.equal(model.fused(ct, mr), loaded.fused(ct, mr))


def test_a_cut_file_is_named_damaged(saved):
    path = saved[2]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged"):
        load_model(path, CPU)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("half", [False, True])
def test_weights_that_are_no_numbers_are_named_damaged(saved, tmp_path, value, half):
    """Such a model finds nothing anywhere, which looks like an answer."""
    model, card, _ = saved
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = value
    path = save_model(model, card, tmp_path / "bad.safetensors", half=half)
    with pytest.raises(UserError, match="damaged"):
        load_model(path, CPU)


def test_a_pickle_is_refused_without_being_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    path = tmp_path / MODEL_FILE
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="damaged"):
        load_model(path, CPU)
    assert not (tmp_path / "ran").exists()


def test_a_safetensors_file_of_something_else_is_no_model(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / MODEL_FILE)
    with pytest.raises(UserError, match="no CmFNet model"):
        load_model(tmp_path, CPU)


def test_an_empty_folder_holds_no_model(tmp_path):
    with pytest.raises(UserError, match="holds no model"):
        load_model(tmp_path, CPU)


def test_weights_of_another_architecture_are_named_so(tmp_path):
    config = make_config("quick", width=2, stroke_maps=False)
    card = Card(config=config.model_copy(update={"ct_stages": 4}), classes=2)
    path = save_model(build(config, 2), card, tmp_path / "odd.safetensors")
    with pytest.raises(UserError, match=r"odd\.safetensors were made with another architecture"):
        load_model(path, CPU)
