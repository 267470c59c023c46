"""Files and folders dropped onto napari."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from napari.utils.notifications import notification_manager

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import open_study, turn
from cmfnet_napari.core.images.volume import from_image, read_image
from cmfnet_napari.gui.patient.layers import OPENED
from cmfnet_napari.gui.plugin.reader import get_reader, read
from cmfnet_napari.gui.plugin.writer import write_layer
from tests.conftest import rotation
from tests.dicom_files import (
    CENTRE,
    CT_GRID,
    circles,
    write_patient,
    write_registration,
    write_structures,
)


def test_an_image_lies_in_millimetres(patient):
    (data, meta, kind), (labels, _, labels_kind) = read([str(patient.ct), str(patient.tumour)])
    volume = from_image(turn(read_image(patient.ct)))
    assert (kind, labels_kind) == ("image", "labels")
    np.testing.assert_array_equal(data, volume.array)
    np.testing.assert_array_equal(labels, patient.arrays["tumour"])
    assert meta["scale"] == volume.grid.spacing
    assert meta["translate"] == volume.grid.translate
    assert meta["units"] == ("mm", "mm", "mm")


def test_what_is_not_ours_is_left_to_others(tmp_path):
    assert get_reader("a.tif") is None
    assert get_reader([]) is None
    assert get_reader(str(tmp_path)) is read
    assert get_reader(["a.nii.gz", "B.MHA", "c.dcm"]) is read


def test_contours_need_a_patient(tmp_path):
    write_patient(tmp_path)
    with pytest.raises(UserError, match="Open the image of these contours first"):
        read(str(tmp_path / "rs-ct.dcm"))


@pytest.mark.canvas
def test_a_dropped_folder_opens_the_patient_and_a_dropped_set_its_contours(dock, tmp_path, qtbot):
    viewer, session = dock.session.viewer, dock.session
    folder = write_patient(tmp_path)
    with qtbot.waitSignal(session.opened, timeout=20000):
        viewer.open(str(folder), plugin="cmfnet-napari")
    assert [layer.name for layer in viewer.layers] == ["CT", "MR", "Scribbles"]
    viewer.open(str(folder / "rs-mr.dcm"), plugin="cmfnet-napari")
    layer = viewer.layers["GTV MR"]
    grid = session.case.study.grid
    middle = grid.to_patient(np.argwhere(layer.data).mean(axis=0))
    np.testing.assert_allclose(middle, CENTRE, atol=0.5)
    assert layer in dock.workbench.automatic_strokes.masks()


def test_a_series_without_a_ct_is_a_patient(tmp_path):
    write_patient(tmp_path)
    (data, meta, kind), (_, strokes, _) = read(str(tmp_path / "mr"))
    strokes["metadata"][OPENED].case.close()
    assert (meta["name"], kind) == ("MR", "image")
    assert data.shape == sitk.GetArrayFromImage(read_image(tmp_path / "mr")).shape


@pytest.fixture
def shown(dock, tmp_path, qtbot):
    """A DICOM patient whose MR lies aside in a frame of reference of its own, registered."""
    folder = write_patient(tmp_path, mr_frame="mr frame", mr_shift=(7.0, -4.0, 9.0))
    matrix = np.eye(4)
    matrix[:3, 3] = (7.0, -4.0, 9.0)
    write_registration(
        folder / "reg.dcm", [("frame", [matrix]), ("mr frame", [np.eye(4)])], "mr frame"
    )
    with qtbot.waitSignal(dock.session.opened, timeout=20000):
        dock.session.viewer.open(str(folder), plugin="cmfnet-napari")
    return folder


@pytest.mark.canvas
def test_contours_drawn_on_the_mr_go_where_it_went_and_those_of_others_nowhere(dock, shown):
    dock.session.viewer.open(str(shown / "rs-mr.dcm"), plugin="cmfnet-napari")
    layer, grid = dock.session.viewer.layers["GTV MR"], dock.session.case.study.grid
    middle = grid.to_patient(np.argwhere(layer.data).mean(axis=0))
    np.testing.assert_allclose(middle, CENTRE, atol=0.5)
    contours_of_others_are_refused(shown)


@pytest.mark.canvas
def test_dropped_contours_of_an_mr_that_was_moved_are_taken_away_and_named(dock, shown, qtbot):
    session, placement_of_mr = dock.session, dock.workbench.image_placement
    for name in ("rs-mr.dcm", "rs-ct.dcm"):
        session.viewer.open(str(shown / name), plugin="cmfnet-napari")
    placement_of_mr.nudge((3.0, 0.0, 0.0, 0.0))
    notification_manager.records.clear()
    with qtbot.waitSignal(session.opened, timeout=20000):
        placement_of_mr.keep()
    names = [layer.name for layer in session.viewer.layers]
    assert "GTV CT" in names
    assert "GTV MR" not in names
    said = " ".join(record.message for record in notification_manager.records)
    assert "drawn on lies elsewhere now: GTV MR. Drop its file once more" in said
    before = CENTRE - session.case.registrations.current.array[:3, 3] + (7.0, -4.0, 9.0)
    session.viewer.open(str(shown / "rs-mr.dcm"), plugin="cmfnet-napari")
    grid, mask = session.case.study.grid, session.viewer.layers["GTV MR"].data
    middle = grid.to_patient(np.argwhere(mask).mean(axis=0))
    np.testing.assert_allclose(middle, before, atol=0.5)


def contours_of_others_are_refused(folder):
    rois = [{"name": "GTV", "contours": circles(CT_GRID, CENTRE)}]
    for origin, words in (
        ({"patient": "P2"}, "is of another patient than the CT"),
        ({"frame": "elsewhere"}, "another frame of reference than the images"),
    ):
        with pytest.raises(UserError, match=words):
            read(str(write_structures(folder / "other.dcm", rois, **origin)))


@pytest.mark.canvas
def test_on_a_patient_without_headers_the_place_is_doubted(opened, tmp_path, patient):
    grid = open_study(patient.ct).grid
    centre = grid.to_patient(np.array([5.0, 10.0, 8.0]))
    slices = Grid((11, 2, 2), (3.0, 1.0, 1.0), tuple(centre - (0, 0, 15)))
    rois = [{"name": "GTV", "contours": circles(slices, centre, 6.0)}]
    path = write_structures(tmp_path / "rs.dcm", rois)
    notification_manager.records.clear()
    ((_, meta, kind),) = read(str(path))
    assert (meta["name"], kind) == ("GTV", "labels")
    assert "Placed by position alone" in notification_manager.records[-1].message


TURNED = Grid((30, 24, 20), (1.5, 1.2, 1.4), (0.0, 0.0, 0.0), rotation(-25.0, 18.0, -33.0))


def ball_on(turned, centre, path, dtype):
    """A ball of 6 mm in a file whose axes are its own, its middle off the middle voxel."""
    middle = turned.to_patient(np.array([16.0, 10.0, 11.0]))
    grid = replace(turned, origin=tuple(np.array(turned.origin) + centre - middle))
    places = grid.to_patient(np.stack(np.indices(grid.shape), -1))
    inside = np.linalg.norm(places - centre, axis=-1) <= 6
    sitk.WriteImage(grid.to_image((500 * inside).astype(dtype) - 100 * (dtype == np.int16)), path)
    return path


@pytest.mark.canvas
def test_an_image_with_other_axes_lies_where_the_patient_has_it(opened, tmp_path):
    """It was shown tens of millimetres aside. The place is known by hand, in the patient."""
    viewer, grid = opened.session.viewer, opened.session.case.study.grid
    centre = grid.to_patient(np.array([5.3, 9.2, 8.4]))
    path = ball_on(TURNED, centre, str(tmp_path / "other.nii.gz"), np.int16)
    notification_manager.records.clear()
    (layer,) = viewer.open(path, plugin="cmfnet-napari")
    assert "interpolated" in notification_manager.records[-1].message
    inside = np.argwhere(layer.data > 150)
    shown = np.array([layer.data_to_world(index) for index in inside]).mean(axis=0)
    in_patient = grid.matrix @ shown[::-1]  # layers lie in mm along the planes of the patient's
    np.testing.assert_allclose(in_patient, centre, atol=0.4)
    write_layer(str(tmp_path / "saved.nii.gz"), layer.data, layer.as_layer_data_tuple()[1])
    saved = read_image(tmp_path / "saved.nii.gz")
    value = saved[saved.TransformPhysicalPointToIndex(centre)]
    assert value == pytest.approx(400, abs=1)


@pytest.mark.canvas
def test_labels_with_other_axes_and_images_elsewhere_are_refused_beside_a_patient(opened, tmp_path):
    grid = opened.session.case.study.grid
    centre = grid.to_patient(np.array([5.3, 9.2, 8.4]))
    labels = ball_on(TURNED, centre, str(tmp_path / "labels.nii.gz"), np.uint16)
    with pytest.raises(UserError, match=r"labels has other axes than the CT.* mm off"):
        read(labels)
    far = ball_on(TURNED, centre + 500, str(tmp_path / "far.nii.gz"), np.int16)
    with pytest.raises(UserError, match="far lies outside the CT that is open"):
        read(far)


def test_without_a_patient_an_image_keeps_its_own_axes(tmp_path):
    path = ball_on(TURNED, np.array([5.0, 6.0, 7.0]), str(tmp_path / "one.nii.gz"), np.int16)
    ((_, meta, _),) = read(path)
    assert meta["scale"] == pytest.approx(from_image(turn(read_image(path))).grid.spacing)


def test_the_slices_of_a_series_are_looked_at_together(tmp_path):
    folder = write_patient(tmp_path)
    layers = read([str(path) for path in (folder / "ct").iterdir()])
    assert [meta["name"] for _, meta, _ in layers] == ["CT", "Scribbles"]
    layers[0][1]["metadata"][OPENED].case.close()
    layers = read([str(path) for path in (folder / "mr").iterdir()])
    assert [meta["name"] for _, meta, _ in layers] == ["MR", "Scribbles"]
    layers[0][1]["metadata"][OPENED].case.close()


def test_one_slice_asks_for_its_folder(tmp_path):
    path = next((write_patient(tmp_path) / "ct").iterdir())
    with pytest.raises(UserError, match=f"{path.name} is one slice of a series. Drop the folder"):
        read(str(path))
