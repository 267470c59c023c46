"""One rule for what is a label map, and that every command goes by it."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

import cmfnet_napari as cmfnet
from cmfnet_napari.core.errors import DataWarning, UserError
from cmfnet_napari.core.images.label_map import to_labels
from cmfnet_napari.core.strokes.from_masks import Erosion, scribble_masks

MASK = np.zeros((8, 9, 10), np.uint8)
MASK[2:5, 3:7, 3:8] = 1
PLACE = np.diag([-1.0, -1, 3, 1])


def fraction(value, kind=np.float32):
    return (MASK.astype(float) * value).astype(kind)


def with_one(value):
    values = MASK.astype(np.float32)
    values[0, 0, 0] = value
    return values


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int8, np.int64, np.uint16, np.float64])
def test_whole_numbers_of_any_type(kind):
    labels = to_labels(MASK.astype(kind), "m")
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, MASK)


def test_labels_up_to_254_stay():
    values = np.arange(255).reshape(5, 51)
    np.testing.assert_array_equal(to_labels(values, "m"), values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (fraction(0.99999994), "0.99999994, which are rounded"),
        (fraction(0.9995), "are rounded"),
        (fraction(255), "255 is taken for class 1"),
        (fraction(255, np.uint8), "255 is taken for class 1"),
        (fraction(254.9999), "255 is taken for class 1"),
    ],
)
def test_mapped_and_said(values, words):
    with pytest.warns(DataWarning, match=words):
        np.testing.assert_array_equal(to_labels(values, "m"), MASK)


REFUSED = [
    (fraction(0.9), r"The value 0\.9 in \S+ is no code"),
    (fraction(0.998), r"The value 0\.998 in \S+ is no code"),
    (fraction(-1, np.int16), r"The value -1 in \S+ is no code"),
    (fraction(-0.9999), r"The value -1 in \S+ is no code"),
    (with_one(np.nan), r"NaN or infinity, in 1 of 720 voxels of \S+, is no code"),
    (with_one(-np.inf), "NaN or infinity"),
    (fraction(300, np.uint16), r"The value 300 in \S+ is no code"),
    (fraction(255, np.uint8) + (MASK == 0), r"The value 255 in \S+ is no code"),
    (np.arange(720).reshape(MASK.shape) % 261, r"The value 260 in \S+ is no code"),
    (fraction(1e30), "is no code"),
]


@pytest.mark.parametrize(("values", "words"), REFUSED)
def test_refused(values, words):
    with pytest.raises(UserError, match=words):
        to_labels(values, "m")


def commands(path, folder, reference):
    """What takes a contour from a file."""
    study = cmfnet.open_study(folder / "ct.nii.gz")
    erosion = Erosion(0.0, 0.1)
    yield lambda: cmfnet.evaluate(path, folder / "mask.nii.gz")
    yield lambda: cmfnet.evaluate(folder / "mask.nii.gz", path)
    yield lambda: cmfnet.evaluate(path, folder / "mask.nii.gz", study)
    yield lambda: cmfnet.scribble(path, study, margin_mm=2)
    yield lambda: scribble_masks(path, folder / "s.nii.gz", None, [], erosion, erosion)
    yield lambda: cmfnet.export_rtstruct(path, reference, folder / "new.dcm")


@pytest.fixture
def patient(tmp_path, write_series):
    """A CT as NIfTI and as DICOM, and its mask."""
    ct = (np.random.default_rng(0).normal(40, 5, MASK.shape) + 60 * MASK).astype(np.int16)
    for name, values in (("ct", ct), ("mask", MASK)):
        save(tmp_path / f"{name}.nii.gz", values)
    write_series(sitk.ReadImage(str(tmp_path / "ct.nii.gz")), tmp_path / "CT")
    return tmp_path


def save(path, values):
    nibabel.save(nibabel.Nifti1Image(np.asarray(values).transpose(2, 1, 0), PLACE), path)
    return path


@pytest.mark.parametrize(("values", "words"), REFUSED[::2])
def test_refused_in_every_command_alike(patient, values, words):
    kind = np.int32 if values.dtype == np.int64 else values.dtype
    path = save(patient / "other.nii.gz", values.astype(kind))
    for command in commands(path, patient, patient / "CT"):
        with pytest.raises(UserError, match=words):
            command()
    assert not (patient / "new.dcm").exists()


def test_a_mask_of_255_is_the_same_contour_everywhere(patient):
    path = save(patient / "other.nii.gz", fraction(255, np.uint8))
    with pytest.warns(DataWarning, match="255 is taken for class 1"):
        results = [command() for command in [*commands(path, patient, patient / "CT")][:-1]]
    assert [result.mean.dsc for result in results[:3]] == [1.0, 1.0, 1.0]
    np.testing.assert_array_equal(results[3][MASK > 0], 0)


def test_turned_axes_are_the_same_grid_and_a_shift_is_told_in_mm(patient):
    turned = nibabel.as_closest_canonical(nibabel.load(patient / "mask.nii.gz"))
    assert not np.allclose(turned.affine, PLACE)
    nibabel.save(turned, patient / "turned.nii.gz")
    assert cmfnet.evaluate(patient / "turned.nii.gz", patient / "mask.nii.gz").mean.dsc == 1.0
    moved = PLACE + 0
    moved[0, 3] += 0.02
    nibabel.save(nibabel.Nifti1Image(MASK.transpose(2, 1, 0), moved), patient / "moved.nii.gz")
    with pytest.raises(UserError, match=r"different grids: .*voxels up to 0\.02 mm apart"):
        cmfnet.evaluate(patient / "moved.nii.gz", patient / "mask.nii.gz")


def test_a_folder_of_many_other_files_is_a_short_sentence(patient):
    many = patient / "many"
    many.mkdir()
    for k in range(300):
        (many / f"f{k}.dat").write_text("x")
    with pytest.raises(UserError, match=r"f0\.dat, f1\.dat, f10\.dat and 297 more holds") as caught:
        cmfnet.evaluate(many, patient / "mask.nii.gz")
    assert len(str(caught.value)) < 150
