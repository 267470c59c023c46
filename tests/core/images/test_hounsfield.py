"""A CT that was stored without a sign is recognised, and no other."""

import json
import sys

import numpy as np
import pytest

from cmfnet_napari import api
from cmfnet_napari.cli import main as cli
from cmfnet_napari.core.errors import DataWarning, UserError
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.hounsfield import lacks_offset, subtract
from cmfnet_napari.core.images.volume import read_image, write_image
from cmfnet_napari.learning.material.patient_cubes import open_source

BODY = np.full((12, 40, 48), -1000, np.int16)  # air, soft tissue, fat, bone: Hounsfield units
BODY[:, 4:-4, 5:-5] = 40
BODY[:, 4:8, 5:-5] = -100
BODY[2:6, 20:26, 20:26] = 900
BODY += np.random.default_rng(0).integers(-10, 10, BODY.shape).astype(np.int16)
STORED = np.clip(BODY.astype(int) + 1024, 0, 4095)
INSIDE = (slice(None), slice(10, -10), slice(10, -10))  # no air


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.float32])
def test_recognised(kind):
    assert lacks_offset(STORED.astype(kind))
    assert lacks_offset(STORED.astype(kind)[INSIDE])
    np.testing.assert_array_equal(subtract(STORED.astype(kind), 1024), STORED - 1024.0)


@pytest.mark.parametrize(
    "values",
    [BODY, BODY[INSIDE], np.maximum(BODY, -500), BODY.clip(-200, 300)],
)
def test_hounsfield_units_are_left_alone(values):
    assert not lacks_offset(values)


def test_real_patients_have_hounsfield_units(test_data):
    for number in ("007", "025", "041"):
        path = test_data / "sts" / "cases" / f"STS_{number}" / "ct.nii.gz"
        values = api.open_study(path).first.array
        assert not lacks_offset(values)
        assert lacks_offset(np.clip(values.astype(int) + 1024, 0, 4095))


def test_said_and_subtracted(tmp_path, capsys, monkeypatch):
    grid = Grid(BODY.shape, (3.0, 1.0, 1.0))
    write_image(grid.to_image(STORED.astype(np.uint16)), tmp_path / "ct.nii.gz")
    with pytest.warns(DataWarning, match="no Hounsfield units: .*--subtract 1024"):
        api.open_study(tmp_path / "ct.nii.gz")
    study = api.open_study(tmp_path / "ct.nii.gz", subtract=1024)
    assert study.first.array.dtype == np.int16
    assert study.first.array.min() == STORED.min() - 1024
    for more, notes in (((), 1), (("--subtract", "1024"), 0)):
        case = str(tmp_path / f"case{notes}")
        words = ["cmfnet", "import", str(tmp_path / "ct.nii.gz"), "--case", case, "--json", *more]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit):
            cli.main()
        captured = capsys.readouterr()
        assert len(json.loads(captured.out)["notes"]) == captured.err.count("Hounsfield") == notes
    assert read_image(tmp_path / "case0" / "study" / "ct.nrrd")[0, 0, 0] < 0


@pytest.mark.parametrize("offset", [np.nan, np.inf, -np.inf, 1e30, 10_001])
def test_what_is_no_offset_is_refused(tmp_path, offset):
    grid = Grid(STORED.shape, (3.0, 1.0, 1.0))
    write_image(grid.to_image(STORED.astype(np.uint16)), tmp_path / "ct.nii.gz")
    with pytest.raises(UserError, match="cannot be subtracted"):
        api.open_study(tmp_path / "ct.nii.gz", subtract=offset)


def test_nothing_is_subtracted_from_what_is_no_ct(tmp_path):
    grid = Grid(STORED.shape, (3.0, 1.0, 1.0))
    write_image(grid.to_image(STORED.astype(np.uint16)), tmp_path / "t1.nii.gz")
    with pytest.raises(UserError, match="from a CT alone, and the first image is MR"):
        api.open_study(tmp_path / "t1.nii.gz", subtract=1024, modalities=["MR"])


def test_a_ct_without_units_is_said_where_many_are_read(tmp_path):
    grid = Grid(STORED.shape, (3.0, 1.0, 1.0))
    write_image(grid.to_image(STORED.astype(np.uint16)), tmp_path / "ct.nii.gz")
    with pytest.warns(DataWarning, match="The CT has no Hounsfield units; subtract 1024"):
        open_source(tmp_path / "ct.nii.gz", None, None, ("CT", ""))
