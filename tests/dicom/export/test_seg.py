"""DICOM SEG, read by highdicom; NIfTI, read by nibabel."""

from __future__ import annotations

import shutil
import subprocess

import highdicom as hd
import nibabel
import numpy as np
import pytest

from cmfnet_napari.core.dicom.export.checked_export import export
from cmfnet_napari.core.dicom.export.provenance import Maker
from cmfnet_napari.core.dicom.export.roi import ROI_TYPES, make_rois
from cmfnet_napari.core.dicom.export.seg import PROPERTIES


@pytest.fixture
def written(label_map, reference, tmp_path):
    rois = make_rois([1, 2], ["GTV 腫瘍", "Knochen"], ["GTV", "ORGAN"])
    assert export(label_map, reference, rois, "seg", tmp_path / "s.dcm", Maker("leg")).ok
    return tmp_path / "s.dcm"


def test_highdicom_finds_every_voxel(written, reference, labels) -> None:
    seg = hd.seg.segread(written)
    uids = [header.SOPInstanceUID for header in reference.headers]
    pixels = seg.get_pixels_by_source_instance(uids, ignore_spatial_locations=True)
    for number in (1, 2):
        np.testing.assert_array_equal(pixels[..., number - 1] > 0, labels == number)
    volume = seg.get_volume(combine_segments=True)
    low = volume.affine @ [0, 0, 0, 1]
    index = reference.grid.to_index(low[:3])
    np.testing.assert_allclose(index, np.round(index), atol=1e-3)


def test_what_it_says(written) -> None:
    seg = hd.seg.segread(written)
    one, two = (seg.get_segment_description(n) for n in (1, 2))
    assert (one.segment_label, two.segment_label) == ("GTV 腫瘍", "Knochen")
    assert one.segmented_property_type.value == "228791009"
    assert two.segmented_property_type.meaning == "Organ"
    algorithm = one.algorithm_identification
    assert (algorithm.name, one.algorithm_type.value) == ("leg", "SEMIAUTOMATIC")
    assert algorithm.version == seg.SoftwareVersions != ""
    assert (str(seg.PatientName), seg.Manufacturer) == ("Müller^Eva", "cmfnet-napari")


def test_an_organ_by_tg_263_is_told_by_its_code(label_map, reference, tmp_path) -> None:
    out = tmp_path / "s.dcm"
    rois = make_rois([1, 2], ["GTVp", "Femur_Head_L"], ["GTV", "ORGAN"])
    assert export(label_map, reference, rois, "seg", out).ok
    target, organ = (hd.seg.segread(out).get_segment_description(n) for n in (1, 2))
    assert target.segmented_property_type.value == "228791009"
    kind = organ.segmented_property_type
    assert (kind.value, kind.scheme_designator) == ("32843", "FMA")
    assert organ.segmented_property_category.meaning == "Anatomical Structure"


@pytest.mark.parametrize("code", [1, 2])  # several frames; a single one
def test_one_structure(label_map, reference, labels, tmp_path, code) -> None:
    out = tmp_path / "one.dcm"
    assert export(label_map, reference, make_rois([code]), "seg", out).lines[0].dice == 1.0
    assert hd.seg.segread(out).pixel_array.sum() == (labels == code).sum()


def test_every_type_has_codes() -> None:
    assert set(PROPERTIES) == set(ROI_TYPES)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="no dciodvfy: apt install dicom3tools")
def test_dciodvfy_finds_no_errors(written) -> None:
    done = subprocess.run(["dciodvfy", str(written)], capture_output=True, encoding="utf-8")
    assert "Segmentation" in done.stderr
    assert "Error" not in done.stderr


def test_nifti_lies_on_the_series(label_map, reference, labels, tmp_path) -> None:
    out = tmp_path / "s.nii.gz"
    receipt = export(label_map, reference, make_rois([1], ["GTV"]), "nifti", out)
    assert receipt.ok
    image = nibabel.load(out)
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, labels == 1)  # class 2 is left out
    last = image.affine @ [11, 15, 8, 1] * [-1, -1, 1, 1]  # RAS to LPS
    np.testing.assert_allclose(
        last[:3], reference.grid.to_patient(np.array([8, 15, 11])), atol=1e-3
    )
