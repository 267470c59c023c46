"""Which bits of a word count, and which values are padding: by the standard's arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.uid import JPEGLSLossless

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.body import body_mask
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.series.scan import scan
from cmfnet_napari.core.images.volume import Volume, from_image, read_image
from tests.dicom_files import rewrite, write_enhanced, write_slices

GRID = Grid((5, 40, 44), (3.0, 2.0, 2.0), (0.0, 0.0, 0.0))
Y, X = np.indices(GRID.shape[1:])
FAR = (Y - 19.5) ** 2 + (X - 21.5) ** 2  # squared, in voxels, from the middle
NOISE = np.random.default_rng(2).integers(-5, 6, GRID.shape)
HU = np.where(FAR < 12**2, 40, -1000) + NOISE  # a body in air
OUTSIDE = FAR > 18.5**2


def hu(folder):
    return from_image(read_image(folder)).array


@pytest.mark.parametrize(
    ("allocated", "bits", "high", "signed"),
    [(16, 12, 15, 0), (16, 12, 15, 1), (16, 12, 13, 0), (16, 15, 15, 1), (32, 16, 31, 1)],
)
def test_values_in_the_upper_bits(tmp_path, allocated, bits, high, signed):
    stored = HU + (0 if signed else 1024)
    rubbish = np.random.default_rng(3).integers(0, 1 << (high + 1 - bits), GRID.shape)
    words = ((stored & ((1 << bits) - 1)) << (high + 1 - bits)) | rubbish

    def edit(k, data):
        data.BitsAllocated, data.BitsStored, data.HighBit = allocated, bits, high
        data.PixelRepresentation, data.RescaleIntercept = signed, 0 if signed else -1024
        data.PixelData = words[k].astype(f"<u{allocated // 8}").tobytes()

    write_slices(tmp_path / "S", HU.astype(np.int16), GRID, edit=edit)
    np.testing.assert_array_equal(hu(tmp_path / "S"), HU)


@pytest.mark.parametrize("signed", [0, 1])
def test_rubbish_above_the_bits_stored_is_masked(tmp_path, signed):
    stored = HU + (0 if signed else 1024)
    rubbish = np.random.default_rng(4).integers(0, 16, GRID.shape) << 12

    def edit(k, data):
        data.BitsStored, data.HighBit, data.PixelRepresentation = 12, 11, signed
        data.RescaleIntercept = 0 if signed else -1024
        data.PixelData = ((stored[k] & 0xFFF) | rubbish[k]).astype("<u2").tobytes()

    write_slices(tmp_path / "S", HU.astype(np.int16), GRID, edit=edit)
    np.testing.assert_array_equal(hu(tmp_path / "S"), HU)


def test_upper_bits_in_frames(tmp_path):
    frames = [
        (HU[k] + 1024 << 4, (0.0, 0.0, 3.0 * k), {"intercept": -1024}) for k in range(GRID.shape[0])
    ]
    path = write_enhanced(tmp_path / "e.dcm", frames, GRID)
    rewrite(path, lambda data: setattr(data, "BitsStored", 12))
    np.testing.assert_array_equal(hu(path), HU)


@pytest.mark.parametrize("change", ["packed", "table"])
def test_what_is_not_known_is_refused(tmp_path, change):
    def edit(_k, data):
        if change == "packed":
            data.BitsStored = 12
        else:
            data.ModalityLUTSequence = [type(data)()]

    paths = write_slices(tmp_path / "S", np.abs(HU).astype(np.uint16), GRID, edit=edit)
    if change == "packed":
        for path in paths:
            rewrite(path, lambda data: data.compress(JPEGLSLossless, generate_instance_uid=False))
    words = {"packed": "12 bits up to bit 15 of 16, and is packed", "table": r"\(Modality LUT\)"}
    with pytest.raises(UserError, match=words[change]):
        read_image(tmp_path / "S")


@pytest.mark.parametrize(
    ("signed", "padding", "limit", "intercept", "kind"),
    [
        (0, 63536, None, -1024, "US"),
        (1, -2000, None, 0, "SS"),
        (1, -2000, None, -1024, "SS"),
        (0, 63536, None, -1024, "SS"),  # written as -2000
        (0, 65000, 65535, -1024, "US"),  # a range: some voxels lie between
        (0, 65535, 65000, -1024, "US"),  # and the other way round
        (0, 2096, None, -1024, "US"),  # 1072 HU: bone, were it not at the border
    ],
)
def test_padding_is_air(tmp_path, signed, padding, limit, intercept, kind):
    stored = HU - intercept
    between = padding if limit is None else (padding + limit) // 2
    stored = np.where(OUTSIDE, np.where(X % 2, between, padding), stored)
    stored[2, 20, 21] = padding if padding == 2096 else stored[2, 20, 21]  # bone, by chance

    def edit(_k, data):
        data.RescaleIntercept = intercept
        value = padding - 65536 if kind == "SS" and padding > 0 else padding
        data.add_new(0x00280120, kind, value)
        if limit is not None:
            data.add_new(0x00280121, kind, limit)

    kind_of = np.int16 if signed else np.uint16
    write_slices(tmp_path / "S", stored.astype(kind_of), GRID, edit=edit)
    found = hu(tmp_path / "S")
    np.testing.assert_array_equal(found[:, ~OUTSIDE], (stored + intercept)[:, ~OUTSIDE])
    assert -1024 <= found[:, OUTSIDE].min() == found[:, OUTSIDE].max() <= -1000
    share = (FAR < 12**2).mean()
    assert body_mask(Volume(found, GRID, "CT")).mean() == pytest.approx(share, abs=0.03)


def test_padding_that_means_nothing_takes_no_water(tmp_path):
    write_slices(
        tmp_path / "S",
        HU.astype(np.int16),
        GRID,
        edit=lambda _k, data: data.add_new(0x00280120, "SS", 40),
    )
    np.testing.assert_array_equal(hu(tmp_path / "S"), HU)


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_padding_of_an_mr_is_its_lowest_value(tmp_path, photometric):
    stored = np.where(OUTSIDE, 65535, HU + 1100)

    def edit(_k, data):
        data.add_new(0x00280120, "US", 65535)
        data.PhotometricInterpretation = photometric

    write_slices(tmp_path / "S", stored.astype(np.uint16), GRID, "MR", edit)
    found = hu(tmp_path / "S").astype(int)
    rest = (HU + 1100)[:, ~OUTSIDE]
    if photometric == "MONOCHROME2":
        np.testing.assert_array_equal(found[:, ~OUTSIDE], rest)
        assert (found[:, OUTSIDE] == rest.min()).all()
    else:
        assert np.ptp(found[:, ~OUTSIDE] + rest) == 0
    assert found.max() < 2000


def test_padding_of_frames(tmp_path):
    stored = np.where(OUTSIDE, 65535, HU + 1100)
    frames = [(p, (0.0, 0.0, 3.0 * k), {}) for k, p in enumerate(stored)]
    path = write_enhanced(tmp_path / "e.dcm", frames, GRID)
    rewrite(path, lambda data: data.add_new(0x00280120, "US", 65535))
    assert hu(path).max() == 1100 + HU.max()
    assert scan([path]).images[0].stack.slices[0].padding == (65535, 65535)
