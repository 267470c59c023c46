"""The weights of core/clues.py, and how well the clues alone contour patients they never saw.

    python benchmarks/clues.py [--styles careful,hasty] [--also few,many]

Simulated strokes on the development patients; logistic regression of the contour on the features
of every voxel of the working grid. By patient: a third is held out in turn, and contoured with
weights from the rest. --also: styles that are contoured only. Last, the weights from all patients.
Data: CMFNET_TEST_DATA, or ../shared/data.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from classical import race
from sklearn.linear_model import LogisticRegression
from strokes import STYLES, draw

from cmfnet_napari.core.clues import features
from cmfnet_napari.core.config import make_config
from cmfnet_napari.core.study import load_labels, open_study
from cmfnet_napari.learning.material import Material

DATA = Path(os.environ.get("CMFNET_TEST_DATA", "../shared/data"))
_FOLDS = 3
_VOXELS = 15_000  # of a patient, for the regression
_SHIFT = 0.2  # of the constant


@dataclass(frozen=True)
class Sample:
    """Features (voxels, features) and contour (share of each voxel) of one user's strokes."""

    case: str
    style: str
    features: np.ndarray
    contour: np.ndarray
    outside: float  # of the contour, voxels beyond the region
    race: float  # DSC of the race


def main(
    styles: Annotated[str, typer.Option(help=", ".join(STYLES))] = "careful,hasty",
    also: Annotated[str, typer.Option(help="Styles that teach nothing")] = "",
    cases: Annotated[int | None, typer.Option(min=3, help="The first so many; else all")] = None,
) -> None:
    """Contour patients with weights from others; print means by style, and the final weights."""
    folders = sorted((DATA / "sts" / "cases").glob("STS_*"))[:cases]
    if not folders:
        raise SystemExit(f"no patients in {DATA}; set CMFNET_TEST_DATA to the folder of the data")
    taught = styles.split(",")
    wanted = [*taught, *filter(None, also.split(","))]
    samples = [sample for folder in folders for sample in _samples(folder, wanted)]
    names = [folder.name for folder in folders]
    found: dict[str, list[tuple[float, float]]] = {}
    for fold in range(_FOLDS):
        held_out = names[fold::_FOLDS]
        known = [s for s in samples if s.case not in held_out and s.style in taught]
        weights, constant = _regress(known)
        for sample in (s for s in samples if s.case in held_out):
            score = sample.features @ weights + constant + _SHIFT
            found.setdefault(sample.style, []).append((_dice(score > 0, sample), sample.race))
    for style, pairs in found.items():
        own, races = np.array(pairs).T
        below = int((own < races).sum())
        print(f"{style:10} {own.mean():.3f}, race {races.mean():.3f}, below {below} of {len(own)}")
    weights, constant = _regress([s for s in samples if s.style in taught])
    print("weights", [round(float(w), 4) for w in weights], "constant", round(constant, 4))


def _samples(folder: Path, styles: list[str]) -> Iterator[Sample]:
    study = open_study(folder / "ct.nii.gz", folder / "mr.nii.gz")
    truth = load_labels(folder / "gtv.nii.gz", study.grid) > 0
    for style in styles:
        scribbles = draw(truth, study, STYLES[style], 0)
        material = Material(study, scribbles, make_config("quick"))
        frame = material.inputs.frame
        share = frame.coarsen(truth.astype(np.float32))[0, 0].numpy().ravel()
        seen = features(material.clues(2))
        outside = (truth.sum() - truth[frame.region].sum()) / np.prod(frame.factors)
        found = race(study, scribbles)
        overlap = 2 * (found & truth).sum() / (found.sum() + truth.sum())
        rows = seen.reshape(len(seen), -1).T.astype(np.float32)
        yield Sample(folder.name, style, rows, share, float(outside), float(overlap))


def _regress(samples: list[Sample]) -> tuple[np.ndarray, float]:
    """Weights and constant, of features that are first brought to one scale."""
    rng = np.random.default_rng(0)
    rows, inside = [], []
    for sample in samples:
        size = len(sample.contour)
        some = rng.choice(size, min(_VOXELS, size), replace=False)
        rows.append(sample.features[some])
        inside.append(sample.contour[some] > 0.5)
    x, y = np.concatenate(rows), np.concatenate(inside)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    model = LogisticRegression(max_iter=1000).fit((x - mean) / scale, y)
    weights = model.coef_[0] / scale
    return weights, float(model.intercept_[0] - weights @ mean)


def _dice(mask: np.ndarray, sample: Sample) -> float:
    whole = sample.contour.sum() + sample.outside
    return float(2 * sample.contour[mask].sum() / (mask.sum() + whole))


if __name__ == "__main__":
    typer.run(main)
