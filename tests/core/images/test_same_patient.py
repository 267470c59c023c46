"""Two images of two patients are never taken for a pair, nor one image for two."""

import warnings

import numpy as np
import pytest

from cmfnet_napari.core.dicom.importing.import_case import read_patient
from cmfnet_napari.core.errors import DataWarning, UserError
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import open_study
from cmfnet_napari.core.images.volume import read_image, write_image
from tests.dicom_files import uid, write_enhanced, write_slices

GRID = Grid((6, 20, 18), (3.0, 2.0, 1.8), (-30.0, -28.0, 40.0))
VALUES = np.random.default_rng(0).integers(0, 900, GRID.shape)


def series(folder, modality="CT", **words):
    values = VALUES.astype("<i2") + (modality == "MR")
    write_slices(folder, values, GRID, modality, **words)
    return folder


def nobody(_k, data):
    data.PatientID, data.PatientName = "", "Anonymous"


def sentences(first, second):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        open_study(first, second)
    return [str(one.message) for one in said if one.category is DataWarning]


def test_another_patient_is_refused_without_a_name(tmp_path):
    ct = series(tmp_path / "ct", patient="4711")
    mr = series(tmp_path / "mr", "MR", patient="0815")
    with pytest.raises(UserError, match="CT and MR are of two patients") as refused:
        open_study(ct, mr)
    assert not any(word in str(refused.value) for word in ("4711", "0815", "Made", "Up"))


def test_another_patient_in_one_file_is_refused(tmp_path):
    frames = [(v, GRID.to_patient((k, 0, 0)), {}) for k, v in enumerate(VALUES + 1)]
    mr = write_enhanced(tmp_path / "mr.dcm", frames, GRID)  # of P1
    assert sentences(series(tmp_path / "ct"), mr) == []
    with pytest.raises(UserError, match="two patients"):
        open_study(series(tmp_path / "other", patient="P2"), mr)


@pytest.mark.parametrize("edit", [nobody, lambda _k, _data: None])
def test_one_patient_or_somebody_unnamed_is_taken(tmp_path, edit):
    assert sentences(series(tmp_path / "ct"), series(tmp_path / "mr", "MR", edit=edit)) == []


def test_frames_of_reference_that_differ_are_said(tmp_path):
    ct, mr = series(tmp_path / "ct"), series(tmp_path / "mr", "MR", frame="another")
    (said,) = sentences(ct, mr)
    assert "the MR is placed by its position alone" in said
    write_image(read_image(mr), tmp_path / "mr.nii.gz")  # says of no frame
    assert sentences(ct, tmp_path / "mr.nii.gz") == []


def test_one_image_is_no_pair(tmp_path):
    ct = series(tmp_path / "ct")
    write_image(read_image(ct), tmp_path / "ct.nii.gz")
    for second in (ct, tmp_path / "ct.nii.gz"):
        with pytest.raises(UserError, match="one and the same image"):
            open_study(ct, second)
    with pytest.raises(UserError, match="one and the same image"):
        read_patient([tmp_path / "ct.nii.gz"] * 2)


def test_what_is_kept_with_an_image_names_nobody(tmp_path):
    image = read_image(series(tmp_path / "ct", patient="Mx-4711-Q"))
    write_image(image, tmp_path / "ct.mha")
    kept = " ".join(image.GetMetaData(key) for key in image.GetMetaDataKeys())
    for text in (kept, (tmp_path / "ct.mha").read_bytes().decode("latin-1")):
        assert not any(word in text for word in ("Mx-4711-Q", "Made", uid("frame", "frame")))
