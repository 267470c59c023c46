"""A study killed without warning, at moments that nobody chose."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from cmfnet_napari.learning.study.run_study import run_study
from tests.learning.cohort.test_train import make_cohort, steps_logged, table, write_cohort

STEPS, FOLDS, JOBS = 6, ("fold-1", "fold-2"), ("pce-0", "cmfnet-0")
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


def kill_at(line, out, steps):
    """Start the command, and kill it once so many steps were done."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CMFNET_SAVE_SECONDS": "0"}
    process = subprocess.Popen(line, env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while sum(map(steps_logged, folds_of(out))) < steps and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_killed_twice_and_continued_every_job_is_done_once(tmp_path, one_thread):
    path, out, straight = write_study(tmp_path), tmp_path / "out", tmp_path / "straight"
    line = [sys.executable, "-m", "cmfnet_napari", "study", str(path), "--out", str(out)]
    whole = STEPS * len(FOLDS) * len(JOBS)
    first, second = sorted(random.sample(range(1, whole), 2))
    kept = {}
    for moment in (first, second):
        kill_at([*line, "--device", "cpu"], out, moment)
        kept |= complete(out)
    assert run_study(path, out, device="cpu")["complete"] == len(JOBS)
    run_study(path, straight, device="cpu")
    said = f"killed at steps {first} and {second} of {whole}"
    assert {file: complete(out)[file] for file in kept} == kept, said
    for ours, theirs in zip(folds_of(out), folds_of(straight), strict=True):
        rows = table(ours / "losses.csv")
        assert [int(row["step"]) for row in rows] == list(range(1, STEPS + 1)), said
        assert rows == table(theirs / "losses.csv"), said
        assert (ours / "results.csv").read_bytes() == (theirs / "results.csv").read_bytes(), said
    for name in ("results.csv", "table.md"):
        assert (out / name).read_bytes() == (straight / name).read_bytes(), said
