"""Samples, simulated users, and material on disk."""

from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.folder_lock import alone
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.material.found_objects import find_object
from cmfnet_napari.learning.material.made_up import make_up, thick_slices
from cmfnet_napari.learning.material.material_file import Material, Shares, make_material
from cmfnet_napari.learning.material.patient_cubes import Source, around_contour, open_source
from cmfnet_napari.learning.material.sample import SIDE, Sample, extent
from cmfnet_napari.learning.material.users import (
    any_style,
    correction,
    first_strokes,
    neat_style,
)

CUBE = (SIDE,) * 3


@cache
def made_up(seed: int) -> Sample:
    """To look at; to make one takes time."""
    return make_up(np.random.default_rng(seed))


def ball(radius: float, middle: float = 27.5) -> np.ndarray:
    away = np.indices(CUBE) - middle
    return (away**2).sum(axis=0) < radius**2


@pytest.fixture(scope="module")
def patient() -> Source:
    """An oblique study with a bright ellipsoid of 60×40×30 mm; its MR lacks the first slices."""
    shape = (30, 60, 70)
    index = np.indices(shape).astype(float)
    away = (index - np.array(shape)[:, None, None, None] / 2) * np.array([3, 1.5, 1.5])[
        :, None, None, None
    ]
    inside = (away[0] / 30) ** 2 + (away[1] / 20) ** 2 + (away[2] / 15) ** 2 < 1
    rng = np.random.default_rng(0)
    images = []
    for high, low in ((120, 30), (900, 300)):
        array = np.where(inside, high, low) + rng.normal(0, 5, shape)
        image = sitk.GetImageFromArray(array.astype(np.float32))
        image.SetSpacing((1.5, 1.5, 3.0))
        image.SetDirection((0.96, -0.28, 0, 0.28, 0.96, 0, 0, 0, 1))
        images.append(image)
    study = study_from_images(images[0], images[1][:, :, 8:])
    turned = sitk.GetImageFromArray(inside.astype(np.uint8))
    turned.CopyInformation(images[0])
    mask = sitk.GetArrayFromImage(sitk.DICOMOrient(turned, "LPS")) > 0
    return Source.of(study, mask)


def test_images_are_what_the_cohort_says(tmp_path):
    values = np.random.default_rng(0).uniform(300, 900, (6, 20, 20)).astype(np.float32)
    path = str(tmp_path / "a.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(values), path)
    ct, mr = (
        sitk.GetArrayFromImage(open_source(path, None, None, kinds).first)
        for kinds in (("CT", ""), ("MR", ""))
    )
    assert (ct == 1).all()  # beyond the window of a CT
    assert 0.4 < mr.mean() < 0.6


def test_a_sample_survives_packing():
    sample = made_up(1)
    again = Sample.unpack(sample.pack())
    np.testing.assert_array_equal(again.object, sample.object)
    np.testing.assert_array_equal(again.seen, sample.seen)
    half = sample.there.copy()
    half[:9] = False
    np.testing.assert_array_equal(Sample.unpack(replace(sample, there=half).pack()).there, half)
    np.testing.assert_allclose(again.first, sample.first, atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(again.second, sample.second, atol=0.5 / 255 + 1e-6)


def test_the_extent_is_the_geometric_mean_of_the_box():
    mask = np.zeros(CUBE, dtype=bool)
    mask[3:5, 10:26, 20:22] = True
    assert extent(mask) == pytest.approx(4.0)  # ∛(2 · 16 · 2)
    assert extent(np.zeros(CUBE, dtype=bool)) == 0


def test_anatomy_is_made_up_anew_for_every_seed_and_alike_for_one():
    one, again, other = made_up(3), make_up(np.random.default_rng(3)), made_up(4)
    np.testing.assert_array_equal(one.pack(), again.pack())
    assert (one.pack() != other.pack()).any()


def test_made_up_objects_are_one_part_and_can_be_told_from_what_surrounds_them():
    for seed in range(8):
        sample = made_up(seed)
        assert sample.object.sum() >= 200
        _, parts = ndimage.label(sample.object)
        assert parts == 1
        assert sample.first.min() >= 0
        assert sample.first.max() <= 1
        assert not sample.second[~sample.seen].any()


def test_thick_slices_are_means_of_their_thin_ones():
    image = np.arange(8, dtype=np.float32)[:, None, None] * np.ones((8, 2, 2), np.float32)
    thick = thick_slices(image, 0, 2)[:, 0, 0]
    # means 0.5, 2.5, 4.5, 6.5 lie at 0.5, 2.5, …: a straight line between the outermost
    np.testing.assert_allclose(thick, [0.5, 1, 2, 3, 4, 5, 6, 6.5])


def test_cubes_lie_where_the_patient_is(patient):
    """Every voxel of a cube is where SimpleITK says the place is, whatever the directions."""
    place = patient.place(np.array([15, 30, 35]))
    rng = np.random.default_rng(0)
    sample = patient.cut(place, 2.0, rng)
    middle = SIDE // 2
    assert sample.object[middle, middle, middle]
    volume = sample.object.sum() * 2.0**3
    assert volume == pytest.approx(4 / 3 * np.pi * 30 * 20 * 15, rel=0.05)
    assert sample.first[sample.object].mean() == pytest.approx((120 + 160) / 400, abs=0.03)


def test_a_cube_knows_how_far_the_images_reach(patient):
    """Against SimpleITK, point by point; the cube is turned and lies over a corner."""
    place, axes = (
        patient.place(np.array([3, 8, 60])),
        np.array([[0, 1, 0], [0.8, 0, 0.6], [0.6, 0, -0.8]]),
    )
    sample = patient.cut_turned(place, 1.7, axes)
    assert 0.1 < sample.there.mean() < 0.9
    rng = np.random.default_rng(0)
    for z, y, x in rng.integers(0, SIDE, (300, 3)):
        mm = place + axes @ (1.7 * (np.array([x, y, z]) - (SIDE - 1) / 2))
        index = np.array(patient.first.TransformPhysicalPointToContinuousIndex(mm.tolist()))
        size = np.array(patient.first.GetSize())
        assert sample.there[z, y, x] == bool(((index >= 0) & (index <= size - 1)).all())
    away = 1.7 * ndimage.distance_transform_edt(~sample.there)
    assert not sample.first[away > 4].any()  # mm: SimpleITK goes half a slice further


def test_around_a_contour_voxels_follow_its_size_and_images_reach_nearly_all_of_it(patient):
    reached = []
    for seed in range(6):
        sample = around_contour(patient, np.random.default_rng(seed))
        assert sample.object.sum() >= 300
        assert not sample.second[~sample.seen].any()
        reached.append(sample.there.mean())
    assert np.mean(reached) > 0.8


def test_found_objects_have_a_border_that_can_be_seen(patient):
    found = (find_object(patient, np.random.default_rng(seed)) for seed in range(4))
    assert sum(1 for _ in islice((s for s in found if s.object.any()), 3)) == 3


def test_first_strokes_lie_on_their_side_unless_they_slip():
    inside = ball(14)
    off = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    for seed in range(8):
        codes = first_strokes(inside, np.random.default_rng(seed))
        assert (codes == 1).any(), seed
        assert off[codes == 1].max() < 1.5, seed  # a slip reaches so far
        assert off[codes == 0].size == 0 or off[codes == 0].min() > -1.5, seed


def test_users_draw_in_every_plane():
    """On few slices across one of the axes: which one is chance."""
    across = set()
    for seed in range(40):
        codes = first_strokes(ball(14), np.random.default_rng(seed)) == 1
        filled = [codes.any(axis=tuple({0, 1, 2} - {axis})).sum() for axis in range(3)]
        across.add(int(np.argmin(filled)))
        if across == {0, 1, 2}:
            return
    pytest.fail(f"in 40 drawings only along {across}")


def test_a_correction_lies_in_the_largest_error_and_says_what_is_right():
    inside = ball(14)
    found = inside | ball(5, 48)  # a ball that is none, and a little one less inside
    found[28, 28, 16] = False
    for seed in range(10):
        stroke, code = correction(
            found ^ inside, inside, np.full(CUBE, IGNORE, np.uint8), np.random.default_rng(seed)
        )
        assert stroke.any()
        if code == 0 and not (stroke & inside).any():
            return
    pytest.fail("no stroke went into the largest error")


def test_where_nothing_is_wrong_nothing_is_corrected():
    inside = ball(10)
    stroke, _ = correction(
        inside ^ inside, inside, np.full(CUBE, IGNORE, np.uint8), np.random.default_rng(0)
    )
    assert not stroke.any()


def test_neat_users_draw_much_background_close_to_the_border():
    inside = ball(14)
    away = ndimage.distance_transform_edt(~inside)
    for seed in range(8):
        style = neat_style(np.random.default_rng(seed))
        assert style.slices >= 3
        assert 1.5 <= style.rim_off <= 6
        assert style.slips == 0
    drawn = [first_strokes(inside, np.random.default_rng(seed)) == 0 for seed in range(40)]
    near = [away[codes].min() <= 6 and codes.sum() > 150 for codes in drawn if codes.any()]
    assert np.mean(near) > 0.3


def test_styles_differ():
    styles = {any_style(np.random.default_rng(seed)) for seed in range(20)}
    assert len({style.slices for style in styles}) > 4
    assert replace(next(iter(styles)), thick=2).thick == 2


def test_material_goes_on_where_it_was_broken_off(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    shares = Shares(0, 0, 1)
    make_material(whole, 2, (), shares)
    stopped = make_material(broken, 2, (), shares, show=lambda made: made < 1)
    assert stopped == 1
    with alone(broken), pytest.raises(UserError, match="Another process is writing into broken"):
        make_material(broken, 2, (), shares)
    make_material(broken, 2, (), shares)
    assert len(Material(whole)) == len(Material(broken)) == 2
    for number in range(2):
        np.testing.assert_array_equal(
            Material(whole)[number].pack(), Material(broken)[number].pack()
        )
    with pytest.raises(UserError, match=r"other material \(samples 2, not 3\)"):  # it stays
        make_material(whole, 3, (), shares)
    assert len(Material(whole)) == 2


def test_material_names_the_patients_that_it_was_cut_from(tmp_path, patient):
    make_material(tmp_path / "a", 1, [patient], Shares(1, 0, 0))
    assert Material(tmp_path / "a").patients == (patient.content_hash,)
    with pytest.raises(UserError, match=r"other material \(other patients\)"):
        make_material(tmp_path / "a", 1, [replace(patient, content_hash="b")], Shares(1, 0, 0))


def test_what_cannot_be_made_is_said_before_anything_is(tmp_path, patient):
    with pytest.raises(UserError, match="no patients"):
        make_material(tmp_path / "a", 1, (), Shares())
    with pytest.raises(UserError, match="contour"):
        make_material(tmp_path / "b", 1, [replace(patient, contour=None)], Shares())
    with pytest.raises(UserError, match="shares"):
        make_material(tmp_path / "c", 1, (), Shares(0, 0, 0))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_material_is_said(tmp_path):
    with pytest.raises(UserError, match="cmfnet material"):
        Material(tmp_path)
