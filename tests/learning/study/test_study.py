"""Studies: what is wrong is named before anything runs; what is done is not done again."""

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from cmfnet_napari.cli import main as cli
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.folder_lock import alone
from cmfnet_napari.core.report.method_pictures import make_example
from cmfnet_napari.learning.cohort import data_hashes, prepared_cases
from cmfnet_napari.learning.cohort import train as training
from cmfnet_napari.learning.cohort.patients import METRICS
from cmfnet_napari.learning.cohort.results import Result, write_results
from cmfnet_napari.learning.cohort.split import Hooks, Speed
from cmfnet_napari.learning.rivals.settings import METHODS, method_config
from cmfnet_napari.learning.study import run_study as running
from cmfnet_napari.learning.study import study_tables
from cmfnet_napari.learning.study.run_study import list_jobs, run_study
from cmfnet_napari.learning.study.study_file import Job, read_study
from cmfnet_napari.learning.study.study_tables import (
    Scored,
    _curves,
    _mean_curve,
    difference,
    paired_means,
    patient_means,
    write_tables,
)
from tests.learning.cohort.test_train import make_cohort, table, write_cohort

STUDIES = Path(__file__).parents[3] / "studies"
SMALL = "{width: 2, batch: 2, patch: [16, 16, 32], crf_radius: 1, precision: float32}"
TINY = f"""
title: Two methods
cohort: cohort.csv
folds: 2
steps: 2
settings: {SMALL}
metrics: [dsc, asd_mm]
methods:
  - {{method: pce}}
  - {{method: cmfnet, name: lambda, sweep: {{settings: [lambda_ct, lambda_mr], values: [0, 0.2]}}}}
compare:
  - [pce, lambda 0]
"""


@pytest.fixture
def names(tmp_path, monkeypatch):
    """A cohort file whose images are never read."""
    monkeypatch.setattr(running, "prepared_cases", lambda *_: ())
    rows = ["case,ct,scribbles,mask"]
    for number in (1, 2):
        files = [f"{kind}{number}.nii.gz" for kind in ("ct", "strokes", "mask")]
        for file in files:
            (tmp_path / file).touch()
        rows.append(",".join([f"P{number}", *files]))
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.fixture
def undrawn(monkeypatch):
    """Figures take longer than tables, and are not looked at."""
    monkeypatch.setattr(running, "draw_examples", lambda *_: None)
    for draw in ("save_training", "save_sweep"):
        monkeypatch.setattr(study_tables, draw, lambda *_: None)


def count_calls(function):
    def counted(*args, **kwargs):
        counted.calls += 1
        return function(*args, **kwargs)

    counted.calls = 0
    return counted


def scribbled(folder, monkeypatch):
    """A cohort of four with strokes in every row; the jobs' own curves take as long as they do."""
    cohort = make_cohort(folder)
    rows = table(cohort)
    for number, row in enumerate(rows, start=1):
        row["scribbles"] = f"s{number}.nii.gz"
    write_cohort(cohort, rows)
    monkeypatch.setattr(training, "save_training", lambda *_: None)


def written(folder, text=TINY):
    path = folder / "study.yaml"
    path.write_text(text)
    return path


def test_jobs_are_methods_by_seeds_and_sweeps_are_spread(names):
    _, cohort, jobs = read_study(
        written(names, TINY.replace("steps: 2", "steps: 2\nseeds: [0, 3]"))
    )
    assert cohort == names / "cohort.csv"
    assert [(job.method, job.seed) for job in jobs] == [
        (method, seed) for method in ("pce", "lambda 0", "lambda 0.2") for seed in (0, 3)
    ]
    assert [job.folder for job in jobs[::2]] == ["pce-0", "lambda-0-0", "lambda-0.2-0"]
    assert [job.config.lambda_mr for job in jobs[2::2]] == [0.0, 0.2]
    assert {(job.config.steps, job.config.width) for job in jobs} == {(2, 2)}
    assert jobs[0].config.architecture == "vnet"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("method: pce", "method: pse, name: pce", "no method 'pse'; choose cmfnet, pce"),
        ("method: pce", "method: pce, settings: {wide: 3}", "Method pce, wide: .*not permitted"),
        ("method: pce", "method: pce, settings: {width: 1}", "width: .*greater than or equal to 2"),
        ("method: pce", "method: pce, settings: {steps: 9}", "steps is the study's"),
        ("title:", "titel:", "study.yaml, title: Field required"),
        ("steps: 2", "steps: 2\nminutes: 1", "give either steps or minutes"),
        ("steps: 2", "steps: 0", "steps: .*greater than or equal to 1"),
        ("metrics: [dsc, asd_mm]", "metrics: [dice]", "no metric dice; choose dsc"),
        ("metrics: [dsc, asd_mm]", "metrics: []", "study.yaml, metrics: .*at least 1 item"),
        ("[pce, lambda 0]", "[pce, lambda]", "study.yaml, compare: no method is called lambda"),
        ("lambda_mr], values: [0, 0.2]", "lambda_mr], values: [0, 0]", "two methods are called"),
        (
            "method: pce",
            "method: cmfnet, name: Lambda!, sweep: {settings: [width], values: [2, 4]}",
            "the sweeps Lambda! and lambda would both be called sweep-lambda; give one another",
        ),
        ("cohort: cohort.csv", "cohort: other.csv", "other.csv cannot be read"),
        ("cohort: cohort.csv", "", "names no cohort file; give one with --cohort"),
        ("folds: 2", "folds: 3", "2 patients cannot be split into 3 folds"),
        ("title:", "title: [", "is no YAML"),
        ("title: Two methods", "title: 2026-13-45", "is no YAML: month must be in 1..12"),
        ("steps: 2", "steps: 2\nsteps: 3", "steps is there twice"),
        ("steps: 2", "steps: 2\n[a]: 3", "is no YAML: .*unhashable"),
        ("method: pce", "method: pce, settings: {method: tv}", "Method pce, method: .*not perm"),
        ("method: pce", "method: pce, settings: {ce_weight: 0}", "all weights are 0; set one of"),
        ("steps: 2", "steps: 2\nseeds: [0, -1]", "seeds.1.*greater than or equal to 0"),
        (
            "method: pce",
            "method: unetr, name: pce, settings: {normalisation: none}",
            "unetr needs normalisation instance",
        ),
    ],
)
def test_what_is_wrong_is_named_before_anything_runs(names, old, new, words):
    assert old in TINY
    text = TINY.replace(old, new, 1)
    with pytest.raises(UserError, match=words) as caught:
        run_study(written(names, text), names / "out")
    assert "\n" not in str(caught.value)
    assert not (names / "out").exists()


def test_a_patient_in_two_folds_is_named(names):
    cohort = names / "cohort.csv"
    lines = cohort.read_text(encoding="utf-8").splitlines()
    lines = [lines[0] + ",split", lines[1] + ",1", lines[2].replace("P2", "P1") + ",2"]
    cohort.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"P1 is in split 1 .* and in split 2"):
        run_study(written(names), names / "out")


@pytest.mark.parametrize(
    ("lines", "changes", "words"),
    [
        (["P1,ct1.nii.gz,,mask1.nii.gz", "P2,ct2.nii.gz,strokes2.nii.gz,mask2.nii.gz"], {},
         r"pce, lambda 0, lambda 0.2 learns from scribbles, but P1 \(line 2\) has none"),
        (["P1,ct1.nii.gz,strokes1.nii.gz,", "P2,ct2.nii.gz,strokes2.nii.gz,mask2.nii.gz"],
         {"method: pce": "method: masks, name: pce"},
         r"pce learns from masks, but P1 \(line 2\) has none"),
        (["P1,ct1.nii.gz,strokes1.nii.gz,", "P2,ct2.nii.gz,strokes2.nii.gz,"], {},
         "nobody would be judged"),
        (["P1,ct1.nii.gz,strokes1.nii.gz,mask1.nii.gz,train", "P2,ct2.nii.gz,,mask2.nii.gz,test"],
         {"name: lambda,": "name: lambda, settings: {stroke_maps: true},", "folds: 2": "folds: 0"},
         r"lambda 0, lambda 0.2 reads strokes \(stroke_maps\), but P2 \(line 3\) has none"),
    ],
)  # fmt: skip
def test_who_cannot_be_learnt_from_or_judged_by_is_named(names, lines, changes, words):
    """A patient without strokes would be learnt from its contour, beside methods that are not."""
    header = "case,ct,scribbles,mask,split"
    (names / "cohort.csv").write_text("\n".join([header, *lines]) + "\n")
    text = TINY
    for old, new in changes.items():
        text = text.replace(old, new)
    with pytest.raises(UserError, match=words):
        run_study(written(names, text), names / "out")


def test_the_command_lists_the_jobs(names, monkeypatch, capsys):
    line = ["cmfnet", "study", str(written(names)), "--out", str(names / "out"), "--list"]
    monkeypatch.setattr(sys, "argv", [*line, "--json"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    listed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert listed == {"1": "pce, seed 0", "2": "lambda 0, seed 0", "3": "lambda 0.2, seed 0"}
    assert not (names / "out").exists()


def test_a_folder_of_another_study_is_refused(names, monkeypatch):
    monkeypatch.setattr(running, "train", begin)
    out = names / "out"
    assert run_study(written(names), out) is None
    assert run_study(written(names), out) is None
    with pytest.raises(UserError, match="results of another study: steps differ"):
        run_study(written(names, TINY.replace("steps: 2", "steps: 3")), out)
    with pytest.raises(UserError, match="results of another study: steps differ"):
        list_jobs(names / "study.yaml", out)
    with pytest.raises(UserError, match="jobs 1 to 3, no job 4"):
        run_study(written(names), out, number=4)
    plan = json.loads((out / "study.json").read_text(encoding="utf-8"))
    plan["jobs"]["pce-0"]["width"] = 4
    (out / "study.json").write_text(json.dumps(plan))
    with pytest.raises(UserError, match=r"the numbers of pce \(width 4 instead of 2\) differ"):
        run_study(written(names), out)


def test_a_study_from_before_a_setting_goes_on(names, monkeypatch):
    monkeypatch.setattr(running, "train", lambda *_, **__: None)
    out, path = names / "out", written(names)
    run_study(path, out)
    plan = json.loads((out / "study.json").read_text(encoding="utf-8"))
    del plan["data"]
    for config in plan["jobs"].values():
        del config["similarity"]
    (out / "study.json").write_text(json.dumps(plan))
    assert run_study(path, out) is None


def test_other_data_is_refused_before_anything_runs(names, monkeypatch):
    """Also where all jobs are complete: their results are of the data as it was."""
    monkeypatch.setattr(running, "train", begin)
    out, path, cohort = names / "out", written(names), names / "cohort.csv"
    run_study(path, out)
    (names / "mask2.nii.gz").write_bytes(b"corrected")
    with pytest.raises(UserError, match="another study: mask of P2 differ"):
        run_study(path, out)
    (names / "mask2.nii.gz").write_bytes(b"")
    assert run_study(path, out) is None
    rows = cohort.read_text(encoding="utf-8")
    cohort.write_text(rows.replace("P1,", "\nP1,"))  # contours are kept by the line
    with pytest.raises(UserError, match="another study: line of P1, line of P2 differ"):
        run_study(path, out)
    cohort.write_text(rows)
    cohort.write_text(cohort.read_text(encoding="utf-8").replace("P2,", "P3,"))
    with pytest.raises(UserError, match="another study: the patients differ"):
        run_study(path, out)


def test_a_second_start_is_refused_and_a_job_of_an_array_beside_others_is_not(names, monkeypatch):
    monkeypatch.setattr(running, "train", lambda *_, **__: None)
    out, path = names / "out", written(names)
    run_study(path, out)
    assert os.name != "posix" or not out.stat().st_mode & 0o077  # names and slices of patients
    with alone(out):
        with pytest.raises(UserError, match="Another process is writing into out"):
            run_study(path, out)
        assert run_study(path, out, number=2) is None
    monkeypatch.undo()
    (out / "pce-0").mkdir()
    config = read_study(path).jobs[0].config.model_dump(mode="json")
    plan = {"config": config, "folds": 2, "data": []}
    (out / "pce-0" / "plan.json").write_text(json.dumps(plan))
    with alone(out / "pce-0"), pytest.raises(UserError, match="process is writing into pce-0"):
        run_study(path, out, number=1, device="cpu")


def test_results_of_another_configuration_in_a_jobs_folder_are_named(names, monkeypatch):
    monkeypatch.setattr(running, "train", lambda *_, **__: None)
    out, path = names / "out", written(names)
    run_study(path, out)
    (out / "lambda-0-0").mkdir()
    config = read_study(path).jobs[1].config.model_dump(mode="json")
    plan = {"config": config | {"width": 4}, "folds": 2, "data": []}
    (out / "lambda-0-0" / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(UserError, match="lambda-0-0 holds a training with width 4 instead of 2"):
        run_study(path, out)
    (out / "lambda-0-0" / "plan.json").write_text(json.dumps(plan | {"config": config}))
    assert run_study(path, out) is None
    (out / "lambda-0-0" / "plan.json").rename(out / "lambda-0-0" / "results.csv")
    with pytest.raises(UserError, match="lambda-0-0 holds results, but not what they are of"):
        run_study(path, out)


def test_a_missing_file_of_a_case_is_named_before_anything_runs(names):
    (names / "strokes2.nii.gz").unlink()
    with pytest.raises(UserError, match=r"P2 \(line 3\): scribbles .*strokes2\.nii\.gz does not"):
        run_study(written(names), names / "out")
    assert not (names / "out").exists()


def test_what_is_wrong_may_be_corrected_until_a_job_has_begun(names, monkeypatch):
    """Patients are read first, and the first start finds what is wrong with one."""
    out, path = names / "out", written(names)

    def refuse(*_, **__):
        raise UserError("P2 (line 3): the mask is of another grid. Correct it and start again.")

    monkeypatch.setattr(running, "prepared_cases", refuse)
    with pytest.raises(UserError, match="another grid"):
        run_study(path, out)
    (names / "mask2.nii.gz").write_bytes(b"corrected")
    monkeypatch.setattr(running, "prepared_cases", lambda *_: ())
    monkeypatch.setattr(running, "train", begin)
    path = written(names, TINY.replace("steps: 2", "steps: 3"))
    assert [one.complete for one in list_jobs(path, out)] == [False] * 3
    assert run_study(path, out) is None
    (names / "mask2.nii.gz").write_bytes(b"too late")
    with pytest.raises(UserError, match="another study: mask of P2 differ"):
        run_study(path, out)


def test_a_job_of_an_array_has_begun_when_it_reads(names, monkeypatch):
    out, path, tried = names / "out", written(names), []

    def read(*_, **__):
        (names / "mask2.nii.gz").write_bytes(b"corrected")
        monkeypatch.setattr(running, "train", begin)
        with pytest.raises(UserError, match="another study: mask of P2 differ"):
            run_study(path, out, number=2)
        tried.append(2)
        raise UserError("the mask of P2 is of another grid.")

    monkeypatch.setattr(running, "train", read)
    with pytest.raises(UserError, match="another grid"):
        run_study(path, out, number=1)
    assert tried
    assert run_study(path, out, number=2) is None  # nothing came of the first


def begin(cohort, folder, config, **_):
    """As `train`, when it is stopped at once."""
    plan = {"config": config.model_dump(mode="json"), "folds": 2, "data": []}
    (folder / "plan.json").write_text(json.dumps(plan))


def test_files_are_hashed_once_for_all_jobs(names, monkeypatch):
    monkeypatch.setattr(running, "train", begin)
    read, out, path = [], names / "out", written(names)
    hashed = data_hashes.hash_file

    def hash_file(file):
        read.append(file.name)
        return hashed(file)

    monkeypatch.setattr(data_hashes, "hash_file", hash_file)
    run_study(path, out, number=1)
    run_study(path, out, number=2)
    run_study(path, out)
    assert len(read) == 6
    (names / "mask2.nii.gz").write_bytes(b"corrected")
    with pytest.raises(UserError, match="another study: mask of P2 differ"):
        run_study(path, out)
    assert read[6:] == ["mask2.nii.gz"]


GPU = TINY.replace("metrics:", "gpu: {steps: 7, settings: {batch: 3}}\nmetrics:")


def test_the_part_for_a_gpu_is_left_out_in_words_where_there_is_none(names, monkeypatch):
    trained = []
    monkeypatch.setattr(running, "train", lambda _, out, *__, **___: trained.append(out.name) or {})
    monkeypatch.setattr(running.torch.cuda, "is_available", lambda: False)
    path, out = written(names, GPU), names / "out"
    jobs = read_study(path).jobs
    assert [job.gpu for job in jobs] == [False] * 3 + [True] * 3
    assert (jobs[3].method, jobs[3].folder) == ("pce", "gpu/pce-0")
    assert (jobs[3].config.steps, jobs[3].config.batch, jobs[3].config.width) == (7, 3, 16)
    assert run_study(path, out) == {
        "complete": 0,
        "jobs": 3,
        "gpu": "3 jobs of the part for a GPU were left out: there is none here",
    }
    assert trained == ["pce-0", "lambda-0-0", "lambda-0.2-0"]
    with pytest.raises(UserError, match=r"Job 4 of study\.yaml needs a CUDA GPU"):
        run_study(path, out, number=4)
    assert run_study(path, out, device="cuda")["jobs"] == 6
    with pytest.raises(UserError, match="gpu: give either steps or minutes"):
        run_study(written(names, GPU.replace("steps: 7, ", "")), names / "other")
    with pytest.raises(UserError, match=r"Method pce, wide: .*not permitted"):
        run_study(written(names, GPU.replace("batch: 3", "wide: 3")), names / "other")


@pytest.mark.usefixtures("undrawn")
def test_what_a_gpu_has_done_is_in_the_tables_where_there_is_none(names, monkeypatch):
    """And what it has not done is said there, too."""
    trained = []

    def train(cohort, folder, config, **_):
        trained.append(folder.name)
        complete(folder, config)
        return {}

    monkeypatch.setattr(running, "train", train)
    path, out = written(names, GPU), names / "out"
    jobs = read_study(path).jobs
    monkeypatch.setattr(running.torch.cuda, "is_available", lambda: True)
    run_study(path, out, number=4)
    monkeypatch.setattr(running.torch.cuda, "is_available", lambda: False)
    assert run_study(path, out) == {
        "complete": 4,
        "jobs": 4,
        "table": str(out / "table.md"),
        "gpu": f"{out / 'gpu' / 'table.md'}; 2 jobs of the part for a GPU were left out: there is "
        "none here",
    }
    assert trained == [job.folder.split("/")[-1] for job in (jobs[3], *jobs[:3])]
    said = (out / "gpu" / "table.md").read_text(encoding="utf-8")
    assert "| pce | **0.400 ± 0.141** |" in said
    assert "Not complete, and left out: lambda 0 with seed 0, lambda 0.2 with seed 0." in said
    for job in jobs[4:]:
        complete(out / job.folder, job.config)
    found = run_study(path, out)
    assert (found["complete"], found["gpu"]) == (6, str(out / "gpu" / "table.md"))


def complete(folder, config):
    """A job's folder as `train` leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    begin(None, folder, config)
    known = scored("", 0, {("P1", 1): 0.5, ("P2", 1): 0.3}).results
    write_results(folder / "results.csv", known)


def test_a_study_goes_on_where_it_was_stopped_and_writes_its_tables(tmp_path, monkeypatch):
    scribbled(tmp_path, monkeypatch)
    path, out = written(tmp_path, TINY.replace("steps: 2", "steps: 1")), tmp_path / "out"
    shown = []  # four readings, two steps of the first job, one of the second
    stop = Hooks(show=lambda share, note: shown.append(note), stop=lambda: len(shown) > 6)
    monkeypatch.setattr(prepared_cases, "load_cohort", count_calls(prepared_cases.load_cohort))
    assert run_study(path, out, hooks=stop, device="cpu") is None
    assert [one.complete for one in list_jobs(path, out)] == [True, False, False]
    trained, train = [], running.train

    def count(cohort, folder, *args, **kwargs):
        trained.append(folder.name)
        return train(cohort, folder, *args, **kwargs)

    monkeypatch.setattr(running, "train", count)
    assert run_study(path, out, number=2, device="cpu")["complete"] == 2
    result = run_study(path, out, device="cpu")
    assert result == {"complete": 3, "jobs": 3, "table": str(out / "table.md")}
    assert trained == ["lambda-0-0", "lambda-0.2-0"]
    assert prepared_cases.load_cohort.calls == 1  # all jobs share what was read
    rows = table(out / "results.csv")
    assert [row["method"] for row in rows] == ["pce"] * 4 + ["lambda 0"] * 4 + ["lambda 0.2"] * 4
    assert sorted(row["case"] for row in rows[:4]) == ["P1", "P2", "P3", "P4"]
    text = (out / "table.md").read_text(encoding="utf-8")
    dsc = [float(row["dsc"]) for row in rows[:4]]
    assert f"{np.mean(dsc):.3f} ± {np.std(dsc, ddof=1):.3f}" in text
    assert "- pce less lambda 0, dsc: " in text
    speed = re.search(r"- lambda 0.2: ([0-9.]+) on cpu, 1 thread\n", text)
    spent = [json.loads(file.read_text()) for file in out.glob("lambda-0.2-0/*/speed.json")]
    assert [each["steps"] for each in spent] == [1, 1]
    assert float(speed[1]) == pytest.approx(2 / sum(each["seconds"] for each in spent), abs=0.01)
    assert not (out / "prepared").exists()
    for picture in ("curves", "sweep-lambda", "examples"):
        for ending in ("png", "pdf"):
            assert (out / f"{picture}.{ending}").stat().st_size > 1000


def test_methods_with_the_same_numbers_are_trained_once(names, monkeypatch):
    text = TINY.replace("  - {method: pce}", "  - {method: cmfnet, name: whole}\n  - {method: pce}")
    path, trained = written(names, text), []
    folders = [job.folder for job in read_study(path).jobs]
    assert folders == ["whole-0", "pce-0", "lambda-0-0", "whole-0"]

    def train(cohort, folder, *_, **__):
        trained.append(folder.name)
        return []

    monkeypatch.setattr(running, "train", train)
    for number in (4, 1, None):
        run_study(path, names / "out", number=number, device="cpu")
        trained.append(number)
    assert trained == [4, "whole-0", 1, "whole-0", "pce-0", "lambda-0-0", None]


def scored(method, seed, values):
    config = method_config("pce")
    place = METRICS.index("dsc")
    results = []
    for (case, label), value in values.items():
        row = [float("nan")] * len(METRICS)
        row[place] = value
        results.append(Result(case, "", label, tuple(row)))
    return Scored(Job(method, seed, f"{method}-{seed}", config), results)


def test_a_patients_score_is_the_mean_over_classes_and_seeds():
    known = [
        scored("a", 0, {("P1", 1): 0.2, ("P1", 2): 0.4, ("P2", 1): float("nan")}),
        scored("a", 1, {("P1", 1): 0.6, ("P1", 2): 0.8, ("P2", 1): 0.5}),
        scored("b", 0, {("P1", 1): 0.9}),
    ]
    means = patient_means(known, "a", "dsc")
    assert means == {"P1": pytest.approx(0.5), "P2": pytest.approx(0.5)}


def test_differences_are_paired_and_their_interval_is_students():
    first = {f"P{n}": 0.5 + 0.1 * n for n in range(4)}
    constant = difference(first, {case: value - 0.2 for case, value in first.items()})
    assert constant == (pytest.approx(0.2), pytest.approx(0.2), pytest.approx(0.2), 4)
    second = {"P0": 0.4, "P1": 0.8, "P2": 0.6, "P9": 0.1}
    found = difference(first, second)
    apart = [0.1, -0.2, 0.1]
    assert found.patients == 3
    assert found.mean == pytest.approx(0.0)
    half = 4.3027 * np.std(apart, ddof=1) / np.sqrt(3)  # Student's t of 2 degrees, from a table
    assert found.low == pytest.approx(-half, abs=1e-5)
    assert found.high == pytest.approx(half, abs=1e-5)
    assert difference(first, {"P1": 0.3}) is None


def test_differences_are_shown_by_seed_too(names):
    """What chance does to a training is not in an interval over patients that share a model."""
    study = read_study(written(names, TINY.replace("[dsc, asd_mm]", "[dsc]"))).study
    known = [
        scored("pce", seed, {("P1", 1): 0.5 + gain, ("P2", 1): 0.3 + gain})
        for seed, gain in enumerate((0.1, -0.1, 0.3))
    ]
    known += [scored("lambda 0", seed, {("P1", 1): 0.5, ("P2", 1): 0.3}) for seed in range(3)]
    text = write_tables(study, known, names).read_text(encoding="utf-8")
    assert "dsc: +0.100 (+0.100 to +0.100), 2 patients; by seed +0.100, -0.100, +0.300\n" in text
    alone = [one for one in known if one.job.seed == 0]
    assert "by seed" not in write_tables(study, alone, names).read_text(encoding="utf-8")


def test_speed_and_curves_of_the_cohort_files_own_split_are_found(names):
    """A training of one model lies in the job's own folder, after which its results name it."""
    study = read_study(written(names, TINY)).study
    one = scored("pce", 0, {("P1", 1): 0.5, ("P2", 1): 0.3})
    here = names / one.job.folder
    here.mkdir()
    one = one._replace(results=[replace(result, split=here.name) for result in one.results])
    Speed(30, 20.0, "cpu, 1 thread").write(here)
    (here / "losses.csv").write_text("step,total\n1,0.5\n")
    (here / "scores.csv").write_text("step,dsc\n1,0.25\n")
    text = write_tables(study, [one], names).read_text(encoding="utf-8")
    assert "- pce: 1.50 on cpu, 1 thread\n" in text
    found = {"step": [1.0], "total": [0.5]}, {"step": [1.0], "dsc": [0.25]}
    assert _curves([one], names) == {"pce": found}


def test_a_budget_in_minutes_has_the_end_of_its_curve():
    curves = [
        {"step": [4.0, 10.0], "dsc": [0.1, 0.4]},
        {"step": [5.0, 20.0], "dsc": [0.2, 0.6]},
    ]
    assert _mean_curve(curves, "dsc") == {"step": [15.0], "dsc": [pytest.approx(0.5)]}
    shared = [{"step": [4.0, 8.0], "dsc": [0.1, 0.4]}, {"step": [4.0, 9.0], "dsc": [0.3, 0.6]}]
    assert _mean_curve(shared, "dsc") == {"step": [4.0], "dsc": [pytest.approx(0.2)]}
    assert _mean_curve([*shared, {}], "dsc") == {}


def test_scores_that_one_method_lacks_are_not_paired_but_counted(names):
    """A method that finds nothing in the hard class must not look better for it."""
    known = [
        scored("pce", 0, {("P1", 1): 0.2, ("P1", 2): 0.8, ("P2", 1): 0.5, ("P2", 2): 0.7}),
        scored(
            "lambda 0", 0, {("P1", 1): float("nan"), ("P1", 2): 0.6, ("P2", 1): 0.5, ("P2", 2): 0.5}
        ),
        scored("lambda 0.2", 0, {("P1", 1): 0.1, ("P1", 2): 0.1, ("P2", 1): 0.3, ("P2", 2): 0.3}),
    ]
    first, second = paired_means(known, "pce", "lambda 0", "dsc")
    assert first == {"P1": pytest.approx(0.8), "P2": pytest.approx(0.6)}
    assert second == {"P1": pytest.approx(0.6), "P2": pytest.approx(0.5)}
    study = read_study(written(names, TINY.replace("[dsc, asd_mm]", "[dsc]"))).study
    text = write_tables(study, known, names).read_text(encoding="utf-8")
    assert "| pce | 0.550 ± 0.071 |" in text
    assert "| lambda 0 | 0.550 ± 0.071 (1 undefined) |" in text
    assert "**" not in text
    assert "- pce less lambda 0, dsc: +0.150" in text
    alike = write_tables(study, [known[0], known[2], known[2]], names).read_text(encoding="utf-8")
    assert "| pce | **0.550 ± 0.071** |" in alike


def test_undefined_scores_of_others_mark_no_best_and_a_bound_takes_no_place(names):
    nothing = float("nan")
    known = [
        scored("pce", 0, {("P1", 1): nothing, ("P2", 1): 0.9}),
        scored("lambda 0", 0, {("P1", 1): 0.5, ("P2", 1): nothing}),
        scored("lambda 0.2", 0, {("P1", 1): 0.4, ("P2", 1): nothing}),
    ]
    study = read_study(written(names, TINY.replace("[dsc, asd_mm]", "[dsc]"))).study
    assert "**" not in write_tables(study, known, names).read_text(encoding="utf-8")
    both = {("P1", 1): 0.4, ("P2", 1): 0.3}
    found = [scored("lambda 0", 0, both), scored("lambda 0.2", 0, both)]
    none = scored("pce", 0, dict.fromkeys(both, nothing))  # one that never finds anything counts
    assert "**" not in write_tables(study, [none, *found], names).read_text(encoding="utf-8")
    seeds = [*found, scored("lambda 0", 1, both)]  # as where another seed's job has failed
    assert "**" not in write_tables(study, seeds, names).read_text(encoding="utf-8")
    assert "**" in write_tables(study, found, names).read_text(encoding="utf-8")
    weak = [
        scored(name, 0, {("P1", 1): 0.5 - number / 10, ("P2", 1): 0.5})
        for number, name in enumerate(("lambda 0", "lambda 0.2"))
    ]
    bound = scored("pce", 0, {("P1", 1): 0.9, ("P2", 1): 0.9})
    bound = bound._replace(job=bound.job._replace(config=method_config("masks")))
    text = write_tables(study, [bound, *weak], names).read_text(encoding="utf-8")
    assert "| pce | 0.900 ± 0.000 |" in text
    assert "| lambda 0 | **0.500 ± 0.000** |" in text
    assert "of the chance of training they know nothing" in text
    full = [bound, *(one._replace(job=one.job._replace(config=bound.job.config)) for one in weak)]
    assert "| pce | **0.900" in write_tables(study, full, names).read_text(encoding="utf-8")


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("metric", "scores"),
    [("dsc", (0.7, 0.5, 0.7, 0.3)), ("volume_ratio", (1.1, 1.3, 0.9, 1.6))],
)
def test_equal_means_share_a_place_and_the_next_is_the_second(names, metric, scores):
    """The first three learn from strokes, the last is their bound and takes no place."""
    text = TINY.replace("[dsc, asd_mm]", f"[{metric}]").replace("[0, 0.2]", "[0, 0.2, 0.4]")
    study = read_study(written(names, text)).study
    titles = ("lambda 0", "lambda 0.2", "lambda 0.4", "pce")
    make = volumes if metric == "volume_ratio" else patients
    known = [make(name, *[(value, 1.0)] * 2) for name, value in zip(titles, scores, strict=True)]
    known[3] = known[3]._replace(job=known[3].job._replace(config=method_config("masks")))
    first, second, same, bound = (f"{value:.3f} ± 0.000" for value in scores)

    def check(found, *cells):
        said = write_tables(study, found, names).read_text(encoding="utf-8")
        for name, cell in zip(titles, cells, strict=True):
            assert f"| {name} | {cell} |" in said

    check(known, f"**{first}**", f"<u>{second}</u>", f"**{same}**", bound)
    check([known[0], known[2], known[3]], f"**{first}**", "–", f"**{same}**", bound)


@pytest.mark.usefixtures("undrawn")
def test_a_methods_name_may_have_the_borders_of_a_table_in_it(names):
    text = TINY.replace("method: pce", "method: pce, name: a | b").replace("[pce,", "[a | b,")
    study = read_study(written(names, text)).study
    known = [scored("a | b", 0, {("P1", 1): 0.5, ("P2", 1): 0.3})]
    said = write_tables(study, known, names).read_text(encoding="utf-8")
    assert r"| a \| b | **0.400 ± 0.141** | – (2 undefined) |" in said


def patients(method, *pairs):
    return scored(method, 0, {(f"P{n}", 1): value for n, (value, _) in enumerate(pairs)})


def test_a_job_that_fails_takes_the_table_from_no_other(tmp_path, monkeypatch):
    scribbled(tmp_path, monkeypatch)
    train = running.train

    def diverge(cohort, folder, *args, **kwargs):
        if folder.name == "pce-0":
            raise UserError("Training diverged at step 3.")
        return train(cohort, folder, *args, **kwargs)

    monkeypatch.setattr(running, "train", diverge)
    text = TINY.replace("steps: 2", "steps: 1").replace("[pce, lambda 0]", "[lambda 0, lambda 0.2]")
    path, out = written(tmp_path, text), tmp_path / "out"
    with pytest.raises(UserError, match="diverged"):
        run_study(path, out, number=1, device="cpu")
    assert not (out / "table.md").exists()  # an array's other jobs may be at work
    with pytest.raises(UserError, match=r"1 of 3 jobs .*\n  pce, seed 0: Training diverged"):
        run_study(path, out, device="cpu")
    said = (out / "table.md").read_text(encoding="utf-8")
    assert "**Not complete, and left out: pce with seed 0.**" in said
    assert re.search(r"\| pce \| – \| – \|\n\| lambda 0 \| .*± ", said)
    assert "- lambda 0 less lambda 0.2, dsc: " in said
    assert len(table(out / "results.csv")) == 2 * 4


def volumes(method, *pairs):
    names = [METRICS.index(f"{of}_ml") for of in ("volume", "reference")]
    results = []
    for number, pair in enumerate(pairs):
        row = np.full(len(METRICS), np.nan)
        row[names] = pair
        results.append(Result(f"P{number}", "", 1, tuple(row)))
    return Scored(Job(method, 0, f"{method}-0", method_config("pce")), results)


def test_shrunken_contours_are_seen_and_the_volume_nearest_to_the_references_is_best(names):
    known = [
        volumes("pce", (60, 100), (5, 10), (1, 0)),
        volumes("lambda 0", (120, 100), (12, 10), (1, 0)),
        volumes("lambda 0.2", (90, 100), (8, 10), (1, 0)),
    ]
    study = read_study(written(names, TINY.replace("[dsc, asd_mm]", "[volume_ratio]"))).study
    text = write_tables(study, known, names).read_text(encoding="utf-8")
    assert "| method | Volume ÷ reference |" in text
    assert "| pce | 0.550 ± 0.071 (1 undefined) |" in text
    assert "| lambda 0 | <u>1.200 ± 0.000</u> (1 undefined) |" in text
    assert "| lambda 0.2 | **0.850 ± 0.071** (1 undefined) |" in text
    assert "- pce less lambda 0, volume_ratio: -0.650" in text


def test_an_example_is_the_largest_slice_around_all_contours():
    image = np.arange(3 * 60 * 70, dtype=np.float32).reshape(3, 60, 70)
    reference, other = np.zeros((2, 3, 60, 70), dtype=np.uint8)
    reference[1, 30:33, 20], reference[2, 30, 20] = 1, 2
    other[1, 30, 40], other[0, 0, 0] = 1, 1
    example = make_example("P1", image, (3.0, 2.0, 1.0), reference, {"a": other})
    np.testing.assert_array_equal(example.image, image[1, 14:49, 4:57])
    np.testing.assert_array_equal(example.reference, reference[1, 14:49, 4:57])
    np.testing.assert_array_equal(example.found["a"], other[1, 14:49, 4:57])
    assert example.spacing == (2.0, 1.0)


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_studies_of_the_paper_are_right(path, names):
    rows = ["case,ct,scribbles,mask"]
    rows += [f"P{n},i{n}.nii.gz,s{n}.nii.gz,m{n}.nii.gz" for n in range(6)]
    for n in range(6):
        for kind in "ism":
            (names / f"{kind}{n}.nii.gz").touch()
    (names / "six.csv").write_text("\n".join(rows) + "\n")
    study, _, jobs = read_study(path, names / "six.csv")
    assert study.title
    for gpu in {job.gpu for job in jobs}:
        part = [job.config for job in jobs if job.gpu is gpu]
        assert len({(each.steps, each.width, each.batch) for each in part}) == 1


def test_all_rivals_are_in_the_studies(names):
    studies = [
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in STUDIES.glob("small-*.yaml")
    ]
    assert {entry["method"] for study in studies for entry in study["methods"]} >= set(METHODS)
