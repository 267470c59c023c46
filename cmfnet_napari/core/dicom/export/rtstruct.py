"""Structure sets to write: RT Structure Set IOD, DICOM PS3.3 A.19.3 and C.8.8.5 to C.8.8.8."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
from pydicom import Dataset, FileMetaDataset
from pydicom.config import disable_value_validation
from pydicom.errors import InvalidDicomError
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from cmfnet_napari.core.arrays import Mask, Wholes
from cmfnet_napari.core.dicom.export.anatomy_code import anatomy_code, code_item
from cmfnet_napari.core.dicom.export.outlines import outlines
from cmfnet_napari.core.dicom.export.provenance import (
    UNICODE,
    Maker,
    copy_patient,
    fit_values,
    reference_items,
    stamp,
)
from cmfnet_napari.core.dicom.export.reference import Reference
from cmfnet_napari.core.dicom.export.roi import Roi
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.dicom_file import read_dicom

_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # what planning systems expect of a referenced study
_SERIES_NUMBER = 9001  # far from the scanner's own


def new_structure_set(
    reference: Reference, labels: Wholes, rois: Sequence[Roi], maker: Maker
) -> Dataset:
    """Make a structure set with the contours of a segmentation.

    Parameters
    ----------
    reference : Reference
        The series that it belongs to.
    labels : integer array (slices, rows, columns)
        Segmentation codes in the series' order.
    rois : sequence of Roi
        The structures.
    maker : Maker
        What made the contours.

    Returns
    -------
    Dataset
        Complete, ready for `write_structure_set`; its ApprovalStatus is UNAPPROVED.
    """
    structure_set = Dataset()
    copy_patient(reference.first, structure_set)
    structure_set.Modality = "RTSTRUCT"
    structure_set.SeriesNumber = _SERIES_NUMBER
    structure_set.SeriesDescription = "CmFNet contours, not approved"
    structure_set.FrameOfReferenceUID = reference.first.FrameOfReferenceUID
    structure_set.PositionReferenceIndicator = ""
    structure_set.InstanceNumber = 1
    structure_set.StructureSetLabel = "CmFNet"
    structure_set.StructureSetName = maker.model[:64]
    structure_set.StructureSetDescription = maker.sentence
    structure_set.ReferencedFrameOfReferenceSequence = [_frame_item(reference)]
    structure_set.StructureSetROISequence = []
    structure_set.ROIContourSequence = []
    structure_set.RTROIObservationsSequence = []
    return _finish(structure_set, reference, labels, rois, maker)


def add_to_structure_set(
    path: str | Path, reference: Reference, labels: Wholes, rois: Sequence[Roi], maker: Maker
) -> Dataset:
    """Make a new structure set of an existing one and more structures; the file stays as it is.

    The structures that were there are taken over unchanged, and the new set names the old one as
    its predecessor. Parameters as `new_structure_set`.

    Raises
    ------
    UserError
        No structure set, one of another patient or frame of reference, or a name it already has.
    """
    path = Path(path)
    structure_set = read_structure_set(path)
    _check_same_patient(structure_set, reference, path.name)
    there = {
        str(item.get("ROIName", "")).casefold() for item in structure_set.StructureSetROISequence
    }
    taken = [roi.name for roi in rois if roi.name.casefold() in there]
    if taken:
        raise UserError(f"{path.name} already has a structure {taken[0]}. Choose another name.")
    structure_set.PredecessorStructureSetSequence = reference_items([structure_set])
    _add_series(structure_set, reference)
    for keyword in ("ReviewDate", "ReviewTime", "ReviewerName"):
        structure_set.pop(keyword, None)
    structure_set.setdefault("PositionReferenceIndicator", "")  # must be there, often is not
    return _finish(structure_set, reference, labels, rois, maker)


def read_structure_set(path: Path) -> Dataset:
    """Read a structure set whole.

    Raises
    ------
    UserError
        Missing, damaged, or something else.
    """
    try:
        with disable_value_validation():
            dataset = fit_values(read_dicom(path))
    except (InvalidDicomError, OSError, EOFError) as error:
        raise UserError(f"{path.name} cannot be read as DICOM. Choose a structure set.") from error
    if dataset.get("SOPClassUID") != RTStructureSetStorage:
        kind = dataset.get("Modality") or "something else"
        raise UserError(f"{path.name} is no structure set (RTSTRUCT) but {kind}.")
    for keyword in ("StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence"):
        if keyword not in dataset:
            setattr(dataset, keyword, [])
    return dataset


def write_structure_set(structure_set: Dataset, path: Path) -> None:
    """Write as implicit VR: explicit VR has no room for contours of more than 64 KiB."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = structure_set.SOPClassUID
    meta.MediaStorageSOPInstanceUID = structure_set.SOPInstanceUID
    meta.TransferSyntaxUID = ImplicitVRLittleEndian
    structure_set.file_meta = meta
    pydicom.dcmwrite(path, structure_set, implicit_vr=True, enforce_file_format=True)


def _finish(
    structure_set: Dataset,
    reference: Reference,
    labels: Wholes,
    rois: Sequence[Roi],
    maker: Maker,
) -> Dataset:
    """Add the structures, and say when and by what the set was made."""
    number = _highest(structure_set.StructureSetROISequence, "ROINumber")
    observation = _highest(structure_set.RTROIObservationsSequence, "ObservationNumber")
    for k, roi in enumerate(rois, start=1):
        contours = _contour_items(reference, labels == roi.code)
        parts = (
            _roi_item(number + k, roi, reference, maker),
            _contours_item(number + k, roi, contours),
            _observation_item(observation + k, number + k, roi),
        )
        structure_set.StructureSetROISequence.append(parts[0])
        structure_set.ROIContourSequence.append(parts[1])
        structure_set.RTROIObservationsSequence.append(parts[2])
    stamp(structure_set, RTStructureSetStorage, maker)
    structure_set.OperatorsName = ""
    now = datetime.now()
    structure_set.StructureSetDate = now.strftime("%Y%m%d")
    structure_set.StructureSetTime = now.strftime("%H%M%S")
    structure_set.ApprovalStatus = "UNAPPROVED"
    return structure_set


def _highest(items: Sequence[Dataset], keyword: str) -> int:
    """Largest number in use; sets of others may lack some."""
    return max((int(item.get(keyword) or 0) for item in items), default=0)


def _roi_item(number: int, roi: Roi, reference: Reference, maker: Maker) -> Dataset:
    item = Dataset()
    if not roi.name.isascii():
        item.SpecificCharacterSet = UNICODE  # the set it is added to may have another one
    item.ROINumber = number
    item.ReferencedFrameOfReferenceUID = reference.first.FrameOfReferenceUID
    item.ROIName = roi.name
    item.ROIGenerationAlgorithm = maker.how
    item.ROIGenerationDescription = maker.sentence[:64]
    if maker.how != "MANUAL":
        item.ROIDerivationAlgorithmIdentificationSequence = maker.algorithm
    return item


def _contours_item(number: int, roi: Roi, contours: list[Dataset]) -> Dataset:
    item = Dataset()
    item.ROIDisplayColor = roi.rgb
    item.ReferencedROINumber = number
    item.ContourSequence = contours
    return item


def _observation_item(observation: int, number: int, roi: Roi) -> Dataset:
    item = Dataset()
    item.ObservationNumber = observation
    item.ReferencedROINumber = number
    item.RTROIInterpretedType = roi.type
    item.ROIInterpreter = ""
    code = anatomy_code(roi)
    if code is not None:
        item.RTROIIdentificationCodeSequence = [code_item(code)]
    return item


def _contour_items(reference: Reference, mask: Mask) -> list[Dataset]:
    """Contours (C.8.8.6), slices in the series' order."""
    items: list[Dataset] = []
    for index in np.flatnonzero(mask.any(axis=(1, 2))):
        for outline in outlines(mask[index]):
            points = reference.to_patient(int(index), outline)
            item = Dataset()
            item.ContourImageSequence = reference_items([reference.headers[index]])
            item.ContourGeometricType = "CLOSED_PLANAR"
            item.NumberOfContourPoints = len(points)
            item.ContourNumber = len(items) + 1
            item.ContourData = [f"{value:.4f}" for value in points.ravel()]  # 0.1 µm
            items.append(item)
    return items


def _frame_item(reference: Reference) -> Dataset:
    """Referenced Frame of Reference Sequence (C.8.8.5.1), down to every instance."""
    study = Dataset()
    study.ReferencedSOPClassUID = _STUDY_CLASS
    study.ReferencedSOPInstanceUID = reference.first.StudyInstanceUID
    study.RTReferencedSeriesSequence = [_series_item(reference)]
    frame = Dataset()
    frame.FrameOfReferenceUID = reference.first.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _series_item(reference: Reference) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = reference.first.SeriesInstanceUID
    item.ContourImageSequence = _instances(reference)
    return item


def _instances(reference: Reference) -> list[Dataset]:
    """Items that name the series' files, in the order of their slices."""
    first = {header.SOPInstanceUID: header for header in reversed(reference.headers)}
    items = reference_items(list(reversed(first.values())))
    for item in items:
        item.pop("ReferencedFrameNumber", None)  # all of its frames
    return items


def _add_series(structure_set: Dataset, reference: Reference) -> None:
    """Name the series' instances beside those that the set names already."""
    frames = structure_set.setdefault("ReferencedFrameOfReferenceSequence", []).value
    uid = reference.first.FrameOfReferenceUID
    frame = next((item for item in frames if item.get("FrameOfReferenceUID") == uid), None)
    if frame is None:
        frames.append(_frame_item(reference))
        return
    studies = frame.setdefault("RTReferencedStudySequence", []).value
    series = [s for study in studies for s in study.get("RTReferencedSeriesSequence", [])]
    own = reference.first.SeriesInstanceUID
    item = next((s for s in series if s.get("SeriesInstanceUID") == own), None)
    if item is None:
        studies.extend(_frame_item(reference).RTReferencedStudySequence)
        return
    images = item.setdefault("ContourImageSequence", []).value
    named = {image.get("ReferencedSOPInstanceUID") for image in images}
    images.extend(i for i in _instances(reference) if i.ReferencedSOPInstanceUID not in named)


def _check_same_patient(structure_set: Dataset, reference: Reference, name: str) -> None:
    if structure_set.get("PatientID") != reference.first.get("PatientID"):
        raise UserError(f"{name} belongs to another patient than the image series.")
    frames = {
        str(item.get("ReferencedFrameOfReferenceUID"))
        for item in structure_set.StructureSetROISequence
    } | {
        str(item.get("FrameOfReferenceUID"))
        for item in structure_set.get("ReferencedFrameOfReferenceSequence", [])
    }
    if frames and str(reference.first.FrameOfReferenceUID) not in frames:
        raise UserError(
            f"{name} was drawn in another frame of reference than the image series: its contours "
            "and the new ones would not fit each other. Write a new structure set."
        )
