"""Models that a fit can start from: found, added, never overwritten."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.fit.events import encode
from cmfnet_napari.core.fit.model_card import FORMAT, Card
from cmfnet_napari.gui.training.base_models import (
    BaseModels,
    add_model,
    list_models,
    model_words,
    own_model,
)
from cmfnet_napari.gui.training.start_panel import proposed
from tests.gui_logic.stand_ins import finished

FIXED = make_config("quick", spacing=2.5, stroke_maps=False)


def write(path, classes=2, config=FIXED, **values):
    """A model file; the weights do not matter here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    card = Card(config=config, classes=classes, **values)
    weights = {"weight": np.zeros(4, np.float32)}
    save_file(weights, path, {"format": FORMAT, "card": card.model_dump_json()})
    return path


@pytest.fixture
def base_models(background, said, heard):
    base_models = BaseModels()
    heard.listen(base_models, "added")
    return base_models


def test_a_taken_name_gets_a_number_and_nothing_is_overwritten(models, tmp_path):
    first = write(tmp_path / "a" / "organs.safetensors", classes=3)
    second = write(tmp_path / "b" / "organs.safetensors", classes=4)
    added = [add_model(path) for path in (first, second, first)]
    assert [path.stem for path in added] == ["organs", "organs-2", "organs-3"]
    assert [model.card.classes for model in list_models()] == [3, 4, 3]
    assert add_model(added[1]) == added[1]  # one that is there already is not copied
    assert len(list_models()) == 3


def test_a_model_is_added_or_it_is_said_why_not(base_models, models, tmp_path, heard, said):
    base_models.add(str(write(tmp_path / "0003-standard" / "model.safetensors")))
    assert heard == [("added", models / "0003-standard.safetensors")]
    (tmp_path / "photo.safetensors").write_bytes(b"not a model")
    base_models.add(str(tmp_path / "photo.safetensors"))
    assert len(heard) == 1
    assert "photo.safetensors is damaged" in said[-1]


def test_those_of_the_package_come_first_and_broken_ones_are_left_out(models, tmp_path):
    write(models / "a.safetensors", steps=12000, data=("a", "b", "c"), created="2026-01-31")
    write(tmp_path / "built-in" / "z.safetensors", classes=8, steps=500, metrics={"dsc": 0.806})
    (models / "broken.safetensors").write_bytes(b"half a file")
    assert [(model.name, model.built_in) for model in list_models()] == [("z", True), ("a", False)]
    assert [model_words(model) for model in list_models()] == [
        "z: 7 classes, trained for 500 steps; mean DSC 0.81 on patients it had not seen.",
        "a: 1 class, trained for 12,000 steps on 3 patients; made on 2026-01-31.",
    ]


def test_a_patients_own_model_is_that_of_the_last_fit_if_it_is_there(session):
    session.open()
    assert own_model(session.case) is None
    run = session.folder / "runs" / "0001-quick"
    run.mkdir(parents=True)
    (run / "events.jsonl").write_text(encode(finished()))
    assert own_model(session.case) is None
    write(run / "model.safetensors")
    assert own_model(session.case).path == run / "model.safetensors"
    session.case.knows_classes = lambda folder, labels: (folder, labels) != (run, 2)
    assert own_model(session.case) is None  # a class that it learnt was removed


def test_the_model_of_the_package_that_reads_strokes_anywhere_is_proposed(models, tmp_path):
    anywhere = make_config("quick", stroke_maps=True, drawn_voxels=27)
    write(models / "own.safetensors", config=anywhere)
    write(tmp_path / "built-in" / "limb.safetensors", modalities=("CT", "MR"))
    assert proposed() is None
    path = write(tmp_path / "built-in" / "structure.safetensors", config=anywhere)
    assert proposed() == path
