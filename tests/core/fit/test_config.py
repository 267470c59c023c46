"""Every number of a fit: ranges, presets, and words when one is wrong."""

import pytest
from pydantic import ValidationError

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.config import (
    PRESETS,
    Config,
    changed_settings,
    cohort_config,
    make_config,
    parse_config,
    stored,
)
from cmfnet_napari.core.fit.model_card import Card


@pytest.mark.parametrize("name", ["quick", "standard", "paper"])
def test_presets_are_valid_and_come_back_from_json(name):
    config = make_config(name)
    assert config.preset == name
    assert config == PRESETS[name]
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_the_papers_recipe():
    paper = make_config("paper")
    assert (paper.learning_rate, paper.batch, paper.dropout) == (1e-5, 16, 0.5)
    assert paper.patch == (16, 96, 96)
    assert (paper.lambda_ct, paper.lambda_mr) == (0.2, 0.2)
    assert (paper.alpha_ct, paper.alpha_mr) == (0.8, 0.8)
    assert (paper.crf_radius, paper.crf_sigma_xy, paper.crf_sigma_intensity) == (5, 6.0, 0.1)
    assert paper.width == 16
    assert not paper.augment


def test_changes_leave_the_preset_alone():
    changed = make_config("quick", minutes=3.0, seed=7)
    assert (changed.minutes, changed.seed) == (3.0, 7)
    assert changed.patch == PRESETS["quick"].patch
    assert PRESETS["quick"].seed == 0


def test_what_lies_on_disk_means_what_it_meant():
    """Before there was a setting for it, the consistency term was a sum over the classes."""
    new = make_config("paper").model_dump(mode="json")
    old = {field: value for field, value in new.items() if field != "consistency"}
    assert parse_config(stored(old)).consistency == "sum"
    assert parse_config(stored(new)).consistency == "mean"
    assert Card.model_validate({"config": old, "classes": 2}).config.consistency == "sum"
    assert Card.model_validate({"config": new, "classes": 2}).config.consistency == "mean"
    assert Card(config=make_config("paper"), classes=2).config.consistency == "mean"
    assert changed_settings(old, make_config("paper")) == ["consistency sum instead of mean"]
    assert not changed_settings(old, make_config("paper", consistency="sum"))
    del old["crf_half"]  # another that came later, and is off unless one says so
    assert not changed_settings(old, make_config("paper", consistency="sum"))


def test_frozen():
    with pytest.raises(ValidationError):
        make_config("quick").seed = 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": 0}, "learning_rate.*greater than 0.*got 0"),
        ({"dropout": 1.0}, "dropout.*less than 1"),
        ({"batch": 1.5}, "batch"),
        ({"minutes": float("nan")}, "minutes"),
        ({"ct_low": 300.0}, "low 300 HU is not below high 240 HU"),
        ({"mr_percentiles": (99.0, 1.0)}, "99 and 1 must rise"),
        ({"patch": (16, 40, 96)}, "multiple of 16"),
        ({"patch": (0, 96, 96)}, "multiple of 16"),
        ({"speed": 3}, "speed.*not permitted"),
        ({"seed": -1}, "seed"),
        ({"precision": "float16"}, "precision"),
    ],
)
def test_wrong_settings_say_which(changes, words):
    with pytest.raises(UserError, match=words) as caught:
        make_config("quick", **changes)
    assert "\n" not in str(caught.value)


def test_unknown_preset():
    with pytest.raises(UserError, match="no preset 'fast'; choose quick, standard, paper"):
        make_config("fast")


def test_a_saved_config_with_a_strange_field():
    with pytest.raises(UserError, match="speed"):
        parse_config({"speed": 1})


@pytest.mark.parametrize("name", list(Config.model_fields))
def test_every_field_explains_itself(name):
    field = Config.model_fields[name]
    assert name == "preset" or field.description


def test_a_cohort_sees_whole_patients_and_paper_stays_the_papers():
    for preset in ("quick", "standard", "paper"):
        config = cohort_config(preset)
        assert (config.region_margin, config.keep_marked, config.minutes) == (None, False, None)
    paper = cohort_config("paper")
    published = (paper.learning_rate, paper.batch, paper.dropout, paper.patch, paper.augment)
    assert published == (1e-5, 16, 0.5, (16, 96, 96), False)
    assert cohort_config("quick", steps=7, normalisation="instance").normalisation == "instance"
