"""Structure sets, read by dcmrtstruct2nii and by pydicom."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.dicom.export.checked_export import export
from cmfnet_napari.core.dicom.export.provenance import Maker
from cmfnet_napari.core.dicom.export.reference import read_reference
from cmfnet_napari.core.dicom.export.roi import make_rois
from cmfnet_napari.core.errors import UserError
from tests.dicom.conftest import ROOT, write_ct


@pytest.fixture
def written(label_map, reference, tmp_path):
    """A set with two structures."""
    rois = make_rois([1, 2], ["Tumör", "Dot"], ["GTV", "ORGAN"])
    receipt = export(label_map, reference, rois, "rtstruct", tmp_path / "s.dcm", Maker("leg"))
    assert receipt.ok
    return tmp_path / "s.dcm"


def test_an_independent_reader_finds_every_voxel(written, ct_folder, labels, read_by_others):
    np.testing.assert_array_equal(read_by_others(written, ct_folder, "Dot"), labels == 2)


def test_holes_islands_and_parts(label_map, reference, ct_folder, labels, read_by_others, tmp_path):
    out = tmp_path / "s.dcm"
    export(label_map, reference, make_rois([1], ["GTV"]), "rtstruct", out)
    np.testing.assert_array_equal(read_by_others(out, ct_folder, "GTV"), labels == 1)
    contours = pydicom.dcmread(out).ROIContourSequence[0].ContourSequence
    assert len(contours) == 2 * 5 + 1  # the box with its hole and the part beside; the island
    slices = [
        int(c.ContourImageSequence[0].ReferencedSOPInstanceUID.split(".")[-1]) for c in contours
    ]
    assert slices == [3, 3, 4, 4, 5, 5, 5, 6, 6, 7, 7]
    assert all(len(c.ContourData) == 3 * c.NumberOfContourPoints >= 9 for c in contours)


def test_what_the_set_says(written) -> None:
    s = pydicom.dcmread(written)
    assert (s.Modality, s.ApprovalStatus, s.Manufacturer) == (
        "RTSTRUCT",
        "UNAPPROVED",
        "cmfnet-napari",
    )
    assert s.ManufacturerModelName == "leg"
    assert "CmFNet model leg, cmfnet-napari" in s.StructureSetDescription
    assert (str(s.PatientName), s.PatientID, s.PatientSex) == ("Müller^Eva", "P-1", "F")
    assert (s.StudyInstanceUID, s.StudyID, s.StudyDate) == (f"{ROOT}.1", "7", "20200102")
    assert s.SeriesInstanceUID != f"{ROOT}.1.2"
    (frame,) = s.ReferencedFrameOfReferenceSequence
    assert frame.FrameOfReferenceUID == s.FrameOfReferenceUID == f"{ROOT}.1.3"
    (study,) = frame.RTReferencedStudySequence
    (series,) = study.RTReferencedSeriesSequence
    assert (study.ReferencedSOPInstanceUID, series.SeriesInstanceUID) == (
        f"{ROOT}.1",
        f"{ROOT}.1.2",
    )
    named = [i.ReferencedSOPInstanceUID for i in series.ContourImageSequence]
    assert named == [f"{ROOT}.1.2.{k}" for k in range(1, 10)]
    rois = [(r.ROINumber, r.ROIName, r.ROIGenerationAlgorithm) for r in s.StructureSetROISequence]
    assert rois == [(1, "Tumör", "SEMIAUTOMATIC"), (2, "Dot", "SEMIAUTOMATIC")]
    for roi in s.StructureSetROISequence:
        (algorithm,) = roi.ROIDerivationAlgorithmIdentificationSequence
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("leg", s.SoftwareVersions)
        assert algorithm.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Artificial Intelligence"
    assert [c.ROIDisplayColor for c in s.ROIContourSequence] == [[230, 159, 0], [0, 114, 178]]
    kinds = [(o.ReferencedROINumber, o.RTROIInterpretedType) for o in s.RTROIObservationsSequence]
    assert kinds == [(1, "GTV"), (2, "ORGAN")]
    assert not any("RTROIIdentificationCodeSequence" in o for o in s.RTROIObservationsSequence)


def test_an_organ_by_tg_263_has_its_code(label_map, reference, tmp_path) -> None:
    """From the Foundational Model of Anatomy; `ok` includes the check of DICOM's rules."""
    names = {
        ("Kidney_L", "ORGAN"): ("7205", "FMA", "Kidney Left"),
        ("L_Kidney", "ORGAN"): ("7205", "FMA", "Kidney Left"),
        ("Body", "EXTERNAL"): ("256135", "FMA", "Only the body"),
        ("Kidney_L", "GTV"): None,
        ("Kidney~_L", "ORGAN"): None,
        ("Kidney_PRV05_L", "ORGAN"): None,
        ("V_Jugular_Int_L", "ORGAN"): None,  # the table has that of the right one
        ("kidney_l", "ORGAN"): None,
    }
    for number, ((name, kind), code) in enumerate(names.items()):
        out = tmp_path / f"{number}.dcm"
        rois = make_rois([1], [name], [kind])
        assert export(label_map, reference, rois, "rtstruct", out).ok
        (observation,) = pydicom.dcmread(out).RTROIObservationsSequence
        items = observation.get("RTROIIdentificationCodeSequence", [])
        found = [(i.CodeValue, i.CodingSchemeDesignator, i.CodeMeaning) for i in items]
        assert found == ([code] if code else []), name


def test_contours_lie_in_the_planes_of_the_slices_they_name(written, reference) -> None:
    by_uid = {header.SOPInstanceUID: header for header in reference.headers}
    for structure in pydicom.dcmread(written).ROIContourSequence:
        for contour in structure.ContourSequence:
            header = by_uid[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            cosines = np.array(header.ImageOrientationPatient, float)
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            off = (points - header.ImagePositionPatient) @ np.cross(cosines[:3], cosines[3:])
            assert np.abs(off).max() < 1e-3  # mm


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="no dciodvfy: apt install dicom3tools")
def test_dciodvfy_finds_no_errors(written) -> None:
    done = subprocess.run(["dciodvfy", str(written)], capture_output=True, encoding="utf-8")
    assert "RTStructureSet" in done.stderr
    assert "Error" not in done.stderr


@pytest.mark.parametrize("how", ["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"])
def test_how_it_was_made_is_said(label_map, reference, tmp_path, how):
    maker, out = Maker("leg", how, by_hand=True), tmp_path / "s.dcm"
    assert export(label_map, reference, make_rois([1]), "rtstruct", out, maker).ok
    (roi,) = pydicom.dcmread(out).StructureSetROISequence
    assert roi.ROIGenerationAlgorithm == how
    assert "corrected by hand" in roi.ROIGenerationDescription
    assert ("ROIDerivationAlgorithmIdentificationSequence" in roi) == (how != "MANUAL")
    assert export(label_map, reference, make_rois([1]), "seg", tmp_path / "g.dcm", maker).ok
    (segment,) = pydicom.dcmread(tmp_path / "g.dcm").SegmentSequence
    assert segment.SegmentAlgorithmType == how


def test_adding_leaves_the_others_and_the_file_alone(written, label_map, reference, tmp_path):
    source = pydicom.dcmread(written)
    source.SpecificCharacterSet = "ISO_IR 100"
    source.add_new(0x00091010, "LO", "private")
    source.ApprovalStatus, source.ReviewerName = "APPROVED", "Chief^A"
    source.ReviewDate, source.ReviewTime = "20200103", "10"
    source.save_as(written)
    before = written.read_bytes()
    out = tmp_path / "more.dcm"
    rois = make_rois([1], ["Größe 2 腫瘍"], ["CTV"])
    assert export(label_map, reference, rois, "rtstruct", out, add_to=written).ok
    assert written.read_bytes() == before
    old, new = pydicom.dcmread(written), pydicom.dcmread(out)
    for keyword in ("StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence"):
        assert list(new[keyword])[:2] == list(old[keyword])
        assert len(new[keyword].value) == 3
    assert new.StructureSetROISequence[2].ROIName == "Größe 2 腫瘍"
    assert new.StructureSetROISequence[2].ROINumber == 3
    assert new.RTROIObservationsSequence[2].ReferencedROINumber == 3
    assert (new.PatientName, new[0x00091010]) == ("Müller^Eva", old[0x00091010])
    assert new.SOPInstanceUID != old.SOPInstanceUID
    assert new.PredecessorStructureSetSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID
    assert new.ApprovalStatus == "UNAPPROVED"
    assert "ReviewerName" not in new
    images = new.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    assert len(images.RTReferencedSeriesSequence[0].ContourImageSequence) == 9


def test_a_set_with_gaps_can_be_added_to(written, label_map, reference, tmp_path):
    source = pydicom.dcmread(written)
    del source.StructureSetROISequence[1].ROIName
    del source.RTROIObservationsSequence
    del source.ReferencedFrameOfReferenceSequence
    source.save_as(written)
    out = tmp_path / "more.dcm"
    assert export(label_map, reference, make_rois([1]), "rtstruct", out, add_to=written).ok
    made = pydicom.dcmread(out)
    assert [r.ROINumber for r in made.StructureSetROISequence] == [1, 2, 3]
    assert made.RTROIObservationsSequence[0].ReferencedROINumber == 3
    frame = made.ReferencedFrameOfReferenceSequence[0]
    assert frame.FrameOfReferenceUID == f"{ROOT}.1.3"


def test_a_name_that_is_taken_is_refused(written, label_map, reference, tmp_path):
    rois = make_rois([1], ["dot"])
    with pytest.raises(UserError, match="already has a structure dot"):
        export(label_map, reference, rois, "rtstruct", tmp_path / "x.dcm", add_to=written)
    assert not (tmp_path / "x.dcm").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"PatientID": "P-9"}, "another patient"),
        ({"FrameOfReferenceUID": "1.2.3"}, "another frame of reference"),
    ],
)
def test_a_set_that_does_not_belong_is_refused(written, label_map, tmp_path, changes, words):
    other = read_reference(write_ct(tmp_path / "other", **changes))
    with pytest.raises(UserError, match=words):
        export(label_map, other, make_rois([1]), "rtstruct", tmp_path / "x.dcm", add_to=written)


def test_something_else_is_no_structure_set(label_map, reference, tmp_path):
    image = reference.files[0]
    with pytest.raises(UserError, match=r"no structure set .RTSTRUCT. but CT"):
        export(label_map, reference, make_rois([1]), "rtstruct", tmp_path / "x.dcm", add_to=image)
    (tmp_path / "text.dcm").write_text("hello")
    with pytest.raises(UserError, match="cannot be read as DICOM"):
        export(
            label_map, reference, make_rois([1]), "rtstruct", tmp_path / "x.dcm",
            add_to=tmp_path / "text.dcm",
        )  # fmt: skip


def test_a_real_tumour_on_ct_and_its_set_of_made_up_references(test_data, read_by_others, tmp_path):
    folder = test_data / "sts" / "dicom_STS_025" / "CT"
    reference = read_reference(folder / "image")
    drawn = sitk.ReadImage(str(test_data / "sts" / "cases" / "STS_025" / "gtv.nii.gz"))
    ct = reference.grid.to_image(np.zeros(reference.grid.shape, np.uint8))
    gtv = sitk.Resample(drawn, ct, sitk.Transform(), sitk.sitkNearestNeighbor)
    meant = sitk.GetArrayFromImage(gtv) > 0
    source = next((folder / "mask").iterdir())
    out = tmp_path / "s.dcm"
    receipt = export(gtv, reference, make_rois([1], ["AI"]), "rtstruct", out, add_to=source)
    (line,) = receipt.lines
    assert line.dice == 1.0
    assert abs(line.volume_change) < 1e-4
    np.testing.assert_array_equal(read_by_others(out, folder / "image", "AI"), meant)
    new = pydicom.dcmread(out)
    assert [item.ROIName for item in new.StructureSetROISequence] == ["GTV_Mass_CT", "AI"]
    assert new.ROIContourSequence[0] == pydicom.dcmread(source).ROIContourSequence[0]


def test_a_real_oblique_mr(test_data, read_by_others, tmp_path):
    folder = test_data / "mr_raw_STS_001" / "MR_T1" / "image"
    reference = read_reference(folder)
    z, y, x = np.indices((12, 90, 70))
    shell = ((z - 6) / 5.5) ** 2 + ((y - 45) / 40) ** 2 + ((x - 35) / 30) ** 2
    labels = np.zeros(reference.grid.shape, np.uint8)
    labels[14:26, 200:290, 150:220] = (shell < 1) & (shell > 0.1)
    out = tmp_path / "s.dcm"
    image = reference.grid.to_image(labels)
    assert export(image, reference, make_rois([1], ["GTV"]), "rtstruct", out).lines[0].dice == 1.0
    np.testing.assert_array_equal(read_by_others(out, folder, "GTV"), labels > 0)
