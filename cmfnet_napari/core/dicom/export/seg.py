"""Segmentations to write: DICOM SEG (PS3.3 A.51) through highdicom."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from cmfnet_napari.core.arrays import Wholes
from cmfnet_napari.core.dicom.export.anatomy_code import anatomy_code
from cmfnet_napari.core.dicom.export.provenance import (
    SOFTWARE,
    Maker,
    copy_patient,
    new_uid,
    without_patient,
)
from cmfnet_napari.core.dicom.export.reference import Reference
from cmfnet_napari.core.dicom.export.roi import Roi
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.series.frames import frame_number

_SERIES_NUMBER = 9002
_THICKEST_MM = 1000.0
_ABNORMAL = codes.SCT.MorphologicallyAbnormalStructure
_PLACE = codes.SCT.SpatialAndRelationalConcept
_ANATOMY = codes.SCT.AnatomicalStructure
# Segmented Property Category (CID 7150) and Type for each type of structure.
PROPERTIES: dict[str, tuple[Code, Code]] = {
    "GTV": (_ABNORMAL, Code("228791009", "SCT", "Gross tumor volume")),
    "CTV": (_PLACE, Code("228792002", "SCT", "Clinical target volume")),
    "PTV": (_PLACE, Code("228793007", "SCT", "Planning target volume")),
    "ORGAN": (_ANATOMY, codes.SCT.Organ),
    "AVOIDANCE": (_PLACE, codes.DCM.AvoidanceVolume),
    "EXTERNAL": (_ANATOMY, Code("38266002", "SCT", "Entire body")),
}


def new_segmentation(
    reference: Reference, labels: Wholes, rois: Sequence[Roi], maker: Maker
) -> Dataset:
    """Make a binary segmentation, one segment a structure.

    Parameters
    ----------
    reference : Reference
        The series that it belongs to; every frame refers to its slice.
    labels : integer array (slices, rows, columns)
        Segmentation codes in the series' order.
    rois : sequence of Roi
        The structures; they become segments 1, 2, … in order.
    maker : Maker
        What made them.

    Returns
    -------
    Dataset
        Complete, ready for `write_segmentation`.
    """
    numbers = np.zeros(labels.shape, dtype=np.uint8)
    for number, roi in enumerate(rois, start=1):
        numbers[labels == roi.code] = number
    files = {header.SOPInstanceUID: header for header in reference.headers}
    sources = [_source(header, reference.grid.spacing[0]) for header in files.values()]
    if frame_number(reference.first):  # one file: highdicom wants the order of its frames
        by_frame = np.argsort([frame_number(header) for header in reference.headers])
        numbers = numbers[by_frame]
    with disable_value_validation(), warnings.catch_warnings(), _said():
        warnings.simplefilter("ignore")  # about the series' own values, the patient's name in them
        segmentation = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=numbers,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_segment(n, roi, maker) for n, roi in enumerate(rois, start=1)],
            series_instance_uid=new_uid(),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=new_uid(),
            instance_number=1,
            manufacturer=SOFTWARE,
            manufacturer_model_name=maker.model[:64],
            software_versions=maker.version[:64],
            device_serial_number="0",
            content_label="CMFNET",
            content_description=maker.sentence[:64],
            series_description="CmFNet contours, not approved",
            transfer_syntax_uid=ExplicitVRLittleEndian,
            omit_empty_frames=True,
        )
        copy_patient(reference.first, segmentation)
    return segmentation


@contextmanager
def _said() -> Iterator[None]:
    """What highdicom stumbles over, in one sentence."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            "The series' headers break rules that a segmentation (SEG) needs. Export a structure "
            "set (rtstruct) instead."
        ) from error


def _source(header: Dataset, distance: float) -> Dataset:
    """A slice as highdicom needs it: without patient, and with a thickness that is a number."""
    plain = without_patient(header)
    plain.pop("SpacingBetweenSlices", None)
    try:
        thickness = float(header.SliceThickness)
    except (AttributeError, TypeError, ValueError, OverflowError):
        thickness = distance
    plain.pop("SliceThickness", None)
    plain.SliceThickness = thickness if 0 < thickness < _THICKEST_MM else distance
    return plain


def write_segmentation(segmentation: Dataset, path: Path) -> None:
    """Write a segmentation as a DICOM file."""
    segmentation.save_as(path)


def _segment(number: int, roi: Roi, maker: Maker) -> hd.seg.SegmentDescription:
    category, kind = PROPERTIES[roi.type]
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=roi.name,
        segmented_property_category=category,
        segmented_property_type=anatomy_code(roi) or kind,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues(maker.how),
        algorithm_identification=None if maker.how == "MANUAL" else maker.algorithm,
        display_color=CIELabColor.from_rgb(*roi.rgb),
    )
