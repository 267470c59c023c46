"""Every measure on three golden cases, against MONAI, SimpleITK and the definition written out.

MONAI's and SimpleITK's are other people's code; the third computes every distance between two
surfaces in float64 and walks along every voxel's neighbours. None shares a line with ours.
"""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from scipy.spatial.distance import cdist

from cmfnet_napari.core.contours.metrics import evaluate
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import load_values
from cmfnet_napari.core.images.volume import read_image

TOLERANCE = 2.1  # mm; no distance between voxel centres of the cases is that far
DISTANCES = ("asd_mm", "hd95_mm", "hd_mm", "surface_dsc")


def made_up(_data):
    """Two ellipsoids with a dent on voxels of three different sides."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in (14, 40, 30)), indexing="ij")
    ours = ((z - 6) / 4.2) ** 2 + ((y - 19) / 13) ** 2 + ((x - 14) / 8) ** 2 < 1
    theirs = ((z - 7) / 4.6) ** 2 + ((y - 21) / 12) ** 2 + ((x - 13) / 9) ** 2 < 1
    theirs &= ~((z > 7) & (y > 26))
    return ours, theirs, Grid(ours.shape, (3.0, 0.8, 1.25))


def liver(data):
    """The golden liver of CHAOS, every fourth row and column of the slices in the middle."""

    def stack(name):
        files = sorted((data / "chaos_golden" / name).glob("*.png"))[30:50]
        array = sitk.GetArrayFromImage(sitk.ReadImage([str(file) for file in files]))
        array = array[::-1, ::4, ::4] > 0
        return np.pad(array, ((1, 1), (0, 0), (0, 0)))  # where the image ends programs differ

    ours, theirs = stack("Segmentation"), stack("Ground")
    return ours, theirs, Grid(ours.shape, (2.0, 2.908, 2.908))


def sarcoma(data):
    """The contour of a real tumour, and the same smoothed and moved by a voxel."""
    path = data / "sts" / "cases" / "STS_015" / "gtv.nii.gz"
    grid = Grid.from_image(read_image(path))
    theirs = np.pad(load_values(path, grid) > 0, 2)
    image = sitk.GetImageFromArray(theirs.astype(np.uint8))
    ours = sitk.GetArrayFromImage(sitk.BinaryMedian(image, [2, 2, 1])) > 0
    ours = np.roll(ours, 1, axis=2)
    return ours, theirs, Grid(ours.shape, grid.spacing)


@pytest.fixture(scope="module", params=[made_up, liver, sarcoma], ids=lambda case: case.__name__)
def case(request):
    made = request.param
    data = None if made is made_up else request.getfixturevalue("test_data")
    ours, theirs, grid = made(data)
    return ours, theirs, grid, evaluate(ours, theirs, grid, tolerance_mm=TOLERANCE).mean


def test_as_monai_says(case):
    ours, theirs, grid, scores = case
    a, b = (torch.from_numpy(mask)[None, None].float() for mask in (ours, theirs))
    how = {"include_background": True, "spacing": list(grid.spacing)}
    said = {
        "dsc": compute_dice(a, b),
        "asd_mm": compute_average_surface_distance(a, b, symmetric=True, **how),
        "hd95_mm": compute_hausdorff_distance(a, b, percentile=95, **how),
        "hd_mm": compute_hausdorff_distance(a, b, **how),
        "surface_dsc": compute_surface_dice(a, b, [TOLERANCE], **how),
    }
    for name, value in said.items():
        assert getattr(scores, name) == pytest.approx(float(value), abs=1e-4), name


def test_as_simpleitk_says(case):
    ours, theirs, grid, scores = case
    a, b = (grid.to_image(mask.astype(np.uint8)) for mask in (ours, theirs))
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(a, b)
    assert scores.dsc == pytest.approx(overlap.GetDiceCoefficient())
    one, other = (sitk.LabelContour(mask) for mask in (a, b))
    far = []
    for mine, yours in ((one, other), (other, one)):
        distance = sitk.SignedMaurerDistanceMap(yours, False, False, True)
        distance = np.abs(sitk.GetArrayFromImage(distance))
        far.append(distance[sitk.GetArrayFromImage(mine) > 0])
    both = np.concatenate(far)
    said = (
        both.mean(),
        max(np.percentile(d, 95) for d in far),
        both.max(),
        np.mean(both < TOLERANCE),
    )
    assert [getattr(scores, name) for name in DISTANCES] == pytest.approx(said, abs=1e-4)
    added = whole = 0
    for z in range(ours.shape[0]):
        mine, yours = (sitk.GetArrayFromImage(sitk.LabelContour(mask[:, :, z])) for mask in (a, b))
        added += np.count_nonzero((yours > 0) & (mine == 0))
        whole += np.count_nonzero(yours)
    length = (grid.spacing[1] + grid.spacing[2]) / 2
    assert scores.path_mm == pytest.approx(added * length)
    assert scores.path_share == pytest.approx(added / whole)
    for mask, ml in ((a, scores.volume_ml), (b, scores.reference_ml)):
        shape = sitk.LabelShapeStatisticsImageFilter()
        shape.Execute(mask)
        assert ml == pytest.approx(shape.GetPhysicalSize(1) / 1000)


def test_as_the_definition_says(case):
    ours, theirs, grid, scores = case
    a, b = (surface(mask, 3) * np.array(grid.spacing) for mask in (ours, theirs))
    ab, ba = nearest(a, b), nearest(b, a)
    both = np.concatenate([ab, ba])
    said = (
        both.sum() / both.size,
        max(np.percentile(ab, 95), np.percentile(ba, 95)),
        max(ab.max(), ba.max()),
        (both <= TOLERANCE).sum() / both.size,
    )
    assert [getattr(scores, name) for name in DISTANCES] == pytest.approx(said, abs=1e-9)
    mine, yours = (set(map(tuple, surface(mask, 2).tolist())) for mask in (ours, theirs))
    length = (grid.spacing[1] + grid.spacing[2]) / 2
    assert scores.path_mm == pytest.approx(len(yours - mine) * length)
    assert scores.path_share == pytest.approx(len(yours - mine) / len(yours))
    assert scores.dsc == pytest.approx(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))


def surface(mask, axes):
    """Voxels with a neighbour outside along one of the last so many axes, (n, 3)."""
    inner = mask.copy()
    for axis in range(3 - axes, 3):
        for step in (1, -1):
            inner &= np.roll(mask, step, axis)  # the cases keep clear of the image's ends
    return np.argwhere(mask & ~inner)


def nearest(points, others):
    """Distance of every point to the nearest of the others, float64, all against all."""
    return np.concatenate([cdist(part, others).min(axis=1) for part in np.array_split(points, 64)])
