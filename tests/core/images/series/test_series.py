"""DICOM series as scanners and archives write them, and faults that are named."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.uid import JPEGLSLossless, RLELossless

from cmfnet_napari.core.errors import CancelledError, UserError
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.series.headers import Slice
from cmfnet_napari.core.images.series.read_stack import read_stack
from cmfnet_napari.core.images.series.scan import scan
from cmfnet_napari.core.images.series.scan_result import LeftOut, Why
from cmfnet_napari.core.images.volume import from_image, read_image
from tests.conftest import rotation
from tests.dicom_files import kept_locale, rewrite, uid, write_enhanced, write_slices

AXIAL = Grid((6, 9, 13), (3.0, 0.8, 1.1), (-20.0, -31.5, 44.0))


@pytest.fixture
def array():
    return np.random.default_rng(5).integers(-900, 1500, AXIAL.shape).astype(np.int16)


def read(folder):
    (image,) = scan([folder]).images
    return from_image(read_stack(image.stack, image.origin.modality, image.name))


def problem(folder):
    (image,) = scan([folder]).images
    with pytest.raises(UserError) as error:
        read_stack(image.stack, image.origin.modality, image.name)
    return str(error.value)


@pytest.mark.parametrize(
    "direction",
    [
        rotation(0, 0, 0),
        rotation(14, -9, 21),
        (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0),  # sagittal: rows run back, columns down
        (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0),  # coronal
    ],
    ids=["axial", "oblique", "sagittal", "coronal"],
)
def test_voxels_lie_where_the_slices_say(tmp_path, array, direction):
    grid = Grid(AXIAL.shape, AXIAL.spacing, AXIAL.origin, direction)
    write_slices(tmp_path / "S", array, grid)
    volume = read(tmp_path)
    assert volume.grid.same_place(grid)
    np.testing.assert_array_equal(volume.array, array)
    assert read_image(tmp_path / "S").GetSize() == AXIAL.shape[::-1]  # the same reader


def test_nested_unsorted_and_among_other_files(tmp_path, array):
    paths = write_slices(tmp_path / "a" / "b", array, AXIAL)
    (tmp_path / "c").mkdir()
    shutil.move(paths[2], tmp_path / "c" / "x")
    shutil.copy(paths[3], tmp_path / "c" / "copy of it")  # the same object twice
    (tmp_path / "notes.bin").write_bytes(b"no DICOM" * 100)
    np.testing.assert_array_equal(read(tmp_path).array, array)


@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (2, 5), (0.5, -10.25)])
def test_rescale(tmp_path, array, slope, intercept):
    def edit(_k, data):
        data.RescaleSlope, data.RescaleIntercept = slope, intercept

    write_slices(tmp_path / "S", array, AXIAL, edit=edit)
    np.testing.assert_array_equal(read(tmp_path).array, array * float(slope) + intercept)


def test_each_slice_has_its_own_rescale(tmp_path, array):
    """As PET and some MR have: the first slice's type must not be that of all."""

    def edit(k, data):
        data.RescaleSlope = 1 if k == 0 else 0.25

    write_slices(tmp_path / "S", array, AXIAL, "MR", edit)
    factors = np.array([1, *[0.25] * 5])[:, None, None]
    np.testing.assert_allclose(read(tmp_path).array, array * factors)


def test_twelve_signed_bits(tmp_path):
    values = np.random.default_rng(1).integers(-2048, 2047, AXIAL.shape).astype(np.int16)

    def edit(_k, data):
        data.BitsStored, data.HighBit = 12, 11

    write_slices(tmp_path / "S", values, AXIAL, edit=edit)
    np.testing.assert_array_equal(read(tmp_path).array, values)


def test_monochrome1_is_no_other_hounsfield_unit_but_a_turned_mr(tmp_path, array):
    def edit(_k, data):
        data.PhotometricInterpretation, data.RescaleIntercept = "MONOCHROME1", -10

    write_slices(tmp_path / "CT", array, AXIAL, "CT", edit)
    np.testing.assert_array_equal(read(tmp_path / "CT").array, array - 10)
    write_slices(tmp_path / "MR", array, AXIAL, "MR", edit)
    mr = read(tmp_path / "MR").array.astype(int)
    assert len(np.unique(mr + array)) == 1  # the lowest stored value is shown white


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_packed_by_pydicom(tmp_path, array, syntax):
    paths = write_slices(tmp_path / "S", array, AXIAL)
    for path in paths:
        rewrite(path, lambda data: data.compress(syntax, generate_instance_uid=False))
    np.testing.assert_array_equal(read(tmp_path).array, array)


@pytest.mark.parametrize("name", ["JPEG", "JPEG2000"])
def test_packed_by_gdcm(tmp_path, array, name):
    """JPEG lossless and JPEG 2000 lossless."""
    paths = write_slices(tmp_path / "S", array, AXIAL)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetUseCompression(True)
    writer.SetCompressor(name)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.LoadPrivateTagsOff()
    for path in paths:
        reader.SetFileName(str(path))
        image = reader.Execute()
        writer.SetFileName(f"{path}.dcm")
        with kept_locale():
            writer.Execute(image)
        path.unlink()
    np.testing.assert_array_equal(read(tmp_path).array, array)


@pytest.mark.parametrize(
    ("syntax", "words"),
    [
        ("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000"),
        ("1.2.840.10008.1.2.4.102", "MPEG-4"),
        ("1.2.3.4.5", "1.2.3.4.5"),
    ],
)
def test_unknown_packing_is_one_sentence(tmp_path, array, syntax, words):
    paths = write_slices(tmp_path / "S", array, AXIAL)
    for path in paths:
        raw = path.read_bytes()
        old = b"1.2.840.10008.1.2.1\0"
        new = syntax.encode() + b"\0" * (len(syntax) % 2)
        at = raw.index(old)
        size = len(new).to_bytes(2, "little")
        group = int.from_bytes(raw[140:144], "little") + len(new) - len(old)
        head = raw[:140] + group.to_bytes(4, "little") + raw[144 : at - 2]
        path.write_bytes(head + size + new + raw[at + len(old) :])
    sentence = problem(tmp_path)
    assert words in sentence
    assert "without compression" in sentence


def test_a_missing_slice_is_named_and_not_filled(tmp_path, array):
    paths = write_slices(tmp_path / "S", array, AXIAL)
    paths[3].unlink()
    sentence = problem(tmp_path)
    assert "slices 3 and 4 are 6.00 mm apart, the others 3.00 mm" in sentence
    assert "z = 50.0 mm to z = 56.0 mm" in sentence


def test_distances_that_change(tmp_path, array):
    def edit(k, data):
        data.ImagePositionPatient[2] += 1.5 * max(0, k - 3)

    write_slices(tmp_path / "S", array, AXIAL, edit=edit)
    assert "slices 4 and 5 are 4.50 mm apart" in problem(tmp_path)
    assert "2 times" in problem(tmp_path)


def test_a_slice_aside(tmp_path, array):
    def edit(k, data):
        data.ImagePositionPatient[0] += 7 * (k == 2)

    write_slices(tmp_path / "S", array, AXIAL, edit=edit)
    assert "slice 3 at z = 50.0 mm lies 7.0 mm beside" in problem(tmp_path)


def test_mixed_directions_and_sizes(tmp_path, array):
    def turn(k, data):
        if k == 4:
            data.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]

    write_slices(tmp_path / "turned", array, AXIAL, edit=turn)
    assert "different directions (5 in one, 1 in others)" in problem(tmp_path / "turned")

    def scale(k, data):
        data.PixelSpacing = [0.8, 1.1] if k else [0.9, 1.2]

    write_slices(tmp_path / "scaled", array, AXIAL, edit=scale)
    assert "different sizes or pixels" in problem(tmp_path / "scaled")


def test_a_scout_in_the_series_is_left_out(tmp_path, array, monkeypatch):
    def equal(*_):
        raise AssertionError("3,000 slices are compared with each other for seconds")

    def edit(k, data):
        data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER" if k == 0 else "AXIAL"]
        if k == 0:
            data.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    write_slices(tmp_path / "S", array, AXIAL, edit=edit)
    np.testing.assert_array_equal(read(tmp_path).array, array[1:])
    monkeypatch.setattr(Slice, "__eq__", equal)
    (stack,) = (image.stack for image in scan([tmp_path]).images)
    assert stack.notes == ("1 scout image was left out.",)
    assert len(stack.aside) == 1


def test_slices_that_came_twice(tmp_path, array):
    write_slices(tmp_path / "S", array, AXIAL)
    write_slices(
        tmp_path / "again",
        array[2:4],
        AXIAL.crop((slice(2, 4), slice(0, 9), slice(0, 13))),
        series="S",
    )
    np.testing.assert_array_equal(read(tmp_path).array, array)
    (image,) = scan([tmp_path]).images
    assert image.stack.notes == ("2 slices came twice and counted once.",)


def test_two_different_slices_at_one_place(tmp_path, array):
    write_slices(tmp_path / "S", array, AXIAL)
    part = AXIAL.crop((slice(2, 4), slice(0, 9), slice(0, 13)))
    write_slices(tmp_path / "other", array[2:4] + 1, part, series="S")
    assert "2 places have two different slices, the first at z = 50.0 mm" in problem(tmp_path)


@pytest.mark.parametrize(
    ("keyword", "values", "names"),
    [
        ("EchoTime", ("12", "80"), ["echo time 12", "echo time 80"]),
        ("AcquisitionNumber", (1, 2), ["acquisition 1", "acquisition 2"]),
        ("TemporalPositionIdentifier", (1, 10), ["time point 1", "time point 10"]),
    ],
)
def test_several_acquisitions_in_one_series(tmp_path, array, keyword, values, names):
    for number, value in enumerate(values):
        write_slices(
            tmp_path / str(number),
            array + number,
            AXIAL,
            "MR",
            lambda _k, data, value=value: setattr(data, keyword, value),
            series="S",
        )
    images = scan([tmp_path]).images
    assert [image.stack.name for image in images] == names
    assert [image.key for image in images] == [uid("series", "S"), uid("series", "S") + "#2"]
    for number, image in enumerate(images):
        volume = from_image(read_stack(image.stack, "MR", image.name))
        np.testing.assert_array_equal(volume.array, array + number)


def test_acquisition_numbers_alone_do_not_divide_a_series(tmp_path, array):
    write_slices(
        tmp_path / "S",
        array,
        AXIAL,
        edit=lambda k, data: setattr(data, "AcquisitionNumber", k // 3),
    )
    np.testing.assert_array_equal(read(tmp_path).array, array)


def test_a_tilted_gantry_is_straightened_within_the_slices(tmp_path):
    """A rod along the patient's z, scanned with 20° tilt, is a rod along z again."""
    angle = np.radians(20.0)
    direction = rotation(20.0, 0, 0)
    grid = Grid((12, 60, 20), (4.0, 1.0, 1.2), (0.0, 0.0, 0.0), direction)
    step = 4.0 / np.cos(angle)  # along z, so that planes are 4 mm apart
    positions = [np.array([0.0, 0.0, k * step]) for k in range(12)]
    array = np.zeros(grid.shape, np.int16)
    for k, position in enumerate(positions):
        plane = Grid((1, 60, 20), grid.spacing, tuple(position), direction)
        places = plane.to_patient(np.stack(np.indices((1, 60, 20)), -1))[0]
        distance = np.hypot(places[..., 0] - 11, places[..., 1] - 28)
        array[k] = np.where(distance < 6, 1000, 0)

    def tilt(k, data):
        data.ImagePositionPatient = [round(float(v), 5) for v in positions[k]]

    write_slices(tmp_path / "S", array, grid, edit=tilt)
    (image,) = scan([tmp_path]).images
    assert not image.stack.problem
    np.testing.assert_allclose(image.stack.shear, (np.tan(angle), 0), atol=1e-3)
    volume = read(tmp_path)
    np.testing.assert_allclose(volume.grid.spacing, (4.0, 1.0, 1.2), atol=1e-3)
    for k in range(12):
        weight = volume.array[k].astype(float)
        index = [(places * weight).sum() / weight.sum() for places in np.indices(weight.shape)]
        middle = volume.grid.to_patient(np.array([k, *index]))
        np.testing.assert_allclose(middle[:2], (11, 28), atol=0.15)
        assert weight.sum() == pytest.approx(array[k].sum(), rel=1e-3)


def test_enhanced_mr_with_two_echoes(tmp_path):
    grid = Grid((4, 7, 5), (4.0, 0.9, 1.3), (3.0, -8.0, 60.0), rotation(5, 8, -3))
    planes = np.random.default_rng(2).integers(0, 4000, (2, 4, 7, 5)).astype(np.uint16)
    frames = [
        (planes[echo, k], grid.to_patient((k, 0, 0)), {"echo": 10 + 70 * echo, "slope": 1 + k})
        for k in (2, 0, 3, 1)
        for echo in (0, 1)
    ]
    path = write_enhanced(tmp_path / "E.dcm", frames, grid)
    images = scan([tmp_path]).images
    assert [image.stack.name for image in images] == ["echo time 10.0", "echo time 80.0"]
    slopes = np.arange(1, 5)[:, None, None]
    for echo, image in enumerate(images):
        volume = from_image(read_stack(image.stack, "MR", image.name))
        assert volume.grid.same_place(grid)
        np.testing.assert_allclose(volume.array, planes[echo] * slopes)
    with pytest.raises(UserError, match="holds 2 images"):
        read_image(path)


def test_enhanced_mr_as_one_file(tmp_path):
    grid = Grid((4, 7, 5), (4.0, 0.9, 1.3), (3.0, -8.0, 60.0), rotation(5, 8, -3))
    planes = np.random.default_rng(2).integers(0, 4000, grid.shape).astype(np.uint16)
    frames = [(planes[k], grid.to_patient((k, 0, 0)), {}) for k in (3, 1, 0, 2)]
    volume = from_image(read_image(write_enhanced(tmp_path / "E.dcm", frames, grid)))
    assert volume.grid.same_place(grid)
    np.testing.assert_array_equal(volume.array, planes)


def test_a_file_cut_off_is_named(tmp_path, array):
    paths = write_slices(tmp_path / "S", array, AXIAL)
    paths[1].write_bytes(paths[1].read_bytes()[:-50])
    assert f"{paths[1].name} is damaged or cut off" in problem(tmp_path)


def test_a_slice_whose_pixels_are_damaged_is_named(tmp_path, array):
    paths = write_slices(tmp_path / "S", array, AXIAL)
    for path in paths:
        rewrite(path, lambda data: data.compress(JPEGLSLossless, generate_instance_uid=False))
    raw = paths[4].read_bytes()
    at = raw.index(b"\xff\xd8\xff")  # where the picture begins
    paths[4].write_bytes(raw[:at] + bytes(60) + raw[at + 60 :])
    sentence = problem(tmp_path)
    assert f"the pixels of {paths[4].name} are damaged" in sentence
    assert "JPEG-LS" in sentence


def test_a_damaged_header_is_counted_and_not_forgotten(tmp_path, array):
    paths = write_slices(tmp_path / "S", array, AXIAL)
    rewrite(paths[5], lambda data: delattr(data, "PixelSpacing"))
    found = scan([tmp_path])
    assert found.left_out == (LeftOut(paths[5], Why.DAMAGED),)
    assert len(found.images[0].stack.slices) == 5
    with pytest.raises(
        UserError, match=f"S may lack slices. 1 file was left out, since damaged: {paths[5].name}"
    ):
        read_image(tmp_path / "S")


def test_reading_can_be_ended(tmp_path, array):
    write_slices(tmp_path / "S", array, AXIAL)
    shares = []
    (image,) = scan([tmp_path], lambda share: shares.append(share) or True).images
    assert shares[0] == 0
    with pytest.raises(CancelledError):
        scan([tmp_path], lambda _share: False)
    with pytest.raises(CancelledError):
        read_stack(image.stack, "CT", "it", lambda share: share < 0.4)


def test_nothing_to_read(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"x")
    with pytest.raises(UserError, match="holds no DICOM images"):
        scan([tmp_path])
    with pytest.raises(UserError, match="does not exist"):
        scan([tmp_path / "away"])
