"""napari's own ways: saving layers, the Layers menu, the activity dock, a dock that is reopened."""

from __future__ import annotations

import napari
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from napari.layers import Labels, Layer
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QSlider

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import turn
from cmfnet_napari.core.images.volume import from_image
from cmfnet_napari.gui.plugin.layers_menu import background_from_layer, export, review
from cmfnet_napari.gui.plugin.reader import read
from cmfnet_napari.gui.plugin.writer import write_layer
from tests.gui.conftest import SHAPE, as_new, image_of
from tests.gui.training.test_window_training import train


@pytest.fixture
def viewer(napari_viewer):
    yield napari_viewer
    as_new(napari_viewer)


def saved(layer, path):
    return write_layer(str(path), *layer.as_layer_data_tuple()[:2])


def test_a_layer_of_the_case_is_saved_on_the_files_own_grid(opened, patient, tmp_path, scribble):
    scribble()
    out = tmp_path / "scribbles.nii.gz"
    assert saved(opened.session.scribbles, out) == [str(out)]
    written, source = sitk.ReadImage(str(out)), sitk.ReadImage(str(patient.ct))
    assert written.GetSize() == source.GetSize()
    np.testing.assert_allclose(written.GetDirection(), source.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(written.GetOrigin(), source.GetOrigin(), atol=1e-4)
    turned = sitk.GetArrayFromImage(sitk.DICOMOrient(written, "LPS"))
    np.testing.assert_array_equal(turned, opened.session.scribbles.data)


def test_what_was_read_is_saved_where_it_was(dock, tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:8, 8:14, 6:11] = 1
    sitk.WriteImage(image_of(mask), str(tmp_path / "mask.nrrd"))
    ((data, shown, kind),) = read(str(tmp_path / "mask.nrrd"))
    assert kind == "labels"
    saved(Labels(data, **shown), tmp_path / "again.nrrd")
    before, after = (sitk.ReadImage(str(tmp_path / f"{n}.nrrd")) for n in ("mask", "again"))
    back = sitk.Resample(after, before, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert (sitk.GetArrayFromImage(back) == sitk.GetArrayFromImage(before)).all()


def test_another_layer_is_placed_by_its_scale(tmp_path):
    layer = Labels(np.ones((2, 3, 4), np.uint8), scale=(3, 2, 1.5), translate=(10, 20, 30))
    saved(layer, tmp_path / "own.mha")
    image = sitk.ReadImage(str(tmp_path / "own.mha"))
    assert (image.GetSpacing(), image.GetOrigin()) == ((1.5, 2, 3), (30, 20, 10))
    layer.rotate = (10, 0, 0)
    with pytest.raises(UserError, match="turned or sheared"):
        saved(layer, tmp_path / "turned.mha")
    with pytest.raises(UserError, match="2 dimensions"):
        write_layer(str(tmp_path / "flat.mha"), np.ones((2, 3)), {})
    assert [path.name for path in tmp_path.glob("*.mha")] == ["own.mha"]


@pytest.mark.canvas
@pytest.mark.parametrize("names", [("oblique",), ("oblique", "straight"), ("oblique", "other")])
def test_new_labels_are_placed_by_the_image_they_were_made_over(
    viewer, tmp_path, oblique_grid, monkeypatch, names
):
    """napari copies scale and translation of an image, which lies along its own planes."""
    grids = {
        "oblique": oblique_grid,
        "straight": Grid(oblique_grid.shape, oblique_grid.spacing),
        "other": Grid(  # elsewhere in the patient, at the same place in napari
            oblique_grid.shape, oblique_grid.spacing, oblique_grid.translate[::-1]
        ),
    }
    for name in names:
        values = np.random.default_rng(0).normal(size=oblique_grid.shape).astype(np.float32)
        sitk.WriteImage(grids[name].to_image(values), str(tmp_path / f"{name}.nrrd"))
        ((data, shown, kind),) = read(str(tmp_path / f"{name}.nrrd"))
        viewer.add_layer(Layer.create(data, shown, kind))
    viewer.layers.selection.active = viewer.layers[0]
    viewer._new_labels()
    labels = viewer.layers[-1]
    labels.data = (np.indices(oblique_grid.shape).sum(0) > 20).astype(int)
    if "other" in names:
        with pytest.raises(UserError, match="is not known"):
            saved(labels, tmp_path / "l.nii.gz")
        return
    saved(labels, tmp_path / "l.nii.gz")
    written = nibabel.load(tmp_path / "l.nii.gz")
    index = np.array([2, 9, 7])  # x, y, z of the file, whose axes may be turned
    place = (written.affine @ [*index, 1])[:3] * [-1, -1, 1]
    z, y, x = np.rint(oblique_grid.to_index(place)).astype(int)
    assert np.asarray(written.dataobj)[tuple(index)] == (z + y + x > 20)
    image = sitk.ReadImage(str(tmp_path / "oblique.nrrd"))
    back = sitk.Resample(sitk.ReadImage(str(tmp_path / "l.nii.gz")), image, sitk.Transform(), 1)
    turned = from_image(turn(back)).array
    np.testing.assert_array_equal(turned, labels.data)
    labels.translate = np.add(labels.translate, (3, 0, 0))
    with pytest.raises(UserError, match="is not known"):
        saved(labels, tmp_path / "moved.nii.gz")
    monkeypatch.setattr("napari.current_viewer", lambda: None)
    with pytest.raises(UserError, match="is not known"):
        saved(labels, tmp_path / "unknown.nii.gz")
    viewer.layers[0].translate = np.add(viewer.layers[0].translate, (3, 0, 0))
    with pytest.raises(UserError, match="lies elsewhere"):
        saved(viewer.layers[0], tmp_path / "moved.nii.gz")


def test_the_mr_is_saved_whole_while_it_is_shown_as_squares(opened, patient, tmp_path):
    opened.workbench.fusion.switch_board()
    saved(opened.session.second_layer, tmp_path / "mr.nii.gz")
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "mr.nii.gz")))
    whole = sitk.GetArrayFromImage(sitk.ReadImage(str(patient.mr)))
    np.testing.assert_allclose(written, whole, atol=1e-3)


@pytest.mark.canvas
def test_layers_menu_leads_to_the_steps(opened, monkeypatch):
    viewer = opened.session.viewer
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    with pytest.raises(UserError, match="Choose the layer of a contour"):
        background_from_layer()  # the scribbles are chosen
    finer = Labels(np.zeros(SHAPE, np.uint8))
    viewer.add_layer(finer)
    viewer.layers.selection.active = finer
    with pytest.raises(UserError, match="not on the image's grid"):
        background_from_layer()
    mask = Labels(np.zeros(SHAPE, np.uint8), **_placed(opened.session.scribbles))
    viewer.add_layer(mask)
    viewer.layers.selection.active = mask
    background_from_layer()
    assert opened.tabs.currentIndex() == 1
    assert opened.scribble_panel.auto.contour.value == mask
    review()
    assert opened.tabs.currentIndex() == 3
    export()
    assert opened.tabs.currentIndex() == 4


def _placed(layer):
    return {"scale": layer.scale, "translate": layer.translate, "units": layer.units}


@pytest.mark.canvas
def test_a_training_shows_in_the_activity_dock_until_it_ends(opened, fake, scribble, qtbot):
    fake("good")
    scribble()
    shares, shown = [], []
    activity = opened.workbench.training_activity
    opened.workbench.training.stepped.connect(lambda _event: shares.append(activity.share))
    opened.workbench.training.stepped.connect(lambda _event: shown.append(activity.shown))
    assert not activity.shown
    train(opened, qtbot)
    assert shares == [20, 40, 60, 80, 100]
    assert shown[-1]  # napari lets other events in while it makes a bar: not at once
    qtbot.waitUntil(lambda: not activity.shown)


@pytest.mark.canvas
def test_a_dock_that_is_closed_and_opened_again_has_lost_nothing(opened, scribble, fake, qtbot):
    from cmfnet_napari.gui.app import add_dock

    fake("good")
    scribble()
    train(opened, qtbot)
    qtbot.waitUntil(lambda: opened.workbench.result.exists, timeout=5000)
    viewer = opened.session.viewer
    strokes, contour = opened.session.case.scribbles(), opened.workbench.result.labels.copy()
    viewer.window.remove_dock_widget("all")
    qtbot.wait(100)
    again = add_dock(viewer)
    qtbot.waitUntil(lambda: again.session.patient is not None, timeout=20000)
    qtbot.waitUntil(lambda: again.workbench.result.exists, timeout=5000)
    np.testing.assert_array_equal(again.session.case.scribbles(), strokes)
    np.testing.assert_array_equal(again.workbench.result.labels, contour)
    names = [layer.name for layer in viewer.layers]
    assert len(names) == len(set(names))  # nothing is there twice
    assert again.session.writable
    again.workbench.close()
    qtbot.wait(50)


def test_every_control_says_what_it_does(opened):
    """A tooltip on every button, box and field, of its own or of what it stands in."""
    kinds = QAbstractButton, QComboBox, QAbstractSpinBox, QLineEdit, QSlider
    silent = []
    for kind in kinds:
        for control in opened.findChildren(kind):
            if control.objectName().startswith(("qt_", "Scroll")):  # parts of Qt's own widgets
                continue
            around, tip = control, ""
            while around is not opened and around is not None and not tip:
                tip, around = around.toolTip(), around.parentWidget()
            if not tip:
                silent.append(f"{type(control).__name__} {_words(control)}")
    assert not silent, "\n".join(silent)


def _words(control):
    said = (getattr(control, name, None) for name in ("text", "placeholderText", "currentText"))
    return " ".join(str(word()) for word in said if word is not None)
