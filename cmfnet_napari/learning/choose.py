"""Going back to a preview that a fit has kept: its model becomes the run's."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cmfnet_napari.core import events
from cmfnet_napari.learning.cmfnet import build
from cmfnet_napari.learning.device import pick_device, pick_precision
from cmfnet_napari.learning.fit_loop import agreement
from cmfnet_napari.learning.hooks import Hooks, InterruptedFitError, Interrupter
from cmfnet_napari.learning.learnt import Learnt, save_learnt
from cmfnet_napari.learning.predictor import predict
from cmfnet_napari.learning.report import Report


def choose(
    learnt: Learnt,
    *,
    device: str = "auto",
    names: Sequence[str] | None = None,
    hooks: Hooks | None = None,
) -> events.Finished | None:
    """Predict with a kept preview's model; write model and prediction in place of the run's.

    Parameters
    ----------
    learnt : Learnt
        The kept model, with the strokes as they are; brought up to date.
    device, names, hooks
        As in `fit.fit`.

    Returns
    -------
    Finished, or None when the request was to quit
    """
    hooks = hooks or Hooks()
    place, card = pick_device(device), learnt.card
    model = build(card.config, card.classes).to(place)
    model.load_state_dict(learnt.weights)
    interrupter = Interrupter(hooks.request)
    interrupter.watch(model)
    strokes = learnt.material.scribbles
    marked = strokes if card.config.keep_marked else None
    precision: torch.dtype = pick_precision(card.config.precision, place)
    try:
        with interrupter.listening("quit"):
            seen = learnt.material.seen(card.classes)
            learnt.prediction = predict(model, seen, card.config, precision, marked, branches=True)
    except InterruptedFitError:
        return None
    learnt.scribbles = strokes
    agreed = agreement(learnt.prediction.labels, strokes)
    learnt.card = card.model_copy(update={"agreement": agreed})
    return save_learnt(learnt, model, Report(learnt.run, hooks), names)
