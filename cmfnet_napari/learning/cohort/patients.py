"""The patients of a cohort on their working grids, resident in memory, and how they are judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric

from cmfnet_napari.core.arrays import Codes, Reals
from cmfnet_napari.core.contours.metrics import MEASURES, Scores, evaluate
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.learning.cohort.working_case import WorkingCase
from cmfnet_napari.learning.data.prepare import Inputs
from cmfnet_napari.learning.data.volumes import USERS, Surroundings
from cmfnet_napari.learning.engine.device import pick_precision, summed
from cmfnet_napari.learning.model.losses import Batch
from cmfnet_napari.learning.model.network import Network
from cmfnet_napari.learning.predict.predictor import predict

METRICS = tuple(measure.name for measure in MEASURES)


@dataclass(frozen=True)
class Patient:
    """One case, ready to train on and to predict.

    Attributes
    ----------
    case : WorkingCase
        Where it comes from, with the reference.
    inputs : Inputs
        Images on the working grid, with maps of the strokes where the network sees them.
    volumes : list of Batch
        The same with targets (uint8), guide and maps, for the sampler.
    """

    case: WorkingCase
    inputs: Inputs
    volumes: list[Batch]


def prepare(case: WorkingCase, config: Config, classes: int) -> Patient:
    """What a method adds to a case: guide, maps, strokes that grow.

    A case whose every voxel is labelled needs no guide; where others have one, its own says
    nothing (all classes alike).
    """
    around = Surroundings(case, case.inputs, config)
    strokes = case.labels.targets.long()
    users = (around.part_of(strokes, user) for user in range(USERS))
    guide = around.guide(None if case.dense else strokes, classes)
    volumes = around.volumes(case.labels.targets, classes, guide, users)
    if not config.stroke_maps:
        return Patient(case, case.inputs, volumes)
    shown = around.part_of(strokes, USERS)  # fewer than were drawn, and none of those learnt from
    return Patient(case, around.with_maps(shown, classes), volumes)


def judge(
    model: Network,
    patients: Sequence[Patient],
    config: Config,
    classes: int,
    fabric: Fabric,
    keep: Callable[[Patient, Codes], object] = lambda patient, labels: None,
) -> Reals:
    """Predict patients that have a reference and compare; the processes share the work.

    `keep` gets each patient with the labels (Study's Grid) that were found.

    Returns
    -------
    float32 array (patients, classes without background, `METRICS`)
        NaN where a score is not defined.
    """
    precision = pick_precision(config.precision, fabric.device)
    table = torch.zeros(len(patients), classes - 1, len(METRICS), dtype=torch.float32)
    for number in range(fabric.global_rank, len(patients), fabric.world_size):
        patient = patients[number]
        labels = predict(model, patient.inputs, config, precision).labels
        keep(patient, labels)
        table[number] = torch.from_numpy(score(labels, patient.case, classes))
    return summed(fabric, table.to(fabric.device)).cpu().numpy()


def score(labels: Codes, case: WorkingCase, classes: int) -> Reals:
    """Compare labels (Study's Grid) with a case's reference, class by class.

    Returns
    -------
    float32 array (classes without background, `METRICS`)
        NaN where a score is not defined.
    """
    reference = case.reference
    if reference is None:
        raise ValueError(f"{case.row.place} has nothing to judge by")
    found = (
        evaluate(labels == code, reference == code, case.grid).mean for code in range(1, classes)
    )
    return np.array([_values(scores) for scores in found], dtype=np.float32)


def _values(scores: Scores) -> list[float]:
    values = (getattr(scores, name) for name in METRICS)
    return [float("nan") if value is None else float(value) for value in values]
