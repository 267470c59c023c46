"""A contour to compare with, from whatever file it lies in."""

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.dicom.export.checked_export import export
from cmfnet_napari.core.dicom.export.roi import make_rois
from cmfnet_napari.core.dicom.importing.contour_file import SeveralStructuresError, read_contour
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.study import study_from_images


@pytest.fixture
def grid(reference):
    values = np.arange(np.prod(reference.grid.shape), dtype=np.int16)
    return study_from_images(reference.grid.to_image(values.reshape(reference.grid.shape))).grid


@pytest.fixture
def ours(label_map, tmp_path, grid):
    """The same labels in a file that has always been read."""
    path = tmp_path / "labels.nii.gz"
    sitk.WriteImage(label_map, str(path))
    return read_contour(path, grid, [])


@pytest.mark.parametrize("kind", ["rtstruct", "seg"])
def test_structures_become_the_classes_of_their_names(
    kind, label_map, reference, grid, ours, tmp_path
):
    out = tmp_path / "s.dcm"
    assert export(label_map, reference, make_rois([1, 2], ["Tumör", "Dot"]), kind, out).ok
    same = read_contour(out, grid, ["tumör", "DOT"])
    turned = read_contour(out, grid, ["Dot", "Bone", "Tumör"])
    np.testing.assert_array_equal(same, ours)
    np.testing.assert_array_equal(turned, np.array([0, 3, 1], np.uint8)[ours])
    np.testing.assert_array_equal(read_contour(out, grid, ["X"], "Dot"), ours == 2)
    with pytest.raises(SeveralStructuresError, match=r"holds 2 structures \(Tumör, Dot\)") as told:
        read_contour(out, grid, ["Bone"])
    assert told.value.names == ["Tumör", "Dot"]
    with pytest.raises(UserError, match="holds no structure Bone"):
        read_contour(out, grid, ["X"], "Bone")


def test_an_only_structure_needs_no_name(label_map, reference, grid, ours, tmp_path):
    out = tmp_path / "s.dcm"
    assert export(label_map, reference, make_rois([2], ["Dot"]), "rtstruct", out).ok
    np.testing.assert_array_equal(read_contour(out, grid, ["Tumour"]), ours == 2)
    frame = str(reference.first.FrameOfReferenceUID)
    np.testing.assert_array_equal(read_contour(out, grid, [], frame_uid=frame), ours == 2)
    with pytest.raises(UserError, match="another frame of reference"):
        read_contour(out, grid, [], frame_uid="1.2.3")


def test_no_contour_at_all_is_said(grid, tmp_path):
    for name, data in (("notes.txt", b"notes"), ("s.dcm", bytes(128) + b"DICM" + bytes(9))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError):
            read_contour(tmp_path / name, grid, [])
