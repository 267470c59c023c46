"""What a script may rely on: the names, what they say of themselves, and that they work."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

import cmfnet_napari as cmfnet
from cmfnet_napari import api
from cmfnet_napari.cli import file_commands, fitting
from cmfnet_napari.core.samples import phantom
from cmfnet_napari.core.samples.phantom import Phantom

FUNCTIONS = [name for name in cmfnet.__all__ if name != "UserError"]
ISSUE_20 = {
    "open_study", "load_scribbles", "fit", "predict", "evaluate", "scribble", "export_rtstruct",
    "make_config",
}  # fmt: skip

HEAVY = """
import json, sys

def heavy(*names):
    return [name for name in names if name in sys.modules]

began = set(sys.modules)
import cmfnet_napari as cmfnet
by_import = sorted(set(sys.modules) - began - {"cmfnet_napari"})
assert set(cmfnet.__all__) <= set(dir(cmfnet))
by_dir = sorted(set(sys.modules) - began - {"cmfnet_napari"})
cmfnet.fit
by_name = heavy("numpy", "torch", "SimpleITK")
study = cmfnet.open_study(f"{FOLDER}/ct.nii.gz", f"{FOLDER}/mr.nii.gz")
strokes = cmfnet.load_scribbles(f"{FOLDER}/scribbles.nii.gz", study)
cmfnet.make_config("quick", minutes=1.0)
cmfnet.evaluate(strokes, strokes, study)
by_use = heavy("torch", "monai", "napari", "qtpy")
print(json.dumps([by_import, by_dir, by_name, by_use]))
"""


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory, synthetic: Phantom) -> dict[str, Path]:
    """The synthetic patient's files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantom, "make_phantom", lambda seed: synthetic)
        return cmfnet.sample_patient(tmp_path_factory.mktemp("sample") / "patient")


def test_the_names() -> None:
    assert set(FUNCTIONS) >= ISSUE_20
    assert sorted(cmfnet.__all__) == cmfnet.__all__
    for name in cmfnet.__all__:
        assert getattr(cmfnet, name) is getattr(api, name)
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        _ = cmfnet.train


def test_type_checkers_see_the_same_names(root: Path) -> None:
    tree = ast.parse((root / "cmfnet_napari" / "__init__.py").read_text(encoding="utf-8"))
    (shown,) = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    assert shown.module == "cmfnet_napari.api"
    assert [alias.name for alias in shown.names] == cmfnet.__all__


def test_nothing_is_imported_before_it_is_needed(patient: dict[str, Path], run_python) -> None:
    code = f"FOLDER = {str(patient['ct'].parent)!r}\n{HEAVY}"
    by_import, by_dir, by_name, by_use = json.loads(run_python(sys.executable, code))
    assert (by_import, by_dir, by_name, by_use) == ([], [], [], [])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_says_what_it_takes_gives_and_refuses(name: str) -> None:
    function = getattr(cmfnet, name)
    text = inspect.getdoc(function)
    sections = re.split(r"\n\n?(Parameters|Returns|Raises)\n-+\n", text)
    assert sections[1::2] == ["Parameters", "Returns", "Raises"]
    documented = [
        part.strip(" *")
        for line in re.findall(r"^(\S[^\n]*?)(?: :.*)?$", sections[2], re.MULTILINE)
        for part in line.split(",")
    ]
    assert documented == list(inspect.signature(function).parameters)
    for what in re.findall(r"^(\S+)$", sections[6], re.MULTILINE):
        assert what in ("UserError", "TypeError")


def test_command_line_has_the_same_defaults() -> None:
    def defaults(function, **renamed: str) -> dict:
        found = inspect.signature(function).parameters.values()
        return {renamed.get(p.name, p.name): p.default for p in found}

    ours = defaults(cmfnet.scribble)
    theirs = defaults(
        file_commands.scribble, coverage="coverage_percent", class_coverage="class_coverage_percent"
    )
    same = set(ours) & set(theirs) - {"classes"}  # there in words
    assert len(same) == 6
    assert {k: ours[k] for k in same} == {k: theirs[k] for k in same}
    pairs = [
        (cmfnet.evaluate, file_commands.evaluate, {"tolerance_mm"}),
        (cmfnet.make_config, fitting.fit, {"preset"}),
        (cmfnet.fit, fitting.fit, {"device", "base"}),
        (cmfnet.predict, fitting.predict, {"device", "memory_gib"}),
        (cmfnet.export_rtstruct, file_commands.export, {"model", "series", "overwrite", "add_to"}),
    ]
    for function, command, names in pairs:
        ours, theirs = defaults(function), defaults(command)
        assert {k: ours[k] for k in names} == {k: theirs[k] for k in names}


@pytest.mark.slow
def test_from_the_files_to_the_clinic(
    patient: dict[str, Path], tmp_path: Path, write_series
) -> None:
    series = write_series(sitk.ReadImage(str(patient["ct"])), tmp_path / "dicom")
    for file in series.iterdir():
        header = pydicom.dcmread(file)
        header.FrameOfReferenceUID = f"{header.SeriesInstanceUID}.1"
        header.save_as(file)
    study = cmfnet.open_study(series, patient["mr"])
    truth = cmfnet.load_labels(patient["truth"], study)
    drawn = cmfnet.load_scribbles(patient["scribbles"], study)
    assert truth.shape == drawn.shape == study.grid.shape
    assert drawn.dtype == np.uint8

    strokes = cmfnet.scribble(truth, study, margin_mm=6.0, classes=None, class_margin_mm=3.0)
    assert set(np.unique(strokes)) == {0, 1, 2}
    assert not (strokes == 1)[truth == 1].any()

    quickly = {"steps": 2, "width": 2, "stroke_maps": False, "guide": 0.0, "keep_marked": False}
    config = cmfnet.make_config("quick", **quickly)
    seen = []
    done = cmfnet.fit(
        study, strokes, tmp_path / "run", config, names=["GTV"], on_event=lambda e: seen.append(e)
    )
    assert done.steps == 2
    assert {"started", "step", "finished"} <= {event.event for event in seen}
    assert set(done.volumes_ml) == {"GTV"}
    for file in (done.model, done.prediction, done.probabilities):
        assert file.is_file()

    again = cmfnet.predict(done.run, study)
    np.testing.assert_array_equal(again.labels, cmfnet.load_labels(done.prediction, study))
    assert again.probability.dtype == np.float32
    assert again.disagreement is None

    scores = cmfnet.evaluate(again.labels, truth, study, names=["GTV"])
    saved = cmfnet.save_labels(again.labels, study, tmp_path / "contour.nii.gz")
    by_files = cmfnet.evaluate(saved, cmfnet.save_labels(truth, study, tmp_path / "truth.nrrd"))
    assert by_files.mean == scores.mean
    assert 0.0 <= scores.classes["GTV"].dsc <= 1.0
    assert scores.mean.reference_ml == pytest.approx(truth.sum() * study.grid.voxel_ml)

    receipt = cmfnet.export_rtstruct(truth, series, tmp_path / "gtv.dcm", study, names=["Lump"])
    assert receipt.ok
    written = pydicom.dcmread(tmp_path / "gtv.dcm")
    assert [roi.ROIName for roi in written.StructureSetROISequence] == ["Lump"]


def test_a_fit_that_was_left_goes_on(patient: dict[str, Path], tmp_path: Path) -> None:
    study = cmfnet.open_study(patient["ct"])
    config = cmfnet.make_config("quick", steps=2, width=2, stroke_maps=False, guide=0.0)
    words = (study, patient["scribbles"], tmp_path / "run", config)
    assert cmfnet.fit(*words, request=lambda: "quit") is None
    done = cmfnet.fit(*words)
    assert done.steps == 2
    with pytest.raises(cmfnet.UserError, match="already holds something"):
        cmfnet.fit(*words)


def test_wrong_use_is_said(patient: dict[str, Path], tmp_path: Path) -> None:
    study = cmfnet.open_study(patient["ct"])
    small = np.zeros((2, 3, 4), np.uint8)
    with pytest.raises(cmfnet.UserError, match=r"shape \(2, 3, 4\)"):
        cmfnet.scribble(small, study)
    with pytest.raises(cmfnet.UserError, match="shape"):
        cmfnet.fit(study, small, tmp_path / "run")
    with pytest.raises(TypeError, match="study"):
        cmfnet.evaluate(small, small)
    with pytest.raises(TypeError, match="study"):
        cmfnet.export_rtstruct(small, tmp_path, tmp_path / "a.dcm")
    with pytest.raises(cmfnet.UserError, match="learning_rat"):
        cmfnet.make_config("quick", learning_rat=1.0)
    with pytest.raises(cmfnet.UserError, match="limb-sarcoma"):
        cmfnet.make_config("quick", base="nothing-here")
