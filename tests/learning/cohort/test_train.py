"""Cohort training on four patients small enough to train on in seconds."""

import csv
import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import load_file
from tensorboardX.proto.event_pb2 import Event

from cmfnet_napari.cli import main as cli
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.card_sections import read_full_card
from cmfnet_napari.core.fit.config import cohort_config
from cmfnet_napari.core.fit.model_card import read_card
from cmfnet_napari.core.folder_lock import alone
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.cohort import nnunet_training, patients
from cmfnet_napari.learning.cohort import train as training
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.cohort.train import train
from cmfnet_napari.learning.rivals import monai_nets
from cmfnet_napari.learning.rivals.settings import method_config
from tests.forked import Forked
from tests.learning.conftest import COMMAND

SHAPE = (16, 18, 32)


def write(path, array, kind):
    image = sitk.GetImageFromArray(array.astype(kind))
    image.SetSpacing((1.0, 1.5, 3.0))
    sitk.WriteImage(image, str(path))
    return path.name


@pytest.fixture
def cohort(tmp_path, monkeypatch):
    """Four patients; the curves of a training on them, which take as long as it does, are left out.

    Those of `straight` are drawn.
    """
    monkeypatch.setattr(training, "save_training", lambda *_: None)
    return make_cohort(tmp_path)


def make_cohort(tmp_path):
    """Four balls of other sizes and places; P3 and P4 have dense masks only."""
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij")
    rows = []
    for n in range(1, 5):
        ball = (3 * (z - 8)) ** 2 + (1.5 * (y - 9)) ** 2 + (x - 12.0 - n) ** 2 < (5 + n) ** 2
        images = {
            "ct": np.where(ball, 90, 40) + rng.normal(0, 8, SHAPE),
            "mr": np.where(ball, 700, 300) + rng.normal(0, 8, SHAPE),
        }
        row = {"case": f"P{n}"}
        for name, array in images.items():
            row[name] = write(tmp_path / f"{name}{n}.nii.gz", array, np.float32)
        row["mask"] = write(tmp_path / f"mask{n}.nii.gz", ball, np.uint8)
        scribbles = np.zeros(SHAPE)
        scribbles[8, 9, 10 + n : 14 + n] = 2
        scribbles[8, 1:17, 1] = scribbles[8, 1, 1:31] = 1
        strokes = write(tmp_path / f"s{n}.nii.gz", scribbles, np.uint8)
        row["scribbles"] = strokes if n <= 2 else ""
        rows.append(row)
    return write_cohort(tmp_path / "cohort.csv", rows)


def write_cohort(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def hold_out(rows, *cases):
    """The rows of a cohort file whose column says which cases are judged by."""
    return [row | {"split": "test" if row["case"] in cases else "train"} for row in rows]


def small(**changes):
    settings = {
        "width": 2,
        "patch": (16, 16, 32),
        "spacing": None,
        "steps": 3,
        "batch": 2,
        "crf_radius": 2,
        "precision": "float32",
        "dropout": 0.3,
    }
    return cohort_config("quick", **{**settings, **changes})


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def stop_after(shown):
    calls = []
    return Hooks(show=lambda share, note: calls.append(note), stop=lambda: len(calls) >= shown)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A training of two folds that nothing broke off, to look at: its folder, its result."""
    folder = tmp_path_factory.mktemp("straight")
    return folder / "out", train(make_cohort(folder), folder / "out", small(), folds=2)


def test_cross_validation_judges_every_patient_once_by_a_model_that_never_saw_it(straight):
    out, result = straight
    rows = table(out / "results.csv")
    assert sorted(row["case"] for row in rows) == ["P1", "P2", "P3", "P4"]
    assert {row["split"] for row in rows} == {"fold-1", "fold-2"}
    assert result["metrics"]["dsc"] == pytest.approx(
        np.mean([float(row["dsc"]) for row in rows]), abs=1e-4
    )
    hashes = [set(read_card(model).data) for model in result["models"]]
    assert [len(data) for data in hashes] == [2, 2]
    assert not hashes[0] & hashes[1]
    full = read_full_card(result["models"][0])  # begun, for people to go on with
    dsc = next(row for row in full.sections.performance if row.measure == "dsc")
    of_fold = [float(row["dsc"]) for row in rows if row["split"] == "fold-1"]
    assert (dsc.patients, dsc.group) == (2, "patients held out")
    assert dsc.mean == pytest.approx(np.mean(of_fold), abs=1e-4)
    assert dsc.low <= dsc.mean <= dsc.high
    assert "how well it does" not in full.missing
    assert "limits and risks" in full.missing
    assert (out / "curves.png").exists()
    assert not list(out.rglob("state.pt"))


def test_one_model_by_the_files_splits_and_the_card_knows_no_patient(cohort, tmp_path):
    write_cohort(cohort, hold_out(table(cohort), "P4"))
    out = tmp_path / "out"
    train(cohort, out, small(steps=1))
    assert [row["case"] for row in table(out / "results.csv")] == ["P4"]
    card = read_card(out)
    assert set(card.metrics) >= {"dsc", "surface_dsc"}
    assert card.software["torch"] == metadata.version("torch")  # torch itself adds +cu128
    assert "P1" not in card.model_dump_json()
    assert str(tmp_path) not in card.model_dump_json()


def test_losses_are_logged_as_csv_and_for_tensorboard(straight):
    fold = straight[0] / "fold-2"
    rows = table(fold / "losses.csv")
    assert [int(row["step"]) for row in rows] == [1, 2, 3]
    logged = {
        (event.step, value.tag): value.simple_value
        for event in tensorboard(fold / "tensorboard")
        for value in event.summary.value
    }
    for row in rows:
        tagged = logged[int(row["step"]), "loss/total"]
        assert tagged == pytest.approx(float(row["total"]), rel=1e-5)
    assert (3, "held-out/dsc") in logged


def tensorboard(folder):
    """Events of a TFRecord file: length (8 bytes), its check (4), data, its check (4)."""
    (path,) = folder.iterdir()
    data, at = path.read_bytes(), 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 8], "little")
        yield Event.FromString(data[at + 12 : at + 12 + length])
        at += length + 16


def test_stopped_and_continued_is_the_same_to_the_bit(cohort, straight, tmp_path):
    straight, broken = straight[0], tmp_path / "broken"
    # four readings, then two steps of the first fold; then one of the second
    assert train(cohort, broken, small(), folds=2, hooks=stop_after(4 + 2)) is None
    assert (broken / "fold-1" / "state.pt").exists()
    assert train(cohort, broken, small(), folds=2, hooks=stop_after(4 + 1 + 1)) is None
    train(cohort, broken, small(), folds=2)
    for fold in ("fold-1", "fold-2"):
        ours, theirs = (load_file(f / fold / "model.safetensors") for f in (straight, broken))
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert table(straight / fold / "losses.csv") == table(broken / fold / "losses.csv")
    assert table(straight / "results.csv") == table(broken / "results.csv")


def test_another_configuration_or_other_labels_do_not_go_on(cohort, tmp_path):
    out = tmp_path / "out"
    assert train(cohort, out, small(), hooks=stop_after(5)) is None
    with pytest.raises(UserError, match="width 2 instead of 4"):
        train(cohort, out, small(width=4))
    rows = table(cohort)
    rows[0]["scribbles"] = ""
    write_cohort(cohort, rows)
    with pytest.raises(UserError, match=r"other images, labels or splits \(P1\)"):
        train(cohort, out, small())


def test_a_folder_with_something_else_is_left_alone(cohort, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="already holds something"):
        train(cohort, out, small())
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_a_second_start_of_one_training_is_refused_before_images_are_read(cohort, tmp_path):
    out = tmp_path / "out"
    assert train(cohort, out, small(), hooks=stop_after(4 + 1)) is None
    shown = []
    with (
        alone(out),
        pytest.raises(UserError, match="Another process is writing into out"),
    ):
        train(cohort, out, small(), hooks=Hooks(show=lambda share, note: shown.append(note)))
    assert not shown
    assert train(cohort, out, small()) is not None


def test_a_damaged_state_is_named(cohort, tmp_path):
    out = tmp_path / "out"
    train(cohort, out, small(), hooks=stop_after(6))
    state = out / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"state of .* \(state\.pt\) is damaged"):
        train(cohort, out, small())


def test_fold_numbers_need_their_count(cohort, tmp_path):
    rows = [{**row, "split": str(n % 2 + 1)} for n, row in enumerate(table(cohort))]
    write_cohort(cohort, rows)
    with pytest.raises(UserError, match="--folds"):
        train(cohort, tmp_path / "out", small())
    assert not (tmp_path / "out").exists()


def test_a_case_without_strokes_of_a_class_is_named_before_training(cohort, tmp_path):
    array = np.zeros(SHAPE)
    array[8, 1, 1:31] = 1
    write(tmp_path / "s1.nii.gz", array, np.uint8)
    with pytest.raises(UserError, match=r"P1 .*no stroke of class 1"):
        train(cohort, tmp_path / "out", small())
    assert not (tmp_path / "out").exists()


def command(cohort, out, *more):
    settings = small(dropout=0.0).model_dump(mode="json")
    chosen = [f"{name}={settings[name]}" for name in ("width", "batch", "crf_radius", "precision")]
    chosen += ["patch=[16, 16, 32]", "spacing=null", "dropout=0", *more]
    sets = [part for text in chosen for part in ("--set", text)]
    return ["train", str(cohort), "--out", str(out), "--preset", "quick", "--device", "cpu", *sets]


def steps_logged(out):
    path = out / "losses.csv"
    return path.read_text().count("\n") - 1 if path.exists() else 0


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def test_patients_without_mr_train_on_the_ct_in_both_branches(cohort, tmp_path):
    rows = [{name: cell for name, cell in row.items() if name != "mr"} for row in table(cohort)]
    write_cohort(cohort, hold_out([rows[0], rows[3]], "P4"))
    train(cohort, tmp_path / "out", small(steps=1))
    assert [row["case"] for row in table(tmp_path / "out" / "results.csv")] == ["P4"]


@pytest.mark.slow
def test_killed_without_warning_the_same_command_goes_on(cohort, tmp_path, one_thread, monkeypatch):
    out = tmp_path / "out"
    line = [*command(cohort, out), "--steps", "12"]
    patched = {**environment(), "CMFNET_SAVE_SECONDS": "0"}
    process = Forked("training", COMMAND, *line, environment=patched)
    deadline = time.monotonic() + 300
    while not steps_logged(out) >= 3 and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.kill()
    process.wait()
    process.close()
    done = torch.load(out / "state.pt", weights_only=True)["trainer"]["steps"]
    assert 2 <= done < 12
    monkeypatch.setattr(sys, "argv", ["cmfnet", *line])  # the same, in this process
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    straight = tmp_path / "straight"
    train(cohort, straight, small(dropout=0.0, steps=12), device="cpu")
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (straight, out))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert [int(row["step"]) for row in table(out / "losses.csv")] == list(range(1, 13))


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_same_global_batch(cohort, tmp_path):
    alone, both = tmp_path / "1", tmp_path / "2"
    train(cohort, alone, small(dropout=0.0, batch=3, steps=2), device="cpu")
    line = [*command(cohort, both, "batch=3"), "--steps", "2", "--devices", "2"]
    process = Forked("training", COMMAND, *line, environment=environment())  # starts the other
    said = process.stderr.read()
    assert process.wait() == 0, said
    process.close()
    losses = [table(out / "losses.csv") for out in (alone, both)]
    assert len(losses[0]) == len(losses[1]) == 2
    for one, two in zip(*losses, strict=True):
        for name in ("ssl", "imr", "imc", "guide", "total"):
            assert float(two[name]) == pytest.approx(float(one[name]), rel=2e-3), name
    first = [{name: float(row[0][name]) for name in ("ssl", "imr", "imc")} for row in losses]
    assert first[1] == pytest.approx(first[0], rel=1e-5)


def test_a_model_that_reads_strokes_needs_them_in_every_row(cohort, tmp_path):
    with pytest.raises(UserError, match=r"needs scribbles in every row.* P3 .* P4 "):
        train(cohort, tmp_path / "out", small(stroke_maps=True))
    assert not (tmp_path / "out").exists()


def test_a_model_that_reads_strokes_is_trained_and_says_so(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(patients, "USERS", 2)  # the clues of each take time
    write_cohort(cohort, hold_out(table(cohort)[:2], "P2"))
    result = train(cohort, tmp_path / "out", small(stroke_maps=True, steps=1))
    assert read_card(result["models"][0]).config.stroke_maps
    assert np.isfinite(result["metrics"]["dsc"])


@pytest.mark.parametrize("method", ["scribble2label", "dmsps"])
def test_a_rival_that_makes_labels_goes_on_to_the_same_end(cohort, tmp_path, method):
    """Its labels are part of the state. Nothing else reads its weights: it writes no model."""
    write_cohort(cohort, hold_out(table(cohort)[:3], "P3"))
    changes = {"width": 2, "patch": (16, 16, 32), "steps": 5, "batch": 1, "precision": "float32"}
    own = {"pseudo_every": 0.2, "pseudo_sure": 0.01, "pseudo_from": 0.0}
    own = own if method == "scribble2label" else {"relabel_sure": 1.0}
    config = method_config(method, learning_rate=0.01, curve_points=2, **changes, **own)
    whole = train(cohort, tmp_path / "whole", config, device="cpu")
    assert train(cohort, tmp_path / "parts", config, hooks=stop_after(3 + 4), device="cpu") is None
    state = torch.load(tmp_path / "parts" / "state.pt", weights_only=True)["labels"]
    assert state["done"] > 0
    if method == "dmsps":
        assert all((targets != IGNORE).float().mean() > 0.5 for targets in state["volumes"])
    else:
        assert all((guide > 0).all() for guide in state["volumes"])
    parts = train(cohort, tmp_path / "parts", config, device="cpu")
    assert whole["models"] == parts["models"] == []
    one, other = ((tmp_path / name / "losses.csv").read_text() for name in ("whole", "parts"))
    assert one == other
    curves = [table(tmp_path / name / "scores.csv") for name in ("whole", "parts")]
    assert curves[0] == curves[1]
    assert [int(row["step"]) for row in curves[0]] == [3, 5]  # its end is the result
    (result,) = table(tmp_path / "parts" / "results.csv")
    assert float(curves[0][-1]["dsc"]) == pytest.approx(float(result["dsc"]), abs=1e-4)
    with pytest.raises(UserError, match=r"a network (vnet|dual-vnet)"):
        train(cohort, tmp_path / "parts", cohort_config("paper", **changes), device="cpu")


@pytest.mark.slow
def test_nnunet_learns_from_scribbles_by_its_own_code_and_goes_on(cohort, tmp_path, monkeypatch):
    pytest.importorskip("nnunetv2", reason="the extra nnunet is not installed")
    # Forked processes take SIGTERM as the command does, which waits for them to end by it.
    monkeypatch.setattr(os, "fork", None)
    config, out, calls = method_config("nnunet", steps=60), tmp_path / "out", []
    stop = Hooks(show=lambda share, note: calls.append(note), stop=lambda: "step 5" in str(calls))
    assert train(cohort, out, config, folds=2, device="cpu", hooks=stop) is None
    assert train(cohort, out, config, folds=2, device="cpu") is not None
    rows = table(out / "results.csv")
    assert sorted(row["case"] for row in rows) == ["P1", "P2", "P3", "P4"]
    assert np.mean([float(row["dsc"]) for row in rows]) > 0.5
    raw, prepared = out / "nnunet" / "raw", out / "nnunet" / "preprocessed"
    for number in (1, 2):
        held = {row["case"] for row in rows if row["split"] == f"fold-{number}"}
        name = f"Dataset00{number}_Study"
        fingerprint = json.loads((prepared / name / "dataset_fingerprint.json").read_text())
        assert len(fingerprint["spacings"]) == len({"P1", "P2", "P3", "P4"} - held) == 2
        assert learnt_by_nnunet(raw / name) == {"P1", "P2", "P3", "P4"} - held


def learnt_by_nnunet(folder):
    """Patients of a data set of nnU-Net; the first stands in line 2."""
    lines = {int(path.name[len("line") :][:5]) for path in folder.glob("*Tr/*")}
    return {f"P{line - 1}" for line in lines}


def test_nnunet_plans_a_model_from_those_it_learns_from_alone(cohort, tmp_path, monkeypatch):
    """By stand-ins for what is nnU-Net's own."""
    planned, trained = {}, []

    class Training:
        def __init__(self, work, folder, number, learnt, *_):
            trained.append((folder.name, {row.case for row in learnt}))

        def run(self, hooks, *_):
            return not hooks.stop()

        def judge(self, held, classes, name):
            planned[name] = planned.pop("now"), {case.row.case for case in held}
            return []

    def plan(work, number, device):
        raw = work / "raw" / f"Dataset00{number + 1}_Study"
        about = json.loads((raw / "dataset.json").read_text())
        assert about["numTraining"] == len(about["dataset"]) == 2
        assert list(about["channel_names"].values()) == ["CT", "MRI"]
        named = []
        for name, files in about["dataset"].items():
            images = [sitk.ReadImage(raw / image) for image in files["images"]]
            ct, mr = (sitk.GetArrayFromImage(image) for image in images)
            assert ct.max() < 200 < mr.min()
            assert sitk.ReadImage(raw / files["label"]).GetSize() == images[0].GetSize()
            named += [*files["images"], files["label"]]
            assert all(Path(file).name.startswith(name) for file in named[-3:])
        assert sorted(named) == sorted(p.relative_to(raw).as_posix() for p in raw.glob("*Tr/*"))
        planned["now"] = learnt_by_nnunet(raw)

    monkeypatch.setattr(monai_nets, "find_spec", lambda name: name)
    monkeypatch.setattr(nnunet_training, "_Training", Training)
    monkeypatch.setattr(nnunet_training, "_plan", plan)
    config, stop = method_config("nnunet", steps=1), Hooks(stop=lambda: True)
    assert train(cohort, tmp_path / "out", config, folds=2, device="cpu", hooks=stop) is None
    train(cohort, tmp_path / "out", config, folds=2, device="cpu")  # the first is planned already
    assert list(planned) == ["fold-1", "fold-2"]
    for learnt, held in planned.values():
        assert learnt == {"P1", "P2", "P3", "P4"} - held
    assert trained == [(name, planned[name][0]) for name in ("fold-1", "fold-1", "fold-2")]
    (tmp_path / "out" / "nnunet" / "ready.json").touch()
    with pytest.raises(UserError, match="out holds a training of nnU-Net that an earlier version"):
        train(cohort, tmp_path / "out", config, folds=2, device="cpu")


def test_nnunet_that_is_not_installed_is_named_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(monai_nets, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install \"cmfnet-napari\[nnunet\]\""):
        train(tmp_path / "none.csv", tmp_path / "out", method_config("nnunet"))


@pytest.mark.parametrize("several", [{"devices": 2}, {"nodes": 2}])
def test_nnunet_on_several_devices_is_refused_before_they_are_started(
    tmp_path, monkeypatch, several
):
    """Each would train a model of its own, all in one folder."""
    monkeypatch.setattr(monai_nets, "find_spec", lambda name: name)
    with pytest.raises(UserError, match=r"nnunet trains on one device, not on 2 .*--devices and"):
        train(tmp_path / "none.csv", tmp_path / "out", method_config("nnunet"), **several)


def test_unetr_is_trained_and_judged_on_windows_of_its_patch(cohort, tmp_path):
    """It knows patches of one size alone, also where a patient is larger and where it is not."""
    config = method_config("unetr", width=2, patch=(16, 16, 16), batch=2, steps=1, micro_batch=1)
    write_cohort(cohort, hold_out(table(cohort), "P4"))
    train(cohort, tmp_path / "out", config, device="cpu")
    rows = table(tmp_path / "out" / "results.csv")
    assert [row["case"] for row in rows] == ["P4"]
    assert all(np.isfinite(float(row["dsc"])) for row in rows)


def test_the_bound_learns_from_masks_and_asks_for_them(cohort, tmp_path):
    config = method_config("masks", width=2, patch=(16, 16, 32), steps=1, batch=1)
    rows = hold_out(table(cohort), "P4")
    write_cohort(cohort, rows)
    result = train(cohort, tmp_path / "out", config, device="cpu")
    assert np.isfinite(result["metrics"]["dsc"])
    rows[0]["mask"] = ""
    write_cohort(cohort, rows)
    with pytest.raises(UserError, match=r"P1 \(line 2\) has no mask"):
        train(cohort, tmp_path / "other", config, device="cpu")
    rows = hold_out(rows, "P1")  # neither learnt from nor judged
    write_cohort(cohort, rows)
    train(cohort, tmp_path / "third", config, device="cpu")
    assert not table(tmp_path / "third" / "results.csv")
