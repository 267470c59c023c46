"""CT and MR on one Grid: every voxel stays where the patient is."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.body import body_mask
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import (
    load_labels,
    load_values,
    open_study,
    save_labels,
    study_from_images,
    to_source_image,
)
from cmfnet_napari.core.images.volume import write_image
from tests.conftest import rotation

MARK = (4, 9, 2)  # z, y, x


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(-200, 200, shape).astype(np.int16)


def stored(grid, code):
    """A CT of a grid with its axes permuted and flipped to another orientation code."""
    values = noise(grid.shape)
    values[MARK] = 3000
    return sitk.DICOMOrient(grid.to_image(values), code)


def place_of(image, value):
    """Where SimpleITK says a value lies in the patient."""
    z, y, x = np.argwhere(sitk.GetArrayFromImage(image) == value)[0]
    return np.array(image.TransformIndexToPhysicalPoint((int(x), int(y), int(z))))


@pytest.mark.parametrize("code", ["LPS", "RAS", "ASR", "PIR", "LSA", "IPL"])
def test_a_voxel_stays_where_its_patient_coordinate_says(oblique_grid, code):
    ct = stored(oblique_grid, code)

    study = study_from_images(ct)

    index = np.argwhere(study.first.array == 3000)[0]
    np.testing.assert_allclose(study.grid.to_patient(index), place_of(ct, 3000), atol=1e-6)
    assert study.grid.axis_letters == (("I", "S"), ("A", "P"), ("R", "L"))
    assert sorted(study.first.array.ravel()) == sorted(sitk.GetArrayFromImage(ct).ravel())


@pytest.mark.parametrize("code", ["LPS", "RAS", "ASR", "PIR"])
def test_saved_labels_lie_on_the_ct_file_for_another_program(tmp_path, oblique_grid, code):
    ct = stored(oblique_grid, code)
    path = write_image(ct, tmp_path / "ct.nii.gz")
    study = open_study(path)
    labels = np.zeros(study.grid.shape, np.uint8)
    labels[1:4, 2:9, 5:7] = 1
    labels[np.nonzero(study.first.array == 3000)] = 2

    save_labels(labels, study, tmp_path / "seg.nii.gz")

    # nibabel is another program: same array order, same affine as the CT's own file, but for
    # the last bit of a float32 that ITK's reader turns
    theirs, ours = nibabel.load(path), nibabel.load(tmp_path / "seg.nii.gz")
    np.testing.assert_allclose(ours.affine, theirs.affine, rtol=0, atol=1e-6)
    assert ours.shape == theirs.shape
    voxels = np.asarray(ours.dataobj)
    np.testing.assert_array_equal(voxels == 2, theirs.get_fdata() == 3000)
    assert (voxels == 1).sum() == (labels == 1).sum()
    ras = ours.affine @ [*np.argwhere(voxels == 2)[0], 1]
    np.testing.assert_allclose(ras[:3] * [-1, -1, 1], place_of(ct, 3000), atol=1e-3)
    np.testing.assert_array_equal(load_labels(tmp_path / "seg.nii.gz", study.grid), labels)


@pytest.mark.parametrize("code", ["RAS", "IPL"])
def test_saved_labels_have_the_ct_files_geometry_to_the_bit(tmp_path, oblique_grid, code):
    path = write_image(stored(oblique_grid, code), tmp_path / "ct.mha")
    study = open_study(path)
    save_labels(study.first.array, study, tmp_path / "again.mha")

    ct, again = sitk.ReadImage(str(path)), sitk.ReadImage(str(tmp_path / "again.mha"))
    for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(again, name)() == getattr(ct, name)()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(ct))


def test_geometry_of_saved_labels_is_the_source_grid(oblique_grid):
    ct = stored(oblique_grid, "PIR")
    study = study_from_images(ct)
    image = to_source_image(np.zeros(study.grid.shape, bool), study)
    assert Grid.from_image(image) == Grid.from_image(ct) == study.source_grid


def test_probabilities_keep_their_values(tmp_path, oblique_grid):
    study = study_from_images(stored(oblique_grid, "RAS"))
    share = np.random.default_rng(3).random(study.grid.shape).astype(np.float32)
    save_labels(share, study, tmp_path / "p.nrrd")
    np.testing.assert_array_equal(load_values(tmp_path / "p.nrrd", study.grid), share)


def test_labels_of_another_grid_are_refused(tmp_path, oblique_grid):
    study = study_from_images(stored(oblique_grid, "LPS"))
    other = Grid(oblique_grid.shape, oblique_grid.spacing)
    path = write_image(other.to_image(np.ones(other.shape, np.uint8)), tmp_path / "seg.nrrd")
    with pytest.raises(UserError, match=r"seg\.nrrd is on another grid than the CT.*mm at"):
        load_labels(path, study.grid)


def mr_around(ct_grid, at, shape=(9, 8, 7), spacing=(2.0, 1.1, 1.3), mark=(4, 3, 2)):
    """An oblique MR whose voxel `mark` lies exactly on a CT voxel."""
    turn = rotation(-25.0, 12.0, 40.0)
    anchor = Grid(shape, spacing, (0.0, 0.0, 0.0), turn).to_patient(np.array(mark))
    origin = tuple(ct_grid.to_patient(np.array(at)) - anchor)
    return Grid(shape, spacing, origin, turn)


def test_a_marked_mr_voxel_lands_at_the_right_ct_voxel(oblique_grid):
    ct = oblique_grid.to_image(noise(oblique_grid.shape))
    mr_grid = mr_around(oblique_grid, (5, 6, 8))
    values = np.random.default_rng(2).uniform(50, 100, mr_grid.shape).astype(np.float32)
    values[4, 3, 2] = 900.0

    study = study_from_images(ct, mr_grid.to_image(values))

    at = study.grid.to_index(oblique_grid.to_patient(np.array((5, 6, 8))))
    brightest = np.unravel_index(study.second.array.argmax(), study.grid.shape)
    np.testing.assert_allclose(brightest, at, atol=1e-6)
    assert study.second.array.max() == pytest.approx(900.0, rel=1e-4)
    assert study.second.grid == study.first.grid


def test_field_of_view_is_the_mrs_box(oblique_grid):
    ct = oblique_grid.to_image(noise(oblique_grid.shape))
    mr_grid = mr_around(oblique_grid, (5, 6, 8))
    values = np.random.default_rng(2).uniform(50, 100, mr_grid.shape).astype(np.float32)
    mr = mr_grid.to_image(values)

    study = study_from_images(ct, mr)

    size = np.array(mr.GetSize())
    inside = np.zeros(study.grid.shape, bool)
    for index in np.ndindex(*study.grid.shape):
        point = study.grid.to_patient(np.array(index))
        at = np.array(mr.TransformPhysicalPointToContinuousIndex(tuple(point)))
        inside[index] = ((at > -0.5) & (at < size - 0.5)).all()
    np.testing.assert_array_equal(inside, study.seen)
    assert 0.02 < study.seen.mean() < 0.9
    assert (study.second.array[~study.seen] == 0).all()
    assert (study.second.array[study.seen] > 0).all()


def test_padding_is_no_data_but_a_dark_spot_inside_is(oblique_grid):
    ct = oblique_grid.to_image(noise(oblique_grid.shape))
    values = np.random.default_rng(2).uniform(50, 100, oblique_grid.shape).astype(np.float32)
    values[:, :, :5] = 0  # padding at the left face
    values[6, 6, 11] = 0  # a void within

    study = study_from_images(ct, oblique_grid.to_image(values))

    expected = np.ones(oblique_grid.shape, bool)
    expected[:, :, :5] = False
    np.testing.assert_array_equal(study.seen, expected)
    np.testing.assert_allclose(study.second.array, values, rtol=1e-4, atol=1e-3)


def test_mr_of_somebody_else(oblique_grid):
    ct = oblique_grid.to_image(noise(oblique_grid.shape))
    far = Grid((9, 8, 7), origin=(900.0, 0.0, 0.0))
    with pytest.raises(UserError, match=r"The MR covers 0 % of the CT \(CT 17×13×11.*MR 7×8×9"):
        study_from_images(ct, far.to_image(noise(far.shape)), modalities=("CT", "MR"))


@pytest.mark.parametrize("which", ["The CT", "The MR"])
def test_constant_or_nan_images(oblique_grid, which):
    good = oblique_grid.to_image(noise(oblique_grid.shape))
    flat = oblique_grid.to_image(np.full(oblique_grid.shape, 7.0))
    holed = np.full(oblique_grid.shape, 7.0)
    holed[1, 2, 3] = np.nan
    for bad, words in ((flat, "is 7 in every voxel"), (oblique_grid.to_image(holed), "1 voxels")):
        pair = (bad, good) if which == "The CT" else (good, bad)
        with pytest.raises(UserError, match=f"{which}.*{words}"):
            study_from_images(*pair, modalities=("CT", "MR"))


def test_hash_names_voxels_and_place(oblique_grid):
    ct = oblique_grid.to_image(noise(oblique_grid.shape))
    mr = oblique_grid.to_image(noise(oblique_grid.shape, 1))
    moved = Grid(oblique_grid.shape, oblique_grid.spacing, (1.0, 2.0, 3.0), oblique_grid.direction)
    changed = noise(oblique_grid.shape)
    changed[MARK] += 1
    studies = [
        study_from_images(ct),
        study_from_images(ct, mr),
        study_from_images(moved.to_image(noise(oblique_grid.shape))),
        study_from_images(oblique_grid.to_image(changed)),
    ]
    assert len({study.content_hash for study in studies}) == 4
    assert study_from_images(ct, mr).content_hash == studies[1].content_hash


def test_real_patient(test_data):
    folder = test_data / "sample_STS_042"
    study = open_study(folder / "CT_image.nii.gz", folder / "MR_T1_image.nii.gz")
    tumour = load_labels(folder / "CT_mask.nii.gz", study.grid) > 0
    mr_tumour = sitk.Resample(
        sitk.ReadImage(str(folder / "MR_T1_mask.nii.gz")),
        study.first.image(),
        sitk.Transform(),
        sitk.sitkNearestNeighbor,
    )
    overlap = (sitk.GetArrayFromImage(mr_tumour) > 0) & tumour
    assert overlap.sum() > 0.9 * tumour.sum()  # the contour was carried from MR to CT
    assert study.seen[tumour].mean() > 0.95
    assert study.seen.mean() < 0.5


def test_the_body_is_found_once():
    ct = np.full((6, 20, 24), -1000, np.int16)
    ct[:, 4:16, 5:20] = 40
    study = study_from_images(sitk.GetImageFromArray(ct))
    np.testing.assert_array_equal(study.body, body_mask(study.first))
    assert study.body is study.body


def test_a_ct_and_an_mr_are_found_again_by_the_hashes_they_always_had():
    """Cases of earlier versions, and all strokes in them, are found by these (of a222c11)."""
    grid = Grid((4, 6, 8), (3.0, 2.0, 1.5), (-6.0, -5.0, 40.0))
    place = np.arange(192).reshape(grid.shape)
    ct, mr = (place * 7 % 400 - 1000).astype(np.int16), (place * 5 % 300 + 1).astype(np.float32)
    study = study_from_images(grid.to_image(ct), grid.to_image(mr), modalities=("CT", "MR"))
    content = "68d82f4105b4b9749e441a78ed2f277dc6d15329971572ad2e69fd35c9d347a4"
    voxels = "1ea20523583aa7580196f4c7223e96a28c9bdd3ea6e19bcc18d6dbf73dff718b"
    assert (study.content_hash, study.voxel_hash) == (content, voxels)
