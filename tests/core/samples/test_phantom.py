"""The synthetic patient: the same every time, hard enough, and its strokes never wrong."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.stats import mannwhitneyu

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.geometry.distance import distance_to
from cmfnet_napari.core.images.body import body_mask
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import load_labels, open_study, study_from_images
from cmfnet_napari.core.samples import phantom as module
from cmfnet_napari.core.samples.phantom import make_phantom, sample_folder, write_phantom
from cmfnet_napari.core.strokes.scribbles import check_trainable, coverage


@pytest.fixture(scope="module")
def patients(synthetic):
    """Two, by seed; nobody changes one."""
    return {0: synthetic, 1: make_phantom(1)}


@pytest.fixture
def phantom(synthetic):
    return synthetic


@pytest.fixture
def study(phantom):
    return study_from_images(phantom.ct, phantom.mr)


def arrays(phantom):
    return [sitk.GetArrayFromImage(getattr(phantom, n)) for n in ("ct", "mr", "truth", "scribbles")]


def auc(a, b):
    """Chance that a voxel of one is brighter than one of the other, the better way round."""
    share = mannwhitneyu(a, b).statistic / (a.size * b.size)
    return max(share, 1 - share)


def test_grids(phantom, study):
    ct, mr = Grid.from_image(phantom.ct), Grid.from_image(phantom.mr)
    assert ct.shape == (48, 112, 128)
    assert ct.spacing == (3.0, 1.5, 1.5)
    assert Grid.from_image(phantom.truth) == Grid.from_image(phantom.scribbles) == ct
    assert mr.spacing != ct.spacing
    off_axis = np.degrees(np.arccos(np.abs(mr.matrix).max(axis=0)))
    assert (off_axis > 4).all()  # oblique to every patient plane
    assert 0.2 < study.seen.mean() < 0.6
    assert study.seen[sitk.GetArrayFromImage(phantom.truth) > 0].all()


def test_tissues_have_their_hounsfield_units(phantom, study):
    ct = study.first.array
    body = body_mask(study.first)
    assert 0.25 < body.mean() < 0.6
    assert np.median(ct[~body]) == pytest.approx(-1000, abs=30)
    assert (ct[body] > 500).mean() > 0.01  # cortical bone
    assert ((ct[body] > -130) & (ct[body] < -70)).mean() > 0.08  # fat
    assert ((ct[body] > 20) & (ct[body] < 90)).mean() > 0.5  # muscle
    outside = ~body & (ct > -300)
    assert outside.any()  # a couch


@pytest.mark.parametrize("seed", [0, 1])
def test_no_threshold_finds_the_tumour(patients, seed):
    phantom = patients[seed]
    study = study_from_images(phantom.ct, phantom.mr)
    tumour = sitk.GetArrayFromImage(phantom.truth) > 0
    box, distance = distance_to(tumour, study.grid, 40.0)
    near = np.zeros(tumour.shape, bool)
    near[box] = (distance > 2) & (distance < 40)
    muscle = near & (study.first.array > 5) & (study.first.array < 110)
    soft = muscle & study.seen & (study.second.array < 550)

    assert 0.52 < auc(study.first.array[tumour], study.first.array[muscle]) < 0.68
    assert 0.7 < auc(study.second.array[tumour], study.second.array[soft]) < 0.92
    assert 40 < tumour.sum() * study.grid.voxel_ml < 110


@pytest.mark.parametrize("seed", [0, 1])
def test_scribbles_are_few_and_right(patients, seed):
    _, _, truth, scribbles = arrays(patients[seed])
    assert check_trainable(scribbles) == 2
    assert (truth[scribbles == 2] == 1).all()
    assert (truth[scribbles == 1] == 0).all()
    share = {code: 100 * part for code, (_, part) in coverage(scribbles).items()}
    assert share[2] == pytest.approx(0.04, abs=0.004)
    assert 0.08 <= share[1] <= 0.3
    tumour_slices = np.flatnonzero((scribbles == 2).any(axis=(1, 2)))
    background_slices = np.flatnonzero((scribbles == 1).any(axis=(1, 2)))
    height = np.flatnonzero(truth.any(axis=(1, 2)))
    assert 4 <= tumour_slices.size <= 5
    assert background_slices.min() < height.min()
    assert background_slices.max() > height.max()
    assert set(tumour_slices) <= set(background_slices)


def test_the_same_every_time_and_written_for_the_demo(tmp_path, patients, monkeypatch):
    phantom, other = patients[0], patients[1]
    files = write_phantom(tmp_path)  # it is made anew
    for name, array in zip(("ct", "mr", "truth", "scribbles"), arrays(phantom), strict=True):
        found = sitk.GetArrayFromImage(sitk.ReadImage(str(files[name])))
        np.testing.assert_array_equal(found, array)
    assert (arrays(phantom)[0] != arrays(other)[0]).any()
    study = open_study(files["ct"], files["mr"])
    assert set(files) == {"ct", "mr", "truth", "scribbles"}
    np.testing.assert_array_equal(
        load_labels(files["truth"], study.grid), sitk.GetArrayFromImage(phantom.truth)
    )
    np.testing.assert_array_equal(study.first.array, sitk.GetArrayFromImage(phantom.ct))
    monkeypatch.setattr(module, "make_phantom", patients.get)
    with pytest.raises(UserError, match="does not exist"):
        write_phantom(tmp_path / "nowhere")


def test_the_patient_is_written_over_itself_but_over_no_other(tmp_path):
    assert sample_folder(tmp_path / "demo") == tmp_path / "demo"
    (tmp_path / "demo" / "ct.nii.gz").write_text("made up")
    assert sample_folder(tmp_path / "demo") == tmp_path / "demo"
    with pytest.raises(UserError, match="already holds something"):
        sample_folder(tmp_path)
