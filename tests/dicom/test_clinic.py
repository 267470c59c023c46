"""The whole way: a study out of the PACS, a contour learnt from strokes, a structure set back."""

from __future__ import annotations

import json

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.dicom.export.reference import read_reference
from tests.cli.test_cli import run


def last(text: str) -> dict:
    return json.loads(text.splitlines()[-1])


@pytest.mark.slow
def test_from_the_pacs_and_back(web, orthanc, test_data, tmp_path, capsys, read_by_others) -> None:
    real = test_data / "sts" / "dicom_STS_025"
    status, _, _ = run(
        capsys, "pacs", "send", "web", real / "CT" / "image", real / "MR_T1" / "image"
    )
    assert status == 0
    (study,) = last(run(capsys, "pacs", "find", "web", "--json")[1])["studies"]
    found = last(run(capsys, "pacs", "find", "web", "--study", study["uid"], "--json")[1])
    uids = {series["modality"]: series["uid"] for series in found["series"]}
    run(capsys, "pacs", "fetch", "web", study["uid"], "--out", tmp_path / "in")
    ct, mr = (tmp_path / "in" / uids[modality] for modality in ("CT", "MR"))

    grid = read_reference(ct).grid
    drawn = sitk.ReadImage(str(test_data / "sts" / "cases" / "STS_025" / "gtv.nii.gz"))
    image = grid.to_image(np.zeros(grid.shape, np.uint8))
    mask = sitk.Resample(drawn, image, sitk.Transform(), sitk.sitkNearestNeighbor)
    sitk.WriteImage(mask, str(tmp_path / "gtv.nii.gz"))
    strokes = tmp_path / "strokes.nii.gz"
    run(capsys, "scribble", tmp_path / "gtv.nii.gz", "--out", strokes, "--classes", "all")
    status, out, err = run(
        capsys, "fit", ct, "--mr", mr, "--scribbles", strokes, "--out", tmp_path / "run",
        "--set", "steps=3", "--set", "width=4", "--set", "patch=[16, 32, 32]",
        "--set", "spacing=4", "--json",
    )  # fmt: skip
    assert status == 0, err
    prediction = last(out)["prediction"]

    structures = tmp_path / "gtv.dcm"
    status, _, err = run(
        capsys, "export", prediction, "--reference", ct, "--out", structures, "--name", "GTV"
    )
    assert status == 0, err
    assert run(capsys, "pacs", "send", "web", structures)[0] == 0
    uid = pydicom.dcmread(structures).SOPInstanceUID
    (served,) = orthanc.rest(f"/dicom-web/instances?SOPInstanceUID={uid}")
    assert served["0020000D"]["Value"] == [study["uid"]]
    meant = sitk.GetArrayFromImage(sitk.ReadImage(prediction)) > 0
    np.testing.assert_array_equal(read_by_others(structures, ct, "GTV"), meant)
