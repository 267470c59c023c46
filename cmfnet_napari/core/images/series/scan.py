"""What lies in some folders: patients, studies, series, structure sets, registrations.

Headers only. A patient's name and number are shown to the user and go nowhere else.
"""

from __future__ import annotations

import filecmp
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset
from pydicom.tag import Tag

from cmfnet_napari.core.errors import CancelledError, UserError, list_names
from cmfnet_napari.core.images.dicom_file import read_dicom
from cmfnet_napari.core.images.series.headers import IMAGES, Slice, read_header, slices_of, words
from cmfnet_napari.core.images.series.nobody import referred_series, says_who, tied, ties
from cmfnet_napari.core.images.series.read_stack import Progress
from cmfnet_napari.core.images.series.scan_result import (
    NOBODY,
    REGISTRATION,
    SEGMENTATION,
    STRUCTURES,
    DicomObject,
    ImageSeries,
    LeftOut,
    Origin,
    Scan,
    Why,
    left_out_notes,
)
from cmfnet_napari.core.images.series.stacks import split
from cmfnet_napari.core.words import clean

_NO_FILES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".png", ".json", ".txt", ".csv", ".md")
_PACKED = (".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz")
_INDEX = "DICOMDIR"  # lists what is on a disc
_DICOM_ENDINGS = ("", ".dcm", ".dicom", ".ima", ".img")
_ASK_EVERY = 20  # files
_NAMED = 3  # paths in a sentence


def scan(paths: Sequence[str | Path], progress: Progress | None = None) -> Scan:
    """Look through files and folders, nested as they may be.

    Parameters
    ----------
    paths : sequence of path
        Folders or files. What is no DICOM is passed over; see `Scan.left_out` for what else is, and
        `Scan.barren`.
    progress : callable, optional
        Asked every few files.

    Raises
    ------
    UserError
        A path does not exist, or nothing in them is DICOM.
    CancelledError
        `progress` answered False.
    """
    finds = _Finds()
    files = {Path(path): list(_files(Path(path), finds.left_out)) for path in paths}
    count = sum(map(len, files.values()))
    barren, number = [], 0
    for given, own in files.items():
        before = finds.count
        for path in own:
            if progress is not None and number % _ASK_EVERY == 0 and not progress(number / count):
                raise CancelledError
            if why := _sort_in(path, finds):
                finds.left_out.append(LeftOut(path, why))
            number += 1
        if finds.count == before and given.name != _INDEX:
            barren.append(given)
    whose = tied(finds.ties)
    images = [
        image
        for origin, own in finds.slices.items()
        for image in _images(_told_by_ties(origin, whose), own)
    ]
    if not images and not finds.objects:
        raise UserError(_nothing(paths, finds.left_out))
    images.sort(key=lambda i: (i.origin.patient, i.origin.date, i.origin.study_uid, i.key))
    with_images = {one.path.parent for image in images for one in image.stack.slices}
    left_out = [e for e in finds.left_out if e.why != Why.OTHER or e.path.parent in with_images]
    objects = _told_apart(
        [replace(entry, origin=_told_by_ties(entry.origin, whose)) for entry in finds.objects]
    )
    return Scan(tuple(images), objects, tuple(left_out), finds.others, count, tuple(barren))


@dataclass
class _Finds:
    """What was found so far."""

    origins: dict[tuple[str, ...], Origin] = field(default_factory=dict)
    slices: dict[Origin, list[Slice]] = field(default_factory=dict)
    objects: list[DicomObject] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    left_out: list[LeftOut] = field(default_factory=list)
    ties: set[frozenset[str]] = field(default_factory=set)  # of what says not whose it is

    @property
    def count(self) -> int:
        """How many slices and objects were found."""
        slices = sum(map(len, self.slices.values()))
        return slices + len(self.objects) + self.others.total()


def _files(path: Path, left_out: list[LeftOut]) -> Iterator[Path]:
    """A file, or what may be DICOM in a folder; folders that cannot be entered are left out."""

    def closed(error: OSError) -> None:
        left_out.append(LeftOut(Path(error.filename), Why.CLOSED))

    if not path.exists():
        raise UserError(f"{path} does not exist. Check the name and the folder.")
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path, onerror=closed):
        folders.sort()
        links = [Path(folder, name) for name in folders if Path(folder, name).is_symlink()]
        left_out += [LeftOut(link, Why.LINK) for link in links]
        for name in sorted(names):
            if name.lower().endswith(_PACKED) and not name.lower().endswith(".nii.gz"):
                left_out.append(LeftOut(Path(folder, name), Why.PACKED))
            elif not name.lower().endswith(_NO_FILES) and name != _INDEX:
                yield Path(folder, name)


def _sort_in(path: Path, finds: _Finds) -> Why | None:
    """Put a file where it belongs, or say why it is left out."""
    try:
        kind = os.stat(path)
        if not stat.S_ISREG(kind.st_mode):
            return Why.LINK
        if not kind.st_size:
            return Why.EMPTY
        header = read_header(path)
        if header is None:
            named = path.suffix.lower() in _DICOM_ENDINGS and path.name != _INDEX
            return Why.OTHER if named else None
        return _sort_header(header, path, finds)
    except FileNotFoundError:
        return Why.LINK
    except OSError:
        return Why.CLOSED
    except UserError:
        return Why.BOMB
    except Exception:  # pydicom converts what it is asked for, and raises what it likes
        return Why.DAMAGED


def _sort_header(header: FileDataset, path: Path, finds: _Finds) -> Why | None:
    names = "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID", "Modality"
    key = tuple(" ".join(words(header, name)) for name in names)
    origin = finds.origins.get(key) or finds.origins.setdefault(key, origin_of(header))
    if not origin.is_named:
        finds.ties.add(ties(header))
    if origin.modality in IMAGES:
        found = slices_of(header, path)
        if not found:
            return Why.NOWHERE
        finds.slices.setdefault(origin, []).extend(found)
    elif origin.modality in (STRUCTURES, SEGMENTATION, REGISTRATION):
        finds.objects.append(_object(header, path, origin_of(header)))
    else:
        finds.others[origin.modality or "unnamed"] += 1
    return None


def _told_apart(objects: list[DicomObject]) -> tuple[DicomObject, ...]:
    """Copies of a file once; objects that share an identifier and differ get one of their own."""
    kept: dict[str, list[DicomObject]] = {}
    for entry in objects:
        alike = kept.setdefault(entry.uid, [])
        if not any(filecmp.cmp(entry.path, other.path, shallow=False) for other in alike):
            number = len(alike) + 1
            alike.append(entry if number == 1 else replace(entry, uid=f"{entry.uid}#{number}"))
    return tuple(entry for alike in kept.values() for entry in alike)


def _images(origin: Origin, slices: list[Slice]) -> list[ImageSeries]:
    stacks = split(slices)
    keys = [origin.uid, *(f"{origin.uid}#{n}" for n in range(2, len(stacks) + 1))]
    return [ImageSeries(k, origin, stack) for k, stack in zip(keys, stacks, strict=True)]


def origin_of(header: Dataset) -> Origin:
    """The header's words; what differs within a series, such as times, is not among them."""
    modality = str(header.get("Modality", ""))
    date = str(header.get("StudyDate") or header.get("SeriesDate") or "")
    born = str(header.get("PatientBirthDate") or "")
    number, name = str(header.get("PatientID") or ""), str(header.get("PatientName") or "")
    known, called = says_who(number), says_who(name)
    born = "" if known else born
    patient = "|".join((known, "" if known else called, born)) if known or called else NOBODY
    return Origin(
        uid=str(header.SeriesInstanceUID),
        study_uid=str(header.get("StudyInstanceUID") or ""),
        frame_uid=_frame(header, modality),
        modality=modality,
        description=clean(str(header.get("SeriesDescription") or "")),
        study=clean(str(header.get("StudyDescription") or "")),
        date=f"{date[:4]}-{date[4:6]}-{date[6:8]}" if len(date) >= 8 else "",
        patient=patient,
        patient_name=_shown(name, number),
    )


def _told_by_ties(origin: Origin, whose: Mapping[str, str]) -> Origin:
    """Nobodies are told apart by what their headers tie together."""
    return origin if origin.is_named else replace(origin, patient=NOBODY + whose[origin.uid])


def _shown(name: str, number: str) -> str:
    words = clean(name.replace("^", " "))
    return " ".join(dict.fromkeys(filter(None, (words, clean(number))))) or "No name"


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
    every = header.get("SegmentSequence") or []
    segments = [item for item in every if item.get("SegmentNumber") != 0]  # 0: the background
    names = [_name(roi, "ROIName", "Structure", "ROINumber") for roi in rois]
    names += [_name(s, "SegmentLabel", "Segment", "SegmentNumber") for s in segments]
    frames = [str(roi.get("ReferencedFrameOfReferenceUID") or "") for roi in rois]
    frames += [origin.frame_uid] * len(segments)
    numbers = [int(roi.get("ROINumber") or 0) for roi in rois]
    drawn = _drawn(path) if rois else None
    for number in sorted(set(drawn or ()) - set(numbers)):  # contours that no structure claims
        names.append(f"Structure {number}")
        frames.append(origin.frame_uid)
    empty: set[str] = set()
    if drawn is not None:  # of two of one name one may be drawn: that can be read
        of_number = list(zip(numbers, names, strict=False))
        empty = {name for number, name in of_number if number not in drawn}
        empty -= {name for number, name in of_number if number in drawn}
    label = clean(str(header.get("StructureSetLabel") or "")) or origin.description
    return DicomObject(
        path,
        str(header.SOPInstanceUID),
        origin,
        label,
        tuple(names),
        tuple(sorted(set(referred_series(header)))),
        tuple(frame or origin.frame_uid for frame in frames),
        frozenset(_slices(header)),
        frozenset(empty),
    )


def _drawn(path: Path) -> set[int] | None:
    """Numbers of the structures that have a contour; None where that cannot be told."""
    try:
        items = read_dicom(path, specific_tags=[Tag("ROIContourSequence")]).get(
            "ROIContourSequence"
        )
        return {int(i.ReferencedROINumber) for i in items or [] if i.get("ContourSequence")}
    except Exception:  # pydicom raises what it likes; whoever reads the contours says it
        return None


def _name(item: Dataset, keyword: str, what: str, number: str) -> str:
    return clean(str(item.get(keyword) or "")) or f"{what} {item.get(number)}"


def _slices(header: Dataset) -> Iterator[tuple[str, str]]:
    """Slices that a structure set says it was drawn on (PS3.3 C.8.8.5.1)."""
    for frame in header.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            for series in study.get("RTReferencedSeriesSequence") or []:
                uid = str(series.get("SeriesInstanceUID") or "")
                for image in series.get("ContourImageSequence") or []:
                    yield uid, str(image.get("ReferencedSOPInstanceUID") or "")


def _nothing(paths: Sequence[str | Path], left_out: Sequence[LeftOut]) -> str:
    where = list_names((Path(path).name for path in paths), _NAMED)
    notes = left_out_notes([e for e in left_out if e.why is not Why.OTHER])
    if notes:
        return f"{where}: nothing in it can be read. {' '.join(notes)} Export or copy it again."
    return f"{where} holds no DICOM images. Choose the folder that the export was written to."
