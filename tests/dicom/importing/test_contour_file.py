"""A contour to compare with, from whatever file it lies in."""

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.dicom.export.checked_export import export
from cmfnet_napari.core.dicom.export.reference import read_reference
from cmfnet_napari.core.dicom.export.roi import make_rois
from cmfnet_napari.core.dicom.importing.contour_file import SeveralStructuresError, read_contour
from cmfnet_napari.core.dicom.importing.patient import Choice, load
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.series.scan import scan
from cmfnet_napari.core.images.study import study_from_images
from tests.dicom_files import (
    CENTRE,
    CT_GRID,
    circles,
    write_patient,
    write_slices,
    write_structures,
)


@pytest.fixture
def study(reference):
    values = np.arange(np.prod(reference.grid.shape), dtype=np.int16)
    return study_from_images(reference.grid.to_image(values.reshape(reference.grid.shape)))


@pytest.fixture
def ours(label_map, tmp_path, study):
    """The same labels in a file that has always been read."""
    path = tmp_path / "labels.nii.gz"
    sitk.WriteImage(label_map, str(path))
    labels, notes = read_contour(path, study, [])
    assert notes == []  # it lies on the image's grid, voxel by voxel
    return labels


@pytest.mark.parametrize("kind", ["rtstruct", "seg"])
def test_structures_become_the_classes_of_their_names(
    kind, label_map, reference, study, ours, tmp_path
):
    out = tmp_path / "s.dcm"
    assert export(label_map, reference, make_rois([1, 2], ["Tumör", "Dot"]), kind, out).ok
    same, notes = read_contour(out, study, ["tumör", "DOT"])
    turned, _ = read_contour(out, study, ["Dot", "Bone", "Tumör"])
    np.testing.assert_array_equal(same, ours)
    assert notes == ["Placed by position alone: check that it belongs to this patient."]
    np.testing.assert_array_equal(turned, np.array([0, 3, 1], np.uint8)[ours])
    np.testing.assert_array_equal(read_contour(out, study, ["X"], "Dot")[0], ours == 2)
    with pytest.raises(SeveralStructuresError, match=r"holds 2 structures \(Tumör, Dot\)") as told:
        read_contour(out, study, ["Bone"])
    assert told.value.names == ["Tumör", "Dot"]
    with pytest.raises(UserError, match="holds no structure Bone"):
        read_contour(out, study, ["X"], "Bone")


def test_an_only_structure_needs_no_name(label_map, reference, study, ours, tmp_path):
    out = tmp_path / "s.dcm"
    assert export(label_map, reference, make_rois([2], ["Dot"]), "rtstruct", out).ok
    np.testing.assert_array_equal(read_contour(out, study, ["Tumour"])[0], ours == 2)


def test_no_contour_at_all_is_said(study, tmp_path):
    for name, data in (("notes.txt", b"notes"), ("s.dcm", bytes(128) + b"DICM" + bytes(9))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError):
            read_contour(tmp_path / name, study, [])


@pytest.fixture
def opened(tmp_path):
    """A patient from DICOM in one frame of reference: its study, and the series that it is."""
    write_patient(tmp_path / "patient", mr_shift=SHIFT)
    found = scan([tmp_path / "patient"])
    images = Choice(*sorted(found.images, key=lambda image: image.origin.modality))
    return load(images, found).study, images


SHIFT = (7.0, -4.0, 9.0)  # mm; the MR lies there until it is registered
REGISTERED = np.eye(4)
REGISTERED[:3, 3] = SHIFT


@pytest.mark.parametrize(
    ("on", "centre"), [("T1", CENTRE), ("planning CT", CENTRE + SHIFT), ("", CENTRE + SHIFT)]
)
def test_what_was_drawn_on_the_second_image_goes_where_that_lies_now(tmp_path, opened, on, centre):
    study, images = opened
    rois = [{"name": "GTV", "contours": circles(CT_GRID, CENTRE + SHIFT)}]
    path = write_structures(tmp_path / "rs.dcm", rois, on=on)
    labels, _ = read_contour(path, study, ["GTV"], "", images, REGISTERED)
    np.testing.assert_allclose(study.grid.to_patient(np.argwhere(labels).mean(0)), centre, atol=0.5)


@pytest.mark.parametrize("kind", ["rtstruct", "seg"])
@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ({"frame": "elsewhere"}, "another frame of reference than the images"),
        ({"patient": "P2"}, "is of another patient than the CT"),
    ],
)
def test_what_is_not_of_the_open_patients_images_is_refused(tmp_path, opened, kind, origin, words):
    """A segmentation of another frame of reference was taken, 14 mm aside."""
    study, images = opened
    write_slices(tmp_path / "other", np.zeros(CT_GRID.shape, np.int16), CT_GRID, **origin)
    labels = np.zeros(CT_GRID.shape, np.uint8)
    labels[4:9, 10:20, 10:20] = 1
    reference = read_reference(tmp_path / "other")
    label_map = reference.grid.to_image(labels)
    assert export(label_map, reference, make_rois([1], ["GTV"]), kind, tmp_path / "s.dcm").ok
    with pytest.raises(UserError, match=words):
        read_contour(tmp_path / "s.dcm", study, ["GTV"], "", images, np.eye(4))


def test_what_cannot_be_placed_is_an_error_and_what_is_in_doubt_a_note(tmp_path, opened):
    study, images = opened
    every = circles(CT_GRID, CENTRE)
    rois = [{"name": "GTV", "contours": every[::2]}, {"name": "Empty", "contours": []}]
    path = write_structures(tmp_path / "rs.dcm", rois)
    labels, notes = read_contour(path, study, ["GTV"], "", images, np.eye(4))
    assert labels.any()
    assert notes == ["GTV is drawn on every second slice; those between were filled in."]
    with pytest.raises(UserError, match="Empty is empty: it has no closed contour"):
        read_contour(path, study, ["GTV", "Empty"], "", images, np.eye(4))
