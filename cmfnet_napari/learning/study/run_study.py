"""The jobs of a study: each done once, in turn or at once; its tables and figures.

::

    OUT/study.json            the study, its jobs and hashes of its data, as it was begun; written
                              anew as long as no job has begun
    OUT/hashes.json           hashes of files by their size and time, so that each is read once
    OUT/prepared/             patients on their working grids, until all jobs are complete
    OUT/JOB/                  one training each, as `cmfnet train` leaves it
    OUT/results.csv           scores of every method, seed, patient and class
    OUT/table.md              mean ± SD over patients; differences with intervals; speed
    OUT/curves.png, OUT/sweep-….png, OUT/examples.png; each as a PDF, too
    OUT/gpu/                  the same of the part for a GPU
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, new_folder, read_json, write_json
from cmfnet_napari.core.fit.config import changed_settings
from cmfnet_napari.core.fit.cost_estimate import PATIENT, training_memory
from cmfnet_napari.core.folder_lock import alone
from cmfnet_napari.learning.cohort.cohort_file import read_cohort
from cmfnet_napari.learning.cohort.data_hashes import HASHES_FILE, hash_rows, read_hashes
from cmfnet_napari.learning.cohort.plan import check_begun
from cmfnet_napari.learning.cohort.prepared_cases import image_settings, prepared_cases
from cmfnet_napari.learning.cohort.results import RESULTS_FILE, read_results
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.cohort.train import train
from cmfnet_napari.learning.rivals.monai_nets import check_installed
from cmfnet_napari.learning.study.examples import draw_examples
from cmfnet_napari.learning.study.study_file import GPU_FOLDER, Job, StudyFile, read_study
from cmfnet_napari.learning.study.study_tables import Scored, write_tables
from cmfnet_napari.learning.tasks.cluster import Workers
from cmfnet_napari.learning.tasks.run_tasks import Task, run_tasks

_STUDY, _PREPARED = "study.json", "prepared"
_PATIENCE_S = 60.0  # for other jobs of an array that begin at the same moment


@dataclass(frozen=True)
class Progress:
    """A job, and whether it is complete."""

    job: Job
    complete: bool


def list_jobs(path: Path, out: Path, cohort: Path | None = None) -> list[Progress]:
    """The jobs of a study in order, numbered from 1 on; nothing is written.

    Raises
    ------
    UserError
        As `read_study`; the folder holds jobs of another study.
    """
    study, _, jobs = read_study(path, cohort)
    if (out / _STUDY).exists() and _any_begun(out, before := read_json(out / _STUDY)):
        _check_same(before, _plan(study, jobs), jobs, out.name)
    return [Progress(job, _is_complete(out, job)) for job in jobs]


def run_study(
    path: Path,
    out: Path,
    cohort: Path | None = None,
    number: int | None = None,
    device: str = "auto",
    hooks: Hooks | None = None,
    workers: Workers | None = None,
) -> JsonObject | None:
    """Do the jobs of a study that are not complete, and write its tables and figures.

    Parameters
    ----------
    path : Path
        The study file.
    out : Path
        A new folder, or that of the same study.
    cohort : Path, optional
        As in `read_study`.
    number : int, optional
        Only this job, from 1 on, as an array of jobs wants it.
    device : str
        As in `train`. Without a GPU what is not complete of the study's part for one is left out,
        and said to be.
    hooks : Hooks, optional
        Progress, and the wish to stop.
    workers : Workers, optional
        Where jobs run; in this process, in turn, when not given.

    Returns
    -------
    dict, or None when stopped
        ``complete`` and ``jobs`` (how many of those that can be done here), ``table`` once all
        are complete; ``gpu`` says what became of the part for a GPU.

    Raises
    ------
    UserError
        As `read_study` and `prepared_cases`, before anything runs; the folder holds another
        study, or is at work; what was wrong with which jobs. Tables of all others are written.
    """
    study, rows, jobs = read_study(path, cohort)
    out, rows = out.resolve(), rows.resolve()
    able = _able(jobs, out, device)
    chosen = able if number is None else [_numbered(path, jobs, number, able)]
    left = [job for job in _trained(chosen, jobs) if not _is_complete(out, job)]
    for job in left:
        check_installed(job.config)
    _begin(out, study, jobs, rows)
    with alone(out) if number is None else nullcontext():
        tasks = [
            Task(f"{job.method}, seed {job.seed}", partial(do_job, rows, out, job, study, device))
            for job in left
        ]
        where = replace(workers or Workers(at_once=1), memory=_memory(left), folder=out)
        hooks = hooks or Hooks()
        if tasks and number is None and not _prepare(rows, out, left, hooks):
            return None
        try:
            if not run_tasks(tasks, where, hooks):
                return None
        except UserError:
            if number is None:  # the others of an array may be at work
                _write_all(study, rows, jobs, out)
            raise
        return _found(study, rows, jobs, able, out)


def _prepare(rows: Path, out: Path, jobs: Sequence[Job], hooks: Hooks) -> bool:
    """Read the patients for all jobs: what is wrong with one is said once; False when stopped."""
    table, kept = read_cohort(rows), out / _PREPARED
    kinds = {image_settings(job.config): job.config for job in jobs}
    return all(
        prepared_cases(table, config, kept, hooks.show, hooks.stop) is not None
        for config in kinds.values()
    )


def do_job(rows: Path, out: Path, job: Job, study: StudyFile, device: str, hooks: Hooks) -> bool:
    """Train and judge all models of a job; whether it was not stopped."""
    folder, kept = out / job.folder, out / _PREPARED
    if _is_complete(out, job):
        return True
    with _marked(folder):
        found = train(
            rows, folder, job.config, folds=study.folds, device=device, hooks=hooks, prepared=kept
        )
    return found is not None


@contextmanager
def _marked(folder: Path) -> Iterator[None]:
    """The folder of a job that is at work, also while it reads; gone where nothing came of it."""
    with suppress(OSError):  # `train` says why it cannot be made
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):  # something is in it
            folder.rmdir()


def _any_begun(out: Path, before: JsonObject) -> bool:
    """Whether a job of what was begun is at work, or has left anything."""
    jobs = before.get("jobs")
    return not isinstance(jobs, dict) or any((out / folder).exists() for folder in jobs)


def _is_complete(out: Path, job: Job) -> bool:
    return (out / job.folder / RESULTS_FILE).exists()


def _able(jobs: Sequence[Job], out: Path, device: str) -> list[Job]:
    """Those that can be done here, or have been done anywhere."""
    gpu = _has_gpu(device)
    return [job for job in jobs if gpu or not job.gpu or _is_complete(out, job)]


def _has_gpu(device: str) -> bool:
    """Whether jobs run on a GPU; one that was asked for by name may be a worker's."""
    return device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())


def _numbered(path: Path, jobs: Sequence[Job], number: int, able: Sequence[Job]) -> Job:
    if not 1 <= number <= len(jobs):
        raise UserError(f"{path.name} has jobs 1 to {len(jobs)}, no job {number}.")
    job = jobs[number - 1]
    if job not in able:
        raise UserError(f"Job {number} of {path.name} needs a CUDA GPU, and there is none here.")
    return job


def _trained(chosen: Sequence[Job], jobs: Sequence[Job]) -> list[Job]:
    """Those of some jobs that train: of several with the same numbers the first does it for all."""
    first = {job.folder: job for job in reversed(jobs)}
    return [job for job in chosen if first[job.folder] is job]


def _memory(jobs: Sequence[Job]) -> float:
    return max((training_memory(job.config, PATIENT) for job in jobs), default=0.0)


def _found(
    study: StudyFile, rows: Path, jobs: Sequence[Job], able: Sequence[Job], out: Path
) -> JsonObject:
    """What is complete, with tables and figures once all is that can be done here."""
    complete = [job for job in able if _is_complete(out, job)]
    result: JsonObject = {"complete": len(complete), "jobs": len(able)}
    if len(complete) == len(able):
        result.update(_write_all(study, rows, jobs, out))
        shutil.rmtree(out / _PREPARED, ignore_errors=True)  # copies of patients' images
    if left_out := len(jobs) - len(able):
        said = f"{left_out} jobs of the part for a GPU were left out: there is none here"
        result["gpu"] = f"{result['gpu']}; {said}" if "gpu" in result else said
    return result


def _write_all(study: StudyFile, rows: Path, jobs: Sequence[Job], out: Path) -> JsonObject:
    """Tables and figures of what is complete, here and on a GPU; where they are."""
    parts = {"table": (study, out), "gpu": (study.on_gpu(), out / GPU_FOLDER)}
    written: JsonObject = {}
    for name, (part, folder) in parts.items():
        of = [job for job in jobs if job.gpu is (name == "gpu")]
        if part is not None and any(_is_complete(out, job) for job in of):
            written[name] = str(_report(part, rows, of, out, folder))
    return written


def _report(study: StudyFile, rows: Path, jobs: Sequence[Job], out: Path, folder: Path) -> Path:
    """Write tables and figures of jobs into a folder; return the table's path."""
    complete = [job for job in jobs if _is_complete(out, job)]
    absent = [job for job in jobs if job not in complete]
    scored = [Scored(job, read_results(out / job.folder / RESULTS_FILE)) for job in complete]
    table = write_tables(study, scored, out, folder, absent)
    draw_examples(rows, scored, out, folder)
    return table


def _begin(out: Path, study: StudyFile, jobs: Sequence[Job], rows: Path) -> None:
    """Write what is begun, or check that it is what jobs there were begun with."""
    known, table = read_hashes(out), read_cohort(rows)
    count, hashes = len(known), hash_rows(table, known)
    # Contours are kept by the line: with another one a patient would be shown those of another.
    data = [{**one, "line": str(row.line)} for one, row in zip(hashes, table, strict=True)]
    plan = {**_plan(study, jobs), "data": data}
    if not (out / _STUDY).exists():
        try:
            new_folder(out, private=True)
        except UserError:
            if not (out / _STUDY).exists():  # else another job of the same array was first
                raise
    if _is_new(out, plan):
        with alone(out, _PATIENCE_S):
            if _is_new(out, plan):
                write_json(out / _STUDY, plan)
    _check_same(read_json(out / _STUDY), plan, jobs, out.name)
    for job in jobs:
        check_begun(out / job.folder, job.config, study.folds)
    if len(known) > count:
        write_json(out / HASHES_FILE, known)


def _is_new(out: Path, plan: JsonObject) -> bool:
    """Whether a plan is to be written: nothing is begun yet of another one."""
    if not (out / _STUDY).exists():
        return True
    before = read_json(out / _STUDY)
    return before != plan and not _any_begun(out, before)


def _plan(study: StudyFile, jobs: Sequence[Job]) -> JsonObject:
    """What a folder holds, but for its data."""
    return {
        "study": study.model_dump(mode="json"),
        "jobs": {job.folder: job.config.model_dump(mode="json") for job in jobs},
    }


def _check_same(before: JsonObject, plan: JsonObject, jobs: Sequence[Job], name: str) -> None:
    """Name what differs from what was begun."""
    old, new = before.get("study", {}), plan["study"]
    changed = [field for field in new if old.get(field) != new[field]]
    what = ", ".join(changed) or _changed_jobs(before.get("jobs"), jobs)
    if not what and "data" in plan and "data" in before:  # an earlier version kept none
        what = _changed_data(before["data"], plan["data"])
    if what:
        raise UserError(
            f"{name} holds the results of another study: {what} differ. Choose a new folder."
        )


def _changed_jobs(before: object, jobs: Sequence[Job]) -> str:
    """The first job whose numbers are others; empty where none is."""
    known = before if isinstance(before, dict) else {}
    if list(known) != list(dict.fromkeys(job.folder for job in jobs)):
        return "the numbers of its methods"
    for job in jobs:
        if changes := changed_settings(known[job.folder], job.config):
            return f"the numbers of {job.method} ({'; '.join(changes[:5])})"
    return ""


def _changed_data(before: Sequence[JsonObject], data: Sequence[Mapping[str, str]]) -> str:
    """What of which patients is other than it was; empty where nothing is."""
    if [row.get("case") for row in before] != [row["case"] for row in data]:
        return "the patients"
    changes = [
        f"{column} of {row['case']}"
        for old, row in zip(before, data, strict=True)
        for column in row
        if old.get(column, row[column] if column == "line" else None) != row[column]
    ]
    return ", ".join(changes[:5])
