"""What all three branches cost beside y_mm alone, and the places to look at that come of them.

    python benchmarks/branches.py CASE_FOLDER [MODEL]

CASE_FOLDER holds ct.nii.gz, mr.nii.gz and gtv.nii.gz. Strokes are made from the contour by erosion;
the model (limb-sarcoma unless said otherwise) then predicts the case.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from cmfnet_napari.core.images.study import Study, load_labels, open_study
from cmfnet_napari.core.review.places import find_places
from cmfnet_napari.core.strokes.erode import propose_background, propose_foreground
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, FIRST_CLASS
from cmfnet_napari.learning.model.checkpoint import load_model
from cmfnet_napari.learning.predict.predictor import predict_study


def strokes_of(study: Study, contour: np.ndarray) -> np.ndarray:
    """Strokes inside and outside a contour."""
    scribbles = np.zeros(contour.shape, dtype=np.uint8)
    inside = propose_foreground(scribbles, contour, FIRST_CLASS, study, 3.0)
    scribbles[inside > 0] = FIRST_CLASS
    outside = propose_background(scribbles, [contour], study, 6.0)
    scribbles[outside > 0] = BACKGROUND
    return scribbles


def timed(action: Callable[[], object]) -> tuple[object, float]:
    """What an action returns, and its seconds."""
    began = time.perf_counter()
    return action(), time.perf_counter() - began


def main():
    folder = Path(sys.argv[1])
    model, card = load_model(
        sys.argv[2] if len(sys.argv) > 2 else "limb-sarcoma", torch.device("cpu")
    )
    study = open_study(folder / "ct.nii.gz", folder / "mr.nii.gz")
    contour = load_labels(folder / "gtv.nii.gz", study.grid) > 0
    scribbles = strokes_of(study, contour)

    def predict(branches: bool) -> Callable[[], object]:
        return lambda: predict_study(model, card, study, scribbles=scribbles, branches=branches)

    predict(False)()  # the first call sets things up
    alone, short = timed(predict(False))
    all_three, long = timed(predict(True))
    print(f"{study.grid}\ny_mm {short:.2f} s, all branches {long:.2f} s")
    print("same labels:", np.array_equal(alone.labels, all_three.labels))
    for apart in (all_three.disagreement, None):
        found = (all_three.labels, all_three.probability, study.grid, apart)
        places, seconds = timed(lambda found=found: find_places(*found))
        print(f"{len(places)} places in {seconds:.2f} s")
        for place in places:
            wrong = (all_three.labels[place.box] > 0) != contour[place.box]
            between = (
                "" if place.disagreement is None else f", disagreement {place.disagreement:.2f}"
            )
            print(
                f"  {place.voxel} {place.where}: {place.volume_ml:.2f} ml, unsure "
                f"{place.uncertainty:.2f}{between}, score {place.score:.0f}; wrong in its box "
                f"{100 * wrong.mean():.0f} %"
            )
    wrong = (all_three.labels > 0) != contour
    voxel = study.grid.voxel_ml
    print(f"wrong: {wrong.sum() * voxel:.1f} of {contour.sum() * voxel:.1f} ml")


if __name__ == "__main__":
    main()
