"""A model that reads strokes anywhere, on patients kept apart from its material.

    python benchmarks/first_contour.py MODEL OUT [--cases STS_002,STS_012]
        [--users careful,hasty,coronal] [--sizes 1] [--corrections 0] [--without second|first]
        [--blind FILE]

Development patients whom the model's card does not name (all of them, or some) are contoured from
simulated strokes (`user_styles.py`, other users than those the model was taught by) by the race, by
the clues, by the network before any training (begin), by the model, and by the mean of the model's
chances and the clues': DSC, added path length as a share of the true contour's, seconds of the
model on one thread, and how well its chances are calibrated. --sizes 0.5,1,2 calls the same voxels
so many times as large: a model that follows what is drawn contours all alike. --corrections draws
so many right strokes, one after another, into the largest errors of the model's contour, with a
brush of 2, 4 or 8 mm. --without shows one image alone. With --blind (a file of `clues.py --blind`)
the weights of the clues are from other patients; those in the package know all of them.

OUT/rows.csv takes one row a patient, user, size and number of strokes. Data: CMFNET_TEST_DATA, or
../shared/data.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from classical import clue_score, marked, race
from one_click import _weights as weights_of_others
from rich.console import Console
from rich.table import Table
from scipy.stats import bootstrap

from cmfnet_napari.core.arrays import Codes, Mask, three
from cmfnet_napari.core.contours.metrics import dice, evaluate
from cmfnet_napari.core.fit.model_card import read_card
from cmfnet_napari.core.images.study import Study, load_labels, open_study
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, FIRST_CLASS, to_targets
from cmfnet_napari.learning.material.user_styles import STYLES, draw
from cmfnet_napari.learning.material.users import correction
from cmfnet_napari.learning.model.checkpoint import load_model
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.predict.any_structure import read_strokes

DATA = Path(os.environ.get("CMFNET_TEST_DATA", "../shared/data"))
USERS = {**STYLES, "coronal": replace(STYLES["careful"], across=1)}
_OTHERS = ("race", "begin", "clues", "mean")
_BRUSH_MM = 2.0  # the thinnest
_BINS = 10  # of chances, for the calibration
_LEFT_OUT = {"": "", "first": "ct", "second": "mr"}  # both lie on one grid


@dataclass(frozen=True)
class Row:
    """One contour; race, clues and begin are from the first strokes."""

    case: str
    user: str
    size: float
    strokes: int
    dsc: float
    path: float
    race: float
    clues: float
    begin: float
    mean: float
    obeyed: float
    calibration: float
    seconds: float


def main(
    model: Path,
    out: Path,
    cases: Annotated[str, typer.Option(help="Separated by commas; else all")] = "",
    users: Annotated[str, typer.Option(help=", ".join(USERS))] = "careful,hasty,coronal",
    sizes: Annotated[str, typer.Option(help="Times as large, separated by commas")] = "1",
    corrections: Annotated[int, typer.Option(min=0)] = 0,
    without: Annotated[str, typer.Option(help="second (MR) or first (CT)")] = "",
    blind: Annotated[Path | None, typer.Option(help="Weights of the clues from others")] = None,
) -> None:
    """Contour, judge, show the means."""
    if without not in _LEFT_OUT:
        raise SystemExit("--without takes first or second")
    taught = read_card(model).data
    folders = [
        folder
        for folder in sorted((DATA / "sts" / "cases").glob("STS_*"))
        if (not cases or folder.name in cases.split(","))
        and images(folder).content_hash not in taught
    ]
    if not folders:
        raise SystemExit(f"no patients in {DATA} whom the model does not know (CMFNET_TEST_DATA)")
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rows: list[Row] = []
    for folder in folders:
        study, truth = open_patient(folder, without)
        with weights_of_others(folder.name, blind):
            for user in users.split(","):
                for size in map(float, sizes.split(",")):
                    rows += _judge(model, folder.name, user, size, study, truth, corrections)
        write_rows(out / "rows.csv", rows)
    _show(rows)


def open_patient(folder: Path, without: str = "") -> tuple[Study, np.ndarray]:
    """A patient and the true contour, bool on the Study's Grid."""
    study = images(folder, without)
    return study, load_labels(folder / "gtv.nii.gz", study.grid) > 0


def images(folder: Path, without: str = "") -> Study:
    """Both images of a patient, or one."""
    kept = [name for name in ("ct", "mr") if name != _LEFT_OUT[without]]
    return open_study(*(folder / f"{name}.nii.gz" for name in kept))


def _judge(
    path: Path,
    case: str,
    user: str,
    size: float,
    study: Study,
    truth: np.ndarray,
    corrections: int,
) -> Iterator[Row]:
    """The first contour, and one after each correction."""
    model, card = load_model(path, torch.device("cpu"))
    larger = _resized(study, size)
    scribbles = draw(truth, study, USERS[user])
    told = clue_score(study, scribbles)
    begin = read_strokes(build(card.config, 2), card.config, larger, scribbles)
    first = race(study, scribbles), marked(told > 0, scribbles), begin.labels > 0
    known = [dice(mask, truth) for mask in first]
    rng, last = np.random.default_rng(0), None
    for strokes in range(corrections + 1):
        began = time.process_time()
        found = read_strokes(model, card.config, larger, scribbles, last)
        last = found.last
        seconds = time.process_time() - began
        inside, drawn = found.labels > 0, scribbles > 0
        obeyed = float((found.labels[drawn] == to_targets(scribbles[drawn])).mean())
        apart = _calibration(found.probability, truth)
        told = clue_score(study, scribbles) if strokes else told
        both = marked(2 * found.probability - 1 + told > 0, scribbles)
        judged = evaluate(inside, truth, study.grid).mean
        scores = judged.dsc, judged.path_share or 0.0, *known, dice(both, truth)
        yield Row(case, user, size, strokes, *scores, obeyed, apart, seconds)
        scribbles = corrected(scribbles, inside, truth, study, rng)


def corrected(
    scribbles: Codes, inside: Mask, truth: Mask, study: Study, rng: np.random.Generator
) -> Codes:
    """Scribbles with one right stroke more, into one of the largest errors of a contour."""
    brushes, codes = three(side / _BRUSH_MM for side in study.grid.spacing), to_targets(scribbles)
    stroke, code = correction(inside ^ truth, truth, codes, rng, spacing=brushes, mistaken=0.0)
    return np.where(stroke, FIRST_CLASS if code else BACKGROUND, scribbles).astype(np.uint8)


def _resized(study: Study, size: float) -> Study:
    """The same voxels, so many times as large."""
    grid = replace(study.grid, spacing=tuple(size * mm for mm in study.grid.spacing))
    return replace(study, first=replace(study.first, grid=grid), second_source=None)


def _calibration(chances: np.ndarray, truth: np.ndarray) -> float:
    """Expected calibration error of the voxels that have a chance at all."""
    some = chances > 0.01
    bins = np.minimum((chances[some] * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS).clip(min=1)
    expected = np.bincount(bins, chances[some], _BINS) / counts
    seen = np.bincount(bins, truth[some], _BINS) / counts
    return float((np.abs(expected - seen) * np.bincount(bins, minlength=_BINS)).sum() / some.sum())


def write_rows(path: Path, rows: Sequence[Any]) -> None:
    """Write rows of one dataclass as a table."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(vars(rows[0])))
        table.writeheader()
        table.writerows(vars(row) for row in rows)


def _show(rows: list[Row]) -> None:
    shown = Table("user", "size", "strokes", "patients", "DSC", "least", "path", *_OTHERS)
    for title in ("to clues (95 %)", "obeyed", "ECE", "s"):
        shown.add_column(title)
    for user, size, strokes in dict.fromkeys((r.user, r.size, r.strokes) for r in rows):
        here = [r for r in rows if (r.user, r.size, r.strokes) == (user, size, strokes)]
        mean = {name: np.mean([getattr(r, name) for r in here]) for name in ("dsc", *_OTHERS)}
        shown.add_row(
            user,
            f"{size:g}",
            str(strokes),
            str(len(here)),
            f"{mean['dsc']:.3f}",
            f"{min(r.dsc for r in here):.3f}",
            f"{np.mean([r.path for r in here]):.2f}",
            *(f"{mean[name]:.3f}" for name in _OTHERS),
            interval(np.array([r.dsc - r.clues for r in here])),
            f"{100 * np.mean([r.obeyed for r in here]):.1f} %",
            f"{np.mean([r.calibration for r in here]):.3f}",
            f"{np.mean([r.seconds for r in here]):.1f}",
        )
    Console(width=160).print(shown)


def interval(apart: np.ndarray) -> str:
    """Mean of differences and its bootstrapped 95 % interval, where there is one."""
    if len(apart) < 3 or not apart.any():
        return ""
    found = bootstrap((apart,), np.mean, rng=np.random.default_rng(0)).confidence_interval
    return f"{apart.mean():+.3f} ({found.low:+.3f} to {found.high:+.3f})"


if __name__ == "__main__":
    typer.run(main)
