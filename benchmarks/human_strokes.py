"""A model that reads strokes anywhere, on strokes drawn by people: heart MR, three classes.

    python benchmarks/human_strokes.py MODEL OUT [--every 3] [--phases ed]

Every so-many-th patient of the heart MR in the test data (one image, right ventricle, myocardium
and left ventricle) is contoured from the scribbles that people drew, on every slice, by the race
that the window shows while one draws, by the clues that *quick* begins with, by the network before
any training (begin) and by the model: DSC of each class, and of all three as one. For judging only:
nothing is tuned on these patients, and nothing trained on them is shipped.

OUT takes one row a patient, phase and class. Data: CMFNET_TEST_DATA, or ../shared/data.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from classical import fine_score, scene
from rich.console import Console
from rich.table import Table

from cmfnet_napari.core.clues.chances import find_clues
from cmfnet_napari.core.clues.provisional_contour import provisional_contour
from cmfnet_napari.core.contours.components import drop_unmarked
from cmfnet_napari.core.contours.metrics import dice
from cmfnet_napari.core.images.study import Study, load_labels, open_study
from cmfnet_napari.core.strokes.scribbles import check_trainable
from cmfnet_napari.learning.model.checkpoint import load_model
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.predict.any_structure import read_strokes

DATA = Path(os.environ.get("CMFNET_TEST_DATA", "../shared/data"))
CLASSES = ("right ventricle", "myocardium", "left ventricle")
METHODS = ("race", "clues", "begin", "model")
Row = dict[str, str | float]


def main(
    model: Path,
    out: Path,
    every: Annotated[int, typer.Option(min=1, help="So-many-th patient")] = 3,
    phases: Annotated[str, typer.Option(help="ed, es, or ed,es")] = "ed",
) -> None:
    """Contour, compare, show the means."""
    torch.set_num_threads(1)
    patients = sorted((DATA / "acdc").glob("patient*"))[every - 1 :: every]
    if not patients:
        raise SystemExit(f"no patients in {DATA / 'acdc'}; set CMFNET_TEST_DATA")
    rows: list[Row] = []
    for patient in patients:
        for phase in phases.split(","):
            rows += _judge(model, patient, phase)
        with open(out, "w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    _show(rows)


def _judge(path: Path, patient: Path, phase: str) -> Iterator[Row]:
    study = open_study(patient / f"{phase}_image.nii.gz", modalities=("MR", ""))
    scribbles = load_labels(patient / f"{phase}_scribbles.nii.gz", study.grid).astype(np.uint8)
    truth = load_labels(patient / f"{phase}_mask.nii.gz", study.grid)
    network, card = load_model(path, torch.device("cpu"))
    began = time.process_time()
    found = {"model": read_strokes(network, card.config, study, scribbles).labels}
    seconds = time.process_time() - began
    found["begin"] = read_strokes(build(card.config, 2), card.config, study, scribbles).labels
    found["race"], found["clues"] = _race(study, scribbles), _clues(study, scribbles)
    for number, name in enumerate((*CLASSES, "all three")):
        masks = {m: _part(labels, number) for m, labels in found.items()}
        scores = {m: dice(masks[m], _part(truth, number)) for m in METHODS}
        yield {"case": patient.name, "phase": phase, "class": name, **scores, "seconds": seconds}


def _part(labels: np.ndarray, number: int) -> np.ndarray:
    """One class, or all of them."""
    return labels > 0 if number == len(CLASSES) else labels == number + 1


def _race(study: Study, scribbles: np.ndarray) -> np.ndarray:
    labels = np.zeros(scribbles.shape, np.uint8)
    first = provisional_contour(study, scribbles)
    if first is not None:
        labels[first.region] = first.labels
    return labels


def _clues(study: Study, scribbles: np.ndarray) -> np.ndarray:
    """The likeliest class, on the voxels of *quick*."""
    inputs, seen = scene(study, scribbles, images=slice(1))
    chances = find_clues(seen, check_trainable(scribbles)).chances
    likeliest = np.argmax([fine_score(inputs, chance) for chance in chances], axis=0)
    return drop_unmarked(inputs.frame.paste(likeliest.astype(np.uint8)), scribbles)


def _show(rows: list[Row]) -> None:
    shown = Table("class", "images", *METHODS, "model, least", "s")
    for name in (*CLASSES, "all three"):
        here = [row for row in rows if row["class"] == name]
        means = [f"{np.mean([float(row[m]) for row in here]):.3f}" for m in METHODS]
        least = f"{min(float(row['model']) for row in here):.3f}"
        seconds = f"{np.mean([float(row['seconds']) for row in here]):.1f}"
        shown.add_row(name, str(len(here)), *means, least, seconds)
    Console(width=120).print(shown)


if __name__ == "__main__":
    typer.run(main)
