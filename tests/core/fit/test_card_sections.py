"""A model's card: what people wrote, what its header tells, what is missing; who is outside."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydicom.dataset import Dataset
from safetensors.numpy import save_file

from cmfnet_napari.core.case.folder import create_case, open_case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.card_scope import outside_card
from cmfnet_napari.core.fit.card_sections import (
    Performance,
    begin_card,
    read_full_card,
    sections_file,
)
from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.fit.model_card import FORMAT, Card
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.modality import mark
from cmfnet_napari.core.images.series.weighting import mr_weighting
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.core.report.card_page import save_card
from cmfnet_napari.core.report.card_words import card_json, card_markdown
from tests.cli.test_cli import run

WRITTEN = {
    "intended_use": "Contours of sarcomas.",
    "population": "Adults.",
    "training": {"patients": 3, "scanner": "A", "anatomy": "limbs", "drawn_by": "two people"},
    "performance": [{"group": "careful", "mean": 0.8, "low": 0.75, "high": 0.85, "patients": 3}],
    "limits": ["Nothing is known of children."],
    "monitoring": ["cmfnet audit every month."],
    "scope": {
        "weightings": ["T1"],
        "in_plane_mm": [0.8, 1.2],
        "slice_mm": [2, 4],
        "field_mm": [50, 230],
        "length_mm": [20, 350],
    },
}


@pytest.fixture
def model(tmp_path):
    card = Card(
        config=make_config("quick"), classes=2, modalities=("CT", "MR"), data=("a", "b"),
        created="2026-01-31", software={"cmfnet-napari": "0.1.0"},
    )  # fmt: skip
    path = tmp_path / "sarcoma.safetensors"
    header = {"format": FORMAT, "card": card.model_dump_json()}
    save_file({"weight": np.zeros(4, np.float32)}, path, header)
    return path


def write(model, **changes):
    sections_file(model).write_text(json.dumps(WRITTEN | changes), encoding="utf-8")


def study(spacing=(3.27, 0.98, 0.98), shape=(20, 90, 80), weighting="T1", kinds=("CT", "MR")):
    grid = Grid(shape, spacing)
    rng = np.random.default_rng(0)
    first, second = (
        grid.to_image(rng.integers(-90, 900, shape).astype(np.float32)) for _ in range(2)
    )
    mark(second, "MR", weighting=weighting)
    return study_from_images(first, second, modalities=kinds)


def test_a_whole_card_has_six_sections(model):
    write(model)
    full = read_full_card(model)
    assert (full.gap, full.sections.training.patients) == ("", 3)  # what people say counts
    assert full.sections.training.images == "CT and MR"  # and the header fills in
    assert full.sections.version == "made on 2026-01-31 with cmfnet-napari 0.1.0"
    text = card_markdown(full)
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert len(titles) == 6
    assert "| careful | DSC | 0.8 (0.75 to 0.85) | 3 |" in text
    assert "says nothing" not in text
    assert card_json(full)["performance"][0]["group"] == "careful"


def test_a_card_that_lacks_sections_says_which(model):
    bare = read_full_card(model)
    assert bare.gap == (
        "The card of sarcoma says nothing of intended use, the patients it is meant for, the "
        "scanners, the part of the body, who drew the contours, how well it does, limits and "
        "risks, how to watch it. Ask whoever trained it before you rely on it."
    )
    assert card_markdown(bare).count("*The card says nothing of this.*") == 4
    write(model, limits=[])
    assert "says nothing of limits and risks. Ask" in read_full_card(model).gap


def test_a_card_that_is_begun_writes_over_nothing(model):
    row = Performance(group="held out", mean=0.8, low=0.7, high=0.9, patients=4)
    begin_card(model, [row])
    assert read_full_card(model).sections.performance == (row,)
    write(model)
    begin_card(model, [row])
    assert read_full_card(model).sections.population == "Adults."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is damaged"),
        ("[1]", "cannot be read"),
        (json.dumps(WRITTEN | {"limit": []}), "limit: Extra inputs"),
        (json.dumps(WRITTEN | {"performance": [{"group": "x"}]}), "performance.0.mean"),
        (json.dumps(WRITTEN).replace("0.75", "NaN"), "performance.0.low"),
    ],
)
def test_a_damaged_card_is_said_and_harms_nothing(model, text, words):
    sections_file(model).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=words) as error:
        read_full_card(model)
    assert "The model itself is as it was" in str(error.value)


def test_who_is_outside_of_a_card(model):
    write(model)
    full = read_full_card(model)
    assert outside_card(full, study()) == []
    (said,) = outside_card(full, study(weighting="T2 fat-saturated"))
    assert said.startswith("The MR is T2 fat-saturated, and sarcoma was taught on T1")
    (said,) = outside_card(full, study(weighting=""))
    assert "this MR does not say which sequence it is" in said
    thick, wide = outside_card(full, study(spacing=(5.0, 0.98, 0.98), shape=(20, 90, 300)))
    assert thick == (
        "The CT has slices every 5 mm; sarcoma was measured on 2 to 4 mm (what lies between "
        "slices). Look at its contour with more care."
    )
    assert "a field of view of 88.2 × 294 mm; sarcoma was measured on 50 to 230 mm (limbs)" in wide
    (other,) = outside_card(full, study(kinds=("CT", "CT")))
    assert "was taught on CT and MR, and this is CT and CT" in other
    sections_file(model).unlink()
    assert outside_card(read_full_card(model), study(spacing=(9.0, 9.0, 9.0))) == []


def test_a_case_remembers_the_weighting(tmp_path):
    case = create_case(tmp_path / "case", study(weighting="STIR"))
    case.close()
    again = open_case(tmp_path / "case", read_only=True)
    assert again.study.weightings == ("", "STIR")
    assert again.study.second_source.weighting == "STIR"
    again.close()


@pytest.mark.parametrize(
    ("header", "weighting"),
    [
        ({"SeriesDescription": "IBSI_1_STS_025_MR_T1_image"}, "T1"),
        ({"SeriesDescription": "AXIAL SE T2 FAT SAT - RESEARCH"}, "T2 fat-saturated"),
        ({"SeriesDescription": "t1_tse_tra", "ScanOptions": ["FS", "SAT1"]}, "T1 fat-saturated"),
        ({"SeriesDescription": "ep2d_diff_ADC"}, "DWI"),
        ({"SeriesDescription": "T2w_TSE"}, "T2"),
        ({"SeriesDescription": "Smith T12 spine"}, ""),
        ({"AcquisitionContrast": "FLUID_ATTENUATED", "SeriesDescription": "T2"}, "FLAIR"),
        ({"ScanningSequence": "SE", "RepetitionTime": 550, "EchoTime": 12}, "T1"),
        ({"ScanningSequence": "SE", "RepetitionTime": 4000, "EchoTime": 90}, "T2"),
        ({"ScanningSequence": "GR", "RepetitionTime": 10, "EchoTime": 4}, ""),
        ({}, ""),
    ],
)
def test_what_a_header_says_of_an_mr(header, weighting):
    data = Dataset()
    for name, value in header.items():
        setattr(data, name, value)
    assert mr_weighting(data) == weighting


def test_describe_writes_a_card(model, tmp_path, capsys):
    write(model, limits=[])
    status, out, err = run(capsys, "describe", model, "--card", "json")
    assert (status, json.loads(out)["population"]) == (0, "Adults.")
    assert "warning: The card of sarcoma says nothing of limits and risks" in err
    assert run(capsys, "describe", model, "--card", "html")[0] == 2
    save_card(read_full_card(model), tmp_path / "card.pdf")
    assert (tmp_path / "card.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(("name", "patients"), [("limb-sarcoma", 24), ("any-structure", 15)])
def test_a_model_that_comes_with_the_package_has_a_whole_card(name, patients):
    full = read_full_card(name)
    assert full.missing == ()
    assert full.sections.training.patients == len(full.card.data) == patients
    assert len(full.sections.training.patient_digests) == 2 * patients
    assert "dsc" in {row.measure for row in full.sections.performance}
    assert all(row.low <= row.mean <= row.high for row in full.sections.performance)
