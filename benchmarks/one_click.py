"""The same strokes for every method, on real patients: who draws the better contour?

    python benchmarks/one_click.py OUT [--methods race,quick,first,base] [--styles careful,hasty]
        [--seeds 1] [--cases 24] [--seconds S] [--models TRAINING] [--blind FILE]
        [--against race]

Methods: race, clues, walker, forest (`classical.py`); a preset, from the strokes alone, with
settings changed by + (`quick+guide=0+stroke_maps=false`); with --models: `first`,
the base model's contour without any training, `first-ct` and `first-mr`, the same by its branches
of one modality, and `base`, the preset quick that starts from it. --models is the folder of a
`cmfnet train --folds`, of which every patient gets the model of the fold that held it out, or one
model for all patients, that may know them. With --blind (a file of `clues.py --blind`) weights of
the clues are from other patients; those in the package know all. --seconds is the training time
of a fit.

OUT/rows.csv takes one row a patient, style, seed and method; rows that are there are not made
again, so that a long run can be broken off. At the end: means, and the paired difference to one
method with its 95 % interval (bootstrap over patients). Data: CMFNET_TEST_DATA, or ../shared/data.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated
from unittest import mock

import numpy as np
import torch
import typer
from classical import METHODS as CLASSICAL
from rich.console import Console
from rich.table import Table
from scipy.stats import bootstrap

from cmfnet_napari.cli.options import read_settings
from cmfnet_napari.core.contours.metrics import evaluate
from cmfnet_napari.core.fit.config import PRESETS, make_config
from cmfnet_napari.core.fit.model_card import MODEL_FILE, read_card, start_config
from cmfnet_napari.core.images.study import Study, load_labels, open_study
from cmfnet_napari.learning.cohort.results import RESULTS_FILE, read_results
from cmfnet_napari.learning.fit.start import fit
from cmfnet_napari.learning.material.user_styles import STYLES, draw
from cmfnet_napari.learning.model.checkpoint import load_model
from cmfnet_napari.learning.predict.predictor import predict_study

DATA = Path(os.environ.get("CMFNET_TEST_DATA", "../shared/data"))
SCORES = ("dsc", "asd_mm", "hd95_mm", "surface_dsc")
KEYS = ("case", "style", "seed", "method")
Row = dict[str, str]
Method = Callable[[Study, np.ndarray], np.ndarray]


def main(
    out: Path,
    methods: Annotated[str, typer.Option(help="Separated by commas")] = "race,walker,forest,quick",
    styles: Annotated[str, typer.Option(help=", ".join(STYLES))] = "careful,hasty",
    seeds: Annotated[int, typer.Option(min=1, help="Users of each style")] = 1,
    cases: Annotated[int | None, typer.Option(min=1, help="The first so many; else all")] = None,
    only: Annotated[str, typer.Option(help="These patients, separated by commas")] = "",
    seconds: Annotated[float | None, typer.Option(help="Training time of a fit")] = None,
    models: Annotated[Path | None, typer.Option(help="Training with folds, or a model")] = None,
    blind: Annotated[Path | None, typer.Option(help="Weights of the clues from others")] = None,
    against: Annotated[str, typer.Option(help="Method that the others are compared with")] = "race",
) -> None:
    """Measure what is not measured yet, then show the table."""
    out.mkdir(parents=True, exist_ok=True)
    folders = sorted((DATA / "sts" / "cases").glob("STS_*"))[:cases]
    folders = [f for f in folders if not only or f.name in only.split(",")]
    if not folders:
        raise SystemExit(f"no patients in {DATA}; set CMFNET_TEST_DATA to the folder of the data")
    _check_options(out, seconds=seconds, models=str(models), blind=str(blind))
    done = {tuple(row[key] for key in KEYS) for row in _read(out)}
    for folder in folders:
        wanted = [
            key
            for key in _keys(folder.name, styles.split(","), seeds, methods.split(","))
            if key not in done
        ]
        if wanted:
            with _weights(folder.name, blind):
                _measure(folder, wanted, out, seconds, models)
    _show(_read(out), against)


def _check_options(out: Path, **options: object) -> None:
    """Rows of one folder are made with the same options."""
    file = out / "options.json"
    if not file.exists():
        file.write_text(json.dumps(options), encoding="utf-8")
    before = json.loads(file.read_text(encoding="utf-8"))
    if before != options:
        raise SystemExit(f"{out} was begun with {before}, not {options}; choose another folder")


def _weights(case: str, blind: Path | None) -> AbstractContextManager:
    """The clues of a patient weighted by others, wherever they are asked for in this process."""
    if blind is None:
        return nullcontext()
    of_cases = json.loads(blind.read_text(encoding="utf-8"))
    if case not in of_cases:
        raise SystemExit(f"{blind} has no weights for {case}")
    first, second = of_cases[case]
    return mock.patch("cmfnet_napari.core.clues.chances.load_weights", return_value=(first, second))


def _keys(
    case: str, styles: list[str], seeds: int, methods: list[str]
) -> Iterator[tuple[str, str, str, str]]:
    for style in styles:
        for seed in range(seeds):
            for method in methods:
                yield case, style, str(seed), method


def _measure(
    folder: Path,
    wanted: list[tuple[str, ...]],
    out: Path,
    seconds: float | None,
    models: Path | None,
) -> None:
    study = open_study(folder / "ct.nii.gz", folder / "mr.nii.gz")
    truth = load_labels(folder / "gtv.nii.gz", study.grid) > 0
    model = _model_of(folder.name, models) if models else None
    for key in wanted:
        _, style, seed, method = key
        scribbles = draw(truth, study, STYLES[style], int(seed))
        began = time.monotonic()
        mask = _method(method, seconds, model)(study, scribbles)
        took = time.monotonic() - began
        scores = evaluate(mask, truth, study.grid).mean
        values = {name: getattr(scores, name) for name in SCORES}
        shares = {f"share_{code}": 100 * float((scribbles == code).mean()) for code in (1, 2)}
        _append(out, {**dict(zip(KEYS, key, strict=True)), **values, **shares, "seconds": took})


def _method(name: str, seconds: float | None, model: Path | None) -> Method:
    if name in CLASSICAL:
        return CLASSICAL[name]
    if name in ("first", "first-ct", "first-mr", "base") and model is None:
        raise SystemExit(f"{name} needs --models")
    if name.startswith("first"):
        return partial(_first, model, name.removeprefix("first").strip("-") or "mm")
    minutes = {} if seconds is None else {"minutes": seconds / 60}
    if name == "base":
        return partial(_fit, start_config("quick", read_card(model), **minutes), model)
    preset, *changes = name.split("+")
    if preset not in PRESETS:
        raise SystemExit(f"no method {name!r}")
    return partial(_fit, make_config(preset, **{**minutes, **read_settings(changes)}), None)


def _fit(config: object, base: Path | None, study: Study, scribbles: np.ndarray) -> np.ndarray:
    with tempfile.TemporaryDirectory() as run:
        done = fit(study, scribbles, Path(run), config, base=base)
        return load_labels(Path(run) / done.labels, study.grid) > 0


def _first(model: Path, branch: str, study: Study, scribbles: np.ndarray) -> np.ndarray:
    network, card = load_model(model, torch.device("cpu"))
    if branch != "mm":
        network.fused = lambda *inputs: getattr(network(*inputs), branch)
    return predict_study(network, card, study, scribbles=scribbles).labels > 0


def _model_of(case: str, training: Path) -> Path:
    """The model whose training never saw the patient; of one for all, that one."""
    if not training.is_dir():
        return training
    for results in sorted(training.glob(f"fold-*/{RESULTS_FILE}")):
        if case in {result.case for result in read_results(results)}:
            return results.parent / MODEL_FILE
    raise SystemExit(f"no fold of {training} held out {case}")


# --- rows and table


def _append(out: Path, row: dict[str, object]) -> None:
    new = not (out / "rows.csv").exists()
    with open(out / "rows.csv", "a", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(row))
        if new:
            table.writeheader()
        table.writerow(row)
    print(*(f"{v:.3f}" if isinstance(v, float) else v for v in row.values()), flush=True)


def _read(out: Path) -> list[Row]:
    if not (out / "rows.csv").exists():
        return []
    with open(out / "rows.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _show(rows: list[Row], against: str) -> None:
    columns = ("style", "method", "patients", "DSC", "ASD", "HD95", "surface", "s")
    shown = Table(*columns, f"to {against}", "below")
    for style in dict.fromkeys(row["style"] for row in rows):
        here = [row for row in rows if row["style"] == style]
        other = _by_case(here, against, "dsc")
        for method in dict.fromkeys(row["method"] for row in here):
            own = [row for row in here if row["method"] == method]
            means = [f"{_mean(own, name):.3g}" for name in (*SCORES, "seconds")]
            shown.add_row(
                style,
                method,
                str(len({row["case"] for row in own})),
                *means,
                *_against(_by_case(own, method, "dsc"), other),
            )
    Console(width=120).print(shown)


def _by_case(rows: list[Row], method: str, score: str) -> dict[str, float]:
    """Mean over the seeds of each patient."""
    values: dict[str, list[float]] = {}
    for row in rows:
        if row["method"] == method:
            values.setdefault(row["case"], []).append(float(row[score]))
    return {case: float(np.mean(found)) for case, found in values.items()}


def _mean(rows: list[Row], score: str) -> float:
    return float(np.mean([float(row[score] or "nan") for row in rows]))


def _against(own: dict[str, float], other: dict[str, float]) -> tuple[str, str]:
    """Mean paired difference with its interval, and how many patients are below."""
    apart = np.array([own[case] - other[case] for case in own if case in other])
    if len(apart) < 3 or not apart.any():
        return "", ""
    interval = bootstrap((apart,), np.mean, rng=np.random.default_rng(0)).confidence_interval
    words = f"{apart.mean():+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"
    return words, f"{int((apart < 0).sum())} of {len(apart)}"


if __name__ == "__main__":
    typer.run(main)
