"""A small oblique CT series with all that a scanner writes, labels on it, and a PACS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from cmfnet_napari.core.dicom.export.reference import Reference, read_reference
from cmfnet_napari.core.dicom.pacs.nodes import Node, find_node, make_node, save_node
from tests.conftest import rotation
from tests.dicom.orthanc import OUR_TITLE, PASSWORD, USER, Orthanc, running

SHAPE = (9, 16, 12)  # slices, rows, columns
SPACING = (3.0, 0.9, 1.2)  # mm, in this order
ORIGIN = (-31.0, 12.5, 205.0)
ROOT = "1.2.826.0.1.3680043.2.1125.7"


def slice_header(k: int, study: str = "1") -> Dataset:
    """Slice k of the series, its pixels k in every voxel."""
    turn = np.array(rotation(14.0, -9.0, 21.0)).reshape(3, 3)
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SpecificCharacterSet = "ISO_IR 100"
    header.SOPClassUID = CTImageStorage
    header.SOPInstanceUID = f"{ROOT}.{study}.2.{k + 1}"
    header.StudyInstanceUID = f"{ROOT}.{study}"
    header.SeriesInstanceUID = f"{ROOT}.{study}.2"
    header.FrameOfReferenceUID = f"{ROOT}.{study}.3"
    header.StudyDate, header.StudyTime = "20200102", "101112"
    header.SeriesDate = header.ContentDate = "20200102"
    header.Modality, header.Manufacturer = "CT", "Scanner"
    header.PatientName, header.PatientID = "Müller^Eva", f"P-{study}"
    header.PatientBirthDate, header.PatientSex = "19500607", "F"
    header.StudyID, header.AccessionNumber = "7", "A1"
    header.StudyDescription, header.SeriesDescription = "Thigh", "CT 3 mm"
    header.ReferringPhysicianName, header.PositionReferenceIndicator = "", ""
    header.SeriesNumber, header.InstanceNumber, header.AcquisitionNumber = 2, k + 1, 1
    header.ImageType, header.PatientPosition = ["ORIGINAL", "PRIMARY", "AXIAL"], "HFS"
    header.ImageOrientationPatient = [round(float(v), 9) for v in turn[:, :2].T.ravel()]
    position = np.array(ORIGIN) + k * SPACING[0] * turn[:, 2]
    header.ImagePositionPatient = [round(float(v), 6) for v in position]
    header.PixelSpacing, header.SliceThickness = list(SPACING[1:]), SPACING[0]
    header.Rows, header.Columns = SHAPE[1:]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 1
    header.RescaleIntercept, header.RescaleSlope, header.KVP = 0, 1, 120
    header.PixelData = np.full(SHAPE[1:], k, "<i2").tobytes()
    return header


def write_ct(folder: Path, slices: range = range(SHAPE[0]), **changes: object) -> Path:
    """Write the series, unsorted, with some attributes changed (None: taken out)."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in slices:
        header = slice_header(k, str(changes.get("study", "1")))
        for keyword, value in changes.items():
            if keyword != "study":
                setattr(header, keyword, value)
                if value is None:
                    delattr(header, keyword)
        pydicom.dcmwrite(folder / f"{(7 * k) % 11}.dcm", header, enforce_file_format=True)
    return folder


def marked_labels() -> np.ndarray:
    """Class 1: a box with a hole, an island in the hole and a part beside; class 2: one voxel."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:7, 2:11, 1:8] = 1
    labels[3:6, 4:9, 3:6] = 0
    labels[4, 6, 4] = 1
    labels[2:7, 12:15, 8:11] = 1
    labels[5, 13, 2] = 2
    return labels


@pytest.fixture
def ct_folder(tmp_path: Path) -> Path:
    return write_ct(tmp_path / "ct")


@pytest.fixture
def reference(ct_folder: Path) -> Reference:
    return read_reference(ct_folder)


@pytest.fixture
def labels() -> np.ndarray:
    return marked_labels()


@pytest.fixture
def label_map(ct_folder: Path) -> sitk.Image:
    """The labels as a user has them: placed by ITK's reader of the series, axes turned."""
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(ct_folder))
    image = sitk.GetImageFromArray(marked_labels())
    image.CopyInformation(sitk.ReadImage(names))
    return sitk.DICOMOrient(image, "RSA")


@pytest.fixture
def read_by_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., np.ndarray]:
    """Mask of one structure of a structure set, as dcmrtstruct2nii reads it."""
    monkeypatch.setattr(pydicom, "read_file", pydicom.dcmread, raising=False)  # gone in pydicom 3
    from dcmrtstruct2nii import dcmrtstruct2nii

    def read(structure_set: Path, series: Path, name: str) -> np.ndarray:
        out = tmp_path / f"read-{name}"
        dcmrtstruct2nii(str(structure_set), str(series), str(out), structures=[name])
        return sitk.GetArrayFromImage(sitk.ReadImage(str(out / f"mask_{name}.nii.gz"))) > 0

    return read


class Keyring(KeyringBackend):
    """A keyring in memory."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.kept.pop((service, username), None) is None:
            raise PasswordDeleteError


@pytest.fixture
def passwords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyring]:
    """The list of PACS and the keyring of a test."""
    monkeypatch.setenv("CMFNET_PACS", str(tmp_path / "config" / "pacs.json"))
    monkeypatch.delenv("CMFNET_PACS_PASSWORD", raising=False)
    before, backend = keyring.get_keyring(), Keyring()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


@pytest.fixture(scope="session")
def running_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with running(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def orthanc(running_orthanc: Orthanc) -> Orthanc:
    """The PACS, empty."""
    running_orthanc.empty()
    return running_orthanc


@pytest.fixture
def web(orthanc: Orthanc, passwords: Keyring) -> Node:
    """The PACS over DICOMweb."""
    save_node(make_node(name="web", url=orthanc.web, user=USER, timeout_s=10), PASSWORD)
    return find_node("web")


@pytest.fixture
def dimse(orthanc: Orthanc, passwords: Keyring) -> Node:
    """The PACS over DICOM messages."""
    save_node(
        make_node(
            name="dimse",
            host="127.0.0.1",
            port=orthanc.dicom_port,
            title="ORTHANC",
            our_title=OUR_TITLE,
            our_port=orthanc.our_port,
            timeout_s=10,
        )
    )
    return find_node("dimse")


@pytest.fixture(params=["web", "dimse"])
def node(request: pytest.FixtureRequest) -> Node:
    """Both ways to speak to it."""
    return request.getfixturevalue(request.param)
