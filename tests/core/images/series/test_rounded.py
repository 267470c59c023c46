"""Positions that scanners round are no lost slice, and a lost slice is none of rounding."""

from __future__ import annotations

import numpy as np
import pytest

from cmfnet_napari.core.dicom.export.checked_export import export
from cmfnet_napari.core.dicom.export.reference import read_reference
from cmfnet_napari.core.dicom.export.roi import make_rois
from cmfnet_napari.core.dicom.importing.contour_file import read_contour
from cmfnet_napari.core.dicom.importing.import_case import read_patient
from cmfnet_napari.core.dicom.importing.patient import Choice
from cmfnet_napari.core.dicom.importing.segments import read_segments
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.series.headers import Slice
from cmfnet_napari.core.images.series.scan import scan
from cmfnet_napari.core.images.series.stacks import judge
from cmfnet_napari.core.images.study import turn
from cmfnet_napari.core.images.volume import from_image, read_image
from tests.conftest import rotation
from tests.dicom_files import rewrite, write_slices

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def stack(positions, orientation=AXIAL, distance=0.0, numbers=True, spacing=(0.8, 0.8)):
    return judge(
        [
            Slice(
                path=None,
                frame=0,
                uid=str(k),
                position=tuple(float(v) for v in position),
                orientation=tuple(orientation),
                spacing=spacing,
                size=(64, 64),
                number=k + 1 if numbers else None,
                distances=(distance,) if distance else (),
            )
            for k, position in positions
        ]
    )


def along_z(step, count, unit, start=-97.0, turn=np.round):
    """Numbered positions of even slices, rounded."""
    return [(k, (-200.0, -180.0, turn((start + k * step) / unit) * unit)) for k in range(count)]


@pytest.mark.parametrize("count", [5, 24, 160])
@pytest.mark.parametrize("turn", [np.round, np.floor], ids=["nearest", "cut"])
@pytest.mark.parametrize(
    ("step", "unit"),
    [(3.27, 0.1), (0.625, 0.1), (1.25, 0.1), (3.27, 1.0), (2.5, 1.0), (1.25, 1.0), (1.25, 0.5)],
)
def test_rounded_positions_are_even(step, unit, turn, count):
    for distance in (step, 0.0):  # also where only the numbers speak for it
        found = stack(along_z(step, count, unit, turn=turn), distance=distance)
        assert found.problem == ""
        tolerance = 1e-6 if distance and found.even else 1.5 * unit / (count - 1)
        assert found.grid.spacing[0] == pytest.approx(step, abs=tolerance)
        centres = -97.0 + step * np.arange(count) - (unit / 2 if turn is np.floor else 0)
        places = found.grid.to_patient(np.array([(k, 0, 0) for k in range(count)]))[:, 2]
        assert np.abs(places - centres).max() <= unit + 1e-9


TOLD = [(3.27, 0.1), (0.625, 0.1), (3.27, 1.0), (2.5, 1.0), (1.0, 1.0), (3.0, 1.0)]
BY_NUMBERS_ALONE = (1.25, 1.0)  # whole millimetres cannot tell


@pytest.mark.parametrize("at", [1, 11, 20])
@pytest.mark.parametrize(
    ("step", "unit", "numbers"),
    [(*one, numbers) for one in TOLD for numbers in (True, False)] + [(*BY_NUMBERS_ALONE, True)],
)
def test_a_lost_slice_is_still_seen(step, unit, at, numbers):
    places = along_z(step, 22, unit)
    del places[at]
    assert "a slice is missing" in stack(places, distance=step, numbers=numbers).problem


def test_a_distance_that_changes_is_no_rounding():
    places = [-100.0 + 3 * k for k in range(10)] + [-70.0 + 5 * k for k in range(1, 8)]
    assert "distance changes" in stack([(k, (0, 0, z)) for k, z in enumerate(places)]).problem


def test_small_differences_that_add_up_are_no_even_slices():
    """60 gaps of 2.0 and 59 of 2.0198 mm: slice 61 lay 0.59 mm off, though no gap is 1 % wider."""
    places = np.cumsum([0.0] + 60 * [2.0] + 59 * [2.0198])
    problem = stack([(k, (0, 0, z)) for k, z in enumerate(places)]).problem
    assert "slice 61 at z = 120.0 mm lies 0.59 mm from where even slices would be (2.01" in problem
    jitter = np.round(2.0 * np.arange(120) + np.where(np.arange(120) % 2, 0.01, 0.0), 2)
    assert stack([(k, (0, 0, z)) for k, z in enumerate(jitter)]).problem == ""


def test_rounding_that_adds_up_over_the_axes_is_still_rounding():
    """No gap is 1 % off, but a slice is by 0.12 mm: the tenths of three numbers together."""
    grid = Grid((30, 64, 64), (8.0, 0.8, 0.8), (-110.25, -87.5, 33.75), rotation(-30, 38, -27))
    positions = [np.round(grid.to_patient((k, 0, 0)), 1) for k in range(30)]
    cosines = [round(v, 6) for v in grid.matrix[:, :2].T.ravel()]
    found = stack(enumerate(positions), cosines, 8.0)
    assert (found.problem, found.even is None) == ("", False)
    places = found.grid.to_patient(np.array([(k, 0, 0) for k in range(30)]))
    assert np.abs(places - grid.to_patient([(k, 0, 0) for k in range(30)])).max() < 0.1


@pytest.mark.parametrize("digits", [1, 2, 4])
def test_oblique_positions_that_are_rounded(digits):
    grid = Grid((40, 64, 64), (3.3, 0.8, 0.8), (-110.25, -87.5, 33.75), rotation(17, -11, 5))
    positions = [np.round(grid.to_patient((k, 0, 0)), digits) for k in range(40)]
    cosines = [round(v, 6) for v in grid.matrix[:, :2].T.ravel()]
    found = stack(enumerate(positions), cosines, 3.3)
    assert found.problem == ""
    assert found.shear == (0.0, 0.0)  # not taken for a tilted gantry, which would be resampled
    corner = np.array([(39, 63, 63)])
    assert np.abs(found.grid.to_patient(corner) - grid.to_patient(corner)).max() < 0.2
    lost = [(k, p) for k, p in enumerate(positions) if k != 17]
    assert "a slice is missing" in stack(lost, cosines, 3.3).problem


def test_pixel_sizes_that_are_rounded(tmp_path):
    grid = Grid((4, 20, 24), (3.0, 0.9765625, 0.9765625), (0.0, 0.0, 0.0))
    array = np.random.default_rng(0).integers(0, 99, grid.shape).astype(np.int16)

    def edit(k, data):
        data.PixelSpacing = [0.976562, 0.976562] if k % 2 else [0.9765625, 0.9765625]

    write_slices(tmp_path / "in", array, grid, edit=edit)
    assert read_image(tmp_path / "in").GetSpacing()[0] == pytest.approx(0.9765625, abs=1e-5)

    def other(k, data):
        data.PixelSpacing = [0.98, 0.98] if k % 2 else [0.9765625, 0.9765625]

    write_slices(tmp_path / "other", array, Grid((4, 20, 24), grid.spacing), edit=other)
    read_image(tmp_path / "other")  # 0.08 mm at the far edge
    wide = np.zeros((4, 8, 512), np.int16)
    wide[0, 0, 0] = 1
    write_slices(tmp_path / "wide", wide, Grid(wide.shape, grid.spacing), edit=other)
    with pytest.raises(UserError, match="different sizes or pixels"):
        read_image(tmp_path / "wide")


@pytest.mark.parametrize("kind", ["rtstruct", "seg"])
def test_contours_of_a_rounded_series_lie_in_its_slices(tmp_path, kind):
    grid = Grid((12, 30, 34), (1.25, 1.0, 1.0), (-17.0, -15.0, 40.0))
    array = np.random.default_rng(0).integers(-50, 50, grid.shape).astype(np.int16)

    def edit(k, data):
        data.ImagePositionPatient = [-17, -15, round(40 + 1.25 * k)]

    write_slices(tmp_path / "in", array, grid, edit=edit)
    labels = np.zeros(grid.shape, np.uint8)
    labels[2:11, 8:20, 9:25] = 1
    labels[5:8] = 0  # slices without a frame in a segmentation
    reference = read_reference(tmp_path / "in")
    image = read_image(tmp_path / "in")
    assert image.GetSpacing()[2] == pytest.approx(1.25)
    label_map = Grid.from_image(image).to_image(labels)
    receipt = export(label_map, reference, make_rois([1]), kind, tmp_path / "out.dcm")
    assert receipt.ok
    assert receipt.lines[0].dice == 1
    loaded, _ = read_patient([tmp_path], structures=True)
    (structure,) = loaded.structures
    expected = from_image(turn(label_map)).array > 0
    np.testing.assert_array_equal(structure.mask, expected)
    (image,) = scan([tmp_path]).images
    images = Choice(image)
    again, _ = read_contour(tmp_path / "out.dcm", loaded.study, ["GTV"], images=images)
    np.testing.assert_array_equal(again > 0, structure.mask)


def test_frames_that_lie_in_no_slice_are_not_moved(tmp_path):
    """A segmentation of uneven slices is refused, of an even series too."""
    grid = Grid((6, 10, 12), (2.0, 1.0, 1.0), (-17.0, -15.0, 40.0))
    array = np.random.default_rng(0).integers(-50, 50, grid.shape).astype(np.int16)
    write_slices(tmp_path / "in", array, grid)
    labels = np.zeros(grid.shape, np.uint8)
    labels[1:5, 3:8, 2:9] = 1
    reference = read_reference(tmp_path / "in")
    export(grid.to_image(labels), reference, make_rois([1]), "seg", tmp_path / "out.dcm")

    def shift(data):
        frame = data.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence[0]
        x, y, z = frame.ImagePositionPatient
        frame.ImagePositionPatient = [x, y, float(z) + 0.73]

    rewrite(tmp_path / "out.dcm", shift)
    with pytest.raises(UserError, match="no stack of even slices"):
        read_segments(tmp_path / "out.dcm", reference.stack)
