"""Loading what somebody else sends cannot run code."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from cmfnet_napari.core.case.folder import create_case, open_case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.config import parse_config
from cmfnet_napari.core.fit.model_card import read_card
from cmfnet_napari.core.fit.preview_file import read_preview
from cmfnet_napari.core.images.volume import read_image
from cmfnet_napari.learning.engine.state import load_state
from cmfnet_napari.learning.model.checkpoint import load_model

CPU = torch.device("cpu")


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "the-code-ran"


def test_the_bomb_works(mark):
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_with_code(tmp_path, mark, zipped):
    state = {"model": {}, "step": Bomb(mark)}
    torch.save(state, tmp_path / "state.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match="damaged"):
        load_state(tmp_path, CPU)
    assert not mark.exists()


@pytest.mark.parametrize("write", ["pickle", "torch"])
def test_a_model_that_is_a_pickle(tmp_path, mark, write):
    path = tmp_path / "model.safetensors"
    if write == "torch":
        torch.save({"weights": Bomb(mark)}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb(mark)))
    for read in (lambda: read_card(path), lambda: load_model(path, CPU)):
        with pytest.raises(UserError, match="damaged"):
            read()
    assert not mark.exists()


def test_a_preview_with_code(tmp_path, mark):
    bombs = np.empty((2, 3, 4), dtype=object)
    bombs[:] = Bomb(mark)
    np.save(tmp_path / "preview.npy", bombs, allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read"):
        read_preview(tmp_path / "preview.npy", (2, 3, 4))
    (tmp_path / "preview.npy").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(UserError, match="cannot be read"):
        read_preview(tmp_path / "preview.npy", (2, 3, 4))
    assert not mark.exists()


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nrrd", "ct.npy", "ct.pkl"])
def test_an_image_that_is_a_pickle(tmp_path, mark, name):
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(UserError, match="cannot be read as an image"):
        read_image(tmp_path / name)
    assert not mark.exists()


def test_a_configuration_is_data(mark):
    call = f"!!python/object/apply:os.mkdir [{mark}]"
    for value in (call, {"__reduce__": call}, "__import__('os').mkdir('x')"):
        with pytest.raises(UserError, match="Training setting"):
            parse_config({"width": value})
    assert not mark.exists()


def test_a_case_json_is_data(tmp_path, mark, ball):
    create_case(tmp_path / "case", ball.study).close()
    card = json.loads((tmp_path / "case" / "case.json").read_text())
    card["classes"][1]["name"] = f"!!python/object/apply:os.mkdir [{mark}]"
    (tmp_path / "case" / "case.json").write_text(json.dumps(card))
    case = open_case(tmp_path / "case")
    assert case.class_names == [card["classes"][1]["name"]]  # a name like any other
    case.close()
    assert not mark.exists()


def test_every_load_in_the_package_says_so():
    """np.load and torch.load are called with the setting that cannot run code, always."""
    package = Path(__file__).parents[2] / "cmfnet_napari"
    for file in package.rglob("*.py"):
        for line in file.read_text(encoding="utf-8").splitlines():
            if "np.load(" in line:
                assert "allow_pickle=False" in line, file
            if "torch.load(" in line:
                assert "weights_only=True" in line, file
            assert "import pickle" not in line, file
            assert "np.load," not in line, f"{file}: np.load is passed on without its setting"
