"""The receipt says no to what is not what was meant, and then nothing is written."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.config import disable_value_validation

from cmfnet_napari.core.dicom.export import checker, formats
from cmfnet_napari.core.dicom.export.checked_export import classes_in, export
from cmfnet_napari.core.dicom.export.provenance import Maker
from cmfnet_napari.core.dicom.export.receipt import Line, Place, structure_set_receipt
from cmfnet_napari.core.dicom.export.reference import read_reference
from cmfnet_napari.core.dicom.export.roi import Roi, check_rois, make_rois
from cmfnet_napari.core.dicom.export.rtstruct import new_structure_set, write_structure_set
from cmfnet_napari.core.errors import UserError
from tests.dicom.conftest import write_ct

ROIS = make_rois([1], ["GTV"])


@pytest.fixture
def judged(reference, labels, label_map, tmp_path):
    """Receipt of a structure set that was changed before it was written."""

    def judge(change):
        made = new_structure_set(reference, labels, ROIS, Maker())
        change(made.ROIContourSequence[0].ContourSequence)
        write_structure_set(made, tmp_path / "changed.dcm")
        slices = [
            Place(header.SOPInstanceUID, 0, tuple(header.ImagePositionPatient))
            for header in reference.headers
        ]
        placed = reference.place(label_map, "labels")
        return structure_set_receipt(tmp_path / "changed.dcm", placed, ROIS, slices)

    return judge


def moved(contours, x=0.0, y=0.0, z=0.0):
    for contour in contours:
        points = np.add(np.reshape(contour.ContourData, (-1, 3)).astype(float), (x, y, z))
        contour.ContourData = [f"{v:.4f}" for v in points.ravel()]


def test_untouched_is_right(judged, labels) -> None:
    receipt = judged(lambda contours: None)
    (line,) = receipt.lines
    assert receipt.ok
    assert line.dice == 1.0
    assert line.shift_mm == 0.0
    assert line.volume_ml == pytest.approx((labels == 1).sum() * 3.0 * 0.9 * 1.2 / 1000)
    assert line.written_ml == pytest.approx(line.volume_ml, rel=1e-4)


@pytest.mark.parametrize("kind", ["rtstruct", "seg", "nifti"])
def test_a_structure_without_a_voxel_is_named(reference, label_map, tmp_path, kind) -> None:
    out = tmp_path / f"out{formats.FORMATS[kind].ending}"
    rois = make_rois([1, 3, 4], ["GTV", "Empty", "Void"])
    with pytest.raises(UserError, match=r"Without a voxel: Empty, Void. Leave it out"):
        export(label_map, reference, rois, kind, out)
    assert not out.exists()


def test_a_lost_contour(judged) -> None:
    receipt = judged(lambda contours: contours.pop())
    assert not receipt.ok
    assert receipt.lines[0].written_ml < receipt.lines[0].volume_ml
    assert "GTV: Dice 0.9" in receipt.why_not()


def test_a_filled_hole(judged) -> None:
    def fill(contours):
        contour = contours[2]  # with a hole
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        hull = np.array([points[0], *points[-8:]])
        contour.ContourData = [f"{v:.4f}" for v in hull.ravel()]
        contour.NumberOfContourPoints = len(hull)

    assert not judged(fill).ok


def test_between_the_slices_or_too_short_or_of_another_slice(judged) -> None:
    assert "does not lie in a slice" in judged(lambda c: moved(c, z=1.4)).why_not()

    def shorten(contours):
        contours[0].ContourData = contours[0].ContourData[:6]
        contours[0].NumberOfContourPoints = 2

    assert "fewer than 3 points" in judged(shorten).why_not()

    def exchange(contours):
        contours[0].ContourImageSequence, contours[-1].ContourImageSequence = (
            contours[-1].ContourImageSequence,
            contours[0].ContourImageSequence,
        )

    assert "names another slice" in judged(exchange).why_not()


def test_limits() -> None:
    assert Line("a", 0.995, 5.0, 5.02, 0.09).ok
    assert not Line("a", 0.985, 5.0, 5.0, 0.0).ok
    assert Line("a", 0.985, 0.9, 0.9, 0.0).ok  # below a millilitre
    assert not Line("a", 1.0, 5.0, 5.06, 0.0).ok
    assert not Line("a", 1.0, 5.0, 5.0, 0.11).ok
    assert not Line("a", 0.0, 5.0, 0.0, np.inf).ok


def test_a_bad_receipt_writes_nothing(label_map, reference, tmp_path, monkeypatch) -> None:
    def forget(structure_set, path):
        structure_set.ROIContourSequence[0].ContourSequence.pop()
        write_structure_set(structure_set, path)

    monkeypatch.setattr(formats, "write_structure_set", forget)
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(UserError, match=r"s.dcm was not written, .*GTV: Dice"):
        export(label_map, reference, ROIS, "rtstruct", target / "s.dcm")
    assert list(target.iterdir()) == []


def test_broken_rules_count_and_a_missing_checker_is_said(
    label_map, reference, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(checker, "find_program", lambda name: None)
    receipt = export(label_map, reference, ROIS, "rtstruct", tmp_path / "a.dcm")
    assert receipt.ok
    assert receipt.dicom == "not checked: dciodvfy is not installed"
    monkeypatch.setattr(checker, "find_program", lambda name: name)
    broken = {"draft.dcm": ["Missing attribute X", "Old"], "a.dcm": ["Old"]}
    monkeypatch.setattr(checker, "_errors", lambda program, path: broken.get(path.name, []))
    rois = make_rois([1], ["New"])
    with pytest.raises(UserError, match=r"\(Missing attribute X\)"):
        export(
            label_map, reference, rois, "rtstruct", tmp_path / "b.dcm", add_to=tmp_path / "a.dcm"
        )


@pytest.mark.skipif(checker.find_program("dciodvfy") is None, reason="no dciodvfy")
def test_what_the_series_breaks_already_does_not_count(label_map, tmp_path) -> None:
    with disable_value_validation():
        folder = write_ct(tmp_path / "faulty", PatientBirthDate="12 May")
        receipt = export(label_map, read_reference(folder), ROIS, "rtstruct", tmp_path / "s.dcm")
    assert receipt.ok
    errors = checker._errors("dciodvfy", tmp_path / "s.dcm")
    assert any("Birth Date" in error for error in errors)
    assert not any("12 May" in error for error in errors)  # values may name the patient


def test_a_checker_that_does_not_end(tmp_path, monkeypatch) -> None:
    def never(command, timeout, **options) -> None:
        raise checker.subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(checker.subprocess, "run", never)
    assert checker._errors("dciodvfy", tmp_path) == ["dciodvfy did not end within 120 s"]


def test_nothing_is_overwritten_unasked_and_sources_never(label_map, reference, tmp_path) -> None:
    out = tmp_path / "s.dcm"
    export(label_map, reference, ROIS, "rtstruct", out)
    first = pydicom.dcmread(out).SOPInstanceUID
    with pytest.raises(UserError, match="is there already"):
        export(label_map, reference, ROIS, "rtstruct", out)
    export(label_map, reference, ROIS, "rtstruct", out, overwrite=True)
    assert pydicom.dcmread(out).SOPInstanceUID != first
    new = make_rois([1], ["New"])
    for source, extra in ((out, {"add_to": out}), (reference.files[3], {})):
        with pytest.raises(UserError, match="never overwritten"):
            export(label_map, reference, new, "rtstruct", source, overwrite=True, **extra)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [("s.nii.gz", "rtstruct", "must end in .dcm"), ("s.dcm", "stl", "is no format")],
)
def test_wrong_names(label_map, reference, tmp_path, name, kind, words) -> None:
    with pytest.raises(UserError, match=words):
        export(label_map, reference, ROIS, kind, tmp_path / name)


def test_structures_are_named() -> None:
    assert [roi.name for roi in make_rois([1])] == ["GTV"]
    assert [roi.name for roi in make_rois([1, 3])] == ["GTV1", "GTV3"]
    by_name = make_rois([1, 2, 3], ["Bladder", "CTV_High", "Lump"])
    assert [roi.type for roi in by_name] == ["ORGAN", "CTV", "GTV"]
    assert make_rois([1, 2], ["A", "B"], ["organ"])[1] == Roi(2, "B", "ORGAN", "#0072b2")
    for names, types, words in (
        (["A"], [], "2 classes, but 1 names"),
        (["A", "a"], [], "Two structures are called"),
        (["A", " "], [], "cannot be a structure's name"),
        (["A", "B"], ["BONE"], "BONE is no type"),
    ):
        with pytest.raises(UserError, match=words):
            make_rois([1, 2], names, types)
    with pytest.raises(UserError, match="nothing to export"):
        check_rois([])


def test_values_that_are_no_classes() -> None:
    with pytest.raises(UserError, match=r"has the value 0\.5"):
        classes_in(sitk.GetImageFromArray(np.array([[[0.0, 0.5]]])))
    assert classes_in(sitk.GetImageFromArray(np.array([[[0, 3, 1, 3]]], np.uint8))) == [1, 3]
