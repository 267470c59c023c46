"""A contour is exported for the series whose voxels it was drawn on; a grid alone may be shared."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

import cmfnet_napari as cmfnet
from cmfnet_napari.core.case.folder import create_case
from cmfnet_napari.core.errors import DataWarning, UserError
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import open_study
from cmfnet_napari.core.images.volume import read_image
from cmfnet_napari.core.registration.registrations import Registration
from tests.conftest import rotation
from tests.dicom_files import MR_GRID, write_slices

GRID = Grid((8, 30, 34), (3.0, 1.0, 1.1), (-17.0, -15.0, 40.0), rotation(9, -5, 3))


def body(centre, seed, grid=GRID):
    """Somebody in air, 8 voxels thick."""
    place = np.stack(np.indices(grid.shape), -1)[..., 1:] - centre
    inside = (place**2).sum(-1) < 9**2
    noise = np.random.default_rng(seed).integers(-4, 5, grid.shape)
    return (np.where(inside, 40, -1000) + noise * inside).astype(np.int16)


@pytest.fixture
def patients(tmp_path):
    """Two patients, one protocol; the first is open."""
    write_slices(tmp_path / "own", body((14, 16), 0), GRID)
    write_slices(tmp_path / "other", body((16, 16), 1), GRID, patient="P2")
    labels = np.zeros(GRID.shape, np.uint8)
    labels[2:5, 10:18, 12:20] = 1
    sitk.WriteImage(GRID.to_image(labels), str(tmp_path / "mask.nii.gz"))
    return tmp_path


def refused():
    return pytest.raises(UserError, match=r"but other voxels: \d+ % of them differ")


@pytest.mark.parametrize("offset", [0, 1024])
def test_the_series_of_another_patient_is_refused(patients, offset):
    image = read_image(patients / "own")
    sitk.WriteImage(sitk.Cast(image, sitk.sitkFloat32) + offset, str(patients / "ct.nii.gz"))
    study = open_study(patients / "ct.nii.gz")  # the same patient from another format
    mask = patients / "mask.nii.gz"
    receipt = cmfnet.export_rtstruct(mask, patients / "own", patients / "a.dcm", study)
    assert receipt.ok
    with refused():
        cmfnet.export_rtstruct(mask, patients / "other", patients / "b.dcm", study)
    assert not (patients / "b.dcm").exists()


def test_a_label_map_within_a_case_and_one_of_nobody(patients):
    case = create_case(patients / "case", open_study(patients / "own"))
    case.close()
    inside = patients / "case" / "runs" / "0001-quick" / "prediction.nii.gz"
    inside.parent.mkdir(parents=True)
    mask = patients / "mask.nii.gz"
    inside.write_bytes(mask.read_bytes())
    assert cmfnet.export_rtstruct(inside, patients / "own", patients / "a.dcm").ok
    with refused():
        cmfnet.export_rtstruct(inside, patients / "other", patients / "b.dcm")
    with pytest.warns(DataWarning, match="Only the grid was compared"):
        cmfnet.export_rtstruct(mask, patients / "other", patients / "c.dcm")


def own_mr_is_taken_and_another_is_not(folder):
    study = open_study(folder / "ct", folder / "mr")
    labels = np.zeros(study.grid.shape, np.uint8)
    labels[2:5, 8:12, 9:15] = 1
    assert cmfnet.export_rtstruct(labels, folder / "mr", folder / "a.dcm", study).ok
    with refused():
        cmfnet.export_rtstruct(labels, folder / "no", folder / "b.dcm", study)


def test_an_mr_on_the_grid_of_the_ct(tmp_path):
    """The CT may lie on the MR's grid: the series is then the MR, or somebody else's."""
    grid = Grid(MR_GRID.shape, MR_GRID.spacing, MR_GRID.origin)
    ct, mr = body((12, 14), 0, grid), body((12, 14), 3, grid) + 1100
    write_slices(tmp_path / "ct", ct, grid)
    write_slices(tmp_path / "mr", mr.astype(np.uint16), grid, "MR")
    write_slices(tmp_path / "no", (mr[:, ::-1] * 2).astype(np.uint16), grid, "MR", patient="P2")
    own_mr_is_taken_and_another_is_not(tmp_path)


def test_a_second_image_that_was_moved_is_not_what_was_drawn_on(tmp_path):
    grid = Grid(MR_GRID.shape, MR_GRID.spacing, MR_GRID.origin)
    for name, seed in (("t1", 3), ("t2", 4)):
        values = body((12, 14), seed, grid) + 1100
        write_slices(tmp_path / name, values.astype(np.uint16), grid, "MR")
    study = open_study(tmp_path / "t1", tmp_path / "t2")
    labels = np.zeros(study.grid.shape, np.uint8)
    labels[2:5, 8:12, 9:15] = 1
    assert cmfnet.export_rtstruct(labels, tmp_path / "t2", tmp_path / "a.dcm", study).ok
    aside = np.eye(4)
    aside[0, 3] = 0.5
    moved = study.moved(aside)
    assert cmfnet.export_rtstruct(labels, tmp_path / "t1", tmp_path / "b.dcm", moved).ok
    with pytest.raises(UserError, match="which was moved to lie on the first"):
        cmfnet.export_rtstruct(labels, tmp_path / "t2", tmp_path / "c.dcm", moved)

    case = create_case(tmp_path / "case", study)
    inside = case.folder / "runs" / "0001-quick" / "prediction.nii.gz"
    inside.parent.mkdir(parents=True)
    cmfnet.save_labels(labels, study, inside)
    assert cmfnet.export_rtstruct(inside, tmp_path / "t2", tmp_path / "d.dcm").ok
    again = open_study(case.folder / "study" / "first.nrrd", tmp_path / "t2", ("MR", "MR"))
    assert cmfnet.export_rtstruct(labels, tmp_path / "t2", tmp_path / "e.dcm", again).ok
    case.register(Registration.of(aside, "by hand"))
    case.close()
    with pytest.raises(UserError, match="which was moved to lie on the first"):
        cmfnet.export_rtstruct(inside, tmp_path / "t2", tmp_path / "f.dcm")


def test_an_mr_of_small_values_is_somebody_s_too(tmp_path):
    """From 0 to 1, any two images are alike to within one unit."""
    grid = Grid(MR_GRID.shape, MR_GRID.spacing, MR_GRID.origin)
    own, other = (body((12, 14), seed, grid) + 1010 for seed in (3, 4))
    write_slices(tmp_path / "mr", own.astype(np.uint16), grid, "MR")
    write_slices(tmp_path / "no", other.astype(np.uint16), grid, "MR", patient="P2")
    for folder in ("mr", "no"):
        for path in (tmp_path / folder).iterdir():
            data = pydicom.dcmread(path)
            data.RescaleSlope, data.RescaleIntercept = "0.001", "0"
            data.save_as(path)
    write_slices(tmp_path / "ct", body((12, 14), 0, grid), grid)
    own_mr_is_taken_and_another_is_not(tmp_path)
