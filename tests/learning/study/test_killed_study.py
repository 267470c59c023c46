"""A study killed without warning, at moments that nobody chose."""

import json
import os
import random
import time

import psutil
import pytest

from cmfnet_napari.learning.cohort import train as training
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.study import run_study as running
from cmfnet_napari.learning.study.run_study import run_study
from cmfnet_napari.learning.study.study_tables import SPEED_TITLE
from cmfnet_napari.learning.tasks.cluster import Workers
from tests.forked import Forked
from tests.learning.cohort.test_train import make_cohort, steps_logged, table, write_cohort
from tests.learning.conftest import COMMAND

DASK = "tests.learning.programs:dask_command"
STEPS, FOLDS, JOBS = 3, ("fold-1", "fold-2"), ("pce-0", "cmfnet-0")
STUDY = f"""
title: Killed
cohort: cohort.csv
folds: 2
steps: {STEPS}
settings: {{width: 2, batch: 2, patch: [16, 16, 32], crf_radius: 1, precision: float32}}
metrics: [dsc]
methods:
  - {{method: pce}}
  - {{method: cmfnet}}
"""


def write_study(folder):
    """The study, and four patients with strokes."""
    cohort = make_cohort(folder)
    rows = [{**row, "scribbles": f"s{n}.nii.gz"} for n, row in enumerate(table(cohort), start=1)]
    write_cohort(cohort, rows)
    path = folder / "study.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def folds_of(out):
    return [out / job / fold for job in JOBS for fold in FOLDS]


def complete(out):
    """When the folds that are complete were written."""
    results = (fold / "results.csv" for fold in folds_of(out))
    return {file: file.stat().st_mtime_ns for file in results if file.exists()}


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "CMFNET_SAVE_SECONDS": "0"}


def kill_at(line, out, steps):
    """Start the command, and kill it once so many steps were done."""
    process = Forked("training", COMMAND, *line, environment=environment())
    deadline = time.monotonic() + 300
    while sum(map(steps_logged, folds_of(out))) < steps and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    process.close()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert workers
    assert not alive


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    """They take as long as trainings of three steps; only the commands draw them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "save_training", lambda *_: None)
        patch.setattr(running, "draw_examples", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The study, and the folder of one that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight")
    path = write_study(folder)
    run_study(path, folder / "out", device="cpu")
    return path, folder / "out"


def check_alike(out, straight, said):
    """Every job was done once, and what was found is what an undisturbed study found."""
    for ours, theirs in zip(folds_of(out), folds_of(straight), strict=True):
        rows = table(ours / "losses.csv")
        assert [int(row["step"]) for row in rows] == list(range(1, STEPS + 1)), said
        assert rows == table(theirs / "losses.csv"), said
        assert (ours / "results.csv").read_bytes() == (theirs / "results.csv").read_bytes(), said
    assert (out / "results.csv").read_bytes() == (straight / "results.csv").read_bytes(), said
    tables = [(each / "table.md").read_text(encoding="utf-8") for each in (out, straight)]
    assert len({text.partition(SPEED_TITLE)[0] for text in tables}) == 1, said
    assert not (out / "prepared").exists()


@pytest.mark.slow
def test_killed_twice_and_continued_every_job_is_done_once(tmp_path, straight):
    """By two workers, as the command does it; a kill leaves none of them behind."""
    (path, undisturbed), out = straight, tmp_path / "out"
    line = ["study", str(path), "--out", str(out), "--device", "cpu", "--at-once", "2"]
    whole = STEPS * len(FOLDS) * len(JOBS)
    first, second = sorted(random.sample(range(1, whole - 1), 2))
    kept = {}
    for moment in (first, second):
        kill_at(line, out, moment)
        kept |= complete(out)
    assert run_study(path, out, device="cpu")["complete"] == len(JOBS)
    said = f"killed at steps {first} and {second} of {whole}"
    assert {file: complete(out)[file] for file in kept} == kept, said
    check_alike(out, undisturbed, said)


def start_scheduler(folder, count):
    """A scheduler with workers, as `dask scheduler` and `dask worker` start them."""
    where = folder / "scheduler.json"
    common = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(where)]
    worker = ["worker", "--no-nanny", "--nthreads", "1", "--memory-limit", "0", *common]
    lines = [["scheduler", "--port", "0", *common]] + [worker] * count
    return [
        Forked("training", DASK, *line, stderr=False, environment=environment()) for line in lines
    ], where


@pytest.mark.slow
def test_a_scheduler_with_two_workers_of_which_one_is_killed(tmp_path, straight):
    (path, undisturbed), out = straight, tmp_path / "out"
    processes, where = start_scheduler(tmp_path, 2)
    moment, killed = random.randrange(1, STEPS * len(FOLDS)), []

    def watch(share, note):
        if not killed and sum(map(steps_logged, folds_of(out))) >= moment:
            killed.append(random.choice(processes[1:]))
            killed[0].kill()

    try:
        deadline = time.monotonic() + 120
        while not where.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        address = json.loads(where.read_text())["address"]
        result = run_study(path, out, device="cpu", hooks=Hooks(watch), workers=Workers(address))
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()
            process.close()
    assert result["complete"] == len(JOBS)
    assert killed
    check_alike(out, undisturbed, f"killed at step {moment}")
