"""Any pair of images: what they are, how each is shown and learnt from, where the patient is."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari import api
from cmfnet_napari.core.errors import DataWarning, UserError
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.modality import guess, parse_modalities
from cmfnet_napari.core.images.study import open_study, study_from_images, unit_pair
from cmfnet_napari.core.images.volume import read_image, write_image
from cmfnet_napari.core.registration.likeness import likeness
from tests.dicom_files import write_slices

GRID = Grid((6, 24, 28), (3.0, 2.0, 1.8), (-30.0, -28.0, 40.0))
WINDOW, PERCENTILES = (-160.0, 240.0), (0.0, 100.0)


def patient(air, tissue, tumour):
    """A box of tissue with a box of a tumour in it, noisy, and the air around."""
    rng = np.random.default_rng(0)
    values = np.full(GRID.shape, float(air)) + abs(tissue) * rng.uniform(0, 0.02, GRID.shape)
    values[:, 4:20, 5:24] = tissue + abs(tissue) * rng.uniform(0, 0.1, (6, 16, 19))
    values[2:4, 8:12, 10:14] = tumour
    return values.astype(np.float32)


CT, T1, T2 = patient(-1000, 40, 90), patient(3, 300, 900), patient(5, 500, 200)
PET = patient(0, 400, 21_000)
INSIDE = np.zeros(GRID.shape, bool)
INSIDE[:, 4:20, 5:24] = True
INSIDE_FAT = INSIDE & (np.indices(GRID.shape)[2] < 11)


def image(values):
    return GRID.to_image(values)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (CT, "CT"),
        (CT + 1024, "CT"),  # stored without its offset
        (CT[:, 6:18, 8:20] - 140, "CT"),  # fat alone
        (T1, "MR"),
        (T1 / 1000, "MR"),
        ((T1 - T1.mean()) / T1.std(), "MR"),
        (T1 * 0.2, "MR"),  # eight bits
        (np.where(INSIDE_FAT, 1000, T1), "MR"),  # fat where a CT without its offset has tissue
        (PET, "MR"),  # values do not tell
        (CT[:, 6:18, 8:20], ""),  # soft tissue alone, or an MR of small numbers
    ],
)
def test_values_tell_a_ct_from_others(values, kind):
    assert guess(values) == kind


def test_what_is_said_counts_and_a_guess_that_surprises_is_told():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert study_from_images(image(CT), image(T1)).kinds == ("CT", "MR")
        said = study_from_images(image(T1), image(PET), modalities=("MR", "PT"))
    assert said.names == ("MR", "PT")
    soft = image(CT.clip(40, 90))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert study_from_images(soft, soft).kinds == ("CT", "MR")  # where nothing tells, as usual
    with pytest.warns(DataWarning, match="The first image was taken for an MR by its values"):
        pair = study_from_images(image(T1), image(T2))
    assert (pair.kinds, pair.names) == (("MR", "MR"), ("MR 1", "MR 2"))
    assert parse_modalities(["mr", " PET "]) == ("MR", "PT")
    assert parse_modalities([""]) == ("", "")
    with pytest.raises(UserError, match="'XA' is no modality: use CT, MR, PT"):
        parse_modalities(["XA"])
    with pytest.raises(UserError, match="3 modalities were given"):
        parse_modalities(["CT", "MR", "PT"])


def test_headers_tell_what_a_series_is_and_a_pet_its_units(tmp_path):
    def units(_k, data):
        data.Units = "BQML"

    write_slices(tmp_path / "pet", PET.astype(np.uint16), GRID, "PT", edit=units)
    write_slices(tmp_path / "mr", T1.astype(np.uint16), GRID, "MR")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = open_study(tmp_path / "mr", tmp_path / "pet")
    assert (study.kinds, study.units) == (("MR", "PT"), ("", "Bq/ml"))


@pytest.mark.parametrize(
    ("first", "second", "kinds"),
    [(T1, None, ("MR",)), (T1, T2, ("MR", "MR")), (CT, PET, ("CT", "PT")), (PET, CT, ("PT", "CT"))],
)
def test_each_image_is_learnt_from_by_what_it_is(first, second, kinds):
    other = None if second is None else image(second)
    study = study_from_images(image(first), other, modalities=(*kinds, "")[:2])

    units = unit_pair(study, WINDOW, PERCENTILES)

    for values, kind, unit in zip((first, second), kinds, units, strict=False):
        low, high = (
            WINDOW if kind == "CT" else np.percentile(values, (0, 99.8 if kind == "PT" else 100))
        )
        np.testing.assert_allclose(unit, np.clip((values - low) / (high - low), 0, 1), atol=1e-6)
    if second is None:
        assert units[1] is units[0]
    assert units[2].all()
    assert (study.body != INSIDE).mean() < 0.02


def test_an_mr_that_is_drawn_on_has_padding_that_counts_for_nothing():
    padded = T1.copy()
    padded[:, :, :5] = 0
    study = study_from_images(image(padded), modalities=("MR", ""))
    assert not study.first_seen[:, :, :5].any()
    first, _, _ = unit_pair(study, WINDOW, (1.0, 99.0))
    low, high = np.percentile(padded[study.first_seen], (1, 99))
    inside = study.first_seen
    np.testing.assert_allclose(
        first[inside], np.clip((padded[inside] - low) / (high - low), 0, 1), atol=1e-6
    )


def test_a_second_ct_is_air_beyond_its_field_of_view_and_a_pet_has_data_where_it_is_0():
    half = Grid((6, 24, 14), GRID.spacing, GRID.origin)
    study = study_from_images(image(T1), half.to_image(CT[:, :, :14]), modalities=("MR", "CT"))
    assert (study.second.array[:, :, 14:] == -1000).all()
    assert study.seen[:, :, :14].all()
    assert not study.seen[:, :, 14:].any()
    cold = np.where(INSIDE, PET, 0)
    assert study_from_images(image(CT), image(cold), modalities=("CT", "PT")).seen.all()


def test_another_kind_is_another_study_of_the_same_voxels():
    plain = study_from_images(image(CT), image(T1), modalities=("CT", "MR"))
    other = plain.known_as("MR", "MR")
    assert other.content_hash != plain.content_hash
    assert other.voxel_hash == plain.voxel_hash
    assert other.second_source.modality == "MR"
    assert plain.known_as("CT", "PT", ("", "Bq/ml")).units == ("HU", "Bq/ml")
    assert plain.known_as("PT", "PT", ("HU", "")).units == ("", "")


def test_two_mr_are_compared_and_a_pet_is_not():
    rng = np.random.default_rng(1)
    grid = Grid((20, 64, 64), (6.0, 6.0, 6.0))
    blocks = rng.uniform(0, 1000, (5, 16, 16)).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    one, other = grid.to_image(blocks), grid.to_image(1000 - blocks + rng.normal(0, 5, grid.shape))
    study = study_from_images(one, other, modalities=("MR", "MR"))
    found = likeness(study)
    assert found.here > 0.5
    assert found.distance == 0
    moved = replace(study, second=replace(study.second, array=np.roll(study.second.array, 4, 2)))
    assert likeness(moved).move == (0, 0, -24)
    assert likeness(study.known_as("MR", "PT")) is None


def test_a_script_says_what_images_are(tmp_path):
    for name, values in (("t1", T1), ("pet", PET)):
        write_image(image(values), tmp_path / f"{name}.nii.gz")
    study = api.open_study(tmp_path / "t1.nii.gz", tmp_path / "pet.nii.gz", modalities=("MR", "PT"))
    assert study.names == ("MR", "PT")
    assert api.open_study(tmp_path / "t1.nii.gz", mr=tmp_path / "pet.nii.gz").kinds[1] == "MR"
    with pytest.raises(TypeError, match="either second or mr"):
        api.open_study(tmp_path / "t1.nii.gz", "a", mr="b")


def test_real_images_are_taken_for_what_they_are(test_data):
    for number in ("002", "013", "025"):
        folder = test_data / "sts" / "cases" / f"STS_{number}"
        for kind, offset in (("ct", 0), ("ct", 1024), ("mr", 0)):
            values = sitk.GetArrayFromImage(read_image(folder / f"{kind}.nii.gz"))
            assert guess(values.astype(int) + offset) == kind.upper()
