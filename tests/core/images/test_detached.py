"""MetaImage and NRRD headers, also with voxels in files beside them: as SimpleITK reads them."""

import os

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.volume import IMAGE_ENDINGS, read_image

VALUES = np.random.default_rng(4).integers(-1000, 1000, (5, 6, 7)).astype("<i2")  # z, y, x
PLACE = """TransformMatrix = 0 1 0 -1 0 0 0 0 1
Offset = 30 -20 100
ElementSpacing = 2 1.5 3
DimSize = 7 6 5
ElementType = MET_SHORT
"""


def meta(path, data_file, before="", body=b""):
    head = f"ObjectType = Image\nNDims = 3\nBinaryData = True\n{before}{PLACE}"
    path.write_bytes(f"{head}ElementDataFile = {data_file}\n".encode() + body)
    return path


def nrrd(path, data_file, body=b""):
    lines = [
        "NRRD0005", "# made by hand", "type: short", "dimension: 3", "sizes: 7 6 5",
        "space: left-posterior-superior", "space directions: (0,2,0) (-1.5,0,0) (0,0,3)",
        "kinds: domain domain domain", "endian: little", "encoding: raw",
        "space origin: (30,-20,100)", f"data file: {data_file}" if data_file else "# all here",
    ]  # fmt: skip
    lines += [] if data_file.startswith("LIST") else [""]  # names go on to the end of the file
    path.write_bytes("\n".join(lines).encode() + b"\n" + body)
    return path


@pytest.fixture
def raw(tmp_path):
    """The voxels as one file, one file a slice, and in a folder further down."""
    (tmp_path / "annex").mkdir()
    for path in (tmp_path / "all.raw", tmp_path / "annex" / "all.raw"):
        path.write_bytes(VALUES.tobytes())
    for k, plane in enumerate(VALUES):
        (tmp_path / f"s{k:02d}.raw").write_bytes(plane.tobytes())
    return tmp_path


def check(path):
    """The voxels that were written, at the place that SimpleITK finds too."""
    image, other = read_image(path), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VALUES)
    assert image.GetSpacing() == other.GetSpacing() == (2.0, 1.5, 3.0)
    assert image.GetOrigin() == other.GetOrigin() == (30.0, -20.0, 100.0)
    assert image.GetDirection() == other.GetDirection()


NAMES = "".join(f"\ns{k:02d}.raw" for k in range(5))


@pytest.mark.parametrize(
    "before",
    [
        "", "\n", "\n  \n\n", "Comment = a\nComment = b: c\n", "Name = x\nName = y\n",
        "CenterOfRotation : 0 0 0\r\n", "Modality = MET_MOD_CT\n",
    ],
)  # fmt: skip
def test_a_meta_header_as_people_write_it(tmp_path, before):
    check(meta(tmp_path / "ct.mha", "LOCAL", before, VALUES.tobytes()))


@pytest.mark.parametrize(
    "data_file",
    [
        "all.raw", "./all.raw", "annex/all.raw", "annex/../all.raw", f"LIST{NAMES}",
        f"LIST 2D{NAMES}", "s%02d.raw 0 4 1", "link.raw",
    ],
)  # fmt: skip
def test_voxels_beside_a_meta_header(raw, data_file):
    os.symlink("annex/all.raw", raw / "link.raw")
    check(meta(raw / "ct.mhd", data_file))


@pytest.mark.parametrize(
    "data_file",
    ["all.raw", "./annex/../annex/all.raw", f"LIST{NAMES}", "s%02d.raw 0 4 1", "link.raw"],
)
@pytest.mark.parametrize("ending", ["nhdr", "nrrd"])
def test_voxels_beside_a_nrrd_header(raw, data_file, ending):
    os.symlink("annex/all.raw", raw / "link.raw")
    check(nrrd(raw / f"ct.{ending}", data_file))
    assert f".{ending}" in IMAGE_ENDINGS


def test_a_nrrd_header_that_holds_its_voxels_itself(tmp_path):
    check(nrrd(tmp_path / "ct.nrrd", "", VALUES.tobytes()))


@pytest.mark.parametrize(
    "data_file",
    [
        "../all.raw", "{folder}/all.raw", "annex/../../all.raw", "-",
        "LIST\ns00.raw\n../all.raw\ns02.raw\ns03.raw\ns04.raw", "s%02d.raw 0 5 1",
        "../s%02d.raw 0 4 1", "s%s.raw 0 4 1", "s%02d.raw 0 4 0",
    ],
)  # fmt: skip
@pytest.mark.parametrize("write", [meta, nrrd])
def test_a_header_opens_nothing_elsewhere(raw, data_file, write):
    inner = raw / "inner"
    inner.mkdir()
    for k in range(5):
        (inner / f"s{k:02d}.raw").write_bytes(VALUES[k].tobytes())
    path = write(inner / "ct.mhd" if write is meta else inner / "ct.nhdr", "x")
    text = path.read_bytes().replace(b": x\n", b": %b\n").replace(b"= x\n", b"= %b\n")
    path.write_bytes(text.replace(b"%b", data_file.format(folder=raw).encode()))
    with pytest.raises(UserError, match=r"in another file|not understood|cannot be read"):
        read_image(path)


@pytest.mark.parametrize("missing", [1, 84])
@pytest.mark.parametrize("data_file", ["all.raw", f"LIST{NAMES}", "s%02d.raw 0 4 1"])
@pytest.mark.parametrize("write", [meta, nrrd])
def test_voxels_that_are_cut_off(raw, data_file, write, missing):
    for name in ("all.raw", "s04.raw"):
        data = (raw / name).read_bytes()
        (raw / name).write_bytes(data[: len(data) - missing])
    path = write(raw / ("ct.mhd" if write is meta else "ct.nhdr"), data_file)
    with pytest.raises(UserError):
        read_image(path)
