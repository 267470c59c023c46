"""The card in a model's header: read without torch, whatever state the file is in."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import model_card
from cmfnet_napari.core.fit.config import FROM_BASE, PRESETS, make_config
from cmfnet_napari.core.fit.model_card import (
    FORMAT,
    INPUT_AND_NETWORK,
    LICENCE,
    Card,
    check_base,
    model_name,
    models_folder,
    read_card,
    software_versions,
    start_config,
    taught_otherwise,
)


def write(path, values, **header):
    """A model file with these entries on its card; the weights do not matter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"format": FORMAT, "card": json.dumps(values)} | header
    save_file({"weight": np.zeros(50, np.float32)}, path, header)
    return path


@pytest.fixture
def values():
    """What a card of the first version held."""
    return {"config": {"preset": "quick"}, "classes": 3, "study": "abc", "steps": 7}


def test_a_whole_card_comes_back(tmp_path):
    card = Card(
        config=make_config("standard"),
        classes=8,
        region=[[0, 4], [1, 5], [2, 6]],
        data=("aa", "bb"),
        software=software_versions(),
        metrics={"dsc": 0.81},
        created="2026-01-31",
    )
    path = write(tmp_path / "pelvis.safetensors", card.model_dump(mode="json"))
    assert read_card(path) == card


def test_an_older_card_and_one_of_a_later_version_are_read(tmp_path, values):
    path = write(tmp_path / "a.safetensors", {**values, "later": {"what": 1}})
    card = read_card(path)
    assert (card.classes, card.study, card.steps) == (3, "abc", 7)
    assert (card.data, card.software, card.metrics, card.created) == ((), {}, {}, "")
    assert card.licence == LICENCE


def test_a_card_of_millions_of_classes_is_refused_before_any_memory_is_taken(tmp_path, values):
    path = write(tmp_path / "a.safetensors", values | {"classes": 50_000_000})
    with pytest.raises(UserError, match=r"does not fit this version \(classes: .*256"):
        read_card(path)


def test_the_card_is_read_without_torch(tmp_path, values):
    path = write(tmp_path / "a.safetensors", values)
    code = (
        "import sys; from cmfnet_napari.core.fit.model_card import read_card;"
        "card = read_card(sys.argv[1]); print(card.classes, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, encoding="utf-8")
    assert done.stdout.split() == ["3", "False"], done.stderr


def test_a_run_folder_stands_for_its_model(tmp_path, values):
    path = write(tmp_path / "0002-quick" / "model.safetensors", values)
    assert read_card(path.parent).steps == 7
    assert model_name(path.parent) == model_name(path) == "0002-quick"
    assert model_name(write(tmp_path / "pelvis.safetensors", values)) == "pelvis"


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda path: path.unlink(), "holds no model"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "a.safetensors is damaged"),
        (lambda path: path.write_bytes(b"no safetensors at all"), "a.safetensors is damaged"),
        (lambda path: write(path, {}, format="cmfnet-9"), "no CmFNet model of this version"),
        (lambda path: write(path, {}, card="{half"), "a.safetensors is damaged"),
        (lambda path: write(path, {"classes": 2}), r"does not fit this version \(config: "),
        (
            lambda path: write(path, {"config": {"depth": 3}, "classes": 2}),
            r"does not fit this version \(config.depth: ",
        ),
    ],
    ids=["missing", "cut", "junk", "other format", "half a card", "no config", "unknown setting"],
)
def test_what_is_wrong_with_a_model_is_said(tmp_path, values, harm, words):
    path = write(tmp_path / "a.safetensors", values)
    harm(path)
    with pytest.raises(UserError, match=words):
        read_card(path)


def test_scores_that_do_not_exist_are_left_out():
    card = Card(config=make_config(), classes=2, metrics={"dsc": 0.5, "hd95_mm": float("nan")})
    assert card.metrics == {"dsc": 0.5}


def test_versions_name_what_trained():
    versions = software_versions()
    assert set(versions) == {"cmfnet-napari", "torch", "monai", "numpy", "python"}
    assert versions["numpy"] == np.__version__
    assert versions["python"] == sys.version.split()[0]


def test_a_base_model_needs_the_same_number_of_classes():
    card = Card(config=make_config(), classes=8)
    check_base(card, 8, "organs")
    with pytest.raises(UserError, match=r"organs knows 7 classes, but the strokes mark 1 class\."):
        check_base(card, 2, "organs")


@pytest.mark.parametrize("preset", list(PRESETS))
def test_any_preset_takes_the_input_and_network_of_a_base_model(preset):
    base = make_config(
        "paper",
        width=8,
        ct_stages=5,
        mr_stages=6,
        fusion="cfe",
        normalisation="instance",
        spacing=2.5,
        ct_low=-100,
        ct_high=300,
        mr_percentiles=(2, 98),
        patch=(32, 64, 64),
    )
    config = start_config(preset, Card(config=base, classes=2), seed=5)
    for field in type(config).model_fields:
        if field in FROM_BASE and preset != "paper":
            assert getattr(config, field) == FROM_BASE[field]
            continue
        source = base if field in INPUT_AND_NETWORK else make_config(preset, seed=5)
        assert getattr(config, field) == getattr(source, field), field


def test_a_model_that_reads_strokes_is_taken_as_it_is():
    card = Card(config=make_config("quick", stroke_maps=True), classes=2)
    config = start_config("quick", card)
    assert (config.steps, config.region_margin) == (0, 60.0)
    usual = make_config("quick").steps
    assert start_config("quick", card, steps=usual).steps == usual  # given by hand
    assert start_config("paper", card).steps == make_config("paper").steps


def test_what_was_changed_by_hand_stays_as_it_is():
    card = Card(config=make_config("quick", stroke_maps=False), classes=2)
    config = start_config("quick", card, learning_rate=1e-4, minutes=5)
    assert (config.learning_rate, config.minutes) == (1e-4, 5)
    assert config.steps == FROM_BASE["steps"]


def test_models_are_kept_where_the_variable_says_else_with_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("CMFNET_MODELS", str(tmp_path))
    assert models_folder() == tmp_path
    monkeypatch.delenv("CMFNET_MODELS")
    monkeypatch.setattr(model_card, "user_data_path", lambda *_, **__: tmp_path / "data")
    assert models_folder() == tmp_path / "data" / "models"


def test_other_images_than_a_model_was_taught_on_are_said():
    unknown = Card(config=make_config("quick"), classes=2)  # as of earlier versions
    assert unknown.modalities == ()
    assert taught_otherwise(unknown, "old", ("CT",)) == ""
    card = read_card("limb-sarcoma")
    assert taught_otherwise(card, "limb", ("CT", "MR")) == ""
    words = taught_otherwise(card, "limb", ("MR", "MR"))
    assert words.startswith("limb was taught on CT and MR, and this is MR and MR")
    assert "this is CT:" in taught_otherwise(card, "limb", ("CT",))
    own = Card(config=make_config("quick"), classes=2, modalities=("MR", "PT"))
    assert taught_otherwise(own, "own", ("MR", "PT")) == ""
    anywhere = Card(config=make_config("quick", drawn_voxels=27), classes=2)
    assert taught_otherwise(anywhere, "any", ("PT",)) == ""
