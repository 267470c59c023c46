"""Whatever was found and is not used is named: files, patients, structure sets, slices."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cmfnet_napari.core.dicom.importing.import_case import import_patient, read_patient
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images import dicom_file
from cmfnet_napari.core.images.series.scan import scan
from cmfnet_napari.core.images.series.scan_result import LeftOut, Why
from cmfnet_napari.core.images.volume import read_image
from tests.dicom_files import (
    CT_GRID,
    circles,
    rewrite,
    uid,
    write_patient,
    write_slices,
    write_structures,
)

COUNT = CT_GRID.shape[0]


@pytest.fixture
def array():
    return np.random.default_rng(1).integers(-900, 900, CT_GRID.shape).astype(np.int16)


@pytest.fixture
def ct(tmp_path, array):
    """Slices in order, from the lowest."""
    return write_slices(tmp_path / "in", array, CT_GRID, series="CT")


def bare(path, implicit=True):
    data = pydicom.dcmread(path)
    del data.file_meta
    data.preamble = None
    data.save_as(path, implicit_vr=implicit, little_endian=True, enforce_file_format=False)


def load(folder, **more):
    return read_patient([folder], **more)[0]


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_preamble_are_read(tmp_path, array, ct, implicit):
    for path in ct[9:]:
        bare(path, implicit)
    loaded = load(tmp_path / "in")
    np.testing.assert_array_equal(loaded.study.first.array, array)
    assert loaded.notes == []


def test_structures_without_preamble_are_read(tmp_path, ct):
    roi = {"name": "GTV", "contours": circles(CT_GRID, np.array([2.0, 1.0, 60.0]))}
    path = write_structures(tmp_path / "in" / "RS.dcm", [roi])
    whole = load(tmp_path / "in", structures=True).structures[0].mask
    bare(path)
    (found,) = load(tmp_path / "in", structures=True).structures
    assert found.name == "GTV"
    np.testing.assert_array_equal(found.mask, whole)


def test_meta_information_without_preamble(tmp_path, array, ct):
    for path in ct:
        path.write_bytes(path.read_bytes()[132:])
    np.testing.assert_array_equal(load(tmp_path / "in").study.first.array, array)


def test_a_bare_file_that_is_cut_off_is_named(tmp_path, ct):
    bare(ct[3])
    ct[3].write_bytes(ct[3].read_bytes()[:-40])
    with pytest.raises(UserError, match=f"{ct[3].name} is damaged or cut off"):
        load(tmp_path / "in")


CODE = """
from cmfnet_napari.core.dicom.importing.import_case import read_patient
import sys
from pathlib import Path
try:
    print(read_patient([Path(sys.argv[1])])[0].notes)
except Exception as error:
    print(type(error).__name__, error)
"""


def as_nobody(folder):
    """Root reads everything; without that capability it does not."""
    caps = "-dac_override,-dac_read_search"
    drop = ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}"] if not os.getuid() else []
    if drop and shutil.which("setpriv") is None:
        pytest.skip("setpriv is needed to try this as root")
    command = [*drop, sys.executable, "-c", CODE, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="rights as on Linux")
def test_slices_that_may_not_be_read_are_refused_by_name(tmp_path, ct):
    (tmp_path / "in" / "closed").mkdir(mode=0)
    for path in ct[11:]:
        path.chmod(0)
    said = as_nobody(tmp_path / "in")
    assert said.startswith("UserError The series CT CT may lack slices. 4 files were left out")
    assert "the right to read is missing" in said
    assert "closed" in said
    assert any(path.name in said for path in ct[11:])


def test_what_is_no_slice_is_named(tmp_path, array, ct):
    folder = tmp_path / "in"
    (folder / "empty.dcm").touch()
    (folder / "zeros").write_bytes(bytes(5000))
    (folder / "more.zip").write_bytes(b"PK")
    (folder / "notes.txt").write_text("of no interest")
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "pipe")  # opening it would wait for ever
    (tmp_path / "other").mkdir()
    (folder / "link").symlink_to(tmp_path / "other", target_is_directory=True)
    ct[-1].write_bytes(ct[-1].read_bytes()[:400])  # within its header
    rewrite(ct[-2], lambda data: delattr(data, "ImagePositionPatient"))
    loaded = load(folder)
    assert loaded.study.grid.shape[0] == COUNT - 2
    said = " ".join(loaded.notes)
    for words in (
        "1 file was left out, since empty: empty.dcm.",
        "1 file was left out, since no DICOM, though beside DICOM images: zeros.",
        "1 file was left out, since packed (zip, gz …): more.zip.",
        "3 files were left out, since neither file nor folder but a link, a pipe or a device: ",
        f"1 file was left out, since damaged: {ct[-1].name}.",
        f"1 file was left out, since no place in space is said: {ct[-2].name}.",
    ):
        assert words in said
    assert "notes.txt" not in said
    with pytest.raises(UserError, match=rf"{ct[-1].name} is damaged"):
        read_image(folder)


@pytest.mark.parametrize("name", ["MR.zip", "RS.dcm", "mr.nii.gz", "empty.dcm", "scans", "notes"])
def test_what_was_named_and_is_no_dicom_is_refused(tmp_path, ct, name):
    """It was left out without a word, or with one note among others."""
    path = tmp_path / name
    if name == "scans":  # a folder
        path.mkdir()
        (path / "mr.nii.gz").write_bytes(b"an image of another format")
    else:
        path.write_bytes(b"" if name == "empty.dcm" else b"no DICOM at all " * 20)
    for paths in ([tmp_path / "in", path], [path, tmp_path / "in"]):
        with pytest.raises(UserError, match=f"{name} holds no DICOM that can be read"):
            read_patient(paths)


def test_the_list_of_a_disc_may_be_named(tmp_path, array, ct):
    (tmp_path / "DICOMDIR").write_bytes(b"a list of files")
    loaded, _ = read_patient([tmp_path / "DICOMDIR", tmp_path / "in"])
    np.testing.assert_array_equal(loaded.study.first.array, array)


def test_a_pipe_by_its_name(tmp_path):
    os.mkfifo(tmp_path / "pipe.dcm")
    for what in (load, read_image):
        with pytest.raises(UserError, match=r"pipe\.dcm"):
            what(tmp_path / "pipe.dcm")


def test_a_deflated_file_has_a_budget(tmp_path, array, ct, monkeypatch):
    monkeypatch.setattr(dicom_file, "MOST_UNPACKED", 8 << 20)
    for path in ct:
        data = pydicom.dcmread(path)
        data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        data.save_as(path, enforce_file_format=True)
    np.testing.assert_array_equal(load(tmp_path / "in").study.first.array, array)
    raw = ct[5].read_bytes()
    meta = raw[: raw.index(b"1.2.840.10008.1.2.1.99") + 22]
    pack = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = pack.compress(bytes(9 << 20))
    ct[5].write_bytes(meta + bomb + pack.flush())
    assert ct[5].stat().st_size < 50_000
    assert scan([tmp_path / "in"]).left_out == (LeftOut(ct[5], Why.BOMB),)
    with pytest.raises(UserError, match="unpacks to more than 8 MiB"):
        read_image(ct[5])


def test_slices_that_share_an_identifier_are_all_taken(tmp_path, array, ct):
    for path in ct[4:7]:
        rewrite(path, lambda data: setattr(data, "SOPInstanceUID", uid("one for all")))
    shutil.copy(ct[2], tmp_path / "in" / "copy")
    loaded = load(tmp_path / "in")
    np.testing.assert_array_equal(loaded.study.first.array, array)
    assert "3 slices share identifiers" in loaded.notes[0]
    # The same identifier and place, but other pixels: nobody knows which is right.
    data = pydicom.dcmread(ct[2])
    data.PixelData = bytes(len(data.PixelData))
    data.save_as(tmp_path / "in" / "copy")
    with pytest.raises(UserError, match="1 place has two different slices"):
        load(tmp_path / "in")


def test_two_structure_sets_with_one_identifier(tmp_path, ct):
    rois = [{"name": "GTV", "contours": circles(CT_GRID, np.array([2.0, 1.0, 60.0]))}]
    first = write_structures(tmp_path / "in" / "RS1.dcm", rois)
    second = write_structures(tmp_path / "in" / "RS2.dcm", [*rois, {**rois[0], "name": "CTV"}])
    rewrite(
        second, lambda data: setattr(data, "SOPInstanceUID", pydicom.dcmread(first).SOPInstanceUID)
    )
    shutil.copy(first, tmp_path / "in" / "RS3.dcm")
    found = scan([tmp_path / "in"])
    assert [(entry.path.name, entry.names) for entry in found.objects] == [
        ("RS1.dcm", ("GTV",)),
        ("RS2.dcm", ("GTV", "CTV")),
    ]
    assert len({entry.uid for entry in found.objects}) == 2
    assert [s.name for s in load(tmp_path / "in", structures=True).structures] == [
        "GTV",
        "GTV (PLAN)",
        "CTV",
    ]


def test_others_in_the_folder_are_named_here_and_counted_in_the_case(tmp_path, array):
    folder = write_patient(tmp_path / "in")
    small = array[:4, :9, :9]
    write_slices(folder / "T2", small, CT_GRID.crop((slice(0, 4), slice(0, 9), slice(0, 9))), "MR")
    write_slices(folder / "someone", small, CT_GRID, patient="P2")
    gap = write_slices(folder / "faulty", array, CT_GRID, "MR")
    gap[5].unlink()
    dose = write_slices(folder / "dose", small[:1], CT_GRID)
    rewrite(dose[0], lambda data: setattr(data, "Modality", "RTDOSE"))
    write_structures(folder / "rs-2.dcm", [], patient="P2")
    loaded = load(folder)
    said = " ".join(loaded.notes)
    assert "MR T2 (4 slices)" in said
    assert "MR faulty (13 slices; slices 5 and 6 are 6.00 mm apart" in said
    assert "structure set PLAN; structure set PLAN" in said
    assert "of another patient: CT someone (4 slices); structure set PLAN." in said
    assert "of no use here: 1 RTDOSE." in said
    assert "P2" not in said
    assert "Made" not in said
    import_patient(loaded, tmp_path / "case")
    from cmfnet_napari.core.case.folder import open_case

    case = open_case(tmp_path / "case")
    assert list(case.notes) == [
        "Not used: 2 MRs, 2 structure sets.",
        "Not used, of another patient: 1 CT, 1 structure set.",
        "Not used, of no use here: 1 RTDOSE.",
    ]
    case.close()


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        (range(3), "numbers 1, 2, 3 are not there"),
        (range(1, COUNT, 2), "numbers 2, 4, 6, 8, 10 and 1 more are not there"),
        (range(COUNT - 3, COUNT), "PLAN names 14 of its slices, and 3 of them are not there"),
        (range(COUNT - 2, COUNT), "it says 14, and 12 are there"),
    ],
)
def test_slices_that_are_gone(tmp_path, array, gone, words):
    def edit(_k, data):
        if "it says" in words:
            data.ImagesInAcquisition = COUNT

    paths = write_slices(tmp_path / "in", array, CT_GRID, series="CT", edit=edit)
    named = [pydicom.dcmread(path).SOPInstanceUID for path in paths]
    if "PLAN" in words:
        rs = write_structures(tmp_path / "in" / "RS", [])
        rewrite(rs, lambda data: refer(data, named))
    for k in gone:
        paths[k].unlink()
    loaded = load(tmp_path / "in")
    assert loaded.study.grid.shape[0] == COUNT - len(gone)
    assert any("CT CT may lack slices" in note and words in note for note in loaded.notes)


@pytest.mark.parametrize(
    ("counts", "number", "first"), [(COUNT, 1, 2), (COUNT + 1, 1, 2), (COUNT, 900, 1)]
)
def test_a_scout_is_no_slice_that_is_gone(tmp_path, array, counts, number, first):
    """It has a number and an identifier of the series; sets name slices of other series too."""

    def edit(k, data):
        data.InstanceNumber = k + first
        data.ImagesInAcquisition = counts

    def scout(_k, data):
        data.InstanceNumber, data.ImageType = number, ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        data.ImagesInAcquisition = 1 if counts == COUNT else counts

    paths = write_slices(tmp_path / "in", array, CT_GRID, series="CT", edit=edit)
    paths += write_slices(tmp_path / "in" / "scout", array[:1], CT_GRID, series="CT", edit=scout)
    named = [pydicom.dcmread(path).SOPInstanceUID for path in paths]
    rs = write_structures(tmp_path / "in" / "RS", [])
    rewrite(rs, lambda data: refer(data, named, {"MR": ["1.2.3", "1.2.4"]}))
    loaded = load(tmp_path / "in")
    assert loaded.study.grid.shape[0] == COUNT
    assert "1 scout image was left out" in " ".join(loaded.notes)
    assert not [note for note in loaded.notes if "may lack slices" in note]


def refer(data, uids, others=None):
    """Name slices of the CT, and of other series, as a structure set does (PS3.3 C.8.8.5.1)."""
    frame, study = pydicom.Dataset(), pydicom.Dataset()
    study.RTReferencedSeriesSequence = []
    for name, named in {"CT": uids, **(others or {})}.items():
        series = pydicom.Dataset()
        series.SeriesInstanceUID = uid("series", name)
        series.ContourImageSequence = [pydicom.Dataset() for _ in named]
        for item, one in zip(series.ContourImageSequence, named, strict=True):
            item.ReferencedSOPInstanceUID = one
        study.RTReferencedSeriesSequence.append(series)
    frame.RTReferencedStudySequence = [study]
    data.ReferencedFrameOfReferenceSequence = [frame]
