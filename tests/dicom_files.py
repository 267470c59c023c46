"""DICOM files for tests, with faults where a test wants them."""

from __future__ import annotations

import locale
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SpatialRegistrationStorage,
)

from cmfnet_napari.core.images.grid import Grid

ROOT_UID = "1.2.826.0.1.3680043.2.1125"
Edit = Callable[[int, Dataset], object]


@contextmanager
def kept_locale() -> Iterator[None]:
    """ITK's writer of DICOM leaves the locale C: whatever comes later would read no UTF-8."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


def uid(*words: object) -> str:
    """Always the same UID for the same words."""
    return ".".join([ROOT_UID, *(str(zlib.crc32(str(word).encode())) for word in words)])


def base(modality: str, series: str, patient: str = "P1", frame: str = "frame") -> Dataset:
    """What all objects share."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.PatientID, data.PatientName = patient, "Made^Up"
    data.PatientBirthDate = data.PatientSex = data.AccessionNumber = data.StudyID = ""
    data.ReferringPhysicianName = data.Manufacturer = ""
    data.StudyDate, data.StudyTime = "20200102", "101010"
    data.StudyInstanceUID = uid("study", patient)
    data.SeriesInstanceUID = uid("series", series)
    data.SeriesDescription, data.Modality, data.SeriesNumber = series, modality, 1
    data.FrameOfReferenceUID, data.PositionReferenceIndicator = uid("frame", frame), ""
    return data


def save(data: Dataset, path: Path, sop_class: str, sop_uid: str) -> Path:
    """Write an object of a class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data.SOPClassUID, data.SOPInstanceUID = sop_class, sop_uid
    data.file_meta.MediaStorageSOPClassUID = sop_class
    data.file_meta.MediaStorageSOPInstanceUID = sop_uid
    data.save_as(path, enforce_file_format=True)
    return path


def write_slices(
    folder: Path,
    array: np.ndarray,
    grid: Grid,
    modality: str = "CT",
    edit: Edit = lambda _k, _data: None,
    **words: str,
) -> list[Path]:
    """Write an int16 or uint16 array (z, y, x) as one file a slice.

    `edit` gets the number of each slice and its header before it is written; file names are in
    no order. ``words`` go to `base`.
    """
    cosines = grid.matrix[:, :2].T.ravel()
    paths = []
    series = words.pop("series", folder.name)
    for k, plane in enumerate(array):
        data = base(modality, series, **words)
        data.ImagePositionPatient = [round(float(v), 4) for v in grid.to_patient((k, 0, 0))]
        data.ImageOrientationPatient = [round(float(v), 9) for v in cosines]
        data.PixelSpacing, data.SliceThickness = list(grid.spacing[1:]), grid.spacing[0]
        data.InstanceNumber, data.SamplesPerPixel = k + 1, 1
        data.PhotometricInterpretation = "MONOCHROME2"
        data.Rows, data.Columns = plane.shape
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, int(plane.dtype.kind == "i")
        data.RescaleSlope, data.RescaleIntercept = 1, 0
        data.PixelData = plane.tobytes()
        data.SOPInstanceUID = uid(series, folder, k)
        edit(k, data)
        name = f"IM{zlib.crc32(str(k).encode())}"
        sop_class = CTImageStorage if modality == "CT" else MRImageStorage
        paths.append(save(data, folder / name, sop_class, data.SOPInstanceUID))
    return paths


def write_enhanced(path: Path, frames: list[tuple[np.ndarray, tuple, dict]], grid: Grid) -> Path:
    """Write an Enhanced MR: frames of (plane, position, {"echo", "slope", "stack"})."""
    data = base("MR", path.stem)
    data.ContentDate, data.ContentTime, data.ImageType = "20200102", "101010", "ORIGINAL"
    data.Rows, data.Columns = frames[0][0].shape
    data.NumberOfFrames, data.SamplesPerPixel = len(frames), 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    shared = Dataset()
    shared.PlaneOrientationSequence = [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [
        float(v) for v in grid.matrix[:, :2].T.ravel()
    ]
    shared.PixelMeasuresSequence = [Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing = list(grid.spacing[1:])
    shared.PixelMeasuresSequence[0].SliceThickness = grid.spacing[0]
    data.SharedFunctionalGroupsSequence = [shared]
    data.PerFrameFunctionalGroupsSequence = [_frame(*frame[1:]) for frame in frames]
    data.PixelData = b"".join(plane.astype("<u2").tobytes() for plane, _, _ in frames)
    return save(data, path, "1.2.840.10008.5.1.4.1.1.4.1", uid("enhanced", path.name))


def _frame(position: tuple, values: dict) -> Dataset:
    own = Dataset()
    own.PlanePositionSequence = [Dataset()]
    own.PlanePositionSequence[0].ImagePositionPatient = [float(v) for v in position]
    own.FrameContentSequence = [Dataset()]
    own.FrameContentSequence[0].StackID = values.get("stack", "1")
    own.MREchoSequence = [Dataset()]
    own.MREchoSequence[0].EffectiveEchoTime = float(values.get("echo", 10))
    own.PixelValueTransformationSequence = [Dataset()]
    item = own.PixelValueTransformationSequence[0]
    item.RescaleSlope, item.RescaleIntercept = values.get("slope", 1), values.get("intercept", 0)
    item.RescaleType = "US"
    return own


def write_structures(path: Path, rois: list[dict], on: str = "", **words: str) -> Path:
    """Write a structure set; a ROI is {"name", "contours": [(n, 3) mm], "color", "kind"}.

    `on` is the series that it names as the one it was drawn on.
    """
    frame = words.get("frame", "frame")
    data = base("RTSTRUCT", "structures", **words)
    data.StructureSetLabel, data.StructureSetDate, data.StructureSetTime = "PLAN", "", ""
    data.StructureSetROISequence, data.ROIContourSequence = [], []
    for number, roi in enumerate(rois, start=1):
        entry, drawn = Dataset(), Dataset()
        entry.ROINumber, entry.ROIName = number, roi["name"]
        entry.ReferencedFrameOfReferenceUID = uid("frame", frame)
        entry.ROIGenerationAlgorithm = "MANUAL"
        drawn.ReferencedROINumber, drawn.ROIDisplayColor = number, roi.get("color", [255, 0, 0])
        drawn.ContourSequence = [_contour(points, roi.get("kind")) for points in roi["contours"]]
        data.StructureSetROISequence.append(entry)
        data.ROIContourSequence.append(drawn)
    if on:
        referred, study, series = Dataset(), Dataset(), Dataset()
        series.SeriesInstanceUID = uid("series", on)
        study.RTReferencedSeriesSequence = [series]
        referred.RTReferencedStudySequence = [study]
        data.ReferencedFrameOfReferenceSequence = [referred]
    return save(data, path, "1.2.840.10008.5.1.4.1.1.481.3", uid("structures", path))


def _contour(points: np.ndarray, kind: str | None) -> Dataset:
    contour = Dataset()
    contour.ContourGeometricType = kind or "CLOSED_PLANAR"
    contour.NumberOfContourPoints = len(points)
    contour.ContourData = [round(float(v), 4) for v in np.ravel(points)]
    contour.ContourImageSequence = [Dataset()]
    contour.ContourImageSequence[0].ReferencedSOPClassUID = CTImageStorage
    contour.ContourImageSequence[0].ReferencedSOPInstanceUID = uid("no such slice")
    return contour


def write_registration(
    path: Path, items: list[tuple[str, list[np.ndarray]]], to: str, kind: str = "RIGID"
) -> Path:
    """Write a registration: items of (frame, 4×4 matrices in the order of the sequence)."""
    data = base("REG", "registration", frame=to)
    data.ContentDate, data.ContentTime, data.ContentLabel = "20200102", "101010", "REG"
    data.RegistrationSequence = []
    for frame, matrices in items:
        item, one = Dataset(), Dataset()
        item.FrameOfReferenceUID = uid("frame", frame)
        one.MatrixSequence = []
        for matrix in matrices:
            part = Dataset()
            part.FrameOfReferenceTransformationMatrixType = kind
            part.FrameOfReferenceTransformationMatrix = [float(v) for v in np.ravel(matrix)]
            one.MatrixSequence.append(part)
        item.MatrixRegistrationSequence = [one]
        data.RegistrationSequence.append(item)
    return save(data, path, SpatialRegistrationStorage, uid("registration", path))


def rewrite(path: Path, change: Callable[[Dataset], object]) -> None:
    """Change a written file."""
    data = pydicom.dcmread(path)
    change(data)
    data.save_as(path, enforce_file_format=True)


CT_GRID = Grid((14, 30, 34), (3.0, 2.0, 1.8), (-30.0, -28.0, 40.0))
MR_GRID = Grid((12, 26, 28), (3.3, 1.9, 2.1), (-28.0, -24.0, 42.0))
CENTRE = np.array([2.0, 1.0, 60.0])
RADIUS_MM = 11.0


def write_patient(folder: Path, mr_frame: str = "frame", mr_shift: tuple = (0, 0, 0)) -> Path:
    """CT and MR of a made-up patient with a ball of a tumour, and a structure set on each.

    The MR and what is drawn on it lie `mr_shift` (x, y, z) mm away, in a frame of their own when
    `mr_frame` is another one.
    """
    shift = np.array(mr_shift, dtype=float)
    ct = np.where(_within(CT_GRID, CENTRE, 25), 40, -1000)
    ct = np.where(_within(CT_GRID, CENTRE, RADIUS_MM), 90, ct).astype(np.int16)
    mr = np.where(_within(MR_GRID, CENTRE, 25), 300, 5)
    mr = np.where(_within(MR_GRID, CENTRE, RADIUS_MM), 700, mr).astype(np.uint16)
    mr_grid = Grid(MR_GRID.shape, MR_GRID.spacing, tuple(MR_GRID.origin + shift))
    write_slices(folder / "ct", ct, CT_GRID, "CT", series="planning CT")
    write_slices(folder / "mr", mr, mr_grid, "MR", series="T1", frame=mr_frame)
    on_ct = {"name": "GTV CT", "contours": circles(CT_GRID, CENTRE), "color": [0, 158, 115]}
    on_mr = {"name": "GTV MR", "contours": circles(mr_grid, CENTRE + shift)}
    write_structures(folder / "rs-ct.dcm", [on_ct])
    write_structures(folder / "rs-mr.dcm", [on_mr], frame=mr_frame)
    return folder


def circles(grid: Grid, centre: np.ndarray, radius: float = RADIUS_MM) -> list[np.ndarray]:
    """Where the slices of an axial grid cut a ball."""
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    rings = []
    for z in grid.to_patient(np.array([(k, 0, 0) for k in range(grid.shape[0])]))[:, 2]:
        rest = radius**2 - (z - centre[2]) ** 2
        if rest > 4:
            around = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1) * np.sqrt(rest)
            rings.append(around + np.array([centre[0], centre[1], z]))
    return rings


def _within(grid: Grid, centre: np.ndarray, radius: float) -> np.ndarray:
    places = grid.to_patient(np.stack(np.indices(grid.shape), -1))
    return np.linalg.norm(places - centre, axis=-1) <= radius
