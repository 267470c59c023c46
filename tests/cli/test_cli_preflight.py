"""`cmfnet fit` says what speaks against it, and begins all the same."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.cli import main as cli
from cmfnet_napari.core.errors import UserError


@pytest.fixture
def fit(tmp_path, monkeypatch, capsys):
    """Run `cmfnet fit` on a block of tissue up to where training would begin; its stderr."""

    def refuse(*_args, **_more):
        raise UserError("Training began.")

    def run(scribbles):
        monkeypatch.setattr("cmfnet_napari.learning.fit.start.fit", refuse)
        ct = np.full(scribbles.shape, -1000, np.int16)
        ct[:, 5:25, 5:25] = 40
        for name, array in (("ct", ct), ("scribbles", scribbles)):
            sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f"{name}.nii"))
        paths = tmp_path / "ct.nii", "--scribbles", tmp_path / "scribbles.nii"
        words = ["cmfnet", "fit", *paths, "--out", tmp_path / "run", "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        assert exit_.value.code == 1
        return capsys.readouterr().err.strip().splitlines()

    return run


def test_warnings_are_lines_on_stderr_and_do_not_block(fit):
    scribbles = np.zeros((10, 30, 30), np.uint8)
    scribbles[2:6, 10:14, 10:14] = 2
    scribbles[2:6, 10:14, 26:29] = 2  # 48 of 112 in air
    scribbles[4, 8:20, 18:22] = 1
    slice_, air, began = fit(scribbles)
    assert slice_.startswith("cmfnet: warning: All strokes of Background are in one axial slice")
    assert air.startswith("cmfnet: warning: 48 of 112 stroke voxels of Tumour are in air")
    assert began == "cmfnet: Training began."


def test_nothing_is_added_when_the_fit_cannot_begin(fit):
    scribbles = np.zeros((10, 30, 30), np.uint8)
    scribbles[2:6, 10:14, 10:14] = 2
    assert fit(scribbles) == ["cmfnet: Training began."]  # which would refuse: no background
