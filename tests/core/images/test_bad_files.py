"""Files that once got past a reader, or could have: each is refused in one sentence."""

import gzip
import json
import struct
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.case.folder import create_case, open_case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import read_json
from cmfnet_napari.core.fit.preview_file import read_preview
from cmfnet_napari.core.images import header_check
from cmfnet_napari.core.images.dicom_check import check_lengths
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.core.images.volume import read_image
from cmfnet_napari.core.strokes.entries import Stroke
from cmfnet_napari.learning.cohort.cohort_file import read_cohort


@pytest.fixture
def image():
    values = np.random.default_rng(0).integers(-1000, 1000, (5, 6, 7)).astype(np.int16)
    return sitk.GetImageFromArray(values)


@pytest.fixture
def case_folder(tmp_path, image):
    create_case(
        tmp_path / "case", study_from_images(image, image + 0, modalities=("CT", "MR"))
    ).close()
    return tmp_path / "case"


def change_card(folder, change):
    card = json.loads((folder / "case.json").read_text())
    change(card)
    (folder / "case.json").write_text(json.dumps(card))


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_a_nifti_that_promises_more_than_it_holds_sets_no_memory_aside(tmp_path, image, ending):
    path = tmp_path / f"ct.{ending}"
    sitk.WriteImage(image, str(path))
    pack, unpack = (gzip.compress, gzip.decompress) if ending == "nii.gz" else (bytes, bytes)
    data = bytearray(unpack(path.read_bytes()))
    data[40:56] = struct.pack("<8h", 3, 30000, 30000, 30000, 1, 1, 1, 1)  # dim: 54 TB
    path.write_bytes(pack(bytes(data)))
    with pytest.raises(UserError, match="its header says 30000×30000×30000 voxels, but the file"):
        read_image(path)


@pytest.mark.parametrize(("ending", "old"), [("nrrd", b"sizes: 7"), ("mha", b"DimSize = 7")])
def test_a_text_header_that_promises_too_much(tmp_path, image, ending, old):
    path = tmp_path / f"ct.{ending}"
    sitk.WriteImage(image, str(path))
    path.write_bytes(path.read_bytes().replace(old, old[:-1] + b"70000000"))
    with pytest.raises(UserError, match="70000000×6×5 voxels, but the file has only"):
        read_image(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"NDims = 3", b"NDims = -3.2e+16"),  # ITK 5.4 ends with a segmentation fault
        (b"NDims = 3", b"NDims = 999"),
        (b"NDims = 3", b"NDims = 3\nNDims = 30"),
        (b"DimSize = 7 6 5", b"DimSize = 7 6"),
        (b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 nan 1"),
        (b"ObjectType", b"O" * 5000),
    ],
)
def test_a_meta_header_that_itk_would_not_survive(tmp_path, image, old, new):
    path = tmp_path / "ct.mha"
    sitk.WriteImage(image, str(path))
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(UserError, match="its header is damaged"):
        read_image(path)


@pytest.mark.parametrize("field", ["encoding", "space", "space directions", "type"])
def test_a_nrrd_header_that_itk_would_not_survive(tmp_path, image, field):
    """ITK 5.4 writes the line it complains of into a buffer that is too short."""
    path = tmp_path / "ct.nrrd"
    sitk.WriteImage(image, str(path))
    data = path.read_bytes()
    at = data.index(f"\n{field}: ".encode()) + len(field) + 3
    path.write_bytes(data[:at] + b"x" * 3000 + data[at:])
    with pytest.raises(UserError, match="its header is damaged"):
        read_image(path)
    path.write_bytes(data.replace(b"\nsizes", b"\nnotes:=" + b"x" * 3000 + b"\nsizes"))
    assert read_image(path).GetSize() == (7, 6, 5)  # what people write themselves may be long


def dicom(syntax, *elements):
    """A DICOM file of elements that are encoded already."""
    meta = b"\x02\0\x10\0UI" + struct.pack("<H", len(syntax)) + syntax
    return bytes(128) + b"DICM" + meta + b"".join(elements)


EXPLICIT, IMPLICIT, BIG = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0", b"1.2.840.10008.1.2.2\0"
ITEM, NO_LENGTH = b"\xfe\xff\0\xe0", b"\xff" * 4
END = b"\xfe\xff\xdd\xe0\0\0\0\0"


@pytest.mark.parametrize(
    ("syntax", "elements", "good"),
    [
        (EXPLICIT, [b"\x10\0\x10\0PN\4\0A^B "], True),
        (EXPLICIT, [b"\x10\0\x10\0PN\6\0A^B "], False),
        (EXPLICIT, [b"\x28\0\x10\0OW\0\0\0\0\0\x5c"], False),  # 1.4 GiB
        (EXPLICIT, [b"\x08\0\x40\x11SQ\0\0", NO_LENGTH, ITEM, NO_LENGTH, END], True),
        (EXPLICIT, [b"\x08\0\x40\x11SQ\0\0", NO_LENGTH, ITEM, b"\0\0\0\x10", END], False),
        (EXPLICIT, [b"\x08\0\x40\x11SQ\0\0\x08\0\0\0", ITEM, b"\0\0\0\0"], True),
        (EXPLICIT, [b"\xe0\x7f\x10\0OB\0\0", NO_LENGTH, b"whatever is packed here"], True),
        (EXPLICIT, [b"\xe0\x7f\x10\0OW\0\0\x10\0\0\0", b"ten bytes!"], False),
        (IMPLICIT, [b"\x10\0\x10\0\4\0\0\0A^B "], True),
        (IMPLICIT, [b"\x10\0\x10\0\0\0\0\x5cA^B "], False),
        (BIG, [b"\0\x10\0\x10PN\0\4A^B "], True),
        (BIG, [b"\0\x10\0\x10PN\4\0A^B "], False),
    ],
)
def test_lengths_in_a_dicom_file(tmp_path, syntax, elements, good):
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom(syntax, *elements))
    if good:
        check_lengths(path)
    else:
        with pytest.raises(UserError, match=r"a\.dcm is damaged or cut off: it has \d+ bytes"):
            check_lengths(path)


def test_a_slice_that_promises_more_than_it_holds_is_named(tmp_path, image, write_series):
    folder = write_series(image, tmp_path / "series")
    path = folder / "slice002.dcm"
    data = path.read_bytes()
    at = data.index(b"\x02\0\x03\0UI")  # its own number
    path.write_bytes(data[: at + 4] + b"UX" + data[at + 6 :])  # now its text is a length
    with pytest.raises(UserError, match=r"slice002\.dcm is damaged: .* no known type"):
        read_image(folder)


def test_an_image_larger_than_the_free_memory(tmp_path, image, monkeypatch):
    sitk.WriteImage(image, str(tmp_path / "ct.nii"))

    class Memory:
        available = 400  # bytes; the image has 420

    monkeypatch.setattr(header_check.psutil, "virtual_memory", lambda: Memory)
    with pytest.raises(UserError, match=r"ct\.nii needs 0\.0 GiB of memory and 0\.0 GiB are free"):
        read_image(tmp_path / "ct.nii")


@pytest.mark.parametrize("elsewhere", ["../secret.raw", "{folder}/secret.raw"])
def test_a_header_does_not_open_files_elsewhere(tmp_path, image, elsewhere):
    sitk.WriteImage(image, str(tmp_path / "secret.mhd"))
    folder = tmp_path / "in"
    folder.mkdir()
    text = (tmp_path / "secret.mhd").read_text()
    path = folder / "ct.mhd"
    path.write_text(text.replace("secret.raw", elsewhere.format(folder=tmp_path)))
    with pytest.raises(UserError, match="voxels are in another file"):
        read_image(path)
    head = "NRRD0004\ntype: short\ndimension: 3\nsizes: 7 6 5\nencoding: raw\nendian: little\n"
    nrrd = folder / "ct.nrrd"
    nrrd.write_text(f"{head}data file: {elsewhere.format(folder=tmp_path)}\n\n")
    with pytest.raises(UserError, match="voxels are in another file"):
        read_image(nrrd)
    nrrd.write_text(f"{head}data file: beside.raw\n\n")
    (folder / "beside.raw").write_bytes((tmp_path / "secret.raw").read_bytes())
    assert read_image(nrrd).GetSize() == (7, 6, 5)  # beside it is where it belongs


@pytest.mark.parametrize("ending", ["nii", "nrrd", "mha"])
def test_an_image_of_another_kind_than_its_ending_is_not_tried(tmp_path, ending):
    sitk.WriteImage(sitk.Image(9, 7, sitk.sitkUInt8), str(tmp_path / "picture.png"))
    path = (tmp_path / "picture.png").rename(tmp_path / f"picture.{ending}")
    with pytest.raises(UserError, match="cannot be read as an image") as caught:
        read_image(path)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("space directions", "(1e9,0,0) (0,1,0) (0,0,1)", "which cannot be"),
        ("space origin", "(0,1e12,0)", "lies at"),
        ("space directions", "(1,0.5,0) (0,1,0) (0,0,1)", "right angles"),
    ],
)
def test_a_place_where_no_patient_is(tmp_path, image, field, value, words):
    path = tmp_path / "ct.nrrd"
    sitk.WriteImage(image, str(path))
    lines = path.read_bytes().split(b"\n", 12)
    changed = [
        f"{field}: {value}".encode() if line.startswith(field.encode()) else line for line in lines
    ]
    assert changed != lines
    path.write_bytes(b"\n".join(changed))
    with pytest.raises(UserError, match=words):
        read_image(path)


@pytest.mark.parametrize("ending", [".nrrd", ".nhdr", ".mha", ".mhd"])
@pytest.mark.parametrize("how", ["checksum", "cut", "fewer"])
def test_packed_voxels_that_are_not_whole_are_refused(tmp_path, ending, how):
    """ITK took what it got, and left the rest of the image to chance."""
    array = np.random.default_rng(0).normal(0, 100, (6, 30, 40)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f"ct{ending}"), True)
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(read_image(tmp_path / f"ct{ending}")), array
    )
    voxels = max(tmp_path.iterdir(), key=lambda path: path.stat().st_size)
    data = voxels.read_bytes()
    if how == "checksum":
        voxels.write_bytes(data[:-6] + bytes(byte ^ 255 for byte in data[-6:-4]) + data[-4:])
    elif how == "cut":
        voxels.write_bytes(data[:-40])
    else:  # a whole stream of other voxels
        packed = zlib.compressobj(9, zlib.DEFLATED, 31 if "n" in ending else 15)
        stream = packed.compress(array[:5].tobytes()) + packed.flush()
        begin = 0
        if ending in (".nrrd", ".mha"):
            mark = b"\n\n" if ending == ".nrrd" else b"LOCAL\n"
            begin = data.index(mark) + len(mark)
        voxels.write_bytes(data[:begin] + stream)
    with pytest.raises(UserError, match=r"damaged|cannot be read"):
        read_image(tmp_path / f"ct{ending}")


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
@pytest.mark.parametrize(("shear", "voxels"), [(0.002, 0.4), (0.0002, 0.04)])
def test_a_little_shear_is_a_rounding_up_to_a_tenth_of_a_voxel(tmp_path, ending, shear, voxels):
    """As for a NIfTI: what is refused would put its far end beside where other programs do."""
    wide = sitk.GetImageFromArray(np.arange(2 * 3 * 400, dtype=np.int16).reshape(2, 3, 400))
    wide.SetDirection((1, 0, 0, shear, (1 - shear**2) ** 0.5, 0, 0, 0, 1))
    path = tmp_path / f"ct{ending}"
    sitk.WriteImage(wide, str(path))
    there = sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint((399, 2, 1))
    if voxels > 0.1:
        with pytest.raises(UserError, match="not at right angles"):
            read_image(path)
        return
    image = read_image(path)
    cosines = np.array(image.GetDirection()).reshape(3, 3)
    np.testing.assert_allclose(cosines @ cosines.T, np.eye(3), atol=1e-12)
    here = image.TransformIndexToPhysicalPoint((399, 2, 1))
    assert np.abs(np.subtract(here, there)).max() <= voxels


def test_a_sheared_nifti_is_called_that(tmp_path, image):
    path = tmp_path / "ct.nii"
    sitk.WriteImage(image, str(path))
    data = bytearray(path.read_bytes())
    data[252:256] = struct.pack("<2h", 0, 1)  # by its sform alone
    data[280:328] = struct.pack("<12f", 1, 0.7, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    path.write_bytes(data)
    with pytest.raises(UserError, match="not at right angles"):
        read_image(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card.update(source_grid=[1, 2]),
        lambda card: card["source_grid"].update(spacing=[0, 1, 1]),
        lambda card: card["source_grid"].update(spacing=[float("nan"), 1, 1]),
        lambda card: card["source_grid"].update(direction=[1, 0]),
        lambda card: card.update(classes=[{}]),
        lambda card: card.update(classes=[]),
        lambda card: card.update(classes=7),
        lambda card: card["classes"][1].update(code=1),
        lambda card: card["classes"][1].update(code=900),
        lambda card: card["classes"][1].update(name=None),
        lambda card: card["classes"][1].update(color="url(file:///etc/passwd)"),
    ],
)
def test_a_damaged_case_json(case_folder, change):
    change_card(case_folder, change)
    with pytest.raises(UserError, match=r"case\.json in case is damaged \((source_grid|classes)"):
        open_case(case_folder)


def test_what_a_newer_version_adds_to_case_json_is_kept(case_folder):
    change_card(case_folder, lambda card: card.update(later={"a": 1}))
    case = open_case(case_folder)
    case.save_classes(case.classes)
    case.close()
    assert read_json(case_folder / "case.json")["later"] == {"a": 1}


def test_images_of_two_patients_in_one_case(case_folder):
    other = sitk.GetImageFromArray(np.arange(210, dtype=np.float32).reshape(7, 6, 5))
    sitk.WriteImage(other, str(case_folder / "study" / "mr.nrrd"))
    with pytest.raises(UserError, match=r"are not those it was made with \(study/mr\.nrrd\)"):
        open_case(case_folder)


@pytest.mark.parametrize("name", ["in-use.json", "runs", "strokes.sqlite", "study/mr.nrrd"])
def test_a_case_with_a_link_out_of_it_is_not_opened(case_folder, tmp_path, name):
    """Opening writes in-use.json and the journal: through a link that would be any file."""
    target = tmp_path / "precious"
    target.write_text("mine")
    (case_folder / name).unlink(missing_ok=True)
    (case_folder / name).symlink_to(target)
    with pytest.raises(UserError, match="outside its folder"):
        open_case(case_folder)
    assert target.read_text() == "mine"


def test_a_journal_that_breaks_while_it_is_open(case_folder):
    case = open_case(case_folder)
    case.journal.append(Stroke(np.arange(3), np.zeros(3, np.uint8), np.ones(3, np.uint8)))
    case.close()
    case = open_case(case_folder, read_only=True)
    with open(case_folder / "strokes.sqlite", "rb+") as file:
        file.truncate(4096)  # the first page alone, which names the others
    with pytest.raises(UserError, match=r"The stroke journal .* is damaged"):
        case.scribbles()
    with pytest.raises(UserError, match=r"The stroke journal .* is damaged"):
        case.journal.last_id()
    case.close()


def test_json_nested_without_end(tmp_path):
    (tmp_path / "case.json").write_text("[" * 200_000)
    with pytest.raises(UserError, match="missing or damaged"):
        read_json(tmp_path / "case.json")


def test_a_cohort_with_a_null_byte(tmp_path):
    (tmp_path / "c.csv").write_text("case,ct,mask\na,b\0,c\n")
    with pytest.raises(UserError, match="cannot be read as a table"):
        read_cohort(tmp_path / "c.csv")


def test_a_preview_is_labels_of_this_study(tmp_path):
    path, labels = tmp_path / "preview.npy", np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.save(path, labels)
    np.testing.assert_array_equal(read_preview(path, (2, 3, 4)), labels)
    with pytest.raises(UserError, match="of other images"):
        read_preview(path, (4, 3, 2))
    np.save(path, labels.astype(float))
    with pytest.raises(UserError, match="of other images"):
        read_preview(path, (2, 3, 4))
    huge = path.read_bytes().replace(b"(2, 3, 4)", b"(9999999, 9999999, 9)")
    for damaged in (b"", b"\x93NUMPY", huge):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="cannot be read"):
            read_preview(path, (2, 3, 4))
