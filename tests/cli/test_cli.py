"""The command line as a script meets it: exit status, stderr in one line, JSON last."""

import json
import os
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from typer import BadParameter
from typer.main import get_command
from typer.testing import CliRunner

from cmfnet_napari.cli import main as cli
from cmfnet_napari.cli.options import second_image
from cmfnet_napari.core.dicom.export.formats import FORMATS
from cmfnet_napari.core.fit.config import PRESETS
from cmfnet_napari.core.samples import phantom
from tests.learning.conftest import ball  # noqa: F401

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def run(capsys, *words):
    """Exit status, stdout and stderr of a command."""
    import sys

    sys.argv = ["cmfnet", *map(str, words)]
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    captured = capsys.readouterr()
    return exit_.value.code or 0, captured.out, captured.err


FAST = {"steps": 1, "spacing": 3.0, "preview_seconds": 3600.0}
FIT = ("fit", "{ct}", "--scribbles", "{scribbles}", "--out", "{out}")


@pytest.fixture
def files(ball, tmp_path, monkeypatch):  # noqa: F811
    """The ball on disk, its CT turned so that the file's axes are not the Study's."""
    monkeypatch.setitem(PRESETS, "quick", ball.config.model_copy(update=FAST))
    grid = ball.study.grid
    arrays = {
        "ct": ball.study.first.array,
        "mr": ball.study.second.array,
        "scribbles": ball.scribbles,
        "truth": ball.truth,
    }
    paths = {}
    for name, array in arrays.items():
        paths[name] = tmp_path / f"{name}.nii.gz"
        sitk.WriteImage(sitk.DICOMOrient(grid.to_image(array), "ASL"), str(paths[name]))
    return paths


def test_fit_predict_evaluate(files, tmp_path, capsys):
    out = tmp_path / "run"
    status, text, _ = run(
        capsys, "fit", files["ct"], "--mr", files["mr"], "--scribbles", files["scribbles"],
        "--out", out, "--json",
    )  # fmt: skip
    assert status == 0
    result = json.loads(text.splitlines()[-1])
    ct, ours = sitk.ReadImage(str(files["ct"])), sitk.ReadImage(result["prediction"])
    assert ours.GetSize() == ct.GetSize()
    np.testing.assert_allclose(ours.GetOrigin(), ct.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(ours.GetDirection(), ct.GetDirection(), atol=1e-6)

    seg, probability = tmp_path / "seg.nrrd", tmp_path / "p.nii.gz"
    status, text, _ = run(
        capsys, "predict", out, files["ct"], "--mr", files["mr"], "--out", seg,
        "--probabilities", probability, "--disagreement", tmp_path / "d.mha", "--json",
    )  # fmt: skip
    assert status == 0
    assert json.loads(text)["prediction"] == str(seg)
    assert sitk.ReadImage(str(tmp_path / "d.mha")).GetPixelID() == sitk.sitkUInt8
    assert sitk.ReadImage(str(probability)).GetPixelID() == sitk.sitkFloat32

    status, text, _ = run(capsys, "evaluate", seg, seg, "--json")
    assert status == 0
    assert json.loads(text)["mean"]["dsc"] in (1.0, None)

    page = tmp_path / "report.pdf"
    words = ("report", out, files["ct"], "--mr", files["mr"], "--reference", seg, "--out", page)
    status, text, _ = run(capsys, *words, "--json")
    assert status == 0
    assert json.loads(text) == {"report": str(page)}
    assert page.read_bytes().startswith(b"%PDF")


def test_a_run_is_never_overwritten(files, tmp_path, capsys):
    out = tmp_path / "run"
    out.mkdir()
    (out / "model.safetensors").write_text("precious")
    status, _, error = run(
        capsys, "fit", files["ct"], "--scribbles", files["scribbles"], "--out", out
    )
    assert status == 1
    assert "already holds something" in error
    assert (out / "model.safetensors").read_text() == "precious"


def test_scribble_erodes_a_mask_on_its_own_grid(files, ball, tmp_path, capsys):  # noqa: F811
    out = tmp_path / "auto.nii.gz"
    status, text, _ = run(
        capsys, "scribble", files["truth"], "--out", out, "--margin-mm", 6, "--classes", "all",
        "--coverage", 0.5, "--json",
    )  # fmt: skip
    assert status == 0
    shares = json.loads(text)["coverage_percent"]
    assert shares["1"] == pytest.approx(0.5, rel=0.1)
    scribbles, truth = sitk.ReadImage(str(out)), sitk.ReadImage(str(files["truth"]))
    assert scribbles.GetDirection() == pytest.approx(truth.GetDirection())
    codes, mask = sitk.GetArrayFromImage(scribbles), sitk.GetArrayFromImage(truth) > 0
    assert (codes[mask] != 1).all()
    assert (codes[~mask] != 2).all()
    assert (codes == 2).any()
    distance = sitk.GetArrayFromImage(
        sitk.SignedMaurerDistanceMap(truth > 0, squaredDistance=False, useImageSpacing=True)
    )
    assert distance[codes == 1].min() >= 6 - 1e-3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit", "none.nii", "--scribbles", "{scribbles}", "--out", "{out}"], "does not exist"),
        (["fit", "{ct}", "--scribbles", "{ct}", "--out", "{out}"], "no code"),
        (["fit", "{ct}", "--scribbles", "{truth}", "--out", "{out}"], "no tumour stroke"),
        (["fit", "{ct}", "--scribbles", "{small}", "--out", "{out}"], "on another grid"),
        ([*FIT, "--minutes", "0"], "setting minutes: Input should be greater than 0 (got 0.0)"),
        ([*FIT, "--minutes", "-1"], "setting minutes: Input should be greater than 0"),
        ([*FIT, "--mr", "{far}"], "covers 0 %"),
        ([*FIT, "--preset", "x"], "no preset"),
        ([*FIT, "--device", "tpu9"], "no device"),
        (["fit", "{ct}", "--scribbles", "{scribbles}", "--out", "{ct}/run"], "cannot be made"),
        (["predict", "{ct}", "{ct}", "--out", "{out}.nii"], "damaged"),
        (["predict", "{small}", "{ct}", "--out", "{out}.nii"], "damaged"),
        (["evaluate", "{truth}", "{small}"], "different grids"),
        (["report", "{out}", "{ct}", "--out", "{out}.pdf"], "no training that is complete"),
        (["scribble", "{truth}", "--out", "{out}.txt"], "must end in"),
        (["scribble", "{truth}", "--out", "{out}.nii", "--classes", "7"], "has no class 7"),
        (["scribble", "{truth}", "--out", "{out}.nii", "--margin-mm", "900"], "margin"),
    ],
)  # fmt: skip
def test_bad_data_is_one_line_and_status_1(files, tmp_path, capsys, words, said):
    small = sitk.GetImageFromArray(np.ones((4, 5, 6), dtype=np.uint8))
    sitk.WriteImage(small, str(tmp_path / "small.nii"))
    far = sitk.ReadImage(str(files["mr"]))
    far.SetOrigin((5000, 0, 0))
    sitk.WriteImage(far, str(tmp_path / "far.nii"))
    names = {**files, "small": tmp_path / "small.nii", "far": tmp_path / "far.nii"}
    words = [word.format(out=tmp_path / "out", **names) for word in words]
    status, _, error = run(capsys, *words)
    assert status == 1
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert "Traceback" not in error
    assert not (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize(
    "words",
    [["fit"], ["fit", "ct.nii"], ["nonsense"], ["scribble", "m", "--out", "o", "--classes", "x"]],
)
def test_wrong_use_is_status_2(capsys, words):
    assert run(capsys, *words)[0] == 2


@pytest.mark.parametrize(
    "name", ["demo", "open", "fit", "predict", "evaluate", "scribble", "worker", "doctor"]
)
def test_every_command_has_help(name):
    result = CliRunner().invoke(cli.app, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


@pytest.mark.parametrize(
    ("command", "option", "rows"),
    [("export", "--format", FORMATS), ("fit", "--preset", PRESETS), ("train", "--preset", PRESETS)],
)
def test_the_help_names_every_row_of_a_table(command, option, rows):
    commands = get_command(cli.app).commands
    (found,) = (p for p in commands[command].params if option in p.opts)
    assert set(re.findall(r"[a-z]{3,}", found.help)) == set(rows)


def test_version(capsys):
    status, out, _ = run(capsys, "--version")
    assert (status, out) == (0, f"cmfnet {metadata.version('cmfnet-napari')}\n")


@pytest.mark.parametrize(
    ("words", "status", "opened"),
    [
        ((), 0, (None, None, None, ("", ""))),
        (("a.nii",), 0, (Path("a.nii"), None, None, ("", ""))),
        (("--mr", "b.nii"), 2, None),  # an MR, or strokes, without the CT they belong to
        (("--scribbles", "s.nii"), 2, None),
    ],
)
def test_open_without_a_file_is_the_empty_window(monkeypatch, words, status, opened):
    seen = []
    monkeypatch.setattr(
        "cmfnet_napari.gui.app.open_window",
        lambda *paths, modalities, on, via: seen.append((*paths, modalities)),
    )
    assert CliRunner().invoke(cli.app, ["open", *words]).exit_code == status
    assert seen == ([] if opened is None else [opened])


@pytest.mark.slow
def test_demo_shows_a_contour_first_and_ends_with_a_table(capsys, monkeypatch, tmp_path, synthetic):
    monkeypatch.setattr(phantom, "make_phantom", lambda seed: synthetic)
    small = {"steps": 1, "width": 2, "spacing": 3.0, "hold_out": False}
    quick = PRESETS["quick"].model_copy(update=small)
    monkeypatch.setitem(PRESETS, "quick", quick)
    status, out, err = run(capsys, "demo", "--headless", "--out", tmp_path)
    assert status == 0
    pictures = tmp_path / "contours.png"
    assert f"is in {pictures}. Now it trains." in err
    first, trained, reference = (
        next(line.split() for line in out.splitlines() if line.strip().startswith(name))
        for name in ("first contour", "trained", "reference")
    )
    assert float(first[2]) > 0.8  # DSC, before any training
    assert float(trained[1]) > 0.8
    assert float(reference[1]) == pytest.approx(75.4)
    assert "1 of 1 steps." in out
    assert "{" not in out
    for name in ("contours.png", "losses.png", "prediction.nii.gz"):
        assert str(tmp_path / name) in out
        assert (tmp_path / name).stat().st_size > 1000


def test_an_unexpected_error_is_no_traceback(capsys, monkeypatch):
    import cmfnet_napari.cli.doctor

    monkeypatch.setattr(cmfnet_napari.cli.doctor, "examine", lambda: 1 / 0)
    status, _, error = run(capsys, "doctor", "--json")
    assert status == 1
    assert "ZeroDivisionError" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("name", "millions"), [("CT3", 7.94), ("CT4", 19.57), ("CT5", 35.57), ("CT6", 51.56)]
)
def test_describe_counts_the_parameters_of_table_iv(capsys, name, millions):
    code, out, _ = run(capsys, "describe", "--architecture", name, "--json")
    assert code == 0
    assert round(json.loads(out.splitlines()[-1])["parameters"] / 1e6, 2) == millions


def test_a_fit_obeys_its_options_is_described_and_needs_memory(capsys, files, tmp_path):
    words = [word.format(**files, out=tmp_path / "run") for word in FIT]
    # a setting goes before the option of the same name
    sets = ("seed=7", "width=2", "spacing=null", "patch=[16, 32, 32]")
    words += [part for text in sets for part in ("--set", text)]
    assert run(capsys, *words, "--seed", 1)[0] == 0
    frozen = json.loads((tmp_path / "run" / "config.json").read_text())
    assert frozen["config"]["seed"] == 7

    code, out, _ = run(capsys, "describe", tmp_path / "run", "--json")
    card = json.loads(out.splitlines()[-1])
    assert code == 0
    assert (card["config"]["width"], card["classes"], card["steps"]) == (2, 2, 1)
    assert card["parameters"] > 0
    assert str(tmp_path) not in out

    words = ["predict", tmp_path / "run", files["ct"], "--out", tmp_path / "p.nii.gz"]
    code, _, err = run(capsys, *words, "--memory-gib", "0.01")
    assert code == 1
    assert err.count("MiB") == 2  # what there is, and what it takes
    assert not (tmp_path / "p.nii.gz").exists()


def test_an_unknown_setting_or_architecture_is_named(capsys, files, tmp_path):
    words = [word.format(**files, out=tmp_path / "run") for word in FIT]
    code, _, err = run(capsys, *words, "--set", "widht=8")
    assert (code, "widht" in err) == (1, True)
    code, _, err = run(capsys, *words, "--set", "width=9999")
    assert (code, "width" in err) == (1, True)
    code, _, err = run(capsys, "describe", "--architecture", "CT7")
    assert (code, "CT7" in err) == (1, True)
    assert "CT6" in err


def test_train_names_what_is_wrong_with_a_cohort(capsys, tmp_path):
    (tmp_path / "cohort.csv").write_text("case,ct,mask\nP1,no.nii.gz,no.nii.gz\n")
    code, _, err = run(capsys, "train", tmp_path / "cohort.csv", "--out", tmp_path / "out")
    assert code == 1
    assert "P1" in err
    assert "no.nii.gz" in err
    assert not (tmp_path / "out").exists()


def test_what_is_to_be_checked_is_said_and_noted(tmp_path, capsys):
    values = np.random.default_rng(0).normal(0, 100, (7, 6, 5)).astype(np.float32)
    image = nibabel.Nifti1Image(values, np.diag([-1, -1, 3, 1]))
    image.set_qform(np.diag([-1, -1, 2, 1]), 1)
    image.set_sform(np.diag([-1, -1, 3, 1]), 2)
    nibabel.save(image, tmp_path / "ct.nii.gz")
    status, text, error = run(
        capsys, "import", tmp_path / "ct.nii.gz", "--case", tmp_path / "case", "--json"
    )
    assert status == 0
    (note,) = json.loads(text)["notes"]
    assert note.startswith("ct.nii.gz says in two ways where it lies, up to 4 mm apart.")
    assert error.strip() == f"cmfnet: warning: {note}"


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are Linux's")
def test_names_that_are_not_utf_8(files, tmp_path, capsys):
    folder = tmp_path / os.fsdecode(b"b\xff")
    folder.mkdir()
    shutil.copy(files["ct"], folder / "ct.nrrd")
    for words in (
        ("import", folder / "ct.nrrd", "--case", tmp_path / "case"),
        ("import", files["ct"], "--case", folder / "case"),
        ("scribble", files["truth"], "--out", folder / "s.nii.gz"),
        ("fit", files["ct"], "--scribbles", files["scribbles"], "--out", folder / "run"),
    ):
        status, _, error = run(capsys, *words)
        assert status == 1
        assert "is not written in UTF-8" in error


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("import {ct} --mr {mr} --case {new}", 1, "--second (--mr): for DICOM alone"),
        ("import {ct} --structures --case {new}", 1, "--structures: for DICOM alone"),
        ("evaluate {truth} {truth} --tolerance 3", 2, "--tolerance-mm is for all"),
        ("export {truth} --reference {ct} --out {new} --automatic --manual", 2, "not both"),
        ("scribble {truth} --out {new}.nii --seed -1", 2, "greater than or equal to 0"),
        ("material --out {new} --samples 1 --seed -1", 2, "greater than or equal to 0"),
        ("pretrain {new} --out {new} --seed -1", 2, "greater than or equal to 0"),
        ("fit {ct} --scribbles {scribbles} --out {new} --seed -1", 2, "than or equal to 0"),
        ("scribble {truth} --image {ct} --out {new}.nii --modality XY", 2, "no modality"),
        ("fit {ct} --scribbles {whole} --out {new}", 1, "look like whole contours"),
    ],
)
def test_what_would_be_ignored_is_refused(files, tmp_path, capsys, words, status, said):
    whole = sitk.ReadImage(str(files["truth"]))
    size = [slice(0, extent // 2) for extent in whole.GetSize()]
    whole[size[0], size[1], size[2]] = 1
    sitk.WriteImage(whole, str(tmp_path / "whole.nii.gz"))
    names = {**files, "new": tmp_path / "new", "whole": tmp_path / "whole.nii.gz"}
    found, _, error = run(capsys, *(word.format(**names) for word in words.split()))
    assert (found, said in error) == (status, True), error
    assert not (tmp_path / "new" / "model.safetensors").exists()


def test_an_audit_that_counts_nothing_says_so(tmp_path, capsys):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "case.json").write_text("{")
    words = ("audit", "--cases", tmp_path, "--out", tmp_path / "audit")
    status, _, error = run(capsys, *words)
    assert (status, "None of 1 cases could be read" in error) == (1, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("predict limb-sarcoma {ct} --out {ct}", "is read"),
        ("predict limb-sarcoma {ct} --mr {mr} --out {mr}", "is read"),
        ("predict limb-sarcoma {ct} --scribbles {scribbles} --out {scribbles}", "is read"),
        ("predict limb-sarcoma {ct} --out {new} --probabilities {new}", "two outputs"),
        ("predict limb-sarcoma {ct} --out {new} --disagreement {new}", "two outputs"),
        ("predict limb-sarcoma {ct} --out {new} --probabilities {new}.png", "must end in .nii or"),
        ("predict limb-sarcoma {ct} --out {folder}/no/x.nii", "no does not exist"),
        ("predict limb-sarcoma {folder} --out {truth}", "is read"),  # a file of the series
        ("scribble {truth} --out {truth}", "is read"),
        ("scribble {truth} --image {ct} --out {ct}", "is read"),
        ("report {folder} {ct} --out {ct}", "must end in .pdf"),
        ("describe limb-sarcoma --card md --out {ct}", "must end in .md"),
        ("review export {folder} --out {ct}", "must end in .pdf or .json"),
        ("review compare {folder} --out {truth}", "is read"),
        ("demo --headless --out {folder}", "already holds something"),
    ],
)
def test_what_is_read_is_never_overwritten_and_outputs_are_checked_first(
    files, tmp_path, capsys, words, said
):
    names = {**files, "new": tmp_path / "new.nii.gz", "folder": tmp_path}
    before = {path: path.read_bytes() for path in files.values()}
    status, _, error = run(capsys, *(word.format(**names) for word in words.split()))
    assert (status, said in error, len(error.splitlines())) == (1, True, 1), error
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_second_image_and_what_both_are_however_it_is_said():
    first, second = Path("first.nii"), Path("second.nii")
    assert second_image(None, None, "PT") == (None, "PT")
    assert second_image(second, None, "CT,PT") == (second, "CT,PT")
    assert second_image(None, second, "") == (second, ",MR")  # the first is what it is
    assert second_image(None, second, "MR") == (second, "MR,MR")
    with pytest.raises(BadParameter, match="--second or --mr"):
        second_image(first, second, "")
