"""What the command line writes of a case is what the window would write."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from cmfnet_napari import api
from cmfnet_napari.core.fit.runs import maker_name, run_maker
from cmfnet_napari.core.images.study import open_study
from cmfnet_napari.core.report import from_run, page
from cmfnet_napari.gui.patient.classes import add_class
from cmfnet_napari.gui.patient.opened import open_files
from tests.case_runs import write_run
from tests.gui_logic.stand_ins import come

ORANGE, TEAL = "#d55e00", "#009e73"


@pytest.fixture
def drawn(bench, tmp_path, write_series):
    """A case of two classes in colours of their own; the first class of all was removed."""
    array = np.random.default_rng(0).integers(-200, 300, (6, 16, 16)).astype(np.int16)
    ct = sitk.GetImageFromArray(array)
    ct.SetSpacing((1.0, 1.0, 3.0))
    sitk.WriteImage(ct, str(tmp_path / "ct.nii.gz"))
    for path in write_series(ct, tmp_path / "dicom").glob("*.dcm"):
        header = pydicom.dcmread(path)
        header.FrameOfReferenceUID, header.PatientID = "1.2.3.4", "P1"
        header.save_as(path)
    come(bench.session, lambda: open_files(tmp_path / "ct.nii.gz"))
    session = bench.session
    session.set_classes(add_class(add_class(session.case.classes, "Node"), "Oedema"))
    session.remove_class(2)
    colors = {"Node": ORANGE, "Oedema": TEAL}
    classes = session.case.classes
    session.set_classes(tuple(replace(e, color=colors.get(e.name, e.color)) for e in classes))
    return bench


def show(bench, name, made_from=None, **known):
    """A run that is complete, and what it was made from."""
    labels = np.zeros(bench.session.case.study.grid.shape, np.uint8)
    labels[1:4, 2:6, 2:6], labels[2:5, 9:13, 9:13] = 1, 2
    event = write_run(bench.session.case, labels, name=name)
    folder = bench.session.case.folder / "runs" / name
    if made_from is not None:
        (folder / "config.json").write_text(json.dumps(made_from))
    if known:
        event = event.model_copy(update=known)
        (folder / "events.jsonl").write_text(event.model_dump_json() + "\n")
    bench.result.read(event)
    return folder


@pytest.fixture
def pelvis(tmp_path, monkeypatch):
    """A model in the department's folder."""
    path = tmp_path / "models" / "pelvis.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"")
    monkeypatch.setenv("CMFNET_MODELS", str(path.parent))
    return str(path)


def exported(bench, tmp_path, name):
    out = tmp_path / name
    api.export_as("rtstruct", bench.session.case.folder, tmp_path / "dicom", out)
    return pydicom.dcmread(out)


def test_colours_and_model_are_the_windows(drawn, tmp_path):
    show(drawn, "0001-quick", {"base": "", "config": {"preset": "quick"}})
    first = exported(drawn, tmp_path, "a.dcm")
    assert [roi.ROIName for roi in first.StructureSetROISequence] == ["Node", "Oedema"]
    # D5 5E 00 and 00 9E 73, as decimal numbers
    assert [[int(v) for v in roi.ROIDisplayColor] for roi in first.ROIContourSequence] == [
        [213, 94, 0],
        [0, 158, 115],
    ]
    assert first.ManufacturerModelName == drawn.result.model_name == "CmFNet quick"
    assert "CmFNet quick, cmfnet-napari" in first.StructureSetDescription
    show(drawn, "0002-quick", {"base": "limb-sarcoma", "config": {"preset": "quick"}})
    second = exported(drawn, tmp_path, "b.dcm")
    assert second.ManufacturerModelName == drawn.result.model_name == "limb-sarcoma"


def test_a_model_that_only_predicted_is_called_by_its_name(drawn, tmp_path, pelvis):
    run = show(drawn, "0001-predict", model=pelvis)
    assert exported(drawn, tmp_path, "a.dcm").ManufacturerModelName == "pelvis"
    assert drawn.result.model_name == maker_name(run) == run_maker(run) == "pelvis"
    run = show(drawn, "0002-predict", model=str(tmp_path / "Mustermann.safetensors"))
    assert (
        drawn.result.model_name == maker_name(run) == "another model"
    )  # a name may be a patient's


def test_the_report_names_the_case(drawn, tmp_path, pelvis, monkeypatch):
    """By its key, which the hash of its images is not."""
    facts = []
    for module in (from_run, page):
        monkeypatch.setattr(module, "save_report", lambda *words: facts.append(words[2]))
    run = show(drawn, "0001-predict", model=pelvis)
    from_run.report_run(run, open_study(tmp_path / "ct.nii.gz"), tmp_path / "r.pdf")
    drawn.report_export.save_report(str(tmp_path / "w.pdf"))
    theirs, ours = facts
    assert theirs.case == ours.case == drawn.session.case.key
    assert theirs.model == ours.model == "0001-predict, pelvis"
