"""A model's card is read once on this computer; who is outside of it is said once a patient."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from cmfnet_napari.core.fit.card_sections import sections_file
from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.fit.model_card import FORMAT, Card, read_card
from cmfnet_napari.gui.training.base_models import BaseModel, add_model
from cmfnet_napari.gui.training.card_check import CardCheck, card_text
from tests.gui_logic.stand_ins import come, patient


@pytest.fixture
def model(models):
    models.mkdir()
    path = models / "sarcoma.safetensors"
    card = Card(config=make_config("quick"), classes=2, modalities=("CT",))
    header = {"format": FORMAT, "card": card.model_dump_json()}
    save_file({"weight": np.zeros(4, np.float32)}, path, header)
    write(path, "Adults.")
    return BaseModel(path, read_card(path))


def write(path, population):
    known = {"population": population, "scope": {"slice_mm": [2, 4]}}
    sections_file(path).write_text(json.dumps(known), encoding="utf-8")


def test_a_card_is_read_once_and_again_when_it_says_something_else(bench, model):
    come(bench.session, patient)
    check = CardCheck(bench.session)
    assert check.unread(model)
    check.note_read(model)
    assert not CardCheck(bench.session).unread(model)
    write(model.path, "Children.")
    assert check.unread(model)
    sections_file(model.path).write_text("{", encoding="utf-8")
    assert check.unread(model)
    assert "is damaged. The model itself is as it was" in card_text(model)


def test_a_patient_outside_the_card_is_told_of_once(bench, model, said):
    come(bench.session, patient)  # slices every millimetre
    check = CardCheck(bench.session)
    check.warn(model)
    assert said == [
        "The CT has slices every 1 mm; sarcoma was measured on 2 to 4 mm (what lies between "
        "slices). Look at its contour with more care."
    ]
    check.warn(model)
    come(bench.session, patient)  # also after a restart
    CardCheck(bench.session).warn(model)
    assert len(said) == 1
    come(bench.session, lambda: patient(value=50))  # another patient
    check.warn(model)
    assert len(said) == 2


def test_what_the_patient_taught_has_no_card_to_read(bench, model):
    come(bench.session, patient)
    own = bench.session.case.folder / "runs" / "0001-quick" / "model.safetensors"
    own.parent.mkdir(parents=True)
    own.write_bytes(model.path.read_bytes())
    assert not CardCheck(bench.session).unread(BaseModel(own, model.card))


def test_a_model_that_is_added_brings_its_card(model, tmp_path):
    elsewhere = tmp_path / "elsewhere" / "organs.safetensors"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(model.path.read_bytes())
    write(elsewhere, "Adults of the clinic.")
    added = add_model(elsewhere)
    assert json.loads(sections_file(added).read_text())["population"] == "Adults of the clinic."
