"""Structure sets, segmentations and registrations: placed by geometry, faults in a sentence."""

from __future__ import annotations

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from cmfnet_napari.core.contours.metrics import evaluate
from cmfnet_napari.core.dicom.importing.rasterise import fill, rasterise
from cmfnet_napari.core.dicom.importing.registration_object import read_registration
from cmfnet_napari.core.dicom.importing.segments import read_segments
from cmfnet_napari.core.dicom.importing.structure_sets import read_structures
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.series.scan import scan
from cmfnet_napari.core.images.volume import from_image, read_image
from tests.conftest import rotation
from tests.dicom_files import rewrite, uid, write_registration, write_slices, write_structures

GRID = Grid((8, 24, 30), (3.0, 1.2, 0.9), (-11.0, 40.0, 200.0), rotation(11, -7, 16))


def points(grid, k, corners):
    """Patient points of corners (row, column) in slice k."""
    return grid.to_patient(np.array([(k, *corner) for corner in corners], dtype=float))


def square(low, high):
    return [(low, low), (low, high), (high, high), (high, low)]


def ball(grid, centre, radius):
    places = grid.to_patient(np.stack(np.indices(grid.shape), -1))
    return np.linalg.norm(places - centre, axis=-1) <= radius


def rings(grid, centre, radius, slices):
    """Circles in which slices of a grid cut a ball."""
    found = []
    for k in slices:
        flat = grid.to_index(centre)
        middle = grid.to_patient(np.array([k, *flat[1:]]))
        rest = radius**2 - ((k - flat[0]) * grid.spacing[0]) ** 2
        if rest > 1:
            angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
            around = np.outer(np.cos(angle), grid.matrix[:, 0]) + np.outer(
                np.sin(angle), grid.matrix[:, 1]
            )
            found.append(middle + np.sqrt(rest) * around)
    return found


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_a_square_covers_the_voxels_whose_centres_it_holds():
    mask, note = rasterise([points(GRID, 3, square(4.6, 9.4))], GRID, "GTV")
    expected = np.zeros(GRID.shape, bool)
    expected[3, 5:10, 5:10] = True
    np.testing.assert_array_equal(mask, expected)
    assert note == ""


def test_a_border_through_voxel_centres_belongs_to_one_side():
    """However the numbers were rounded, and so that neighbours share no voxel."""
    left = fill([np.array(square(4, 9)) + 1e-5], (12, 16))
    right = fill([np.array([(4, 9), (4, 14), (9, 14), (9, 9)]) - 1e-5], (12, 16))
    assert left.sum() == right.sum() == 25
    assert not (left & right).any()


def test_filling_agrees_with_another_library():
    from matplotlib.path import Path

    corners = np.random.default_rng(4).uniform(-3, 33, (40, 2))  # crosses itself all over
    pixels = np.indices((25, 31)).reshape(2, -1).T
    expected = Path(corners).contains_points(pixels).reshape(25, 31)
    np.testing.assert_array_equal(fill([corners], (25, 31)), expected)


def test_a_hole_by_an_inner_contour_and_by_a_keyhole():
    outer, inner = square(2.5, 20.5), square(7.5, 13.5)
    ring = np.zeros(GRID.shape, bool)
    ring[2, 3:21, 3:21] = True
    ring[2, 8:14, 8:14] = False
    by_rule, _ = rasterise([points(GRID, 2, outer), points(GRID, 2, inner)], GRID, "ring")
    np.testing.assert_array_equal(by_rule, ring)
    keyhole = [*outer, outer[0], inner[0], *inner[::-1], inner[0], outer[0]]
    by_key, _ = rasterise([points(GRID, 2, keyhole)], GRID, "ring")
    np.testing.assert_array_equal(by_key, ring)


def test_several_contours_a_slice_and_one_that_came_twice():
    first, second = points(GRID, 2, square(2.5, 6.5)), points(GRID, 2, square(9.5, 12.5))
    mask, _ = rasterise([first, second, first.copy()], GRID, "two")
    assert mask.sum() == 16 + 9


def test_contours_on_the_planes_of_another_oblique_image():
    """A ball outlined on one grid, wanted on another that is turned against it."""
    other = Grid((40, 40, 40), (1.5, 1.0, 1.0), (-30.0, 20.0, 190.0), rotation(-20, 15, 4))
    centre = GRID.to_patient(np.array([3.7, 11.0, 14.0]))
    contours = rings(other, centre, 8.0, range(40))
    mask, _ = rasterise(contours, GRID, "ball")
    assert dice(mask, ball(GRID, centre, 8.0)) > 0.97


def test_planes_between_the_slices_and_a_gap():
    """Two parts of one structure stay apart; each ends half a distance beyond its last plane."""
    grid = Grid((20, 10, 10), (1.0, 1.0, 1.0))
    planes = [2.25, 4.25, 6.25, 14.25, 16.25]
    contours = [points(grid, z, square(2.5, 6.5)) for z in planes]
    mask, _ = rasterise(contours, grid, "two parts")
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [2, 3, 4, 5, 6, 7, 14, 15, 16, 17]
    assert (mask.sum(axis=(1, 2))[mask.any(axis=(1, 2))] == 16).all()


def test_contours_outside_the_image():
    inside, beyond = points(GRID, 7, square(3, 9)), points(GRID, 9, square(3, 9))
    mask, note = rasterise([inside, beyond], GRID, "GTV")
    assert mask[7].any()
    assert note.startswith("GTV: 1 of 2 contours lie outside the image, in part or whole. GTV has")
    with pytest.raises(UserError, match=r"structure GTV lies outside the image \(x "):
        rasterise([beyond], GRID, "GTV")


def test_contours_that_reach_far_beyond_an_oblique_image_need_no_memory():
    """A corner that was written wrong: 100 km of pixels would not fit."""
    other = Grid((40, 40, 40), (1.5, 1.0, 1.0), (-30.0, 20.0, 180.0), rotation(-20, 15, 4))
    corners = [(10, 10), (10, 30), (30, 30), (1e8, 10)]
    contours = [points(other, k, corners) for k in range(15, 25)]
    mask, note = rasterise(contours, GRID, "GTV")
    assert mask.any()
    assert "10 of 10 contours lie outside" in note


def test_contours_that_cannot_be_filled():
    with pytest.raises(UserError, match="GTV is empty"):
        rasterise([], GRID, "GTV")
    bent = GRID.to_patient(np.array([(1, 3, 3), (4, 3, 20), (6, 20, 20), (1, 20, 3)], float))
    with pytest.raises(UserError, match="do not lie in parallel planes"):
        rasterise([bent, points(GRID, 2, square(3, 9))], GRID, "GTV")
    with pytest.raises(UserError, match="smaller than a voxel"):
        rasterise([points(GRID, 2, square(3.2, 3.4))], GRID, "dot")


def test_names_colours_and_open_contours(tmp_path):
    closed = points(GRID, 2, square(3, 9))
    path = write_structures(
        tmp_path / "rs.dcm",
        [
            {"name": "GTV", "contours": [closed, closed[:2]], "color": [0, 158, 115]},
            {"name": "Line", "contours": [closed, closed], "kind": "OPEN_PLANAR"},
        ],
    )
    gtv, line = read_structures(path)
    assert (gtv.name, gtv.color, gtv.frame_uid) == ("GTV", "#009e73", uid("frame", "frame"))
    np.testing.assert_allclose(gtv.contours[0], closed, atol=1e-4)
    assert gtv.note == "GTV: 1 open contour or point that encloses nothing left out."
    assert (line.contours, line.left_out) == ((), 2)


BIG, SMALL = square(3, 13), square(3, 5)


def volumes(path):
    """Pixels of every structure, and what is said."""
    rois = read_structures(path)
    masks = [
        rasterise(roi.contours, GRID, roi.name)[0].sum() if roi.contours else 0 for roi in rois
    ]
    return [(roi.name, int(n)) for roi, n in zip(rois, masks, strict=True)], " ".join(
        roi.note for roi in rois
    )


@pytest.mark.parametrize("case", ["in order", "one has none", "two items", "no structure"])
def test_numbers_of_structures_and_of_their_contours(tmp_path, case):
    """A number given twice (rt-utils counts the structures), and one structure in two items."""
    sets = [
        {"name": "Bladder", "contours": [points(GRID, 1, SMALL)]},
        {"name": "Prostate", "contours": [points(GRID, k, BIG) for k in (2, 3)]},
        {"name": "Seed", "contours": [points(GRID, 5, SMALL)]},
    ]
    path = write_structures(tmp_path / "rs.dcm", sets)

    def change(data):
        entries, items = data.StructureSetROISequence, data.ROIContourSequence
        if case in ("in order", "one has none"):
            entries[2].ROINumber = entries[1].ROINumber
            items[2].ReferencedROINumber = items[1].ReferencedROINumber
        if case == "one has none":
            del items[1]
        if case == "two items":
            items[2].ReferencedROINumber = items[1].ReferencedROINumber
        if case == "no structure":
            del entries[2]

    rewrite(path, change)
    found, said = volumes(path)
    expected = {
        "in order": [("Bladder", 4), ("Prostate", 200), ("Seed", 4)],
        "one has none": [("Bladder", 4), ("Prostate", 0), ("Seed", 0)],
        "two items": [("Bladder", 4), ("Prostate", 204), ("Seed", 0)],
        "no structure": [("Bladder", 4), ("Prostate", 200), ("Structure 3", 4)],
    }
    assert found == expected[case]
    words = {
        "in order": "2 structures have the number 2; contours were given to them in their order",
        "one has none": "2 structures have the number 2, but 1 have contours: nobody can tell",
        "two items": "",  # nothing is doubtful
        "no structure": "Structure 3: its contours have no entry among the structures",
    }
    assert words[case] in said if words[case] else not said.strip()


@pytest.mark.parametrize(
    ("slices", "voxels", "words"),
    [
        ([2, 3, 4, 5, 6, 7], 6, ""),
        ([2, 4, 6, 8, 10], 10, "is drawn on every second slice"),
        ([1, 4, 7, 10], 12, "is drawn on every third slice"),
        ([2, 3, 4, 6, 7], 5, "has no contour on 1 slice"),
        ([2, 4, 8, 10], 8, "has no contour on 1 slice"),  # every second, and one skipped
        ([2, 3, 9], 3, "has no contour on 5 slices"),
        ([2, 9], 2, "has no contour on 6 slices"),
    ],
)
def test_slices_without_a_contour_are_filled_in_or_said(slices, voxels, words):
    grid = Grid((14, 20, 20), (2.0, 1.0, 1.0))
    mask, note = rasterise([points(grid, k, square(2.5, 12.5)) for k in slices], grid, "GTV")
    assert mask.sum() == pytest.approx(100 * voxels, rel=0.02)
    assert (words in note) if words else note == ""


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_ends_of_sparse_contours_are_alike_whichever_way_round_they_were_drawn(step):
    """As large as the contours say, about their middle; even steps end on voxel centres."""
    grid = Grid((30, 40, 40), (3.3, 1.0, 1.0), (5.0, -7.0, 20.0), rotation(11, -7, 16))
    drawn = list(range(8, 21, step))
    contours = [points(grid, k, square(9.5, 29.5)) for k in drawn]
    mask, _ = rasterise(contours, grid, "box")
    backwards, _ = rasterise([contour[::-1] for contour in contours], grid, "box")
    np.testing.assert_array_equal(mask, backwards)
    assert mask.sum() == pytest.approx(400 * step * len(drawn), rel=0.01)
    assert np.argwhere(mask).mean(axis=0)[0] == pytest.approx(14, abs=1e-9)
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    assert (slices[0], slices[-1]) == (8 - step // 2, 20 + step // 2)
    areas = mask.sum(axis=(1, 2))[slices]
    assert (areas[1:-1] == 400).all()
    assert areas[0] == areas[-1] == pytest.approx(400 if step % 2 else 200, abs=20)


def test_rounding_of_sparse_contours_does_not_decide_where_they_end():
    grid = Grid((30, 40, 40), (3.3, 1.0, 1.0))
    contours = [points(grid, k, square(9.5, 29.5)) for k in range(8, 21, 2)]
    rounded = [contour + np.array([0, 0, 0.2]) for contour in contours]
    mask, _ = rasterise(contours, grid, "box")
    np.testing.assert_array_equal(rasterise(rounded, grid, "box")[0], mask)


def test_contours_half_way_between_slices_fill_what_they_enclose():
    grid = Grid((20, 40, 40), (3.3, 1.0, 1.0))
    contours = [points(grid, k + 0.5, square(9.5, 29.5)) for k in range(6, 12)]
    mask, _ = rasterise(contours, grid, "box")
    assert mask.sum() == pytest.approx(400 * 6, rel=0.01)
    assert np.argwhere(mask).mean(axis=0)[0] == pytest.approx(9, abs=1e-9)


def test_damaged_structure_sets(tmp_path):
    contour = points(GRID, 2, square(3, 9))
    path = write_structures(tmp_path / "rs.dcm", [{"name": "GTV", "contours": [contour]}])
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(UserError, match=r"rs\.dcm is damaged"):
        read_structures(path)
    path.write_bytes(whole)
    rewrite(path, lambda data: data.ROIContourSequence[0].ContourSequence[0].ContourData.pop())
    with pytest.raises(UserError, match=r"rs\.dcm is damaged"):
        read_structures(path)
    empty = write_structures(tmp_path / "empty.dcm", [])
    with pytest.raises(UserError, match="holds no structure"):
        read_structures(empty)
    (tmp_path / "no.dcm").write_bytes(b"no")
    with pytest.raises(UserError, match="is damaged"):
        read_structures(tmp_path / "no.dcm")


def test_structures_without_contours_and_contours_without_a_structure_are_told(tmp_path):
    """Whoever chooses sees which are empty, and can choose what nobody has named."""
    drawn = [points(GRID, k, square(4, 12)) for k in range(2, 5)]
    rois = [
        {"name": name, "contours": drawn} for name in ("GTV", "Bladder", "Rectum", "Lost", "GTV")
    ]
    rs = write_structures(tmp_path / "RS.dcm", rois)

    def edit(data):
        data.ROIContourSequence[1].ContourSequence = []
        data.ROIContourSequence[4].ContourSequence = []  # one of two of a name
        del data.ROIContourSequence[2], data.StructureSetROISequence[3]

    rewrite(rs, edit)
    (entry,) = scan([tmp_path]).objects
    assert entry.names == ("GTV", "Bladder", "Rectum", "GTV", "Structure 4")
    assert entry.empty == {"Bladder", "Rectum"}
    assert len(entry.frames) == 5
    assert [roi.name for roi in read_structures(rs) if roi.contours] == ["GTV", "Structure 4"]


@pytest.mark.parametrize("series", ["CT", "MR_T1"])
def test_real_set_that_names_slices_which_do_not_exist(test_data, series):
    """Dice 1.0 against the published mask, on the CT's grid and on the MR's."""
    folder = test_data / "sts" / "dicom_STS_025" / series
    image = from_image(read_image(folder / "image"))
    published = from_image(read_image(test_data / "sts" / "cases" / "STS_025" / "gtv.nii.gz"))
    (path,) = (folder / "mask").iterdir()
    (roi,) = read_structures(path)
    mask, note = rasterise(roi.contours, image.grid, roi.name)
    first = np.rint(image.grid.to_index(published.grid.to_patient(np.zeros(3)))).astype(int)
    part = tuple(slice(a, a + n) for a, n in zip(first, published.grid.shape, strict=True))
    expected = np.zeros(image.grid.shape, bool)
    expected[part] = published.array > 0
    assert dice(mask, expected) == 1.0
    assert note == ""


def test_real_oblique_mr_in_two_grids(test_data):
    """T1 and T2 have grids of their own; a contour drawn on one is the same on the other."""
    folder = test_data / "mr_raw_STS_001"
    image = from_image(read_image(folder / "MR_T1" / "image"))
    masks = {}
    for series in ("MR_T1", "MR_T2"):
        (path,) = (folder / series / "mask").iterdir()
        mass, edema = read_structures(path)
        assert (mass.name, edema.name) == ("GTV_Mass", "GTV_Edema")
        masks[series] = rasterise(mass.contours, image.grid, mass.name)[0]
    result = evaluate(masks["MR_T1"].astype(np.uint8), masks["MR_T2"].astype(np.uint8), image.grid)
    scores = result.as_dict()["mean"]
    assert scores["dsc"] > 0.99
    assert masks["MR_T1"].sum() * image.grid.voxel_ml == pytest.approx(364.8, abs=0.5)


def test_segments_lie_where_the_image_says(tmp_path):
    array = np.random.default_rng(0).integers(-100, 100, GRID.shape).astype(np.int16)
    paths = write_slices(tmp_path / "S", array, GRID)
    masks = np.zeros((*GRID.shape, 2), np.uint8)
    masks[2:5, 5:12, 8:20, 0] = 1
    masks[3:4, 7:9, 9:11, 1] = 1  # overlaps the first
    description = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Neoplasm,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
            display_color=highdicom.color.CIELabColor.from_rgb(0, 158, 115),
        )
        for number, label in ((1, "GTV"), (2, "Core"))
    ]
    highdicom.seg.Segmentation(
        source_images=[pydicom.dcmread(path) for path in paths],
        pixel_array=masks,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=description,
        series_instance_uid=uid("seg"),
        series_number=2,
        sop_instance_uid=uid("seg", 1),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
    ).save_as(tmp_path / "seg.dcm")
    gtv, core = read_segments(tmp_path / "seg.dcm")
    assert (gtv.name, core.name, gtv.color) == ("GTV", "Core", "#009e73")
    np.testing.assert_array_equal(gtv.on(GRID), masks[..., 0] == 1)
    np.testing.assert_array_equal(core.on(GRID), masks[..., 1] == 1)
    shifted = np.eye(4)
    shifted[:3, 3] = GRID.matrix[:, 0] * 2 * GRID.spacing[2]  # two voxels along a row
    np.testing.assert_array_equal(gtv.on(GRID, shifted), np.roll(masks[..., 0] == 1, -2, axis=2))
    with pytest.raises(UserError, match="GTV lies outside the image"):
        gtv.on(Grid(GRID.shape, GRID.spacing, (900.0, 0.0, 0.0)))


@pytest.mark.parametrize("background", [True, False])
def test_segments_of_a_label_map(tmp_path, background):
    """LABELMAP (Sup 243); counted by hand."""
    array = np.random.default_rng(0).integers(-100, 100, GRID.shape).astype(np.int16)
    paths = write_slices(tmp_path / "S", array, GRID)
    labels = np.zeros(GRID.shape, np.uint8)
    labels[1:4, 5:9, 6:12], labels[4:6, 5:9, 6:12] = 1, 2
    order = np.argsort([pydicom.dcmread(path).InstanceNumber for path in paths])
    described = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in ((1, "A"), (2, "B"))
    ]
    made = highdicom.seg.Segmentation(
        [pydicom.dcmread(paths[k]) for k in order],
        labels,
        "LABELMAP",
        described,
        uid("seg series"),
        1,
        uid("seg"),
        1,
        "maker",
        "model",
        "1",
        "1",
    )
    if not background:
        del made.SegmentSequence[0]
    made.save_as(tmp_path / "seg.dcm")
    found = read_segments(tmp_path / "seg.dcm")
    assert [segment.name for segment in found] == ["A", "B"]
    for segment in found:
        np.testing.assert_array_equal(segment.on(GRID), labels == segment.number)
    if background:
        (entry,) = scan([tmp_path]).objects
        assert entry.names == ("A", "B")


def test_no_segmentation(tmp_path):
    array = np.ones(GRID.shape, np.int16)
    path = write_slices(tmp_path / "S", array, GRID)[0]
    with pytest.raises(UserError, match="cannot be read as a DICOM segmentation"):
        read_segments(path)


def rigid(x, y, z, shift):
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(rotation(x, y, z)).reshape(3, 3)
    matrix[:3, 3] = shift
    return matrix


def test_a_registration_takes_ct_points_to_mr_points(tmp_path):
    """Two items into a third frame, one of them as two matrices in a row."""
    a, b, c = rigid(3, 0, 9, (1, 2, 3)), rigid(0, 20, 0, (-5, 0, 0)), rigid(0, 0, 0, (7, 8, 9))
    path = write_registration(tmp_path / "reg.dcm", [("ct", [a, b]), ("mr", [c])], to="atlas")
    found = read_registration(path)
    matrix = found.between(uid("frame", "ct"), uid("frame", "mr"))
    point = np.array([10.0, -20.0, 30.0, 1.0])
    in_atlas = a @ (b @ point)
    np.testing.assert_allclose((matrix @ point)[:3], in_atlas[:3] - (7, 8, 9))
    assert found.between(uid("frame", "ct"), "1.2.3") is None


def test_the_registered_frame_itself_needs_no_item(tmp_path):
    move = rigid(0, 0, 5, (4, 0, 0))
    found = read_registration(write_registration(tmp_path / "r.dcm", [("mr", [move])], to="ct"))
    matrix = found.between(uid("frame", "ct"), uid("frame", "mr"))
    np.testing.assert_allclose(matrix, np.linalg.inv(move))


def test_registrations_that_bend(tmp_path):
    path = write_registration(tmp_path / "r.dcm", [("mr", [np.diag([1.1, 1, 1, 1])])], to="ct")
    with pytest.raises(UserError, match="not rigid"):
        read_registration(path)
    path = write_registration(tmp_path / "none.dcm", [], to="ct")
    with pytest.raises(UserError, match="a rigid one is needed"):
        read_registration(path)
