"""What a study found: every score, a table as in the paper, differences with their intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cmfnet_napari.core.contours.mean_interval import MeanInterval, mean_interval
from cmfnet_napari.core.contours.metrics import LOWER_IS_BETTER, TITLES
from cmfnet_napari.core.files import write_safely
from cmfnet_napari.core.report.curves import Curve, save_sweep, save_training
from cmfnet_napari.core.tables import write_table
from cmfnet_napari.core.words import cell, clean
from cmfnet_napari.learning.cohort.patients import METRICS
from cmfnet_napari.learning.cohort.results import (
    RESULT_COLUMNS,
    RESULTS_FILE,
    Result,
    result_row,
)
from cmfnet_napari.learning.cohort.split import read_speed
from cmfnet_napari.learning.engine.logs import LOSSES_FILE, SCORES_FILE, read_curve
from cmfnet_napari.learning.study.study_file import (
    VOLUME_RATIO,
    Job,
    StudyFile,
    picture_name,
    swept,
)

SPEED_TITLE = "Steps a second, judging left out:"
_PICTURES = "png", "pdf"
_SAME = 9  # decimals; means that differ less are equal
_TITLES = TITLES | {VOLUME_RATIO: "Volume ÷ reference"}


class Scored(NamedTuple):
    """A job and its scores."""

    job: Job
    results: Sequence[Result]


_Key = tuple[str, int, int, int]  # patient, which of its rows, seed, class


def write_tables(
    study: StudyFile,
    scored: Sequence[Scored],
    out: Path,
    folder: Path | None = None,
    absent: Sequence[Job] = (),
) -> Path:
    """Write results.csv, table.md and the figures; return the table's path.

    `out` is the study's folder, whose jobs were scored; all is written into `folder`, if given.
    `absent` are jobs that are not complete, which the table names.
    """
    folder = folder or out
    _write_results(scored, folder / RESULTS_FILE)
    scores = {
        metric: {name: patient_means(scored, name, metric) for name, _ in study.variants()}
        for metric in study.metrics
    }
    parts = (
        _absent(absent),
        _table(study, scored, scores),
        _differences(study, scored),
        _speeds(scored, out),
    )
    text = "\n".join([f"# {study.title}", "", *(line for part in parts for line in part)])
    table = write_safely(
        folder / "table.md", ".md", lambda part: part.write_text(text + "\n", encoding="utf-8")
    )
    curves = _curves(scored, out)
    for ending in _PICTURES:
        save_training(curves, folder / f"curves.{ending}")
    for entry in study.methods:
        if entry.sweep is not None:
            names = [swept(entry.title, value) for value in entry.sweep.values]
            means = {
                _TITLES[metric]: [_mean(by_name[name]) for name in names]
                for metric, by_name in scores.items()
            }
            for ending in _PICTURES:
                picture = folder / f"{picture_name(entry.title)}.{ending}"
                save_sweep(entry.title, entry.sweep.values, means, picture)
    return table


def patient_means(scored: Sequence[Scored], method: str, metric: str) -> dict[str, float]:
    """Mean over seeds and classes of every patient that has a score, by patient."""
    return _by_patient(_values(scored, method, metric))


def paired_means(
    scored: Sequence[Scored], first: str, second: str, metric: str
) -> tuple[dict[str, float], dict[str, float]]:
    """As `patient_means` of two methods, of those scores alone that both have.

    A distance is undefined where nothing was found: a method must not gain by a hard class or
    seed that has no score of it.
    """
    one, other = (_values(scored, method, metric) for method in (first, second))
    both = [key for key in one if np.isfinite([one[key], other.get(key, np.nan)]).all()]
    ones, others = ({key: values[key] for key in both} for values in (one, other))
    return _by_patient(ones), _by_patient(others)


def _values(scored: Sequence[Scored], method: str, metric: str) -> dict[_Key, float]:
    """Every score of a method, also those that are NaN."""
    values: dict[_Key, float] = {}
    for job, results in scored:
        if job.method == method:
            seen: Counter[tuple[str, int]] = Counter()
            for result in results:
                seen[result.case, result.label] += 1
                row = seen[result.case, result.label]
                values[result.case, row, job.seed, result.label] = _value(result, metric)
    return values


def _value(result: Result, metric: str) -> float:
    if metric != VOLUME_RATIO:
        return result.values[METRICS.index(metric)]
    volume, reference = (result.values[METRICS.index(f"{of}_ml")] for of in ("volume", "reference"))
    return volume / reference if reference > 0 else float("nan")


def _by_patient(values: Mapping[_Key, float]) -> dict[str, float]:
    """Mean of the scores of every patient that has one."""
    known: dict[str, list[float]] = {}
    for (case, *_), value in values.items():
        if np.isfinite(value):
            known.setdefault(case, []).append(value)
    return {case: float(np.mean(each)) for case, each in known.items()}


def difference(first: Mapping[str, float], second: Mapping[str, float]) -> MeanInterval | None:
    """First less second over the patients that both have; None when there are fewer than two.

    The interval is Student's, over patients.
    """
    cases = sorted(first.keys() & second.keys())
    if len(cases) < 2:
        return None
    return mean_interval([first[case] - second[case] for case in cases])


def _write_results(scored: Sequence[Scored], path: Path) -> None:
    rows = (
        [cell(job.method), job.seed, *result_row(one)] for job, results in scored for one in results
    )
    write_table(path, [["method", "seed", *RESULT_COLUMNS], *rows])


def _mean(scores: Mapping[str, float]) -> float:
    """Over patients; NaN where none has a score."""
    return float(np.mean(list(scores.values()))) if scores else float("nan")


def _table(
    study: StudyFile,
    scored: Sequence[Scored],
    scores: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> list[str]:
    """One row a method: mean ± SD over patients, the best bold, the second underlined.

    Equal means share a place, and the next one is the second. A method that learns from contours
    among others that learn from strokes is their bound, and takes no place.
    """
    judged, bounds = {job.method for job, _ in scored}, _bounds(scored)
    columns = [
        _column(
            metric, scores[metric], {name: _values(scored, name, metric) for name in judged}, bounds
        )
        for metric in study.metrics
    ]
    lines = ["| method | " + " | ".join(_TITLES[metric] for metric in study.metrics) + " |"]
    lines.append("|---" * (1 + len(columns)) + "|")
    for name, _ in study.variants():
        shown = clean(name).replace("|", r"\|")  # else a border of the table
        lines.append(f"| {shown} | " + " | ".join(column[name] for column in columns) + " |")
    return lines


def _bounds(scored: Sequence[Scored]) -> set[str]:
    """Methods that learn from contours, where others learn from strokes."""
    labels = {job.method: job.config.labels for job, _ in scored}
    return {name for name, of in labels.items() if of == "masks" and "scribbles" in labels.values()}


def _column(
    metric: str,
    scores: Mapping[str, Mapping[str, float]],
    values: Mapping[str, Mapping[_Key, float]],
    bounds: Collection[str],
) -> dict[str, str]:
    """Cells by method; none is best where the means are not of the same scores."""
    means = {name: _mean(of) for name, of in scores.items() if of}
    ranked = sorted({_badness(metric, mean) for name, mean in means.items() if name not in bounds})
    defined = {name: {k for k, v in of.items() if np.isfinite(v)} for name, of in values.items()}
    alike = len({frozenset(keys) for keys in defined.values()}) == 1 and not metric.endswith("_ml")
    missing = {name: _missing(len(values[name]) - len(keys)) for name, keys in defined.items()}
    shown = {name: "–" + missing.get(name, "") for name in scores}
    for name, mean in means.items():
        of = list(scores[name].values())
        spread = f" ± {np.std(of, ddof=1):.3f}" if len(of) > 1 else ""
        text = f"{mean:.3f}{spread}"
        judged = alike and name not in bounds
        place = ranked.index(_badness(metric, mean)) if judged else None
        text = f"**{text}**" if place == 0 else f"<u>{text}</u>" if place == 1 else text
        shown[name] = text + missing[name]
    return shown


def _badness(metric: str, mean: float) -> float:
    """Smaller is better; what sums alone make of equal means is rounded off."""
    if metric == VOLUME_RATIO:
        return round(abs(mean - 1), _SAME)
    return round(mean if metric in LOWER_IS_BETTER else -mean, _SAME)


def _missing(count: int) -> str:
    return f" ({count} undefined)" if count else ""


def _absent(jobs: Sequence[Job]) -> list[str]:
    if not jobs:
        return []
    named = ", ".join(f"{job.method} with seed {job.seed}" for job in jobs)
    return [f"**Not complete, and left out: {named}.**", ""]


def _differences(study: StudyFile, scored: Sequence[Scored]) -> list[str]:
    if not study.compare:
        return []
    chance = "of the chance of training they know nothing, as patients of a fold share a model"
    title = f"Paired differences over patients, with 95 % intervals (Student's t; {chance}):"
    lines = ["", title, ""]
    for first, second in study.compare:
        for metric in study.metrics:
            found = difference(*paired_means(scored, first, second, metric))
            said = (
                "fewer than two patients"
                if found is None
                else f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f}), "
                f"{found.patients} patients{_by_seed(scored, first, second, metric)}"
            )
            lines.append(f"- {first} less {second}, {metric}: {said}")
    return lines


def _by_seed(scored: Sequence[Scored], first: str, second: str, metric: str) -> str:
    """The mean difference of every seed, where there are several: how far chance moves it."""
    seeds = sorted({job.seed for job, _ in scored})
    if len(seeds) < 2:
        return ""
    each = [[one for one in scored if one.job.seed == seed] for seed in seeds]
    found = [difference(*paired_means(of, first, second, metric)) for of in each]
    said = ("–" if one is None else f"{one.mean:+.3f}" for one in found)
    return f"; by seed {', '.join(said)}"


def _speeds(scored: Sequence[Scored], out: Path) -> list[str]:
    """Steps a second of every method, on what it ran on."""
    spent: dict[tuple[str, str], tuple[int, float]] = {}
    for job, results in scored:
        for folder in _models(job, results, out):
            if (speed := read_speed(folder)) is not None:
                steps, seconds = spent.get((job.method, speed.device), (0, 0.0))
                spent[job.method, speed.device] = steps + speed.steps, seconds + speed.seconds
    lines = [
        f"- {method}: {steps / seconds:.2f} on {device}"
        for (method, device), (steps, seconds) in spent.items()
        if seconds > 0
    ]
    return ["", SPEED_TITLE, "", *lines] if lines else []


def _curves(scored: Sequence[Scored], out: Path) -> dict[str, tuple[Curve, Curve]]:
    """Of every method, the mean of its models over the steps that all of them logged."""
    folders: dict[str, list[Path]] = {}
    for job, results in scored:
        folders.setdefault(job.method, []).extend(_models(job, results, out))
    return {
        method: (
            _mean_curve([read_curve(folder / LOSSES_FILE) for folder in of], "total"),
            _mean_curve([read_curve(folder / SCORES_FILE) for folder in of], "dsc"),
        )
        for method, of in folders.items()
    }


def _models(job: Job, results: Sequence[Result], out: Path) -> list[Path]:
    """Folders of a job's models: one a split, or the job's own, whose name is then the split's."""
    folder = out / job.folder
    splits = sorted({result.split for result in results})
    return [folder / split if (folder / split).is_dir() else folder for split in splits]


def _mean_curve(curves: Sequence[Curve], column: str) -> Curve:
    """Empty where there is no step that all have."""
    known = [dict(zip(c.get("step", []), c.get(column, []), strict=True)) for c in curves]
    steps = sorted(set.intersection(*(set(each) for each in known)))
    if not steps and all(known):  # a budget in minutes: each ends where it ends
        last = [max(each) for each in known]
        return {
            "step": [float(np.mean(last))],
            column: [float(np.mean([e[step] for e, step in zip(known, last, strict=True)]))],
        }
    if not steps:
        return {}
    return {"step": steps, column: [float(np.mean([e[step] for e in known])) for step in steps]}
