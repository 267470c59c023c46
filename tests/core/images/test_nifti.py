"""NIfTI: the voxels of the file that was named, where it says they lie; checked by SimpleITK,
nibabel's own loader and by hand."""

import gzip
import shutil
import struct
import warnings

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.errors import DataWarning, UserError
from cmfnet_napari.core.images import unpack
from cmfnet_napari.core.images.study import open_study, save_labels
from cmfnet_napari.core.images.volume import read_image

SHAPE = (5, 6, 7)  # z, y, x
PLACE = np.array([[-2.0, 0, 0, 30], [0, -1.5, 0, 20], [0, 0, 3, -100], [0, 0, 0, 1]])  # RAS, mm
VALUES = np.random.default_rng(3).integers(-1000, 1000, SHAPE).astype(np.int16)


def voxels(image):
    return sitk.GetArrayFromImage(image)


def write(path, values=VALUES, sform=PLACE, qform=PLACE, codes=(1, 1), version=nibabel.Nifti1Image):
    """With both forms and their codes (sform, qform)."""
    image = version(np.asarray(values).transpose(2, 1, 0), PLACE)
    image.set_qform(qform, codes[1])
    image.set_sform(sform, codes[0])
    nibabel.save(image, path)
    return path


def patch(path, where, *values, form="f"):
    data = bytearray(path.read_bytes())
    struct.pack_into(f"<{len(values)}{form}", data, where, *values)
    path.write_bytes(data)
    return path


def ras(image, index):
    """Where a voxel (x, y, z) lies, RAS."""
    return np.array(image.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1]


def refusal(path):
    with pytest.raises(UserError) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("other", ["ct.nii", "ct.img", "ct.hdr", "ct.nii.gz"])
def test_the_file_that_was_named(tmp_path, other):
    strange = nibabel.Nifti1Pair if other.endswith(("img", "hdr")) else nibabel.Nifti1Image
    nibabel.save(strange(np.full((9, 4, 3), 33, np.int16), PLACE), tmp_path / other)
    named = tmp_path / ("ct.nii" if other == "ct.nii.gz" else "ct.nii.gz")
    np.testing.assert_array_equal(voxels(read_image(write(named))), VALUES)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("version", [nibabel.Nifti1Header, nibabel.Nifti2Header])
@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_kind_of_number(tmp_path, kind, version, order):
    values = np.abs(VALUES // 10).astype(kind) if kind[0] == "u" else (VALUES // 10).astype(kind)
    header = version(endianness=order)
    header.set_data_dtype(kind)
    image = nibabel.Nifti1Image if version is nibabel.Nifti1Header else nibabel.Nifti2Image
    nibabel.save(image(values.transpose(2, 1, 0), PLACE, header), tmp_path / "ct.nii")
    read = read_image(tmp_path / "ct.nii")
    np.testing.assert_array_equal(voxels(read), values)
    if version is nibabel.Nifti1Header:
        other = sitk.ReadImage(str(tmp_path / "ct.nii"))
        np.testing.assert_array_equal(voxels(read), voxels(other))
        np.testing.assert_allclose(read.GetOrigin(), other.GetOrigin())
        np.testing.assert_allclose(read.GetDirection(), other.GetDirection(), atol=1e-6)
        np.testing.assert_allclose(read.GetSpacing(), other.GetSpacing())


@pytest.mark.parametrize(
    ("slope", "inter", "expected"),
    [(1, -1024, VALUES - 1024.0), (0.5, 3, VALUES * 0.5 + 3), (0, 7, VALUES), (np.nan, 0, VALUES)],
)
def test_scaled_values(tmp_path, slope, inter, expected):
    path = patch(write(tmp_path / "ct.nii"), 112, slope, inter)
    np.testing.assert_array_equal(voxels(read_image(path)), expected)
    np.testing.assert_array_equal(nibabel.load(path).get_fdata().transpose(2, 1, 0), expected)


@pytest.mark.parametrize(
    ("codes", "taken"),
    [((1, 0), "s"), ((2, 1), "s"), ((4, 1), "s"), ((5, 2), "s"), ((0, 1), "q"), ((0, 2), "q")],
)
def test_sform_if_it_has_a_code_else_qform(tmp_path, codes, taken):
    turn = np.deg2rad(20)
    oblique = np.eye(4)
    oblique[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    sform, qform = oblique @ PLACE, PLACE + 0
    qform[:3, 3] += [12, -7, 6]
    path = write(tmp_path / "ct.nii", sform=sform, qform=qform, codes=codes)
    if min(codes):
        with pytest.warns(DataWarning, match=r"two ways where it lies, up to \d+(\.\d+)? mm"):
            image = read_image(path)
    else:
        image = read_image(path)
    right = sform if taken == "s" else qform
    for index in ((0, 0, 0), (6, 0, 0), (1, 5, 4)):
        np.testing.assert_allclose(ras(image, index), (right @ [*index, 1])[:3], atol=1e-3)
    np.testing.assert_allclose(nibabel.load(path).affine, right, atol=1e-4)


def test_a_file_without_a_place(tmp_path):
    path = write(tmp_path / "ct.nii", codes=(0, 0))
    with pytest.warns(DataWarning, match="does not say where it lies in the patient"):
        image = read_image(path)
    np.testing.assert_allclose(
        ras(image, (1, 2, 3)), (nibabel.load(path).affine @ [1, 2, 3, 1])[:3], atol=1e-4
    )


@pytest.mark.parametrize(
    ("moved", "said"), [(0.0, False), (0.1, False), (0.2, True)]
)  # a tenth of a voxel is 0.15 mm
def test_a_difference_of_less_than_a_tenth_of_a_voxel_is_not_said(tmp_path, moved, said):
    qform = PLACE + 0
    qform[0, 3] += moved
    path = write(tmp_path / "ct.nii", qform=qform)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_image(path)
    assert [w.category for w in caught] == [DataWarning] * said


def test_voxel_sizes_that_contradict_each_other(tmp_path):
    path = patch(write(tmp_path / "ct.nii", codes=(1, 0)), 88, 1.0)
    with pytest.warns(
        DataWarning, match="2×1.5×3 mm by its sform, .* and 2×1.5×1 mm by its pixdim"
    ):
        assert read_image(path).GetSpacing() == (2.0, 1.5, 3.0)
    path = patch(write(tmp_path / "negative.nii", codes=(0, 1)), 80, -2.0)
    with pytest.warns(DataWarning, match="negative size, which is taken as positive"):
        image = read_image(path)
    np.testing.assert_allclose(ras(image, (6, 0, 0)), (PLACE @ [6, 0, 0, 1])[:3])


@pytest.mark.parametrize(("unit", "factor"), [(1, 1000.0), (2, 1.0), (3, 0.001), (0, 1.0)])
def test_units_of_length(tmp_path, unit, factor):
    sform = PLACE / factor
    sform[3] = [0, 0, 0, 1]
    path = patch(write(tmp_path / "ct.nii", sform=sform, codes=(1, 0)), 123, unit, form="B")
    patch(path, 80, *np.abs(np.diag(sform)[:3]))
    np.testing.assert_allclose(read_image(path).GetSpacing(), (2.0, 1.5, 3.0), rtol=1e-6)


@pytest.mark.parametrize("shear", [0.01, 0.3])
def test_sheared(tmp_path, shear):
    sform = PLACE + 0
    sform[0, 1] = shear
    path = write(tmp_path / "ct.nii", sform=sform, codes=(2, 1))
    if shear > 0.1:
        assert "not at right angles" in refusal(path)
        return
    image = read_image(path)  # 0.05 mm at the far corner: a rounding
    for corner in ((0, 5, 0), (6, 5, 4)):
        np.testing.assert_allclose(ras(image, corner), (sform @ [*corner, 1])[:3], atol=0.06)


def packed(path, change):
    whole = write(path.with_name("whole.nii")).read_bytes()
    path.write_bytes(change(whole, gzip.compress(whole)))
    path.with_name("whole.nii").unlink()
    return path


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("a.nii.gz", lambda whole, gz: whole),
        ("a.nii", lambda whole, gz: gz),
        ("a", lambda whole, gz: gz),
        ("a.dat", lambda whole, gz: whole),
        ("A.NII.gz", lambda whole, gz: gz),
        ("a.NII", lambda whole, gz: whole),
        ("a.nii.gz", lambda whole, gz: gz + b"garbage!" * 10),
        ("a.nii.gz", lambda whole, gz: gz + bytes(1000)),
        ("a.nii.gz", lambda whole, gz: gzip.compress(whole[:400]) + gzip.compress(whole[400:])),
        ("a.nii.gz", lambda whole, gz: gzip.compress(whole + bytes(5000))),
        ("a.nii", lambda whole, gz: whole + b"more"),
    ],
)
def test_packed_or_not_whatever_it_is_called(tmp_path, name, change):
    np.testing.assert_array_equal(voxels(read_image(packed(tmp_path / name, change))), VALUES)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda whole, gz: gz[:-6], "is cut off: the end, which proves"),
        (lambda whole, gz: gz[:-200], r"is cut off: it holds \d+ of \d+ bytes"),
        (lambda whole, gz: whole[:-1], r"is cut off: it holds 771 of 772 bytes"),
        (lambda whole, gz: whole[:200], "is cut off"),
        (lambda whole, gz: gz[:-8] + bytes(4) + gz[-4:], "is damaged: what is packed"),
        (lambda whole, gz: b"", "is cut off"),
        (lambda whole, gz: gzip.compress(whole + bytes(1 << 23)), "goes on long after"),
    ],
)
def test_cut_off_or_changed(tmp_path, monkeypatch, change, words):
    monkeypatch.setattr(unpack, "_MOST_UNUSED", 1 << 22)
    path = packed(tmp_path / "ct.nii.gz", change)
    with pytest.raises(UserError, match=words):
        read_image(path)


def test_what_cannot_be_read_is_refused_for_its_own_reason(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(VALUES.T, PLACE), tmp_path / "pair.img")
    assert "one half of a pair of files" in refusal(tmp_path / "pair.hdr")
    assert "one half of a pair of files" in refusal(tmp_path / "pair.img")
    shutil.copy(tmp_path / "pair.hdr", tmp_path / "pair.nii")
    assert "one half of a pair of files" in refusal(tmp_path / "pair.nii")
    nibabel.save(nibabel.AnalyzeImage(VALUES.T, np.diag([-2, 1, 3, 1])), tmp_path / "old.img")
    assert "is an Analyze file" in refusal((tmp_path / "old.hdr").rename(tmp_path / "old.nii"))
    assert "complex numbers" in refusal(write(tmp_path / "c.nii", VALUES.astype(np.complex64)))
    colour = np.zeros(SHAPE[::-1], dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colour, PLACE), tmp_path / "rgb.nii.gz")
    assert "is a colour or vector image" in refusal(tmp_path / "rgb.nii.gz")
    for where, form, value, words in (
        (70, "h", 1, "its header is damaged"),  # one bit a voxel
        (70, "h", 77, "its header is damaged"),
        (40, "h", 9, "its header is damaged"),
        (42, "h", -7, "its header says -7×6×5 voxels"),
        (108, "f", np.nan, "its header is damaged"),
        (116, "f", np.nan, "scaled by a number that is none"),
        (280, "f", np.nan, "which cannot be"),
    ):
        path = patch(write(tmp_path / "bad.nii"), where, value, form=form)
        if where == 116:
            patch(path, 112, 2.0)
        assert words in refusal(path)
    many = np.zeros((7, 6, 5, 1, 3), np.int16)
    nibabel.save(nibabel.Nifti1Image(many, PLACE), tmp_path / "many.nii")
    assert "its size is 7×6×5×1×3" in refusal(tmp_path / "many.nii")
    nibabel.save(nibabel.Nifti1Image(many[..., :1], PLACE), tmp_path / "one.nii")
    assert read_image(tmp_path / "one.nii").GetSize() == (7, 6, 5)


@pytest.mark.parametrize("mirrored", [False, True])
def test_what_is_written_lies_on_its_ct(tmp_path, mirrored):
    """By both of its forms, whatever a program goes by."""
    turn = np.deg2rad(20)
    sform = np.eye(4)
    sform[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    sform = sform @ PLACE @ np.diag([-1 if mirrored else 1, 1, 1, 1])
    qform = sform + 0
    qform[:3, 3] += [12, -7, 6]
    path = write(tmp_path / "ct.nii.gz", sform=sform, qform=qform, codes=(2, 1))
    with pytest.warns(DataWarning):
        study = open_study(path)
    save_labels(np.ones(study.grid.shape, np.uint8), study, tmp_path / "label.nii.gz")
    written = nibabel.load(tmp_path / "label.nii.gz")
    assert min(int(written.header["sform_code"]), int(written.header["qform_code"])) > 0
    np.testing.assert_allclose(written.get_sform(), sform, atol=1e-4)
    np.testing.assert_allclose(written.get_qform(), sform, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_damaged_headers_are_refused_or_read_as_nibabel_reads_them(tmp_path):
    """300 files with some bytes changed, mostly in the header: no other voxels, no other place."""
    whole, rng = write(tmp_path / "ct.nii").read_bytes(), np.random.default_rng(1)
    read = 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(0, 352 if rng.random() < 0.8 else len(data))] = rng.integers(0, 256)
        path = tmp_path / "damaged.nii"
        path.write_bytes(data)
        try:
            image = read_image(path)
        except UserError:
            continue
        other = nibabel.load(path)
        values = other.get_fdata().reshape(image.GetSize(), order="F").transpose(2, 1, 0)
        np.testing.assert_allclose(voxels(image), values, rtol=1e-5)
        unit = {1: 1000.0, 3: 0.001}.get(int(other.header["xyzt_units"]) % 8, 1.0)
        for index in np.ndindex(2, 2, 2):
            corner = [i * (n - 1) for i, n in zip(index, image.GetSize(), strict=True)]
            right = (other.affine @ [*corner, 1])[:3] * unit
            assert np.abs(ras(image, corner) - right).max() < 0.11 * min(image.GetSpacing())
        read += 1
    assert 100 < read < 290


def test_voxels_that_begin_within_the_header_are_refused(tmp_path):
    """0 is what some programs write for "right behind": at byte 348 or 352, nobody can tell."""
    path = write(tmp_path / "ct.nii")
    assert "voxels at byte 0, within the header" in refusal(patch(path, 108, 0))
    assert "header is damaged" in refusal(patch(path, 108, 348))
