"""A CT with all its slices in one file, frames from the top down."""

from __future__ import annotations

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom.legacy import LegacyConvertedEnhancedCTImage

from cmfnet_napari.core.dicom.export.checked_export import export
from cmfnet_napari.core.dicom.export.reference import read_reference
from cmfnet_napari.core.dicom.export.roi import make_rois
from tests.dicom.conftest import ROOT, SHAPE, slice_header

UID = f"{ROOT}.9.4"


@pytest.fixture
def folder(tmp_path):
    slices = [slice_header(k) for k in reversed(range(SHAPE[0]))]
    for header in slices:
        header.PatientName = "Test^Patient"
    image = LegacyConvertedEnhancedCTImage(slices, f"{ROOT}.9.3", 3, UID, 1)
    (tmp_path / "enhanced").mkdir()
    pydicom.dcmwrite(tmp_path / "enhanced" / "ct.dcm", image)
    return tmp_path / "enhanced"


@pytest.fixture
def enhanced(folder, reference):
    read = read_reference(folder)
    assert read.grid.same_place(reference.grid)  # that of the same slices in files of their own
    assert read.first.ReferencedFrameNumber == SHAPE[0]
    return read


def test_structure_set_names_frames(enhanced, label_map, labels, tmp_path) -> None:
    out = tmp_path / "s.dcm"
    receipt = export(label_map, enhanced, make_rois([1]), "rtstruct", out)
    assert receipt.lines[0].dice == 1.0
    made = pydicom.dcmread(out)
    frame_groups = pydicom.dcmread(enhanced.files[0]).PerFrameFunctionalGroupsSequence
    for contour in made.ROIContourSequence[0].ContourSequence:
        (named,) = contour.ContourImageSequence
        assert named.ReferencedSOPInstanceUID == UID
        group = frame_groups[named.ReferencedFrameNumber - 1]
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        normal = enhanced.grid.matrix[:, 2]
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        assert np.abs((points - position) @ normal).max() < 1e-3
    study = made.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    (image,) = study.RTReferencedSeriesSequence[0].ContourImageSequence
    assert image.ReferencedSOPInstanceUID == UID


def test_seg_lies_in_the_frames(enhanced, label_map, labels, tmp_path) -> None:
    out = tmp_path / "s.dcm"
    assert export(label_map, enhanced, make_rois([1]), "seg", out).lines[0].dice == 1.0
    seg = hd.seg.segread(out)
    frames = [header.ReferencedFrameNumber for header in enhanced.headers]
    pixels = seg.get_pixels_by_source_frame(
        UID, frames, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(pixels[..., 0] > 0, labels == 1)
