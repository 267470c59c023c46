"""The examples run."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import SimpleITK as sitk

import cmfnet_napari as cmfnet
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.samples import phantom
from cmfnet_napari.core.samples.phantom import Phantom


@pytest.fixture
def example(root: Path) -> ModuleType:
    path = root / "examples" / "fit_a_patient.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_fit_a_patient_writes_a_contour_on_the_cts_grid(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synthetic: Phantom
) -> None:
    def two_steps(preset: str, **changes: object) -> Config:
        small = {"steps": 2, "width": 2, "spacing": 4.0, "preview_seconds": 3600.0}
        return as_it_is(preset, **{**changes, **small})

    as_it_is = cmfnet.make_config
    monkeypatch.setattr("cmfnet_napari.api.make_config", two_steps)
    monkeypatch.setattr(phantom, "make_phantom", lambda seed: synthetic)
    example.main(tmp_path / "out", [])
    ct = sitk.ReadImage(str(tmp_path / "out" / "ct.nii.gz"))
    contour = sitk.ReadImage(str(tmp_path / "out" / "contour.nrrd"))
    assert contour.GetSize() == ct.GetSize()
    for ours, theirs in (
        (contour.GetOrigin(), ct.GetOrigin()),
        (contour.GetSpacing(), ct.GetSpacing()),
        (contour.GetDirection(), ct.GetDirection()),
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert set(np.unique(sitk.GetArrayFromImage(contour))) <= {0, 1}


def test_the_public_face_is_all_it_imports(root: Path) -> None:
    tree = ast.parse((root / "examples" / "fit_a_patient.py").read_text(encoding="utf-8"))
    named = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    ours = [ast.unparse(node) for node in named if "cmfnet" in ast.unparse(node)]
    assert ours == ["import cmfnet_napari as cmfnet"]
