"""Metrics against answers by hand, the slow way, and a published case."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.distance import cdist

from cmfnet_napari.core.contours.metrics import evaluate
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.grid import Grid

GRID = Grid((12, 20, 16), (3.0, 1.0, 0.5))


def mask(*region):
    array = np.zeros(GRID.shape, np.uint8)
    array[region] = 1
    return array


def scores(a, b, **options):
    return evaluate(a, b, GRID, **options).mean


def test_two_voxels_apart_along_z():
    result = scores(mask(4, 7, 8), mask(6, 7, 8))
    assert result.dsc == 0
    assert result.asd_mm == result.hd_mm == result.hd95_mm == pytest.approx(6.0)
    assert result.surface_dsc == 0
    assert result.volume_ml == result.reference_ml == pytest.approx(0.0015)
    assert result.volume_difference == 0


def test_a_box_moved_by_one_slice():
    box = mask(slice(3, 7), slice(5, 9), slice(4, 8))
    moved = mask(slice(4, 8), slice(5, 9), slice(4, 8))

    result = scores(box, moved, tolerance_mm=1.0)

    assert result.dsc == pytest.approx(0.75)
    # A 4×4×4 box has 56 surface voxels. 12 walls' voxels a slice: those of the 3 shared slices
    # lie on the other surface, but for the 4 inner ones of an end slice in the other's inside.
    assert result.hd_mm == pytest.approx(3.0)
    a, b = (
        np.argwhere(m & ~ndimage.binary_erosion(m)) * GRID.spacing for m in (box > 0, moved > 0)
    )
    both = np.r_[cdist(a, b).min(1), cdist(b, a).min(1)]
    assert result.asd_mm == pytest.approx(both.mean())
    assert result.surface_dsc == pytest.approx((both <= 1.0).mean())


def test_blobs_the_slow_way():
    rng = np.random.default_rng(5)
    a, b = (ndimage.gaussian_filter(rng.normal(size=GRID.shape), 2) > 0.02 for _ in range(2))
    a[0] = b[0] = a[:, 0] = b[:, 0] = a[:, :, 0] = b[:, :, 0] = False
    a[-1] = b[-1] = a[:, -1] = b[:, -1] = a[:, :, -1] = b[:, :, -1] = False
    pa, pb = (np.argwhere(m & ~ndimage.binary_erosion(m)) * GRID.spacing for m in (a, b))
    ab, ba = cdist(pa, pb).min(1), cdist(pb, pa).min(1)

    result = scores(a, b, tolerance_mm=1.1)

    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(GRID.to_image(a), GRID.to_image(b))
    assert result.dsc == pytest.approx(overlap.GetDiceCoefficient())
    assert result.asd_mm == pytest.approx(np.r_[ab, ba].mean())
    assert result.hd_mm == pytest.approx(max(ab.max(), ba.max()))
    assert result.hd95_mm == pytest.approx(max(np.percentile(ab, 95), np.percentile(ba, 95)))
    assert result.surface_dsc == pytest.approx((np.r_[ab, ba] <= 1.1).mean())
    assert result.volume_difference == pytest.approx((a.sum() - b.sum()) / b.sum())


def test_where_the_image_ends_is_no_surface():
    whole = mask(slice(0, 6), slice(3, 17), slice(3, 13))
    thin = mask(slice(0, 6), slice(5, 15), slice(3, 13))
    # only walls 2 mm apart, their edges, and the top; nothing at the image's bottom slice
    upside = scores(whole, thin)
    assert upside.hd_mm == pytest.approx(2.0)
    same = scores(whole, whole)
    assert (same.asd_mm, same.surface_dsc, same.dsc) == (0.0, 1.0, 1.0)
    full = np.ones(GRID.shape, np.uint8)
    assert scores(full, full).asd_mm == 0.0


def test_perfect_but_for_one_far_voxel():
    reference = mask(slice(2, 9), slice(4, 14), slice(4, 12))
    outlier = reference.copy()
    outlier[5, 19, 8] = 1
    result = scores(outlier, reference)
    assert result.hd_mm == pytest.approx(6.0)  # from row 19 to row 13
    assert result.hd95_mm == 0.0


@pytest.mark.parametrize(
    ("a", "b", "dsc", "difference"), [(1, 0, 0.0, None), (0, 1, 0.0, -1.0), (0, 0, 1.0, None)]
)
def test_empty_sides_are_defined(a, b, dsc, difference):
    box = mask(slice(3, 7), slice(5, 9), slice(4, 8))
    result = evaluate(box * a, box * b, GRID)

    assert list(result.classes) == ["class 1"]
    assert result.mean.dsc == result.mean.surface_dsc == dsc
    assert result.mean.asd_mm is result.mean.hd95_mm is result.mean.hd_mm is None
    assert result.mean.volume_difference == difference
    text = json.dumps(result.as_dict(), allow_nan=False)
    assert json.loads(text)["classes"]["class 1"]["asd_mm"] is None


def test_classes_and_their_mean():
    reference = mask(slice(2, 6), slice(2, 8), slice(2, 8))
    reference[8:10, 2:6, 2:6] = 2
    reference[8:10, 12:16, 2:6] = 4
    prediction = reference.copy()
    prediction[reference == 2] = 0
    prediction[3, 3, 3] = 3

    result = evaluate(prediction, reference, GRID, ["Tumour", "Oedema", "Node"])

    assert list(result.classes) == ["Tumour", "Oedema", "Node", "class 4"]
    dsc = [row.dsc for row in result.classes.values()]
    assert dsc == [pytest.approx(2 * 143 / 287), 0.0, 0.0, 1.0]
    assert result.mean.dsc == pytest.approx(np.mean(dsc))
    assert result.classes["Oedema"].asd_mm is None
    distances = [result.classes[name].asd_mm for name in ("Tumour", "class 4")]
    assert result.mean.asd_mm == pytest.approx(np.mean(distances))


def test_two_classes_of_one_name_are_told_apart():
    both = mask(2, 3, 4)
    both[8, 8, 8] = 2
    result = evaluate(both, both, GRID, ["Node", "Node"])
    assert list(result.classes) == ["Node (1)", "Node (2)"]


def test_tolerance_is_kept_with_the_figures():
    assert evaluate(mask(1, 1, 1), mask(1, 1, 1), GRID, tolerance_mm=3.5).tolerance_mm == 3.5


def test_other_shapes_are_refused():
    with pytest.raises(UserError, match="16×20×12 voxels and the reference 3×4×5"):
        evaluate(mask(1, 1, 1), np.zeros((5, 4, 3), np.uint8), GRID)


def test_golden_case_of_chaos(test_data):
    def stack(name):
        files = sorted((test_data / "chaos_golden" / name).glob("*.png"))
        assert len(files) == 78
        image = sitk.ReadImage([str(file) for file in files])
        return sitk.GetArrayFromImage(image)[::-1] > 0  # files run from the top down

    segmentation, reference = stack("Segmentation"), stack("Ground")
    result = evaluate(segmentation, reference, Grid((78, 512, 512), (2.0, 0.727, 0.727))).mean

    assert round(result.dsc, 3) == 0.978
    assert round(100 * abs(result.volume_difference), 3) == 0.665
    assert round(result.asd_mm, 3) == 0.734
    assert round(result.hd_mm, 3) == 14
