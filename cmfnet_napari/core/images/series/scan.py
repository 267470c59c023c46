"""What lies in some folders: patients, studies, series, structure sets, registrations.

Headers only. A patient's name and number are shown to the user and go nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from cmfnet_napari.core.errors import CancelledError, UserError, list_names
from cmfnet_napari.core.images.series.headers import IMAGES, Slice, read_header, slices_of, words
from cmfnet_napari.core.images.series.read_stack import Progress
from cmfnet_napari.core.images.series.scan_result import (
    REGISTRATION,
    SEGMENTATION,
    STRUCTURES,
    DicomObject,
    ImageSeries,
    Origin,
    Scan,
)
from cmfnet_napari.core.images.series.stacks import split

_NO_FILES = (".nii", ".gz", ".nrrd", ".mha", ".mhd", ".png", ".json", ".txt", ".csv", ".md")
_ASK_EVERY = 20  # files


def scan(paths: Sequence[str | Path], progress: Progress | None = None) -> Scan:
    """Look through files and folders, nested as they may be.

    Parameters
    ----------
    paths : sequence of path
        Folders or files. What is no DICOM is passed over.
    progress : callable, optional
        Asked every few files.

    Raises
    ------
    UserError
        A path does not exist, or nothing in them is DICOM.
    CancelledError
        `progress` answered False.
    """
    files = list(_files(Path(path) for path in paths))
    origins: dict[tuple[str, ...], Origin] = {}
    slices: dict[Origin, list[Slice]] = {}
    objects: dict[str, DicomObject] = {}
    damaged: list[str] = []
    for number, path in enumerate(files):
        if progress is not None and number % _ASK_EVERY == 0 and not progress(number / len(files)):
            raise CancelledError
        try:
            _sort_in(path, origins, slices, objects)
        except Exception:  # pydicom converts what it is asked for, and raises what it likes
            damaged.append(path.name)
    images = [image for origin, own in slices.items() for image in _images(origin, own)]
    if not images and not objects:
        raise UserError(_nothing(paths, damaged))
    images.sort(key=lambda i: (i.origin.patient, i.origin.date, i.origin.study_uid, i.key))
    return Scan(tuple(images), tuple(objects.values()), tuple(damaged), len(files))


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} does not exist. Check the name and the folder.")
        if path.is_file():
            yield path
        for folder, folders, names in os.walk(path):
            folders.sort()
            yield from (
                Path(folder, name)
                for name in sorted(names)
                if not name.lower().endswith(_NO_FILES) and name != "DICOMDIR"
            )


def _sort_in(
    path: Path,
    origins: dict[tuple[str, ...], Origin],
    slices: dict[Origin, list[Slice]],
    objects: dict[str, DicomObject],
) -> None:
    header = read_header(path)
    if header is None:
        return
    names = "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID", "Modality"
    key = tuple(" ".join(words(header, name)) for name in names)
    origin = origins.get(key) or origins.setdefault(key, _origin(header))
    if origin.modality in IMAGES:
        found = slices_of(header, path)
        if found:
            slices.setdefault(origin, []).extend(found)
    elif origin.modality in (STRUCTURES, SEGMENTATION, REGISTRATION):
        entry = _object(header, path, _origin(header))
        objects.setdefault(entry.uid, entry)


def _images(origin: Origin, slices: list[Slice]) -> list[ImageSeries]:
    stacks = split(slices)
    keys = [origin.uid, *(f"{origin.uid}#{n}" for n in range(2, len(stacks) + 1))]
    return [ImageSeries(k, origin, stack) for k, stack in zip(keys, stacks, strict=True)]


def _origin(header: Dataset) -> Origin:
    """The header's words; what differs within a series, such as times, is not among them."""
    modality = str(header.get("Modality", ""))
    date = str(header.get("StudyDate") or header.get("SeriesDate") or "")
    born = str(header.get("PatientBirthDate") or "")
    number, name = str(header.get("PatientID") or ""), str(header.get("PatientName") or "")
    return Origin(
        uid=str(header.SeriesInstanceUID),
        study_uid=str(header.get("StudyInstanceUID") or ""),
        frame_uid=_frame(header, modality),
        modality=modality,
        description=str(header.get("SeriesDescription") or "").strip(),
        study=str(header.get("StudyDescription") or "").strip(),
        date=f"{date[:4]}-{date[4:6]}-{date[6:8]}" if len(date) >= 8 else "",
        patient="|".join((number, "" if number else name, "" if number else born)),
        patient_name=_shown(name, number),
    )


def _shown(name: str, number: str) -> str:
    words = name.replace("^", " ").strip()
    return " ".join(dict.fromkeys(filter(None, (words, number)))) or "No name"


def _frame(header: Dataset, modality: str) -> str:
    """Frame of reference; of a structure set, that of its first structure (PS3.3 C.8.8.5)."""
    if modality == STRUCTURES:
        for roi in header.get("StructureSetROISequence") or []:
            if uid := str(roi.get("ReferencedFrameOfReferenceUID") or ""):
                return uid
        for item in header.get("ReferencedFrameOfReferenceSequence") or []:
            return str(item.get("FrameOfReferenceUID") or "")
    return str(header.get("FrameOfReferenceUID") or "")


def _object(header: Dataset, path: Path, origin: Origin) -> DicomObject:
    rois = header.get("StructureSetROISequence") or []
    segments = header.get("SegmentSequence") or []
    names = [str(roi.get("ROIName") or "") for roi in rois]
    names += [str(segment.get("SegmentLabel") or "") for segment in segments]
    label = str(header.get("StructureSetLabel") or origin.description)
    series = tuple(sorted(set(_series(header))))
    return DicomObject(path, str(header.SOPInstanceUID), origin, label, tuple(names), series)


def _series(header: Dataset) -> Iterator[str]:
    """Series that a structure set or a segmentation refers to."""
    for frame in header.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            for series in study.get("RTReferencedSeriesSequence") or []:
                yield str(series.get("SeriesInstanceUID") or "")
    for series in header.get("ReferencedSeriesSequence") or []:
        yield str(series.get("SeriesInstanceUID") or "")


def _nothing(paths: Sequence[str | Path], damaged: list[str]) -> str:
    where = list_names((Path(path).name for path in paths), 2)
    if damaged:
        return (
            f"{where} holds {len(damaged)} damaged DICOM files ({damaged[0]} …) and none that can "
            "be read. Export them again."
        )
    return f"{where} holds no DICOM images. Choose the folder that the export was written to."
