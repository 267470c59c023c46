"""The weights of core/clues, and how well the clues alone contour patients they never saw.

    python benchmarks/clues.py [--cases 24] [--images both] [--rows FILE] [--blind FILE] [--write]

Simulated strokes on the development patients: one user of every style, a second careful and hasty
one, and three who draw like none of these: on axial slices, on coronal ones, and on axial and
sagittal ones. Blocks of voxels begin by chance; what the last three teach is shrunk by chance, so
that small structures are known too. Two logistic regressions of the contour on the features of
every voxel of the working grid, the second on what the first makes of them. By patient: a third is
held out in turn, and contoured with both regressions from the rest. --images ct and --images mr
look at one image alone (the race sees both). --rows takes a line a patient and style; --blind the
weights for every patient from the others, for one_click.py; --write puts the weights from all
patients into the package. Takes ten minutes on two idle cores.
Data: CMFNET_TEST_DATA, or ../shared/data.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from classical import BOTH, clues, race, scene
from joblib import Parallel, delayed
from scipy.stats import bootstrap
from sklearn.linear_model import LogisticRegression

from cmfnet_napari.core.clues.chances import WEIGHTS
from cmfnet_napari.core.clues.features import (
    Weights,
    find_races,
    race_features,
    second_features,
    weigh,
)
from cmfnet_napari.core.contours.metrics import dice
from cmfnet_napari.core.images.study import Study, load_labels, open_study
from cmfnet_napari.learning.material.user_styles import STYLES, Style, draw

DATA = Path(os.environ.get("CMFNET_TEST_DATA", "../shared/data"))
FOLDS = 3
AGAIN = ("careful", "hasty")  # a second user of these
# Users of no style with a name: across which axes they draw.
OTHERS = {"other": (0,), "coronal": (1,), "two planes": (0, 2)}
SMALLEST = 0.3  # of the size that there is, for what these teach
_BLOCK = 3  # voxels that may be left out before the first block that is averaged
_VOXELS = 4000  # of a user, for the regression
_SHIFT = 0.2  # of the second constant: DSC is best where voxels count from 0.45 on


User = tuple[str, np.ndarray]  # style, scribbles
Table = dict[str, np.ndarray]  # features of some voxels, and whether they are "inside"
Found = dict[str, list[list[float]]]  # by style, DSC of clues and race for every user
IMAGES = {"both": BOTH, "ct": slice(0, 1), "mr": slice(1, 2)}


def main(
    cases: Annotated[int | None, typer.Option(min=3, help="The first so many; else all")] = None,
    images: Annotated[str, typer.Option(help=", ".join(IMAGES))] = "both",
    rows: Annotated[Path | None, typer.Option(help="CSV file for every patient")] = None,
    blind: Annotated[Path | None, typer.Option(help="JSON file for weights from others")] = None,
    write: Annotated[bool, typer.Option(help="Put the weights into the package")] = False,
) -> None:
    """Contour patients with weights from others; print means by style."""
    if images not in IMAGES or (write and (images != "both" or cases)):
        raise SystemExit("--images is both, ct or mr; only both, from all patients, is written.")
    folders = sorted((DATA / "sts" / "cases").glob("STS_*"))[:cases]
    if not folders:
        raise SystemExit(f"no patients in {DATA}; set CMFNET_TEST_DATA to the folder of the data")
    at_once, seen = Parallel(n_jobs=2), IMAGES[images]
    first_rows = at_once(delayed(_rows)(folder, [None], seen) for folder in folders)
    known = [_others(folders, fold) for fold in range(FOLDS)] + [range(len(folders))]
    first = [_regress([first_rows[n][0] for n in some]) for some in known]
    second_rows = at_once(delayed(_rows)(folder, first, seen) for folder in folders)
    second = [
        _regress([second_rows[n][fold] for n in some], _SHIFT) for fold, some in enumerate(known)
    ]
    of_others = {folder: (first[n % FOLDS], second[n % FOLDS]) for n, folder in enumerate(folders)}
    found = at_once(delayed(_judge)(folder, weights, seen) for folder, weights in of_others.items())
    _show(found)
    if rows:
        _write_rows(rows, folders, found)
    if blind:
        by_case = {folder.name: weights for folder, weights in of_others.items()}
        blind.write_text(json.dumps(by_case), encoding="utf-8")
    if write:
        words = json.dumps([first[-1], second[-1]], indent=1)
        WEIGHTS.write_text(words + "\n", encoding="utf-8")


def _others(folders: list[Path], fold: int) -> list[int]:
    """Patients that a fold does not hold out."""
    return [n for n in range(len(folders)) if n % FOLDS != fold]


def _open(folder: Path) -> tuple[Study, np.ndarray]:
    study = open_study(folder / "ct.nii.gz", folder / "mr.nii.gz")
    return study, load_labels(folder / "gtv.nii.gz", study.grid) > 0


def _users(folder: Path, study: Study, truth: np.ndarray) -> Iterator[User]:
    for name, style in STYLES.items():
        for seed in range(2 if name in AGAIN else name != "thorough"):
            yield name, draw(truth, study, style, seed)
    for number, (name, axes) in enumerate(OTHERS.items()):
        rng = np.random.default_rng([int(folder.name[-3:]), number])
        one, *more = (draw(truth, study, _any_style(rng, axis), number) for axis in axes)
        for other in more:
            one = np.where(one > 0, one, other)
        yield name, one


def _any_style(rng: np.random.Generator, across: int) -> Style:
    """A user who draws like none of those with a name, on slices across an axis."""
    along = rng.random() < 0.5  # the outline; else only straight strokes
    return Style(
        slices=int(rng.integers(1, 10)),
        tumour=rng.uniform(0.15, 1),
        inside=rng.uniform(0.2, 0.9) if rng.random() < 0.3 else 0.0,
        inside_mm=rng.uniform(2, 8),
        rim=rng.uniform(0.3, 1) if along else 0.0,
        rim_mm=rng.uniform(4, 20),
        straight=int(rng.integers(0, 3) if along else rng.integers(1, 6)),
        straight_mm=rng.uniform(10, 50),
        straight_reach_mm=rng.uniform(0, 25) if rng.random() < 0.5 else 0.0,
        shake_mm=rng.uniform(0, 6),
        slips=0.2 if rng.random() < 0.3 else 0.0,
        thick=int(rng.integers(0, 4)),
        ends=rng.random() < 0.8,
        across=across,
    )


def _rows(folder: Path, firsts: list[Weights | None], images: slice) -> list[list[Table]]:
    """For each of the first regressions, or none: the rows of all users of one patient."""
    study, truth = _open(folder)
    found: list[list[Table]] = [[] for _ in firsts]
    for number, (style, scribbles) in enumerate(_users(folder, study, truth)):
        rng = np.random.default_rng(number)
        inputs, seen = scene(study, scribbles, rng.integers(0, _BLOCK, 3), images)
        if style in OTHERS:
            shrunk = rng.uniform(SMALLEST, 1)
            seen = replace(seen, spacing=tuple(shrunk * mm for mm in seen.spacing))
        races = find_races(seen, 2)
        known = list(race_features(seen, races))
        share = inputs.frame.coarsen(truth.astype(np.float32))[0, 0].numpy().ravel()
        some = rng.choice(share.size, min(_VOXELS, share.size), replace=False)
        for tables, first in zip(found, firsts, strict=True):
            tables.append({"inside": share[some] > 0.5})
            more = second_features(seen, races, weigh(known, first)) if first else ()
            for name, value in chain(known, more):
                tables[-1][name] = np.broadcast_to(value, seen.strokes.shape).ravel()[some]
    return found


def _regress(tables: list[list[Table]], shift: float = 0.0) -> dict[str, float]:
    """Weights by feature, found on features that are first brought to one scale."""
    rows = [row for table in tables for row in table]
    names = [name for name in rows[0] if name != "inside"]
    x = np.stack([np.concatenate([row[name] for row in rows]) for name in names], axis=1)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    inside = np.concatenate([row["inside"] for row in rows])
    model = LogisticRegression(max_iter=1000).fit((x - mean) / scale, inside)
    weights = model.coef_[0] / scale
    constant = float(model.intercept_[0] - weights @ mean) + shift
    found = dict(zip(names, weights, strict=True)) | {"constant": constant}
    return {name: float(f"{value:.5g}") for name, value in found.items()}


def _judge(folder: Path, weights: tuple[Weights, Weights], images: slice) -> Found:
    """By style: DSC of the clues and DSC of the race for every user of one patient."""
    study, truth = _open(folder)
    found: Found = {}
    for style, scribbles in _users(folder, study, truth):
        masks = (clues(study, scribbles, weights, images), race(study, scribbles))
        found.setdefault(style, []).append([dice(mask, truth) for mask in masks])
    return found


def _write_rows(path: Path, folders: list[Path], patients: list[Found]) -> None:
    """Means over the users of each patient and style."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["case", "style", "clues", "race"])
        for folder, found in zip(folders, patients, strict=True):
            for style, scores in found.items():
                table.writerow([folder.name, style, *np.mean(scores, axis=0)])


def _show(patients: list[Found]) -> None:
    """Means by style over patients, and the paired difference with its 95 % interval."""
    for style in patients[0]:
        own, races = np.array([np.mean(found[style], axis=0) for found in patients]).T
        apart = own - races
        interval = bootstrap((apart,), np.mean, rng=np.random.default_rng(0)).confidence_interval
        print(
            f"{style:10} {own.mean():.3f}, race {races.mean():.3f}, {apart.mean():+.3f} "
            f"({interval.low:+.3f} to {interval.high:+.3f}), below {(apart < 0).sum()} of "
            f"{len(apart)}"
        )


if __name__ == "__main__":
    typer.run(main)
