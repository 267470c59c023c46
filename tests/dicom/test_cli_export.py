"""cmfnet export, as a script meets it."""

from __future__ import annotations

import json

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.case.folder import create_case
from cmfnet_napari.core.images.study import load_labels, open_study
from cmfnet_napari.core.strokes.entries import Correction
from tests.case_runs import write_run
from tests.cli.test_cli import run


@pytest.fixture
def files(label_map, ct_folder, tmp_path):
    """The command's first words; the label map has two classes."""
    sitk.WriteImage(label_map, str(tmp_path / "labels.nii.gz"))
    return ["export", tmp_path / "labels.nii.gz", "--reference", ct_folder, "--out"]


def test_structure_set_then_one_added(files, tmp_path, capsys) -> None:
    words = ["--name", "Lump", "--name", "Bone", "--type", "gtv", "--type", "organ"]
    status, out, err = run(capsys, *files, tmp_path / "a.dcm", *words, "--model", "leg", "--json")
    assert status == 0
    assert [line for line in err.splitlines() if "note" in line] == [
        "cmfnet: note: Lump is no name by TG-263. It is not in the list of TG-263."
    ]
    said = json.loads(out.splitlines()[-1])
    assert said["ok"]
    assert [s["name"] for s in said["structures"]] == ["Lump", "Bone"]
    assert said["structures"][0]["dice"] == 1.0
    status, _, err = run(capsys, *files, tmp_path / "b.dcm", "--add-to", tmp_path / "a.dcm")
    assert (status, "note" in err) == (0, False)
    names = [r.ROIName for r in pydicom.dcmread(tmp_path / "b.dcm").StructureSetROISequence]
    assert names == ["Lump", "Bone", "GTV1", "GTV2"]


def test_seg(files, tmp_path, capsys) -> None:
    names = ["--name", "left kidney", "--name", "Bone", "--type", "organ"]
    status, out, err = run(capsys, *files, tmp_path / "a.dcm", "--format", "seg", *names)
    assert status == 0
    assert "left kidney is no name by TG-263. TG-263 allows no spaces" in err
    assert "Nearest: Kidney_L, " in err
    assert err.count("note") == 1
    assert "written" in out
    assert pydicom.dcmread(tmp_path / "a.dcm").Modality == "SEG"


def test_a_case_is_exported_as_it_was_corrected(files, ct_folder, tmp_path, capsys) -> None:
    study = open_study(ct_folder)
    case = create_case(tmp_path / "case", study)
    labels = load_labels(files[1], study.grid)
    write_run(case, labels)
    at = np.flatnonzero(labels == 1)[:40]
    no, background = np.zeros(at.size, np.uint8), np.ones(at.size, np.uint8)
    case.correct(Correction(at, no, background))
    case.close()
    options = ["--reference", ct_folder, "--format", "nifti"]
    status, _, err = run(capsys, "export", case.folder, *options, "--out", tmp_path / "c.nii.gz")
    assert (status, err) == (0, "")
    written = load_labels(tmp_path / "c.nii.gz", study.grid)
    assert np.flatnonzero(written != labels).tolist() == at.tolist()
    assert not written.reshape(-1)[at].any()
    own = case.folder / "runs" / "0001-quick" / "prediction.nii.gz"
    status, _, err = run(capsys, "export", own, *options, "--out", tmp_path / "m.nii.gz")
    assert (status, err.count("warning: this is the model's own contour")) == (0, 1)
    words = [case.folder, "--reference", ct_folder, "--out", tmp_path / "c.dcm"]
    assert run(capsys, "export", *words)[0] == 0
    (roi, *_) = pydicom.dcmread(tmp_path / "c.dcm").StructureSetROISequence
    assert (roi.ROIName, roi.ROIGenerationAlgorithm) == ("Tumour", "SEMIAUTOMATIC")
    assert "corrected by hand" in roi.ROIGenerationDescription
    assert run(capsys, "export", *words, "--overwrite", "--automatic")[0] == 0
    (roi, *_) = pydicom.dcmread(tmp_path / "c.dcm").StructureSetROISequence
    assert roi.ROIGenerationAlgorithm == "AUTOMATIC"


def test_wrong_use_is_one_line(files, tmp_path, capsys) -> None:
    status, _, err = run(capsys, *files, tmp_path / "a.dcm", "--name", "GTV")
    assert status == 1
    assert err.splitlines() == [
        "cmfnet: The segmentation has 2 classes, but 1 names were given. Give one for each class."
    ]
    assert not (tmp_path / "a.dcm").exists()


def test_what_is_exported_is_never_overwritten(files, ct_folder, tmp_path, capsys) -> None:
    ct = tmp_path / "ct.nii.gz"
    sitk.WriteImage(open_study(ct_folder).first.image(), str(ct))
    for target in (ct, files[1]):
        before = target.read_bytes()
        options = ["--format", "nifti", "--overwrite", "--image", ct]
        status, _, err = run(capsys, *files, target, *options)
        assert (status, "never overwritten" in err) == (1, True)
        assert target.read_bytes() == before
