"""The jobs of a study: done in order, or one of them; what is complete is not done again.

::

    OUT/study.json            the study, its jobs and hashes of its data, as it was begun
    OUT/JOB/                  one training each, as `cmfnet train` leaves it
    OUT/results.csv           scores of every method, seed, patient and class
    OUT/table.md              mean ± SD over patients; differences with intervals
    OUT/curves.png, OUT/sweep-….png; OUT/examples.png, examples.pdf
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, hash_file, new_folder, read_json, write_json
from cmfnet_napari.core.fit.config import changed_settings
from cmfnet_napari.core.folder_lock import alone
from cmfnet_napari.learning.cohort.cohort_file import read_cohort
from cmfnet_napari.learning.cohort.results import RESULTS_FILE, read_results
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.cohort.train import train
from cmfnet_napari.learning.rivals.monai_nets import check_installed
from cmfnet_napari.learning.study.examples import draw_examples
from cmfnet_napari.learning.study.study_file import Job, StudyFile, read_study
from cmfnet_napari.learning.study.study_tables import Scored, write_tables

_STUDY = "study.json"
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
        As `read_study`.
    """
    jobs = read_study(path, cohort).jobs
    return [Progress(job, (out / job.folder / RESULTS_FILE).exists()) for job in jobs]


def run_study(
    path: Path,
    out: Path,
    cohort: Path | None = None,
    number: int | None = None,
    device: str = "auto",
    hooks: Hooks | None = None,
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
        As in `train`.
    hooks : Hooks, optional
        Progress, and the wish to stop.

    Returns
    -------
    dict, or None when stopped
        ``complete`` and ``jobs`` (how many); ``table`` once all are complete.

    Raises
    ------
    UserError
        As `read_study`, before anything runs; the folder holds another study; as `train`.
    """
    study, rows, jobs = read_study(path, cohort)
    if number is not None and not 1 <= number <= len(jobs):
        raise UserError(f"{path.name} has jobs 1 to {len(jobs)}, no job {number}.")
    chosen = list(jobs) if number is None else [jobs[number - 1]]
    for job in chosen:
        check_installed(job.config)
    _begin(out, study, jobs, hash_rows(rows))
    hooks = hooks or Hooks()
    for done, job in enumerate(chosen):
        if (out / job.folder / RESULTS_FILE).exists():
            continue

        def show(share: float, note: str, done: int = done, job: Job = job) -> None:
            hooks.show((done + share) / len(chosen), f"{job.method}, seed {job.seed}: {note}")

        mine = replace(hooks, show=show)
        folder = out / job.folder
        if train(rows, folder, job.config, folds=study.folds, device=device, hooks=mine) is None:
            return None
    complete = [job for job in jobs if (out / job.folder / RESULTS_FILE).exists()]
    result: JsonObject = {"complete": len(complete), "jobs": len(jobs)}
    if len(complete) == len(jobs):
        scored = [Scored(job, read_results(out / job.folder / RESULTS_FILE)) for job in jobs]
        result["table"] = str(write_tables(study, scored, out))
        draw_examples(rows, scored, out)
    return result


def hash_rows(cohort: Path) -> list[dict[str, str]]:
    """The rows of a cohort file: patient, split, kinds of images, and a hash of every file."""
    return [
        {
            "case": row.case,
            "split": row.split,
            "modality": " ".join(row.modalities).strip(),
            "ct": _hash(row.first),
            "mr": _hash(row.second),
            "scribbles": _hash(row.scribbles),
            "mask": _hash(row.mask),
        }
        for row in read_cohort(cohort)
    ]


def _hash(path: Path | None) -> str:
    """Of a file, or of the files of a folder; empty for none."""
    if path is None:
        return ""
    try:
        if not path.is_dir():
            return hash_file(path)
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return hashlib.sha256("".join(map(hash_file, files)).encode()).hexdigest()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}). Check its permissions."
        ) from error


def _begin(
    out: Path, study: StudyFile, jobs: Sequence[Job], data: Sequence[Mapping[str, str]]
) -> None:
    """Write what is begun, or check that it is what was begun there."""
    plan: JsonObject = {
        "study": study.model_dump(mode="json"),
        "jobs": {job.folder: job.config.model_dump(mode="json") for job in jobs},
        "data": list(data),
    }
    if not (out / _STUDY).exists():
        try:
            new_folder(out)
        except UserError:
            if not (out / _STUDY).exists():  # else another job of the same array was first
                raise
        with alone(out, _PATIENCE_S):
            if not (out / _STUDY).exists():
                write_json(out / _STUDY, plan)
    before = read_json(out / _STUDY)
    old, new = before.get("study", {}), plan["study"]
    changed = [name for name in new if old.get(name) != new[name]]
    what = ", ".join(changed) or _changed_jobs(before.get("jobs"), jobs)
    if not what and "data" in before:  # an earlier version kept none
        what = _changed_data(before["data"], data)
    if what:
        raise UserError(
            f"{out.name} holds the results of another study: {what} differ. Choose a new folder."
        )


def _changed_jobs(before: object, jobs: Sequence[Job]) -> str:
    """The first job whose numbers are others; empty where none is."""
    known = before if isinstance(before, dict) else {}
    if list(known) != [job.folder for job in jobs]:
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
        if old.get(column) != row[column]
    ]
    return ", ".join(changes[:5])
