"""Going back to a preview that a fit has kept: its model becomes the run's."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cmfnet_napari.core.fit import events
from cmfnet_napari.learning.engine.device import pick_device, pick_precision
from cmfnet_napari.learning.fit.callbacks import Hooks, InterruptedFitError, Interrupter
from cmfnet_napari.learning.fit.loop import agreement
from cmfnet_napari.learning.fit.model_in_memory import Learnt, save_learnt
from cmfnet_napari.learning.fit.output import Report
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.predict.predictor import predict


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
        As in `start.fit`.

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
