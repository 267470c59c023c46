"""Whether a base model's probabilities mean what they say, on the patients that it never saw.

    python benchmarks/calibration.py TRAINING [--styles careful,hasty,sloppy]

TRAINING is the folder of a `cmfnet train --folds`. Every patient is contoured by the model of the
fold that held it out, without training, from simulated strokes. Shown are the expected calibration
error (15 bins, voxels with a probability over 0.5 %), the confidence (Config.confidence) that fits
the voxels best, and the error with it: of each fold's patients with the number fitted to the
others, so that none is judged by itself.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from cmfnet_napari.core.fit.model_card import MODEL_FILE
from cmfnet_napari.core.images.study import load_labels, open_study
from cmfnet_napari.learning.cohort.results import RESULTS_FILE, read_results
from cmfnet_napari.learning.material.user_styles import STYLES, draw
from cmfnet_napari.learning.model.checkpoint import load_model
from cmfnet_napari.learning.predict.predictor import predict_study

DATA = Path(os.environ.get("CMFNET_TEST_DATA", "../shared/data"))
BINS = 15
LEAST = 0.005
EVERY = 13  # voxels; neighbours tell the same


def main(training: Path, styles: Annotated[str, typer.Option()] = "careful,hasty,sloppy") -> None:
    """One row a fold, then all."""
    folds = [
        _voxels(results.parent, styles.split(","))
        for results in sorted(training.glob(f"fold-*/{RESULTS_FILE}"))
    ]
    before, after = [], []
    for number, (said, true) in enumerate(folds):
        others = [fold for n, fold in enumerate(folds) if n != number] or folds
        confidence = fitted(*(np.concatenate(parts) for parts in zip(*others, strict=True)))
        before.append(expected_error(said, true))
        after.append(expected_error(expit(confidence * logit(said)), true))
        print(f"fold {number + 1}: ECE {before[-1]:.3f}; {after[-1]:.3f} at {confidence:.2f}")
    everything = [np.concatenate(parts) for parts in zip(*folds, strict=True)]
    print(
        f"mean ECE {np.mean(before):.3f}, {np.mean(after):.3f} with the other folds' confidence; "
        f"confidence of all {fitted(*everything):.2f}"
    )


def fitted(said: np.ndarray, true: np.ndarray) -> float:
    """The confidence with the least cross entropy."""
    scores = logit(said)

    def entropy(confidence: float) -> float:
        return float(np.logaddexp(0, np.where(true, -1, 1) * confidence * scores).mean())

    return float(minimize_scalar(entropy, bounds=(0.1, 5), method="bounded").x)


def expected_error(said: np.ndarray, true: np.ndarray) -> float:
    """Mean over the bins, by their voxels, of |mean probability − share of tumour|."""
    bins = np.minimum((said * BINS).astype(int), BINS - 1)
    errors = [
        abs(said[bins == b].mean() - true[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    ]
    return float(np.sum(errors))


def _voxels(fold: Path, styles: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities said, and whether there is tumour, of voxels of a fold's patients."""
    model, card = load_model(fold / MODEL_FILE, torch.device("cpu"))
    said, true = [], []
    for case in sorted({result.case for result in read_results(fold / RESULTS_FILE)}):
        folder = DATA / "sts" / "cases" / case
        study = open_study(folder / "ct.nii.gz", folder / "mr.nii.gz")
        truth = load_labels(folder / "gtv.nii.gz", study.grid) > 0
        for style in styles:
            strokes = draw(truth, study, STYLES[style])
            chance = predict_study(model, card, study, scribbles=strokes).probability
            chosen = chance > LEAST
            said.append(chance[chosen][::EVERY].clip(1e-4, 1 - 1e-4).astype(float))
            true.append(truth[chosen][::EVERY])
    return np.concatenate(said), np.concatenate(true)


if __name__ == "__main__":
    typer.run(main)
