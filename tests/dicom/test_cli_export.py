"""cmfnet export, as a script meets it."""

from __future__ import annotations

import json

import pydicom
import pytest
import SimpleITK as sitk

from tests.cli.test_cli import run


@pytest.fixture
def files(label_map, ct_folder, tmp_path):
    """The command's first words; the label map has two classes."""
    sitk.WriteImage(label_map, str(tmp_path / "labels.nii.gz"))
    return ["export", tmp_path / "labels.nii.gz", "--reference", ct_folder, "--out"]


def test_structure_set_then_one_added(files, tmp_path, capsys) -> None:
    words = ["--name", "Lump", "--name", "Bone", "--type", "gtv", "--type", "organ"]
    status, out, _ = run(capsys, *files, tmp_path / "a.dcm", *words, "--model", "leg", "--json")
    assert status == 0
    said = json.loads(out.splitlines()[-1])
    assert said["ok"]
    assert [s["name"] for s in said["structures"]] == ["Lump", "Bone"]
    assert said["structures"][0]["dice"] == 1.0
    status, _, _ = run(capsys, *files, tmp_path / "b.dcm", "--add-to", tmp_path / "a.dcm")
    assert status == 0
    names = [r.ROIName for r in pydicom.dcmread(tmp_path / "b.dcm").StructureSetROISequence]
    assert names == ["Lump", "Bone", "GTV 1", "GTV 2"]


def test_seg(files, tmp_path, capsys) -> None:
    status, out, _ = run(capsys, *files, tmp_path / "a.dcm", "--format", "seg")
    assert status == 0
    assert "written" in out
    assert pydicom.dcmread(tmp_path / "a.dcm").Modality == "SEG"


def test_wrong_use_is_one_line(files, tmp_path, capsys) -> None:
    status, _, err = run(capsys, *files, tmp_path / "a.dcm", "--name", "GTV")
    assert status == 1
    assert err.splitlines() == [
        "cmfnet: The segmentation has 2 classes, but 1 names were given. Give one for each class."
    ]
    assert not (tmp_path / "a.dcm").exists()
