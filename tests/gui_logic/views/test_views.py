"""Place, planes, arrangement, fusion, window and level: napari's model alone, no canvas."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.checkerboard import Checkerboard
from cmfnet_napari.gui.patient.layers import OPENED, ROLE, placement
from cmfnet_napari.gui.views.fusion import Fusion
from cmfnet_napari.gui.views.layouts import LAYOUTS, Layouts
from cmfnet_napari.gui.views.navigation import Navigation
from cmfnet_napari.gui.views.planes import Planes
from cmfnet_napari.gui.views.readout import bar_length
from cmfnet_napari.gui.views.windowing import Windowing
from tests.gui_logic.stand_ins import GRID, SHAPE


@pytest.fixture
def shown(session):
    """Open a patient with a CT and perhaps an MR; their layers are in a viewer's model."""

    def show(mr=True):
        session.viewer = ViewerModel()
        kinds = ("CT", "MR")[: 1 + mr]
        session.open(kinds, limits=((-160.0, 240.0), (0.0, 200.0)))
        for role in kinds:
            layer = Image(np.zeros(SHAPE, np.float32), contrast_limits=(0, 100), **placement(GRID))
            layer.metadata.update({OPENED: session.patient, ROLE: role})
            session.viewer.layers.append(layer)
        session.second_layer = session.viewer.layers[-1] if mr else None
        return session

    return show


# --- the place


def test_a_place_and_its_voxel(shown):
    navigation = Navigation(shown())
    moved = []
    navigation.moved.connect(lambda: moved.append(navigation.voxel()))
    place = navigation.go_to_voxel((3, 1, 2))
    np.testing.assert_allclose(place, np.array(GRID.translate) + np.array((3, 1, 2)) * GRID.spacing)
    assert moved[-1] == (3, 1, 2)
    navigation.go_to_voxel((99, -5, 2))
    assert navigation.voxel() == (SHAPE[0] - 1, 0, 2)  # the nearest there is
    navigation.go_to_slice(2, 4)
    assert navigation.voxel() == (SHAPE[0] - 1, 0, 4)
    navigation.go_to(np.array(GRID.translate) + 0.4 * np.array(GRID.spacing))
    assert navigation.voxel() == (0, 0, 0)


def test_a_place_is_looked_at_in_every_plane(shown):
    session = shown()
    navigation, other = Navigation(session), ViewerModel()
    other.add_image(np.zeros(SHAPE), **placement(GRID))
    other.dims.order = (2, 0, 1)
    navigation.link(other)
    navigation.look_at((2, 4, 1))
    z, y, _ = np.array(GRID.translate) + np.array((2, 4, 1)) * GRID.spacing
    assert other.scene.camera.center[-2:] == pytest.approx((z, y))
    session.viewer.scene.camera.zoom = 7.0
    assert other.scene.camera.zoom == pytest.approx(7.0)
    with navigation.still():
        session.viewer.scene.camera.zoom = 3.0
    assert other.scene.camera.zoom == pytest.approx(7.0)
    other.dims.set_point(2, GRID.translate[2])  # its own slices, stepped through
    assert navigation.voxel() == (2, 4, 0)
    navigation.unlink(other)
    navigation.go_to_voxel((2, 4, 3))
    assert other.dims.point[2] == pytest.approx(GRID.translate[2])


def test_without_a_patient_there_is_no_voxel(session):
    session.viewer = ViewerModel()
    navigation = Navigation(session)
    with pytest.raises(UserError, match="No patient"):
        navigation.voxel()
    with pytest.raises(UserError, match="No patient"):
        navigation.go_to_voxel((0, 0, 0))


def test_the_crosshair_is_switched(shown, heard):
    navigation = Navigation(shown())
    heard.listen(navigation, "crosshair_changed")
    navigation.switch_crosshair()
    navigation.switch_crosshair()
    assert heard == [("crosshair_changed", False), ("crosshair_changed", True)]


# --- the plane


def test_the_viewer_is_kept_on_upright_planes_while_a_patient_is_open(shown, heard):
    session = shown()
    planes, dims = Planes(session), session.viewer.dims
    heard.listen(planes, "changed")
    planes.open()
    for name, order in (("sagittal", (2, 0, 1)), ("coronal", (1, 0, 2)), ("axial", (0, 1, 2))):
        planes.show(name)
        assert (planes.plane, tuple(dims.order)) == (name, order)
    shown_once = [("changed", name) for name in ("axial", "sagittal", "coronal", "axial")]
    assert heard == shown_once
    dims.order = (1, 2, 0)  # napari's own button
    assert (planes.plane, tuple(dims.order)) == ("coronal", (1, 0, 2))
    dims.order = (2, 1, 0)  # rolled on from the upright coronal plane
    assert planes.plane == "axial"
    planes.show("sagittal")
    planes.close()
    assert not [name for name in session.viewer.canvas.overlays if name.startswith("cmfnet")]
    dims.order = (2, 1, 0)
    assert tuple(dims.order) == (2, 1, 0)
    session.close()
    with pytest.raises(UserError, match="No patient"):
        planes.show("axial")
    session.open()
    dims.order = (0, 1, 2)
    planes.open()
    assert planes.plane == "axial"


# --- the arrangement


class Parted:
    def __init__(self):
        self.told = []

    def part(self, on):
        self.told.append(on)


@pytest.mark.parametrize(
    ("mr", "names"), [(True, ["pair", "planes", "all", "one"]), (False, ["planes", "one"])]
)
def test_arrangements_that_the_patient_has_images_for(shown, heard, mr, names):
    layouts = Layouts(shown(mr), Parted())
    heard.listen(layouts, "changed")
    for _ in names:
        layouts.show_next()
    assert heard == [("changed", name) for name in names]
    assert layouts._fusion.told == [LAYOUTS[name].parted for name in names]
    layouts.show("pair")
    assert layouts.name == ("pair" if mr else "one")
    before = len(heard)
    layouts.show(layouts.name)
    assert len(heard) == before


def test_with_the_patient_its_arrangement_goes(shown):
    session = shown()
    layouts = Layouts(session, Parted())
    layouts.show("planes")
    assert [cell.plane("coronal") for cell in layouts.cells][:2] == ["axial", "sagittal"]
    session.close()
    assert (layouts.name, layouts.cells) == ("one", ())


# --- CT and MR


@pytest.fixture
def fusion(shown):
    session = shown()
    fusion = Fusion(session)
    session.second_layer.visible = False
    session.opened.emit()
    return fusion


def seen(fusion):
    """Percent of the MR that is seen."""
    mr = fusion._session.second_layer
    return round(100 * mr.opacity) if mr.visible else 0


def test_a_blend_and_the_eye_and_opacity_of_naparis_list_are_one(fusion):
    assert (fusion.blend, fusion.front) == (0, "CT")
    for percent, front in ((30, "CT"), (50, "MR"), (100, "MR"), (0, "CT")):
        fusion.set_blend(percent)
        assert (seen(fusion), fusion.front) == (percent, front)
    mr = fusion._session.second_layer
    mr.visible, mr.opacity = True, 0.3
    assert fusion.blend == 30
    mr.visible = False
    assert fusion.blend == 0


@pytest.mark.parametrize("blend", [0, 100])
def test_flicker_shows_the_other_image_while_it_is_held(fusion, blend):
    fusion.set_blend(blend)
    fusion.flicker(True)
    assert (seen(fusion), fusion.blend) == (100 - blend, blend)
    fusion.flicker(False)
    assert seen(fusion) == blend


def test_squares_of_both_and_the_layers_own_array_again(fusion):
    mr = fusion._session.second_layer
    own = mr.data
    fusion.set_blend(40)
    fusion.switch_board()
    assert isinstance(mr.data, Checkerboard)
    assert (seen(fusion), fusion.blend) == (100, 40)
    fusion.flicker(True)  # the CT alone
    assert seen(fusion) == 0
    fusion.flicker(False)
    moved = np.ones(SHAPE, np.float32)
    fusion.show_second(moved)
    assert mr.data.image is moved
    fusion.switch_board()
    assert mr.data is moved
    assert (seen(fusion), mr.data is own) == (40, False)


def test_beside_the_mr_the_ct_is_alone(fusion):
    fusion.set_blend(60)
    fusion.part(True)
    assert (seen(fusion), fusion.available, fusion.front) == (0, False, "CT")
    fusion.part(False)
    assert (seen(fusion), fusion.available) == (60, True)


def test_fusion_begins_as_it_was_last_seen_and_forgets_with_the_patient(fusion):
    session = fusion._session
    mr, own = session.second_layer, session.second_layer.data
    fusion.bring_back(70, True)
    session.opened.emit()
    assert isinstance(mr.data, Checkerboard)
    session.close()
    assert mr.data is own
    assert (fusion.blend, fusion.board, fusion.available) == (0, False, False)
    fusion.set_blend(50)  # nothing is there
    assert not fusion.available


# --- window and level


@pytest.fixture
def windowing(shown):
    session = shown()
    windowing = Windowing(session)
    session.opened.emit()
    return windowing


def test_window_and_level_are_each_images_own(windowing, heard):
    heard.listen(windowing, "changed")
    ct, mr = windowing._session.viewer.layers
    windowing.use_preset("CT", "Bone")
    assert ct.contrast_limits == pytest.approx([-500, 1300])
    assert windowing.level_width("CT") == (400, 1800)
    assert mr.contrast_limits == [0, 100]
    windowing.automatic("MR")
    assert windowing.limits("MR") == (0.0, 200.0)
    assert heard


def test_a_drag_widens_to_the_right_and_darkens_downwards(windowing):
    windowing.drag("CT", (-160.0, 240.0), 100, 0)
    assert windowing.limits("CT") == pytest.approx((-260, 340))  # W 400 to 600
    windowing.drag("CT", (-260.0, 340.0), 0, 20)
    assert windowing.limits("CT") == pytest.approx((-200, 400))  # L 40 to 100
    windowing.drag("MR", (0.0, 200.0), -1e6, 0)
    low, high = windowing.limits("MR")
    assert high - low == pytest.approx(0.2)  # a thousandth of the automatic window


def test_what_is_not_there_has_no_window(windowing):
    windowing._session.close()
    assert (windowing.limits("CT"), windowing.level_width("MR")) == (None, None)
    windowing.use_preset("CT", "Bone")  # nothing happens


# --- words


def test_scale_bars_are_round_and_short_enough():
    assert bar_length(zoom=2.35, width=276) == 20  # 82.8 pixels are 35 mm
    assert bar_length(zoom=1.4, width=276) == 50
    assert bar_length(zoom=1.0, width=2000) == 100  # 150 pixels at most
    assert bar_length(zoom=300.0, width=276) == pytest.approx(0.2)
