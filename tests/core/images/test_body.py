"""The patient without air and couch, whole or cut by the image's border."""

import numpy as np
import pytest

from cmfnet_napari.core.images.body import body_mask
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.volume import Volume

SPACING = (3.0, 1.1, 1.4)


def places(shape):
    return np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, SPACING, strict=True)],
                       indexing="ij")  # fmt: skip


def scan(body, shape):
    hu = np.where(body, 40, -1000).astype(np.int16)
    return Volume(hu, Grid(shape, SPACING), "CT")


def share_wrong(found, truth):
    return (found != truth).sum() / truth.sum()


def test_couch_and_air_are_left_out_lung_is_not():
    shape = (9, 90, 80)
    _, y, x = places(shape)
    trunk = ((y - 45) / 34) ** 2 + ((x - 55) / 45) ** 2 < 1
    lung = np.hypot(y - 40, x - 50) < 9
    ct = scan(trunk & ~lung, shape)
    ct.array[:, (y[0, :, 0] > 84) & (y[0, :, 0] < 88)] = 0  # couch top, a pad below the skin
    ct.array[:, 5:8, 4:7] = 60  # a tube beside

    found = body_mask(ct)

    assert share_wrong(found, trunk) < 0.06
    assert not found[:, y[0, :, 0] > 84].any()
    assert found[lung].all()


def test_couch_that_touches_is_cut_off():
    shape = (7, 90, 80)
    _, y, x = places(shape)
    trunk = ((y - 45) / 34) ** 2 + ((x - 55) / 45) ** 2 < 1
    plate = (y > 78) & (y < 81)
    ct = scan(trunk | plate, shape)

    found = body_mask(ct)

    assert found[trunk].mean() > 0.96
    assert found[plate & (np.abs(x - 55) > 35)].mean() < 0.02


def test_crop_whose_body_reaches_the_border():
    shape = (8, 50, 60)
    _, y, x = places(shape)
    thigh = np.hypot(y - 10, x - 0) < 40  # its middle is outside the image

    found = body_mask(scan(thigh, shape))

    assert share_wrong(found, thigh) < 0.04
    assert found[:, 0, 0].all()
    assert found[0].any()
    assert found[-1].any()


@pytest.mark.parametrize(("value", "expected"), [(40, True), (-1000, False)])
def test_all_body_or_none(value, expected):
    shape = (3, 2, 5)
    found = body_mask(Volume(np.full(shape, value, np.int16), Grid(shape, SPACING), "CT"))
    assert found.shape == shape
    assert (found == expected).all()


def test_real_crops(test_data):
    from cmfnet_napari.core.images.volume import read_volume

    for case in ("STS_015", "STS_042"):
        folder = test_data / "sts" / "cases" / case
        ct = read_volume(folder / "ct.nii.gz", "CT")
        gtv = read_volume(folder / "gtv.nii.gz", "").array > 0
        found = body_mask(ct)
        assert found[gtv].mean() > 0.99
        assert found[ct.array < -900].mean() < 0.05
        assert found[(ct.array > -150) & (ct.array < 200)].mean() > 0.97
