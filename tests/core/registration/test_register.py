"""Registration: a known motion is found again; it is kept with the case and can be undone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.case.find_case import case_for
from cmfnet_napari.core.case.folder import create_case, open_case
from cmfnet_napari.core.errors import CancelledError, UserError
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.core.images.volume import read_image
from cmfnet_napari.core.registration.edges import second_edges
from cmfnet_napari.core.registration.register import register
from cmfnet_napari.core.registration.registrations import Registration, judge
from tests.conftest import rotation


def motion(angles, shift, centre):
    """A turn about a centre, degrees, then a shift, mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(rotation(*angles)).reshape(3, 3)
    matrix[:3, 3] = np.array(centre) + shift - matrix[:3, :3] @ centre
    return matrix


def moved(image, matrix):
    """The image with every point at another place; no voxel is changed."""
    result = sitk.Image(image)
    result.SetOrigin((matrix[:3, :3] @ image.GetOrigin() + matrix[:3, 3]).tolist())
    turn = matrix[:3, :3] @ np.array(image.GetDirection()).reshape(3, 3)
    result.SetDirection(turn.ravel().tolist())
    return result


def middle(image):
    return image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])


def apart(first, second, centre):
    """How far two matrices are from each other: mm at a centre, degrees."""
    point = np.array([*centre, 1.0])
    turn = first[:3, :3] @ second[:3, :3].T
    angle = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    return np.linalg.norm((first - second) @ point), angle


@pytest.fixture(scope="module")
def pair():
    """CT and MR of a made-up thigh, on grids of their own, well registered."""
    z, y, x = np.indices((30, 64, 72))
    at = (z - 15) * 3.0, (y - 32) * 2.0, (x - 36) * 2.0
    noise = np.random.default_rng(0).normal(0, 1, z.shape)
    leg = (at[1] / 52) ** 2 + (at[2] / 60) ** 2 < 1
    muscle = (at[1] / (40 - 0.2 * at[0])) ** 2 + ((at[2] + 4) / 46) ** 2 < 1
    bone = np.hypot(at[1] + 8 - 0.15 * at[0], at[2] - 10) < 11
    lump = (at[0] - 9) ** 2 + (at[1] - 18) ** 2 + (at[2] + 20) ** 2 < 15**2
    ct = np.select([~leg, bone, lump, muscle], [-1000, 700, 30, 55], -100) + 12 * noise
    mr = np.select([~leg, bone, lump, muscle], [3, 60, 260, 140], 420) + 9 * noise
    images = [sitk.GetImageFromArray(a.astype(np.float32)) for a in (ct, mr)]
    for image in images:
        image.SetSpacing((2.0, 2.0, 3.0))
        image.SetOrigin((-70.0, 10.0, 100.0))
    return images[0], images[1][10:64, 8:60, 3:27]


def test_a_known_motion_is_found(pair):
    ct, mr = pair
    truth = motion((3, -4, 7), (9, -7, 6), middle(mr))
    shares = []
    found = register(ct, moved(mr, truth), np.eye(4), lambda share: shares.append(share) or True)
    mm, degrees = apart(found, truth, middle(mr))
    assert mm < 1
    assert degrees < 1
    assert shares == sorted(shares)
    assert 0 <= shares[0] < 0.2 < 0.7 < shares[-1] <= 1


def test_places_that_mean_nothing_to_each_other(pair):
    ct, mr = pair
    truth = motion((4, 0, -5), (530, -210, 88), middle(mr))
    mm, degrees = apart(register(ct, moved(mr, truth)), truth, middle(mr))
    assert mm < 1
    assert degrees < 1


def test_it_can_be_ended(pair):
    with pytest.raises(CancelledError):
        register(*pair, np.eye(4), lambda share: share < 0.1)


def test_a_start_where_the_images_do_not_meet_is_not_taken(pair):
    ct, mr = pair
    truth = motion((0, 0, 0), (900, 0, 0), middle(mr))
    mm, degrees = apart(register(ct, moved(mr, truth), np.eye(4)), truth, middle(mr))
    assert mm < 1
    assert degrees < 1


def test_an_mr_that_shows_nothing(pair):
    ct, mr = pair
    with pytest.raises(UserError, match="cannot be compared"):
        register(ct, mr * 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["STS_045", "STS_038"])
def test_real_pairs(test_data, name):
    """The same place is found, to 1 mm and 1°, from where the pair lies and after a motion."""
    folder = test_data / "sts" / "cases" / name
    ct, mr = read_image(folder / "ct.nii.gz"), read_image(folder / "mr.nii.gz")
    truth = motion((4, -3, 5), (8, -6, 5), middle(mr))
    before, after = register(ct, mr, np.eye(4)), register(ct, moved(mr, truth), np.eye(4))
    mm, degrees = apart(after, truth @ before, middle(mr))
    assert mm < 1
    assert degrees < 1


def test_the_mr_is_resampled_where_it_belongs(pair):
    ct, mr = pair
    truth = motion((3, -4, 7), (9, -7, 6), middle(mr))
    straight = study_from_images(ct, mr)
    through = study_from_images(ct, moved(mr, truth), truth)
    known = straight.seen & through.seen
    assert known.sum() > 0.97 * straight.seen.sum()
    np.testing.assert_allclose(through.second.array[known], straight.second.array[known], atol=0.5)
    again = study_from_images(ct, moved(mr, truth)).moved(truth)
    np.testing.assert_array_equal(again.second.array, through.second.array)
    assert not again.second.array[~again.seen].any()


def test_a_case_keeps_every_place_and_the_original_images(tmp_path, pair):
    ct, mr = pair
    truth = motion((0, 0, 5), (12, 0, 0), middle(mr))
    study = study_from_images(ct, moved(mr, truth))
    case = create_case(tmp_path / "case", study)
    files = {path: path.read_bytes() for path in (case.folder / "study").iterdir()}
    case.register(Registration.of(truth, "automatic"))
    case.register(Registration.of(motion((0, 0, 1), (1, 0, 0), middle(mr)) @ truth, "by hand"))
    third = case.study.second.array
    case.close()
    assert {path: path.read_bytes() for path in (case.folder / "study").iterdir()} == files

    for again in (open_case(case.folder), case_for(study, case.folder)):  # by case, by images
        np.testing.assert_allclose(again.study.second.array, third, atol=1e-3)
        again.close()
    again = open_case(case.folder)
    again.undo_registration()
    straight = study_from_images(ct, mr)
    known = straight.seen & again.study.seen
    np.testing.assert_allclose(
        again.study.second.array[known], straight.second.array[known], atol=0.5
    )
    again.undo_registration()
    np.testing.assert_allclose(again.study.second.array, study.second.array, atol=1e-3)
    with pytest.raises(UserError, match="lies where it lay"):
        again.undo_registration()
    again.close()


def test_a_damaged_registration(tmp_path, pair):
    case = create_case(tmp_path / "case", study_from_images(*pair))
    case.register(Registration.of(np.eye(4), "by hand"))
    case.close()
    path = case.folder / "registration.json"
    values = json.loads(path.read_text())
    for wrong in ([1.0] * 16, [0.0] * 9, ["a"] * 16):
        values["entries"][-1]["matrix"] = wrong
        path.write_text(json.dumps(values))
        with pytest.raises(UserError, match=r"registration\.json in case is damaged"):
            open_case(case.folder)


def test_a_case_for_looking_only_is_not_moved(tmp_path, pair):
    case = create_case(tmp_path / "case", study_from_images(*pair))
    other = open_case(case.folder, read_only=True)
    with pytest.raises(UserError, match="moved there"):
        other.register(Registration.of(np.eye(4), "by hand"))
    other.close()
    case.close()


def test_what_speaks_against_a_place(pair):
    ct, mr = pair
    good = Registration.of(np.eye(4), "automatic")
    fit = judge(study_from_images(ct, mr), good)
    assert fit.warnings == ()
    assert fit.overlap == pytest.approx(1.0, abs=0.02)
    far = motion((0, 0, 50), (0, 0, 0), middle(mr))
    turned = judge(study_from_images(ct, mr).moved(far), Registration.of(far, "automatic"), good)
    assert any("turned by 50°" in warning for warning in turned.warnings)
    beside = motion((0, 0, 0), (95, 0, 0), middle(mr))
    half = judge(study_from_images(ct, mr).moved(beside), Registration.of(beside, "automatic"))
    assert any("% of the MR lie within the CT" in warning for warning in half.warnings)


def test_edges_of_the_mr(pair):
    study = study_from_images(*pair)
    outline = second_edges(study)
    assert 0.02 < outline[study.seen].mean() < 0.12
    assert not outline[~study.seen].any()
    at = np.argwhere(outline)
    steps = np.abs(np.diff(study.second.array, axis=1))[tuple(np.minimum(at, (29, 62, 71)).T)]
    assert np.median(steps) > 4 * np.median(
        np.abs(np.diff(study.second.array, axis=1))[10:20, 20:40, 20:50]
    )
