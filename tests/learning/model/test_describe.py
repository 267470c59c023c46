"""Parameter tables and descriptions of models."""

import json

import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.fit.model_card import Card
from cmfnet_napari.learning.model.checkpoint import save_model
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.model.describe import (
    ARCHITECTURES,
    architecture_table,
    describe_model,
    show,
)


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize(("stages", "millions"), [(3, 7.94), (4, 19.57), (5, 35.57), (6, 51.56)])
def test_counts_are_those_of_table_iv(modality, stages, millions):
    table = architecture_table(f"{modality}{stages}")
    assert round(table["parameters"] / 1e6, 2) == millions


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_parts_are_the_whole(name):
    table = architecture_table(name)
    assert sum(row["parameters"] for row in table["parts"]) == table["parameters"]
    assert json.loads(json.dumps(table)) == table


def test_a_stage_has_the_parameters_its_layers_need():
    rows = {row["part"]: row for row in architecture_table("CT3")["parts"]}
    # 3×3×3 convolution 1 → 16 with bias, PReLU of 16 slopes, 1×1×1 residual with bias
    stage = (27 * 16 + 16) + 16 + (16 + 16)
    assert rows["encoder stage 1"] == {
        "part": "encoder stage 1",
        "channels": 16,
        "parameters": stage,
    }
    assert rows["lead 3"]["channels"] == 128
    assert rows["bottom"]["channels"] == 256
    assert rows["decoder stage 1"]["channels"] == 32
    assert rows["head"]["channels"] == 2


def test_cmfnet_has_both_branches_of_the_paper_and_fuses_three_stages():
    table = architecture_table("CmFNet")
    rows = {row["part"]: row for row in table["parts"]}
    branches = [architecture_table(name)["parameters"] for name in ("CT3", "MR4")]
    assert [rows[f"{n} branch, {v}"]["parameters"] for n, v in (("CT", "CT3"), ("MR", "MR4"))] == (
        branches
    )
    fused = [rows[f"CFF, stage {n}"] for n in (1, 2, 3)]
    assert [row["parameters"] for row in fused] == [27 * 2 * c * c + 2 * c for c in (16, 32, 64)]


def test_an_unknown_architecture_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match=r"'CT7'.*CT3, CT4.*MR6, CmFNet"):
        architecture_table("CT7")


@pytest.fixture
def model(tmp_path):
    config = make_config("quick", width=2)
    card = Card(config=config, classes=3, steps=1200, data=("ab", "cd"), metrics={"dsc": 0.8})
    return save_model(build(config, 3), card, tmp_path / "pelvis.safetensors")


def test_a_model_is_described_by_its_card_and_its_weights(model):
    description = describe_model(model)
    assert description["model"] == "pelvis"
    assert description["parameters"] == sum(
        p.numel() for p in build(make_config("quick", width=2), 3).parameters()
    )
    assert description["classes"] == 3
    assert description["data"] == ["ab", "cd"]
    assert description["metrics"] == {"dsc": 0.8}
    assert description["config"]["width"] == 2
    assert json.loads(json.dumps(description)) == description
    assert str(model.parent) not in json.dumps(description)


def test_descriptions_are_shown_whole(model, capsys):
    show(describe_model(model))
    shown = " ".join(capsys.readouterr().out.split())  # long lines are wrapped
    for words in ("pelvis", "1,200", "dsc: 0.8", "ab, cd", "width: 2", "not a medical device"):
        assert words in shown
    show(architecture_table("CT3"))
    shown = capsys.readouterr().out
    assert "encoder stage 3" in shown
    assert f"{architecture_table('CT3')['parameters']:,}" in shown
