"""Files in and out, and every bad file a clinic sends."""

import errno
import os

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core import files
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images import volume
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.volume import file_ending, read_image, read_volume, write_image


@pytest.fixture
def picture(oblique_grid):
    values = np.random.default_rng(1).integers(-1000, 2000, oblique_grid.shape).astype(np.int16)
    return oblique_grid.to_image(values)


def refusal(call, *args):
    with pytest.raises(UserError) as caught:
        call(*args)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    return sentence


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_written_and_read_again(tmp_path, picture, oblique_grid, ending):
    read = read_volume(write_image(picture, tmp_path / f"ct{ending}"), "CT")

    np.testing.assert_array_equal(read.array, sitk.GetArrayFromImage(picture))
    assert read.grid.same_place(oblique_grid)
    assert read.modality == "CT"
    assert os.listdir(tmp_path) == [f"ct{ending}"]  # nothing half-written is left


def test_mhd_is_read(tmp_path, picture):
    sitk.WriteImage(picture, str(tmp_path / "ct.mhd"))
    assert read_volume(tmp_path / "ct.mhd", "CT").array.shape == (11, 13, 17)


def test_nifti_lies_where_another_program_sees_it(tmp_path, picture, oblique_grid):
    path = write_image(picture, tmp_path / "ct.nii.gz")

    other = nibabel.load(path)
    index = np.array([4, 9, 2])  # z, y, x
    ras = other.affine @ [*index[::-1], 1]

    np.testing.assert_allclose(
        ras[:3], oblique_grid.to_patient(index) * [-1, -1, 1], atol=1e-3
    )  # nibabel's patient axes are RAS
    assert other.get_fdata()[2, 9, 4] == sitk.GetArrayFromImage(picture)[4, 9, 2]
    assert other.header.get_xyzt_units()[0] == "mm"


def test_missing_file(tmp_path):
    assert "does not exist" in refusal(read_image, tmp_path / "nowhere.nii.gz")


def test_text_that_calls_itself_nifti(tmp_path):
    path = tmp_path / "ct.nii.gz"
    path.write_text("no image")
    assert refusal(read_image, path).startswith("ct.nii.gz cannot be read as an image")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_file_cut_off(tmp_path, picture, ending):
    path = write_image(picture, tmp_path / f"ct{ending}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    sentence = refusal(read_image, path)
    assert sentence.startswith(
        f"ct{ending} is cut off" if "nii" in ending else f"ct{ending} is damaged"
    )


def test_two_dimensional(tmp_path):
    sitk.WriteImage(sitk.Image(9, 7, sitk.sitkInt16), str(tmp_path / "flat.nrrd"))
    assert "not a 3D image: its size is 9×7" in refusal(read_image, tmp_path / "flat.nrrd")


def test_single_slice(tmp_path):
    sitk.WriteImage(sitk.Image(9, 7, 1, sitk.sitkInt16), str(tmp_path / "flat.nii.gz"))
    assert "not a 3D image" in refusal(read_image, tmp_path / "flat.nii.gz")


def test_four_dimensional(tmp_path):
    sitk.WriteImage(sitk.Image([5, 6, 7, 3], sitk.sitkInt16), str(tmp_path / "time.nii.gz"))
    assert "5×6×7×3" in refusal(read_image, tmp_path / "time.nii.gz")


def test_fourth_dimension_of_one_is_none(tmp_path):
    sitk.WriteImage(sitk.Image([5, 6, 7, 1], sitk.sitkInt16), str(tmp_path / "one.nii.gz"))
    assert read_image(tmp_path / "one.nii.gz").GetSize() == (5, 6, 7)


def test_colour(tmp_path):
    sitk.WriteImage(sitk.Image([5, 6, 7], sitk.sitkVectorUInt8, 3), str(tmp_path / "rgb.mha"))
    assert "colour or vector image" in refusal(read_image, tmp_path / "rgb.mha")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers(tmp_path, value):
    array = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    array[1, 2, 3] = array[3, 0, 0] = value
    path = write_image(Grid(array.shape).to_image(array), tmp_path / "ct.nrrd")
    assert "ct.nrrd has 2 voxels that are NaN or infinite, of 120" in refusal(
        read_volume, path, "CT"
    )


def test_constant(tmp_path):
    path = write_image(Grid((4, 5, 6)).to_image(np.full((4, 5, 6), -1024)), tmp_path / "c.nrrd")
    assert "-1024 in every voxel" in refusal(read_volume, path, "CT")


def test_dicom_series(tmp_path, picture, oblique_grid, write_series):
    read = read_volume(write_series(picture, tmp_path / "CT"), "CT")

    assert read.grid.same_place(oblique_grid)
    np.testing.assert_array_equal(read.array, sitk.GetArrayFromImage(picture))


def test_dicom_series_with_a_hole(tmp_path, picture, write_series):
    folder = write_series(picture, tmp_path / "CT", skip=(4,))
    sentence = refusal(read_image, folder)
    assert "slices 4 and 5 are 6.00 mm apart, the others 3.00 mm" in sentence


def test_two_series_in_one_folder(tmp_path, picture, write_series):
    write_series(picture, tmp_path / "A")
    write_series(picture[:, :, 2:8], tmp_path / "B")
    for file in (tmp_path / "B").iterdir():
        file.rename(tmp_path / "A" / f"b-{file.name}")
    assert "holds 2 DICOM image series" in refusal(read_image, tmp_path / "A")


def test_folder_without_images(tmp_path):
    assert "holds no DICOM image series" in refusal(read_image, tmp_path)


def test_real_dicom_is_where_the_published_nifti_is(test_data):
    dicom = read_volume(test_data / "sts/dicom_STS_025/CT/image", "CT")
    nifti = read_volume(test_data / "sts/cases/STS_025/ct.nii.gz", "CT")  # cropped

    start = dicom.grid.to_index(nifti.grid.to_patient(np.zeros(3)))
    first = np.rint(start).astype(int)
    np.testing.assert_allclose(start, first, atol=0.01)
    part = tuple(slice(a, a + n) for a, n in zip(first, nifti.grid.shape, strict=True))
    np.testing.assert_allclose(dicom.array[part], nifti.array, atol=1)


def test_unknown_ending(tmp_path, picture):
    assert "must end in .nii" in refusal(write_image, picture, tmp_path / "ct.jpeg")


def test_folder_that_is_a_file(tmp_path, picture):
    (tmp_path / "out").write_text("a file")
    sentence = refusal(write_image, picture, tmp_path / "out" / "ct.nrrd")
    assert sentence.startswith("ct.nrrd could not be written: the folder")


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "is read-only")]
)
def test_disk_refuses_and_the_old_file_stays(tmp_path, picture, monkeypatch, code, words):
    path = tmp_path / "ct.nrrd"
    path.write_text("yesterday's work")

    def refuse(image, name, **_):
        with open(name, "w") as file:
            file.write("half a")
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(volume.sitk, "WriteImage", refuse)

    assert words in refusal(write_image, picture, path)
    assert path.read_text() == "yesterday's work"
    assert os.listdir(tmp_path) == ["ct.nrrd"]


def play_a_reader(monkeypatch, times):
    """Windows: a file that a process reads cannot be replaced, here so many times."""
    refused, really = [], os.replace

    def replace(source, target):
        if len(refused) < times:
            refused.append(target)
            raise PermissionError(errno.EACCES, "Access is denied")
        really(source, target)

    monkeypatch.setattr(os, "replace", replace)
    return refused


def test_a_file_that_somebody_reads_for_a_moment_is_replaced(tmp_path, picture, monkeypatch):
    path = tmp_path / "ct.nrrd"
    path.write_text("yesterday's work")
    refused = play_a_reader(monkeypatch, times=3)
    write_image(picture, path)
    assert len(refused) == 3
    assert read_volume(path, "CT").array.shape == (11, 13, 17)
    assert os.listdir(tmp_path) == ["ct.nrrd"]


def test_a_file_that_stays_open_elsewhere_is_said_and_stays(tmp_path, picture, monkeypatch):
    path = tmp_path / "ct.nrrd"
    path.write_text("yesterday's work")
    play_a_reader(monkeypatch, times=1000)
    monkeypatch.setattr(files, "_PATIENCE_SECONDS", 0.2)
    assert "open in another program" in refusal(write_image, picture, path)
    assert path.read_text() == "yesterday's work"
    assert os.listdir(tmp_path) == ["ct.nrrd"]


def test_endings():
    assert file_ending("a.b.NII.GZ") == ".nii.gz"
    assert file_ending("a.nii") == ".nii"
    assert file_ending("a.txt") is None
