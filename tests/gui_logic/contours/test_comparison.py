"""What the contour is compared with, and when it is judged."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels

from cmfnet_napari.core.dicom.importing.contour_file import SeveralStructuresError
from cmfnet_napari.core.dicom.importing.patient import Choice
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.events import encode
from cmfnet_napari.core.registration.registrations import AS_IT_WAS, Registration
from cmfnet_napari.gui.contours import comparison as module
from cmfnet_napari.gui.contours.comparison import Comparison
from cmfnet_napari.gui.patient.layers import NO_CONTOUR, ROLE
from tests.gui_logic.stand_ins import GRID, SHAPE, StandInResult, finished


@pytest.fixture
def comparison(session, background, said, heard, monkeypatch):
    monkeypatch.setattr(
        module, "insert_below", lambda viewer, layer, _top: viewer.layers.append(layer)
    )
    comparison = Comparison(session, StandInResult())
    heard.listen(comparison, "changed", "evaluated")
    sample = np.zeros(SHAPE, np.uint8)
    sample[1:3, 1:4, 1:4] = 1
    session.open(contour=sample)
    return comparison


def predict(comparison, labels):
    comparison._result.labels = labels
    comparison._result.changed.emit({"Tumour": 1.0})


def dice(comparison):
    return None if comparison.evaluation is None else comparison.evaluation.mean.dsc


def test_a_samples_own_contour_is_judged_at_once(comparison, session):
    predict(comparison, session.patient.contour.copy())
    assert dice(comparison) is None  # with nothing
    comparison.use_sample()
    assert (comparison.kind, dice(comparison)) == ("sample", 1.0)
    assert session.viewer.layers == []  # it has a layer already


def test_a_new_contour_is_judged_when_it_rests(comparison, session, heard):
    predict(comparison, session.patient.contour.copy())
    comparison.use_sample()
    predict(comparison, np.zeros(SHAPE, np.uint8))
    assert heard[-1] == ("evaluated", None)
    comparison._later.fire()
    assert dice(comparison) == 0.0


def test_what_was_read_has_a_layer_until_it_is_another(comparison, session, monkeypatch):
    monkeypatch.setattr(module, "read_contour", lambda *_: (np.ones(SHAPE, np.uint8), []))
    comparison.use_file("other.nii.gz")
    (layer,) = session.viewer.layers
    assert (comparison.kind, layer.name) == ("file", "Compared with")
    comparison.use_nothing()
    assert (comparison.kind, comparison.other, session.viewer.layers) == ("nothing", None, [])


def test_a_file_with_several_structures_is_asked_about(comparison, heard, said, monkeypatch):
    chosen = []

    def read(path, study, classes, structure, images, matrix):
        chosen.append((path, classes, structure))
        if not structure:
            raise SeveralStructuresError("s.dcm", ["Bone", "GTV"])
        return np.ones(SHAPE, np.uint8), ["GTV lies outside the image, in part."]

    monkeypatch.setattr(module, "read_contour", read)
    heard.listen(comparison, "asked")
    comparison.use_file("s.dcm")
    assert (heard[-1], comparison.kind, said) == (
        ("asked", "s.dcm", ["Bone", "GTV"]),
        "nothing",
        [],
    )
    comparison.use_file("s.dcm", "GTV")
    assert (chosen[-1], comparison.kind) == (("s.dcm", ["Tumour"], "GTV"), "file")
    assert said == ["GTV lies outside the image, in part."]


def test_a_file_is_placed_with_the_images_and_where_the_second_lies_now(
    comparison, session, monkeypatch
):
    images, moved, given = Choice(None), np.eye(4), []
    moved[:3, 3] = 1, 2, 3
    session.patient.images = images
    session.case.registrations = AS_IT_WAS.added(Registration.of(moved, "by hand"))

    def read(_path, study, _classes, _structure, *where):
        given.extend((study, *where))
        return np.ones(SHAPE, np.uint8), []

    monkeypatch.setattr(module, "read_contour", read)
    comparison.use_file("s.dcm")
    assert given[:2] == [session.case.study, images]
    np.testing.assert_array_equal(given[2], moved)


def test_any_contour_that_is_loaded_can_be_compared_with(comparison, session):
    """ "The sample's own contour" was the answer for the GTV on the screen."""
    gtv = np.zeros(SHAPE, np.uint8)
    gtv[1, 2, 3] = 7  # a mask of a structure, whatever its value
    place = {"scale": GRID.spacing, "translate": GRID.translate}
    structure = Labels(gtv, name="tumour (structure)", **place)
    elsewhere = Labels(gtv, name="of another grid")
    strokes = Labels(gtv, name="Scribbles", metadata={NO_CONTOUR: True}, **place)
    sample = Labels(gtv, name="Contour", metadata={ROLE: "Contour"}, **place)
    ours = Labels(gtv, name="Prediction", **place)
    comparison._result.prediction = ours
    session.viewer.layers.extend([structure, elsewhere, strokes, sample, ours])
    assert comparison.loaded == [structure]
    predict(comparison, (gtv > 0).astype(np.uint8))
    comparison.use_layer(structure)
    assert (comparison.kind, comparison.layer, dice(comparison)) == ("layer", structure, 1.0)
    assert len(session.viewer.layers) == 5  # it has a layer already
    session.close()
    assert comparison.loaded == []


def test_what_cannot_be_read_is_said_and_changes_nothing(comparison, said, monkeypatch):
    def damaged(*_):
        raise UserError("The file is damaged.")

    monkeypatch.setattr(module, "read_contour", damaged)
    comparison.use_file("other.nii.gz")
    assert (said, comparison.kind) == (["The file is damaged."], "nothing")


def test_the_training_before_is_an_earlier_one(comparison, session, monkeypatch):
    monkeypatch.setattr(module, "load_labels", lambda path, _grid: np.full(SHAPE, 1, np.uint8))
    comparison._result.run = "runs/0002-quick"
    for name in ("0002-quick", "0003-quick"):
        run = session.folder / "runs" / name
        run.mkdir(parents=True)
        (run / "events.jsonl").write_text(encode(finished(f"runs/{name}")))
    with pytest.raises(UserError, match="no earlier training"):
        comparison.use_previous()
    run = session.folder / "runs" / "0001-quick"
    run.mkdir()
    (run / "events.jsonl").write_text(encode(finished()))
    comparison.use_previous()
    assert comparison.kind == "previous"


def test_what_is_not_there_is_said(comparison, session):
    session.patient.contour = None
    with pytest.raises(UserError, match="came without a contour"):
        comparison.use_sample()
    session.close()
    with pytest.raises(UserError, match="came without a contour"):
        comparison.use_sample()


def test_what_comes_too_late_is_not_used(comparison, session, background, monkeypatch):
    monkeypatch.setattr(module, "read_contour", lambda *_: (np.ones(SHAPE, np.uint8), []))
    background.held = True
    comparison.use_file("other.nii.gz")
    comparison.close()
    session.close()
    background.catch_up()
    assert (comparison.kind, comparison.other) == ("nothing", None)
