"""What a fit or a refine leaves in memory, so that the next strokes need not wait for a disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.model_card import Card
from cmfnet_napari.core.images.study import Study, load_values
from cmfnet_napari.core.strokes.scribbles import check_trainable
from cmfnet_napari.learning.engine.state import state_bytes
from cmfnet_napari.learning.fit.loop import CLASS_ADDED
from cmfnet_napari.learning.fit.output import Report
from cmfnet_napari.learning.fit.run_folder import RunFolder, run_scribbles
from cmfnet_napari.learning.fit.training_data import Material
from cmfnet_napari.learning.model.checkpoint import load_model
from cmfnet_napari.learning.model.cmfnet import CmFNet
from cmfnet_napari.learning.predict.prediction import Prediction


@dataclass
class Learnt:
    """A run's model and what it was made from, kept in memory.

    Attributes
    ----------
    run : RunFolder
        Where it lies on disk.
    card : Card
        Of the model.
    weights : dict of tensor
        Of the model, on any device.
    material : Material
        Images, and the strokes as they are by now.
    scribbles : uint8 array (z, y, x) on the Study's Grid
        Strokes that the prediction was made from.
    prediction : Prediction or None
        Of the weights; None when it is not in memory.
    finished : Finished or None
        What was told of it last; None while what is on disk may be another contour.
    """

    run: RunFolder
    card: Card
    weights: dict[str, Tensor]
    material: Material
    scribbles: Codes
    prediction: Prediction | None = None
    finished: events.Finished | None = None

    @property
    def predicted(self) -> Prediction:
        """The prediction; ValueError when it is not in memory."""
        if self.prediction is None:
            raise ValueError("there is no prediction in memory")
        return self.prediction


def keep_learnt(
    run: RunFolder, model: nn.Module, card: Card, material: Material, prediction: Prediction
) -> Learnt:
    """What a fit that is complete leaves in memory; no stroke is held out from now on."""
    material.hold_out(0)
    return Learnt(run, card, model.state_dict(), material, material.scribbles, prediction)


def load_learnt(
    folder: Path, root: Path, study: Study, scribbles: Codes, weights: Path | None = None
) -> Learnt:
    """Read a run's model from disk, to learn from these strokes.

    `weights` is another model file of the run, as of a preview that it kept.

    Raises
    ------
    UserError
        It is missing, damaged or of another study, or the strokes do not do.
    """
    check_trainable(scribbles)
    model, card = load_model(weights or folder, torch.device("cpu"))
    if card.study != study.content_hash:
        raise UserError(f"The run {folder.name} was trained on other images. Train anew.")
    known = run_scribbles(folder, card, study)
    before = np.zeros_like(scribbles) if known is None else load_values(known, study.grid)
    material = Material(study, scribbles, card.config)
    return Learnt(RunFolder(folder, root), card, model.state_dict(), material, before)


def save_learnt(
    learnt: Learnt, model: CmFNet, report: Report, names: Sequence[str] | None
) -> events.Finished:
    """Write model and prediction in place of the run's, and tell of them.

    Parameters
    ----------
    learnt : Learnt
        With its prediction.
    model : CmFNet
        A network with its weights.
    report : Report
        Of its run.
    names : sequence of str, optional
        Names of the classes 1, 2, … for the volumes.
    """
    run, card, strokes = learnt.run, learnt.card, learnt.scribbles
    report.write(lambda: run.save_model(model, card), state_bytes(learnt.weights))
    study = learnt.material.study
    written = report.write(lambda: run.save_prediction(learnt.predicted, strokes, study, names))
    finished = written.model_copy(
        update={
            "steps": card.steps,
            "seconds": card.seconds,
            "agreement": card.agreement,
            "warning": CLASS_ADDED if check_trainable(strokes) > card.classes else "",
        }
    )
    report.tell(finished)
    learnt.finished = finished
    return finished
