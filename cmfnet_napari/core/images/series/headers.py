"""Headers of DICOM files: what an object is, and where each of its images lies.

Classic objects hold one image a file, enhanced ones many frames; both become `Slice` here, so
that nothing after it tells them apart. Pixels are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import MediaStorageDirectoryStorage

from cmfnet_napari.core.arrays import three
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.dicom_file import read_dicom
from cmfnet_napari.core.images.grid import Triple

IMAGES = ("CT", "MR", "PT", "OT")  # modalities that are offered as images
ENHANCED = (
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT
    "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR Image Storage
    "1.2.840.10008.5.1.4.1.1.4.4",  # Legacy Converted Enhanced MR
)
# What may tell acquisitions of one series apart, in the order it is tried: elements, its name.
SPLITS = {
    "EchoTime": (("EffectiveEchoTime", "EchoTime"), "echo time"),
    "DiffusionBValue": (("DiffusionBValue",), "b-value"),
    "TemporalPosition": (("TemporalPositionIndex", "TemporalPositionIdentifier"), "time point"),
    "StackID": (("StackID",), "stack"),
    "ImageType": (("FrameType", "ImageType"), "image type"),
    "AcquisitionNumber": (("FrameAcquisitionNumber", "AcquisitionNumber"), "acquisition"),
    "AcquisitionTime": (("AcquisitionTime",), "acquisition time"),
}
_BINARY = (
    "EffectiveEchoTime",
    "DiffusionBValue",
    "TemporalPositionIndex",
    "FrameAcquisitionNumber",
)
_HU = ("", "HU", "US")  # Rescale Type: not said, Hounsfield units, unspecified
# fmt: off
_TAGS = [Tag(word) for word in (
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID",
    "StudyInstanceUID", "SeriesDescription", "StudyDescription", "StudyDate", "SeriesDate",
    "AcquisitionDate", "SeriesNumber", "PatientID", "PatientName", "PatientBirthDate",
    "FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence",
    "PhotometricInterpretation", "RescaleSlope", "RescaleIntercept", "RescaleType",
    "InstanceNumber", "ImageType", "EchoTime", "DiffusionBValue", "TemporalPositionIdentifier",
    "AcquisitionNumber", "AcquisitionTime", "Units", "SpacingBetweenSlices", "SliceThickness",
    "NumberOfFrames", "ImagesInAcquisition", "PerFrameFunctionalGroupsSequence",
    "SharedFunctionalGroupsSequence",
    "StructureSetLabel", "StructureSetROISequence", "SegmentSequence",
    "ReferencedFrameOfReferenceSequence", "ReferencedSeriesSequence", "RegistrationSequence",
    "AcquisitionContrast", "ScanningSequence", "ScanOptions", "RepetitionTime", "InversionTime",
)]
# fmt: on


@dataclass(frozen=True)
class Slice:
    """One image in space.

    Attributes
    ----------
    path : Path
        Its file.
    frame : int
        Its number within an enhanced object, from 1; 0 where the file is one image.
    uid : str
        SOP instance UID of the object.
    position : tuple of float
        Centre of the first voxel, LPS, mm (Image Position (Patient), PS3.3 C.7.6.2.1.1).
    orientation : tuple of float
        Cosines of the row's and the column's direction (Image Orientation (Patient)).
    spacing : tuple of float
        Distance of rows, distance of columns, mm (Pixel Spacing).
    size : tuple of int
        Rows, columns.
    rescale : tuple of float
        Slope and intercept.
    splits : dict
        Values of `SPLITS`.
    photometric, syntax : str
        Photometric interpretation; UID of the transfer syntax.
    sample_bytes : int
        Bytes a pixel.
    samples : int
        Values a pixel.
    number : int or None
        Instance number, where it says one.
    of_how_many : int
        Images in its acquisition, as it says; 0 where it does not.
    bits, high_bit, signed : int, int, bool
        Bits Stored, High Bit, and whether the values have a sign (Pixel Representation).
    table : bool
        Stored values become those that count by a table (Modality LUT).
    padding : tuple of int or None
        Pixel Padding Value and Range Limit, stored values; None: there is none.
    distances : tuple of float
        What it says of the distance of slices: Spacing Between Slices, Slice Thickness, mm.
    no_hu : str
        What a CT's values are that are no Hounsfield units (Rescale Type), such as ``"MGML"``.
    """

    path: Path
    frame: int
    uid: str
    position: Triple
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    size: tuple[int, int]
    rescale: tuple[float, float] = (1.0, 0.0)
    splits: dict[str, str] = field(default_factory=dict)
    photometric: str = "MONOCHROME2"
    syntax: str = ""
    sample_bytes: int = 2
    samples: int = 1
    number: int | None = None
    of_how_many: int = 0
    bits: int = 16
    high_bit: int = 15
    signed: bool = False
    table: bool = False
    padding: tuple[int, int] | None = None
    distances: tuple[float, ...] = ()
    no_hu: str = ""


def read_header(path: Path) -> FileDataset | None:
    """Read what is needed of a DICOM header; None when the file is no DICOM, or a list of files.

    Raises
    ------
    ValueError
        It is DICOM by its first bytes, but damaged.
    OSError
        It cannot be opened.
    UserError
        It unpacks to too much.
    """
    try:
        header = read_dicom(path, stop_before_pixels=True, specific_tags=_TAGS)
        kind = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
        whole = "SOPClassUID" in header and "SeriesInstanceUID" in header
    except InvalidDicomError:
        return None
    except (OSError, UserError):
        raise
    except Exception as error:  # pydicom raises what it happens to stumble over
        raise ValueError("a damaged DICOM header") from error
    if whole:
        return header
    if kind == MediaStorageDirectoryStorage:
        return None
    raise ValueError("a DICOM header without its series")


def slices_of(header: FileDataset, path: Path) -> list[Slice]:
    """Images of an object, in the order of its frames; none where it says no place in space.

    Raises
    ------
    ValueError
        A value that cannot be read.
    """
    try:
        if header.SOPClassUID in ENHANCED:
            return list(_frames(header, path))
        return [_one(header, path, 0, (header,))] if "ImagePositionPatient" in header else []
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise ValueError("an image that does not say where it lies") from error


def _frames(header: FileDataset, path: Path) -> Iterator[Slice]:
    shared = header.get("SharedFunctionalGroupsSequence") or [Dataset()]
    for number, own in enumerate(header.PerFrameFunctionalGroupsSequence, start=1):
        parts = [item[0] for group in (own, shared[0]) for item in _groups(group)]
        yield _one(header, path, number, (*parts, header))


def _groups(group: Dataset) -> list[Sequence]:
    """Functional groups: sequences of one item (PS3.3 C.7.6.16)."""
    return [element.value for element in group if element.VR == "SQ" and len(element.value)]


def _one(header: FileDataset, path: Path, frame: int, places: tuple[Dataset, ...]) -> Slice:
    def find(*names: str) -> list[str]:
        for name in names:
            for place in places:
                if found := words(place, name):
                    return found
        return []

    rows, columns = _numbers(find("PixelSpacing"), 2)
    allocated = int(header.get("BitsAllocated") or 16)
    bits = int(header.get("BitsStored") or allocated)
    slope, intercept = find("RescaleSlope"), find("RescaleIntercept")
    return Slice(
        path=path,
        frame=frame,
        uid=words(header, "SOPInstanceUID")[0],
        position=three(_numbers(find("ImagePositionPatient"), 3)),
        orientation=_numbers(find("ImageOrientationPatient"), 6),
        spacing=(rows, columns),
        size=(int(header.Rows), int(header.Columns)),
        rescale=(_numbers(slope or ["1"], 1)[0], _numbers(intercept or ["0"], 1)[0]),
        splits={split: " ".join(find(*names)) for split, (names, _) in SPLITS.items()},
        photometric=" ".join(words(header, "PhotometricInterpretation")) or "MONOCHROME2",
        syntax=str(header.file_meta.TransferSyntaxUID),
        sample_bytes=max(1, allocated // 8),
        samples=int(header.get("SamplesPerPixel", 1)),
        number=_whole(header, "InstanceNumber"),
        of_how_many=_whole(header, "ImagesInAcquisition") or 0,
        bits=bits,
        high_bit=int(header.get("HighBit", bits - 1)),
        signed=bool(header.get("PixelRepresentation", 0)),
        table=bool(header.get("ModalityLUTSequence")),
        padding=_padding(header),
        distances=_distances([*find("SpacingBetweenSlices"), *find("SliceThickness")]),
        no_hu=_no_hu(find("RescaleType")) if header.get("Modality") == "CT" else "",
    )


def _no_hu(said: list[str]) -> str:
    """What values are, unless they are in Hounsfield units as far as is said (C.11.1.1.2)."""
    kind = " ".join(said).upper()
    return "" if kind in _HU else kind


def _padding(header: Dataset) -> tuple[int, int] | None:
    value = header.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = header.get("PixelPaddingRangeLimit")
    return value, limit if isinstance(limit, int) else value


def _distances(said: list[str]) -> tuple[float, ...]:
    try:
        return tuple(abs(float(mm)) for mm in said)
    except ValueError:  # a wish, no need
        return ()


def _whole(header: Dataset, name: str) -> int | None:
    try:
        return int(words(header, name)[0])
    except (IndexError, ValueError):
        return None


def words(place: Dataset, name: str) -> list[str]:
    """Values of an element as texts; empty when it is missing or empty.

    Texts are taken as they lie in the file: pydicom's conversion takes longer than reading it.
    """
    element = place.get_item(_tag(name))
    if element is None:
        return []
    if isinstance(element, RawDataElement) and name not in _BINARY:
        text = (element.value or b"").decode("ascii", "replace").strip(" \0")
        return [part.strip() for part in text.split("\\")] if text else []
    value = place[name].value
    if value is None or value == "":
        return []
    return [str(v) for v in value] if isinstance(value, MultiValue) else [str(value)]


@cache
def _tag(name: str) -> BaseTag:
    return Tag(name)


def _numbers(values: list[str], count: int) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if len(numbers) != count or not all(abs(number) < 1e6 for number in numbers):
        raise ValueError(f"{count} numbers are needed")
    return numbers
