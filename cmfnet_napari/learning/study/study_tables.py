"""What a study found: every score, a table as in the paper, differences with their intervals."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cmfnet_napari.core.arrays import Doubles
from cmfnet_napari.core.contours.metrics import MEASURES, TOLERANCE_MM
from cmfnet_napari.core.files import write_safely
from cmfnet_napari.core.report.curves import save_sweep, save_training
from cmfnet_napari.core.words import cell
from cmfnet_napari.learning.cohort.patients import METRICS
from cmfnet_napari.learning.cohort.results import RESULTS_FILE, Result
from cmfnet_napari.learning.engine.logs import LOSSES_FILE, SCORES_FILE, read_curve
from cmfnet_napari.learning.study.study_file import Job, StudyFile, plain, swept

_RESAMPLED = 10_000  # times, for an interval
_TITLES = {m.name: m.title.format(tolerance_mm=TOLERANCE_MM) for m in MEASURES}
_LOWER_IS_BETTER = ("asd_mm", "hd95_mm")


class Scored(NamedTuple):
    """A job and its scores."""

    job: Job
    results: Sequence[Result]


class Difference(NamedTuple):
    """Mean of paired differences over patients, its 95 % interval, and how many there are."""

    mean: float
    low: float
    high: float
    patients: int


def write_tables(study: StudyFile, scored: Sequence[Scored], out: Path) -> Path:
    """Write results.csv, table.md and the figures; return the table's path."""
    _write_results(scored, out / RESULTS_FILE)
    scores = {
        metric: {name: patient_means(scored, name, metric) for name, _ in study.variants()}
        for metric in study.metrics
    }
    text = "\n".join([f"# {study.title}", "", *_table(study, scores), *_differences(study, scores)])
    table = write_safely(
        out / "table.md", ".md", lambda part: part.write_text(text + "\n", encoding="utf-8")
    )
    save_training(_curves(scored, out), out / "curves.png")
    for entry in study.methods:
        if entry.sweep is not None:
            names = [swept(entry.title, value) for value in entry.sweep.values]
            means = {
                _TITLES[metric]: [_mean(by_name[name]) for name in names]
                for metric, by_name in scores.items()
            }
            picture = out / f"sweep-{plain(entry.title)}.png"
            save_sweep(entry.title, entry.sweep.values, means, picture)
    return table


def patient_means(scored: Sequence[Scored], method: str, metric: str) -> dict[str, float]:
    """Mean over seeds and classes of every patient that has a score, by patient."""
    place = METRICS.index(metric)
    values: dict[str, list[float]] = {}
    for job, results in scored:
        if job.method == method:
            for result in results:
                values.setdefault(result.case, []).append(result.values[place])
    means = {case: [v for v in known if np.isfinite(v)] for case, known in values.items()}
    return {case: float(np.mean(known)) for case, known in means.items() if known}


def difference(first: Mapping[str, float], second: Mapping[str, float]) -> Difference | None:
    """First less second over the patients that both have; None when there are fewer than two.

    The interval is of the percentile bootstrap over patients.
    """
    cases = sorted(first.keys() & second.keys())
    if len(cases) < 2:
        return None
    apart: Doubles = np.array([first[case] - second[case] for case in cases])
    drawn = np.random.default_rng(0).integers(len(apart), size=(_RESAMPLED, len(apart)))
    low, high = np.percentile(apart[drawn].mean(axis=1), [2.5, 97.5])
    return Difference(float(apart.mean()), float(low), float(high), len(apart))


def _write_results(scored: Sequence[Scored], path: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "seed", "case", "split", "class", *METRICS])
    for job, results in scored:
        for r in results:
            values = ("" if np.isnan(v) else f"{v:.4f}" for v in r.values)
            writer.writerow(
                [cell(job.method), job.seed, cell(r.case), cell(r.split), r.label, *values]
            )
    write_safely(path, ".csv", lambda part: part.write_text(text.getvalue(), encoding="utf-8"))


def _mean(scores: Mapping[str, float]) -> float:
    """Over patients; NaN where none has a score."""
    return float(np.mean(list(scores.values()))) if scores else float("nan")


def _table(study: StudyFile, scores: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """One row a method: mean ± SD over patients, the best bold, the second underlined."""
    columns = [_column(metric, scores[metric]) for metric in study.metrics]
    lines = ["| method | " + " | ".join(_TITLES[metric] for metric in study.metrics) + " |"]
    lines.append("|---" * (1 + len(columns)) + "|")
    for name, _ in study.variants():
        lines.append(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")
    return lines


def _column(metric: str, scores: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    means = {name: _mean(of) for name, of in scores.items() if of}
    ranked = sorted(means, key=lambda name: means[name], reverse=metric not in _LOWER_IS_BETTER)
    shown = dict.fromkeys(scores, "–")
    for name, mean in means.items():
        values = list(scores[name].values())
        spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
        text = f"{mean:.3f}{spread}"
        place = ranked.index(name)
        shown[name] = f"**{text}**" if place == 0 else f"<u>{text}</u>" if place == 1 else text
    return shown


def _differences(
    study: StudyFile, scores: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> list[str]:
    if not study.compare:
        return []
    lines = ["", "Paired differences over patients, with 95 % intervals (bootstrap):", ""]
    for first, second in study.compare:
        for metric in study.metrics:
            found = difference(scores[metric][first], scores[metric][second])
            said = (
                "fewer than two patients"
                if found is None
                else f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f}), "
                f"{found.patients} patients"
            )
            lines.append(f"- {first} less {second}, {metric}: {said}")
    return lines


def _curves(
    scored: Sequence[Scored], out: Path
) -> dict[str, tuple[dict[str, list[float]], dict[str, list[float]]]]:
    """Of every method's first model."""
    curves = {}
    for job, results in scored:
        if job.method not in curves:
            split = results[0].split if results else ""
            folder = out / job.folder / split
            curves[job.method] = read_curve(folder / LOSSES_FILE), read_curve(folder / SCORES_FILE)
    return curves
