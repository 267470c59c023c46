"""A model over a cohort: every patient once, whatever is wrong with another."""

import csv
import json
import os
import stat
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
from safetensors import safe_open
from safetensors.numpy import load_file, save

from cmfnet_napari import api
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import write_json
from cmfnet_napari.core.folder_lock import alone
from cmfnet_napari.learning.batch import contour_row as rows
from cmfnet_napari.learning.batch import run_batch as running
from cmfnet_napari.learning.batch.run_batch import run_batch
from cmfnet_napari.learning.cohort.cohort_file import Row
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.cohort.train import train
from cmfnet_napari.learning.predict import predictor
from cmfnet_napari.learning.tasks import cluster
from cmfnet_napari.learning.tasks.cluster import Workers
from cmfnet_napari.learning.tasks.run_tasks import run_tasks
from tests.forked import Forked
from tests.learning.cohort.test_train import make_cohort, small, table, write_cohort
from tests.learning.conftest import COMMAND


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model, and four patients in a file: the last has no mask, none has scribbles."""
    folder = tmp_path_factory.mktemp("batch")
    cohort = make_cohort(folder)
    train(cohort, folder / "model", small(steps=3, learning_rate=3e-3), device="cpu")
    patients = [{n: cell for n, cell in row.items() if n != "scribbles"} for row in table(cohort)]
    patients[3]["mask"] = ""
    return folder / "model", write_cohort(folder / "batch.csv", patients), folder


@pytest.fixture(scope="module")
def contoured(trained, tmp_path_factory):
    """The folder of a batch that nothing disturbed, one patient after another; what it returned."""
    model, cohort, _ = trained
    out = tmp_path_factory.mktemp("contoured") / "out"
    return out, run_batch(model, cohort, out, "cpu", workers=Workers(at_once=1))


@pytest.fixture
def no_pictures(monkeypatch):
    """Most of the time of a small patient goes into its picture."""
    monkeypatch.setattr(rows, "save_contours", lambda *_: None)


@pytest.fixture
def contours(tmp_path, monkeypatch):
    """Three rows whose images are never read; a start that contours the patients it is given."""
    rows = [{"case": f"P{n}", "ct": f"ct{n}", "scribbles": f"s{n}"} for n in (1, 2, 3)]
    for name in (row[column] for row in rows for column in ("ct", "scribbles")):
        (tmp_path / name).write_text(name)
    cohort, out = write_cohort(tmp_path / "names.csv", rows), tmp_path / "out"

    def begin(contoured):
        def contour(model, digest, row, folder, *_):
            if row.case in contoured:
                folder.mkdir()
                write_json(folder / "result.json", {"classes": [{"volume_ml": 1.0}], "notes": []})
            return row.case in contoured

        monkeypatch.setattr(running, "contour_row", contour)
        return run_batch("limb-sarcoma", cohort, out, "cpu")

    return cohort, out, begin


def labels_of(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_every_patient_gets_contour_picture_and_scores(trained, contoured, tmp_path):
    (model, _, folder), (out, result) = trained, contoured
    assert result == {"patients": 4, "table": str(out / "table.md"), "notes": 0}
    found = table(out / "results.csv")
    assert [row["case"] for row in found] == ["P1", "P2", "P3", "P4"]
    for number, row in enumerate(found, start=1):
        mine = out / f"{number}-p{number}"
        study = api.open_study(folder / f"ct{number}.nii.gz", folder / f"mr{number}.nii.gz")
        same = api.predict(model, study, device="cpu")
        ours = labels_of(mine / "contour.nii.gz")
        np.testing.assert_array_equal(ours, labels_of(_saved(same.labels, study, tmp_path)))
        assert float(row["volume_ml"]) == pytest.approx((ours == 1).sum() * 4.5e-3, abs=1e-4)
        truth = labels_of(folder / f"mask{number}.nii.gz")
        dsc = 2 * (ours & truth).sum() / (ours.sum() + truth.sum())
        assert row["dsc"] == ("" if number == 4 else f"{dsc:.4f}")
        assert (mine / "picture.png").stat().st_size > 1000
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (out, *out.rglob("*"))}
    assert os.name != "posix" or modes == {0o700, 0o600}
    text = (out / "table.md").read_text(encoding="utf-8")
    values = [float(row["dsc"]) for row in found[:3]]
    assert f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f} (1 undefined)" in text


def _saved(labels, study, folder):
    api.save_labels(labels, study, folder / "same.nii.gz")
    return folder / "same.nii.gz"


@pytest.mark.usefixtures("no_pictures")
def test_one_bad_patient_stops_no_other_and_the_same_command_goes_on(trained, tmp_path, capsys):
    model, cohort, folder = trained
    patients = table(cohort)
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no image")
    for row in patients:
        row.update({name: str(folder / row[name]) for name in ("ct", "mr", "mask") if row[name]})
    patients[1]["ct"] = str(broken)
    cohort, out = write_cohort(tmp_path / "batch.csv", patients), tmp_path / "out"
    with pytest.raises(UserError, match=r"1 of 4 jobs .*\n  P2: P2 \(line 3\): .*broken"):
        run_batch(model, cohort, out, device="cpu")
    done = {path: path.stat().st_mtime_ns for path in out.rglob("contour.nii.gz")}
    assert len(done) == 3
    with alone(out), pytest.raises(UserError, match="Another process is writing into out"):
        run_batch(model, cohort, out, device="cpu")
    (out / "1-p1" / "result.json").unlink()  # as if it had been killed before
    with pytest.raises(UserError, match=r"1 of 2 jobs "):
        run_batch(model, cohort, out, device="cpu")
    again = {path for path in done if path.stat().st_mtime_ns != done[path]}
    assert again == {out / "1-p1" / "contour.nii.gz"}
    found = table(out / "results.csv")
    assert [row["case"] for row in found] == ["P1", "P3", "P4"]
    assert "left out: P2 (line 3).**" in (out / "table.md").read_text(encoding="utf-8")
    broken.write_bytes((folder / "ct2.nii.gz").read_bytes())
    assert run_batch(model, cohort, out, device="cpu")["patients"] == 4
    assert [row["case"] for row in table(out / "results.csv")] == ["P1", "P2", "P3", "P4"]
    assert "left out" not in (out / "table.md").read_text(encoding="utf-8")
    broken.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"files of batch\.csv are others .* \(P2 \(line 3\)\)"):
        run_batch(model, cohort, out, device="cpu")


def test_only_rows_without_a_result_may_be_others_than_they_were(contours):
    """Also where they got another name, and with it another folder."""
    cohort, out, begin = contours
    begin({"P1", "P2"})
    rows = table(cohort)
    rows[2]["case"] = "P9"
    write_cohort(cohort, rows)
    begin({"P9"})
    assert sorted(path.parent.name for path in out.rglob("result.json")) == ["1-p1", "2-p2", "3-p9"]
    for changed, words in (
        (rows[:2], r"\(2 rows instead of 3\)"),
        ([rows[0] | {"case": "P7"}, *rows[1:]], r"\(P7 \(line 2\)\)"),
        ([rows[1], rows[0], rows[2]], r"\(P2 \(line 2\), P1 \(line 3\)\)"),
    ):
        write_cohort(cohort, changed)
        with pytest.raises(UserError, match=f"others than when they were contoured {words}"):
            begin(set())


def test_what_is_wrong_is_named_before_anything_runs(trained, tmp_path):
    model, cohort, folder = trained
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"nowhere"):
        run_batch(tmp_path / "nowhere", cohort, out)
    patients = table(cohort)
    patients[0]["mask"] = "nothing.nii.gz"
    gone = write_cohort(folder / "gone.csv", patients)
    with pytest.raises(UserError, match=r"P1 \(line 2\): mask .*nothing\.nii\.gz does not exist"):
        run_batch(model, gone, out)
    with pytest.raises(UserError, match=r"P1 \(line 2\) has no scribbles, which this model reads"):
        run_batch("limb-sarcoma", cohort, out)
    assert not out.exists()


@pytest.mark.usefixtures("no_pictures")
def test_a_model_that_is_replaced_is_read_anew_or_refused(trained, tmp_path):
    """Also by a process that contoured with the old one, as a worker that outlives a batch."""
    model, cohort, _ = trained
    mine, patients = tmp_path / "model.safetensors", write_one(cohort)
    first = (model / "model.safetensors").read_bytes()
    mine.write_bytes(first)
    run_batch(mine, patients, tmp_path / "one", device="cpu")

    def replace(share, note):
        tensors, header = load_file(mine), safe_open(mine, "np").metadata()
        for name, tensor in tensors.items():
            if name.endswith("bias"):
                tensor[...] += np.linspace(-50, 50, tensor.size, dtype=tensor.dtype)
        mine.write_bytes(save(tensors, header))

    hooks = Hooks(show=replace)
    mine.write_bytes(first[:-4] + b"\0\0\0\0")
    with pytest.raises(UserError, match=r"P1 \(line 2\): the model model\.safetensors is another"):
        run_batch(mine, patients, tmp_path / "two", device="cpu", hooks=hooks)
    run_batch(mine, patients, tmp_path / "three", device="cpu")
    one, three = (tmp_path / name / "1-p1" / "contour.nii.gz" for name in ("one", "three"))
    assert (labels_of(one) != labels_of(three)).any()


def write_one(cohort):
    """The first patient of a cohort, in a file of its own."""
    return write_cohort(cohort.with_name("first.csv"), table(cohort)[:1])


@pytest.mark.usefixtures("no_pictures")
def test_two_at_once_share_the_memory_and_keys_lie_in_the_batchs_folder(
    trained, tmp_path, monkeypatch
):
    model, cohort, _ = trained
    asked, given, predict = [], [], rows.predict_study

    def note(network, card, study, memory, strokes):
        given.append(memory)
        return predict(network, card, study, memory, strokes)

    def in_turn(tasks, workers, hooks):
        asked.append(workers)
        return run_tasks(tasks, Workers(at_once=1), hooks)

    monkeypatch.setattr(running, "run_tasks", in_turn)
    monkeypatch.setattr(rows, "predict_study", note)
    monkeypatch.setattr(predictor, "free_memory", lambda device: 1e13)
    run_batch(model, write_one(cohort), tmp_path, "cpu", workers=Workers("slurm"))
    (workers,), (budget,) = asked, given
    assert (workers.scheduler, workers.folder) == ("slurm", tmp_path)
    width, voxels = small().width, 64 * 256 * 256
    assert 80 * width * voxels < budget < workers.memory < budget + 2**30
    free = type("Memory", (), {"available": 2**30 + 1.9 * workers.memory})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    monkeypatch.setattr(cluster, "_cores", lambda: 8)
    assert replace(workers, scheduler="local").here(9) == 1


@pytest.mark.usefixtures("no_pictures")
def test_a_stopped_batch_says_so_and_goes_on_after_a_line_was_left_empty(trained, tmp_path):
    model, cohort, _ = trained
    hooks = Hooks(stop=lambda: (tmp_path / "out" / "2-p2" / "result.json").exists())
    assert run_batch(model, cohort, tmp_path / "out", device="cpu", hooks=hooks) is None
    assert not rows.is_complete(tmp_path / "out" / "3-p3")
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("contour.nii.gz")}
    header, *lines = cohort.read_text(encoding="utf-8").splitlines()
    spaced = cohort.with_name("spaced.csv")
    spaced.write_text("\n".join([header, "", *lines]), encoding="utf-8")
    assert run_batch(model, spaced, tmp_path / "out", device="cpu")["patients"] == 4
    assert len(done) == 2
    assert done.items() <= {path: path.stat().st_mtime_ns for path in done}.items()
    assert len(list((tmp_path / "out").rglob("contour.nii.gz"))) == 4


@pytest.mark.slow
def test_the_command_contours_two_at_once_as_one_after_another(trained, contoured, tmp_path):
    (model, cohort, _), (one, _), two = trained, contoured, tmp_path / "two"
    line = ["batch", model, cohort, "--out", two, "--at-once", 2, "--device", "cpu", "--json"]
    command = Forked("training", COMMAND, *map(str, line), stderr=False)
    said = command.stdout.read().splitlines()
    assert command.wait() == 0
    command.close()
    assert json.loads(said[-1])["patients"] == 4
    assert (one / "results.csv").read_bytes() == (two / "results.csv").read_bytes()
    with open(two / "notes.csv", newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == []


def test_a_ct_without_units_is_noted(tmp_path, monkeypatch):
    body = np.full((4, 20, 20), 1064, np.int16)  # soft tissue, and 1024 added
    body[:, 4:8, 4:8] = 900
    sitk.WriteImage(sitk.GetImageFromArray(body), str(tmp_path / "ct.nii.gz"))
    labels = np.zeros(body.shape, np.uint8)
    card = SimpleNamespace(classes=2, config=SimpleNamespace(stroke_maps=False))
    for name, value in {
        "_loaded": (None, card),
        "_budget": 0.0,
        "predict_study": SimpleNamespace(labels=labels),
        "save_contours": None,
        "read_full_card": None,
        "outside_card": [],
    }.items():
        monkeypatch.setattr(rows, name, lambda *_, value=value: value)
    row = Row("P1", tmp_path / "ct.nii.gz", None, None, None, "test", 2, ("CT", ""))
    assert rows.contour_row(tmp_path / "model", "", row, tmp_path / "out", "cpu", Hooks())
    (note,) = rows.read_row(row, tmp_path / "out")[1]
    assert note == "The CT has no Hounsfield units; subtract 1024 and save it again."
