"""The series that is exported for: order, place, and what is refused."""

from __future__ import annotations

import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.config import disable_value_validation

from cmfnet_napari.core.dicom.export.checked_export import export
from cmfnet_napari.core.dicom.export.reference import read_reference
from cmfnet_napari.core.dicom.export.roi import make_rois
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.grid import Grid
from tests.dicom.conftest import SHAPE, SPACING, slice_header, write_ct


def test_grid_is_where_itk_places_the_series(ct_folder, reference) -> None:
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(ct_folder))
    itk = Grid.from_image(sitk.ReadImage(names))
    assert reference.grid.same_place(itk)
    assert reference.grid.shape == SHAPE
    np.testing.assert_allclose(reference.grid.spacing, SPACING, atol=1e-5)
    assert [header.InstanceNumber for header in reference.headers] == list(range(1, 10))


def test_points_of_a_slice_lie_on_the_grid(reference) -> None:
    points = np.array([[0.0, 0.0], [3.5, 1.25], [15.0, 11.0]])
    index = np.column_stack([[4, 4, 4], points])
    np.testing.assert_allclose(
        reference.to_patient(4, points), reference.grid.to_patient(index), atol=1e-5
    )


@pytest.mark.parametrize("code", ["LPS", "RAI", "SRP"])
def test_labels_are_turned_to_the_series(reference, label_map, labels, code) -> None:
    turned = reference.place(sitk.DICOMOrient(label_map, code), "labels")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(turned), labels)


def test_labels_of_another_grid_are_refused_with_both_named(reference, label_map) -> None:
    label_map.SetOrigin(np.add(label_map.GetOrigin(), (0, 0, 1.0)))
    with pytest.raises(UserError, match=r"12×16×9 voxels .* another grid .*12×16×9 voxels"):
        reference.place(label_map, "labels")


def test_other_files_and_folders_do_not_matter(ct_folder) -> None:
    (ct_folder / "notes.txt").write_text("no DICOM")
    assert len(read_reference(ct_folder.parent).headers) == SHAPE[0]


def test_one_of_several_series_is_chosen_by_its_uid(tmp_path) -> None:
    write_ct(tmp_path / "a")
    write_ct(tmp_path / "b", study="2")
    with pytest.raises(UserError, match=r"2 DICOM image series \(9, 9 files\)"):
        read_reference(tmp_path)
    chosen = read_reference(tmp_path, "1.2.826.0.1.3680043.2.1125.7.2.2")
    assert chosen.first.PatientID == "P-2"
    with pytest.raises(UserError, match="no such DICOM image series"):
        read_reference(tmp_path, "1.2.3")


def test_the_series_of_the_labels_is_found_among_others(tmp_path, label_map) -> None:
    write_ct(tmp_path / "more" / "a")
    write_ct(tmp_path / "more" / "b", study="2", PixelSpacing=[2.0, 2.0])
    write_ct(tmp_path / "more" / "c", slices=range(1), study="3")
    assert read_reference(tmp_path / "more", labels=label_map).first.PatientID == "P-1"
    write_ct(tmp_path / "more" / "d", study="4")  # as good
    with pytest.raises(UserError, match="4 DICOM image series"):
        read_reference(tmp_path / "more", labels=label_map)


def test_copies_of_a_slice_count_once(ct_folder) -> None:
    shutil.copyfile(ct_folder / "0.dcm", ct_folder / "copy.dcm")
    assert len(read_reference(ct_folder).headers) == SHAPE[0]


def test_sagittal_slices_from_the_left(tmp_path) -> None:
    for k in range(SHAPE[0]):
        header = slice_header(k)
        header.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        header.ImagePositionPatient = [50 - 3 * k, -20, 30]
        (tmp_path / "s").mkdir(exist_ok=True)
        pydicom.dcmwrite(tmp_path / "s" / f"{k}.dcm", header, enforce_file_format=True)
    reference = read_reference(tmp_path / "s")
    labels = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "s"))
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(sitk.ReadImage(names))
    turned = reference.place(sitk.DICOMOrient(image, "LPS"), "labels")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(turned), labels)
    (point,) = reference.to_patient(0, np.array([[2.0, 1.0]]))
    np.testing.assert_allclose(point, [50, -20 + 1.2, 30 - 2 * 0.9])  # the normal is to the right


def test_values_too_long_are_cut(tmp_path) -> None:
    with disable_value_validation():
        folder = write_ct(tmp_path / "long", StudyID="a study ID far too long")
    assert read_reference(folder).first.StudyID == "a study ID far t"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"FrameOfReferenceUID": None}, "lacks FrameOfReferenceUID"),
        ({"slices": range(1)}, "one slice only"),
        ({"Modality": "OT"}, "no such DICOM image series"),
    ],
)
def test_what_cannot_be_exported_for_is_said(tmp_path, changes, words) -> None:
    with pytest.raises(UserError, match=words):
        read_reference(write_ct(tmp_path / "bad", **changes))


def test_a_missing_slice_is_named(tmp_path) -> None:
    folder = write_ct(tmp_path / "gap")
    next(p for p in folder.iterdir() if pydicom.dcmread(p).InstanceNumber == 5).unlink()
    with pytest.raises(UserError, match=r"slices 4 and 5 are 6.00 mm apart, the others 3.00 mm"):
        read_reference(folder)


def test_mixed_orientations_and_a_tilted_gantry_are_refused(tmp_path) -> None:
    folder = write_ct(tmp_path / "mixed")
    path = folder / "0.dcm"
    header = pydicom.dcmread(path)
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.save_as(path)
    with pytest.raises(UserError, match="different directions"):
        read_reference(folder)
    folder = write_ct(tmp_path / "tilted")
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        k, down = header.InstanceNumber, np.array(header.ImageOrientationPatient[3:])
        header.ImagePositionPatient = list(np.array(header.ImagePositionPatient) + 0.4 * k * down)
        header.save_as(path)
    with pytest.raises(UserError, match="tilted gantry"):
        read_reference(folder)


def test_no_folder(tmp_path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        read_reference(tmp_path / "nowhere")


def change(folder, k, **values):
    """Change slice k (from 0) of a written series."""
    path = next(p for p in folder.iterdir() if pydicom.dcmread(p).InstanceNumber == k + 1)
    header = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(header, keyword, value)
    header.save_as(path)


def test_scouts_in_the_series_are_left_out(ct_folder, label_map) -> None:
    scout = slice_header(3)
    scout.SOPInstanceUID += ".9"
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    pydicom.dcmwrite(ct_folder / "scout.dcm", scout, enforce_file_format=True)
    report = slice_header(3)  # lies nowhere
    report.SOPInstanceUID += ".8"
    del report.ImagePositionPatient
    pydicom.dcmwrite(ct_folder / "report.dcm", report, enforce_file_format=True)
    reference = read_reference(ct_folder, labels=label_map)
    reference.place(label_map, "labels")
    assert [header.InstanceNumber for header in reference.headers] == list(range(1, 10))


def test_a_slice_that_came_twice_counts_once(ct_folder) -> None:
    twice = slice_header(3)
    twice.SOPInstanceUID += ".9"
    pydicom.dcmwrite(ct_folder / "twice.dcm", twice, enforce_file_format=True)
    assert len(read_reference(ct_folder).headers) == SHAPE[0]


def test_rounded_positions_are_no_missing_slice(ct_folder, label_map) -> None:
    for k, aside in ((2, 0.009), (5, -0.009)):  # gaps differ by 0.02 mm in a stack of 1 mm
        place = np.array(slice_header(k).ImagePositionPatient, float)
        normal = np.cross(*np.reshape(slice_header(k).ImageOrientationPatient, (2, 3)))
        change(ct_folder, k, ImagePositionPatient=[round(v, 6) for v in place + aside * normal])
    reference = read_reference(ct_folder, labels=label_map)
    receipt = export(label_map, reference, make_rois([1]), "rtstruct", ct_folder / "out.dcm")
    assert receipt.lines[0].dice == 1.0


def test_of_several_acquisitions_the_one_of_the_labels_is_taken(ct_folder, label_map) -> None:
    for k in range(SHAPE[0]):
        other = slice_header(k)
        other.SOPInstanceUID += ".9"
        other.AcquisitionNumber = 2
        place = np.add(np.array(other.ImagePositionPatient, float), (0, 0, 1.5))
        other.ImagePositionPatient = [round(float(v), 6) for v in place]
        pydicom.dcmwrite(ct_folder / f"second-{k}.dcm", other, enforce_file_format=True)
    reference = read_reference(ct_folder, labels=label_map)
    assert {int(header.AcquisitionNumber) for header in reference.headers} == {1}
    label_map.SetOrigin(np.add(label_map.GetOrigin(), (0, 0, 1.5)))
    reference = read_reference(ct_folder, labels=label_map)
    assert {int(header.AcquisitionNumber) for header in reference.headers} == {2}
    with pytest.raises(UserError, match="2 images of one series"):
        read_reference(ct_folder)
