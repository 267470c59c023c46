"""Learning while drawing: a few steps around new strokes, on a model that a fit has left."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import partial

import numpy as np
import torch
from torch import Tensor

from cmfnet_napari.core.arrays import Codes, Mask
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.model_card import Card, software_versions
from cmfnet_napari.core.strokes.scribbles import UNLABELLED, check_trainable
from cmfnet_napari.learning.data.sampling import Sampler
from cmfnet_napari.learning.engine.device import make_fabric, pick_device, pick_precision
from cmfnet_napari.learning.engine.trainer import DivergedError, Trainer
from cmfnet_napari.learning.fit.callbacks import Hooks, InterruptedFitError, Interrupter, Request
from cmfnet_napari.learning.fit.crop import around, cut, paste
from cmfnet_napari.learning.fit.loop import agreement
from cmfnet_napari.learning.fit.model_in_memory import Learnt, save_learnt
from cmfnet_napari.learning.fit.output import Report
from cmfnet_napari.learning.model.cmfnet import CmFNet, build
from cmfnet_napari.learning.predict.prediction import Prediction
from cmfnet_napari.learning.predict.predictor import predict

LEARNING_RATE = 3e-4  # Adam's step; small, since the model is good already
CPU_SECONDS, GPU_SECONDS = 3.0, 0.5  # of training after the last stroke, at most
SHOW_SECONDS = 1.0  # between previews of the strokes' surroundings
_FOLLOWED = 0.7  # agreement with new strokes of a model that has taken them up by reading
_ALWAYS = 2**62  # a step that is never reached


def refine(
    learnt: Learnt,
    scribbles: Codes,
    *,
    device: str = "auto",
    names: Sequence[str] | None = None,
    hooks: Hooks | None = None,
) -> events.Finished | None:
    """Learn from the strokes that are new; write model and prediction in place of the run's.

    Parameters
    ----------
    learnt : Learnt
        The model; brought up to date.
    scribbles : uint8 array (z, y, x) on the Study's Grid
        All strokes.
    device, names, hooks
        As in `start.fit`.

    Returns
    -------
    Finished, or None when the request was to quit

    Raises
    ------
    UserError
        A class or the background has no stroke any more, or the device is not there.
    """
    check_trainable(scribbles)
    hooks = hooks or Hooks()
    if learnt.finished is not None and np.array_equal(scribbles, learnt.scribbles):
        hooks.emit(learnt.finished)
        return learnt.finished
    learnt.finished = None  # until all of it is written again
    return _Refinement(learnt, scribbles, device, names, hooks).go()


class _Refinement:
    """State of one refine; `go` names its stages."""

    def __init__(
        self,
        learnt: Learnt,
        scribbles: Codes,
        device: str,
        names: Sequence[str] | None,
        hooks: Hooks,
    ) -> None:
        self.learnt, self.material, self.names, self.hooks = learnt, learnt.material, names, hooks
        simple = {"average": 0.0, "schedule": "constant", "learning_rate": LEARNING_RATE}
        self.config = learnt.card.config.model_copy(update=simple)
        self.classes = learnt.card.classes
        self.report = Report(learnt.run, hooks)
        self.device = pick_device(device)
        self.trainer = self._make_trainer()
        self.interrupter = Interrupter(self._request)
        self.interrupter.watch(self.trainer.model)
        self._came: Codes | None = scribbles
        self._old_is_outdated = learnt.prediction is None
        self._best: tuple[float, dict[str, Tensor]] | None = None  # of the previews
        self._began, self._shown_at, self._show_cost = time.monotonic(), 0.0, 0.0

    def go(self) -> events.Finished | None:
        """Answer at once, learn, predict, keep the better; None when the request was to quit."""
        try:
            self._take_strokes()
            self._answer()
            while True:
                self._train()
                try:
                    with self.interrupter.listening("quit", "again"):
                        return self._finish(self._predict_old(), self._predict_best())
                except InterruptedFitError:
                    if self._request() != "again":
                        raise
        except InterruptedFitError:
            return None

    # --- stages

    def _take_strokes(self) -> None:
        """Learn from the strokes that came; those that lack a class are passed over."""
        scribbles, self._came = self._came, None
        if scribbles is None:
            return
        try:
            check_trainable(scribbles)
        except UserError:
            return  # everything of a class was erased for a moment
        frame = self.material.inputs.frame
        self.material.draw(scribbles)
        moved = self.material.inputs.frame != frame
        self._old_is_outdated |= moved or self.config.stroke_maps
        self._best = None
        self._seen = self.material.seen(self.classes)
        self._fresh: Mask = scribbles != self.learnt.scribbles
        self.sampler = Sampler(self.material.volumes(self.classes), self.config)
        labelled = self.material.inputs.touched(self._fresh & (scribbles != UNLABELLED))
        self.sampler.prefer(labelled, _ALWAYS)

    def _answer(self) -> None:
        """Show what the model says before it learns: at once, as one reads maps of the strokes."""
        with self.interrupter.listening("quit"):
            if self.learnt.prediction is not None and self.config.stroke_maps:
                self._labels = self.learnt.prediction.labels
                self._show()
            else:
                self._tell(self._predict_old().labels)

    def _train(self) -> None:
        """Steps until the last strokes have had their time, or a stop."""
        began, limit = time.monotonic(), self._limit()
        while True:
            match self._request():
                case "quit":
                    raise InterruptedFitError
                case "stop":
                    return
                case "again":
                    self._take_strokes()
                    if self.config.stroke_maps:
                        self._answer()
                    began, limit = time.monotonic(), self._limit()
            if time.monotonic() - began >= limit:
                return
            try:
                with self.interrupter.listening("stop", "quit"):
                    self.trainer.step(self.sampler.draw(self.trainer.steps), progress=1.0)
                    if self._show_due():
                        self._show()
            except InterruptedFitError:
                continue
            except DivergedError:
                return  # the weights are the last good ones

    def _limit(self) -> float:
        """Seconds of training after strokes.

        None for a model that reads strokes and follows the new ones: training on one patient's
        strokes made its contours worse (docs/measurements.md).
        """
        if self.config.stroke_maps:
            fresh = np.where(self._fresh, self.material.scribbles, UNLABELLED)
            followed = agreement(self._labels, fresh)
            if np.isnan(followed) or followed >= _FOLLOWED:
                return 0.0
        return CPU_SECONDS if self.device.type == "cpu" else GPU_SECONDS

    def _finish(self, old: Prediction, new: Prediction) -> events.Finished:
        """Keep the new weights if they agree with the strokes at least as well; write."""
        learnt = self.learnt
        before, agreed = self._agreement(old.labels), self._agreement(new.labels)
        if agreed >= before:
            learnt.weights, learnt.prediction = self.trainer.model.state_dict(), new
            seconds = learnt.card.seconds + time.monotonic() - self._began
            done = {"steps": self.trainer.steps, "seconds": round(seconds, 1)}
            learnt.card = learnt.card.model_copy(update=done)
        learnt.card = self._noted(learnt.card, max(agreed, before))
        learnt.scribbles = self.material.scribbles
        self._tell(learnt.predicted.labels)
        self.trainer.load(learnt.weights)
        # After the contour was shown: it does not wait for this.
        apart = self._predict(branches=True).disagreement
        learnt.prediction = replace(learnt.predicted, disagreement=apart)
        with self.interrupter.listening():  # what is written is written whole
            return save_learnt(learnt, self.trainer.model, self.report, self.names)

    # --- predictions

    def _predict(self, branches: bool = False) -> Prediction:
        marked = self.material.scribbles if self.config.keep_marked else None
        seen, precision = self._seen, self._precision
        return predict(self.trainer.model, seen, self.config, precision, marked, branches=branches)

    def _predict_best(self) -> Prediction:
        """Prediction of the latest weights, or of those of a preview that agreed better."""
        latest = self._predict()
        if self._best is None or self._best[0] <= self._agreement(latest.labels):
            return latest
        self.trainer.load(self._best[1])
        return self._predict()

    def _predict_old(self) -> Prediction:
        """The same with the weights from before; only if it is not what is in memory."""
        if self._old_is_outdated:
            weights = copy.deepcopy(self.trainer.model.state_dict())
            self.trainer.load(self.learnt.weights)
            try:
                self.learnt.prediction = self._predict()
            finally:
                self.trainer.load(weights)
            self._old_is_outdated = False
        return self.learnt.predicted

    def _show_due(self) -> bool:
        return time.monotonic() - self._shown_at >= max(SHOW_SECONDS, self._show_cost)

    def _show(self) -> None:
        """A preview: around the new strokes first, where the whole would take longer."""
        began, patch = time.monotonic(), self.config.patch
        box = around(self.material.inputs.touched(self._fresh), patch)
        if box is None:
            self._tell(self._predict().labels)
        else:
            near = cut(self._seen, box)
            part = predict(self.trainer.model, near, self.config, self._precision)
            self._tell(paste(self._labels, part.labels, self._seen, box, patch))
        agreed = self._agreement(self._labels)
        if self._best is None or agreed >= self._best[0]:
            self._best = (agreed, copy.deepcopy(self.trainer.model.state_dict()))
        self._show_cost = time.monotonic() - began

    def _tell(self, labels: Codes) -> None:
        self._labels, self._shown_at = labels, time.monotonic()
        agreed = self._agreement(labels)
        path = self.report.write(lambda: self.learnt.run.save_preview(labels), labels.nbytes)
        self.report.tell(events.Preview(step=self.trainer.steps, labels=path, agreement=agreed))

    # --- parts

    def _agreement(self, labels: Codes) -> float:
        return agreement(labels, self.material.scribbles)

    @property
    def _precision(self) -> torch.dtype:
        return pick_precision(self.config.precision, self.device)

    def _make_trainer(self) -> Trainer[CmFNet]:
        fabric = partial(make_fabric, self.device, self._precision)
        model = build(self.config, self.classes)
        trainer = Trainer(model, self.classes, self.config, self.device, fabric)
        trainer.load(self.learnt.weights)
        trainer.steps = self.learnt.card.steps  # chance goes on from there
        return trainer

    def _noted(self, card: Card, agreed: float) -> Card:
        """The card with what it says whatever weights are kept."""
        region = [[s.start, s.stop] for s in self.material.inputs.frame.region]
        created, software = date.today().isoformat(), software_versions()
        facts = {"agreement": agreed, "region": region, "created": created, "software": software}
        return card.model_copy(update=facts)

    def _request(self) -> Request:
        """What the world asks; else whether strokes came."""
        if asked := self.hooks.request():
            return asked
        newest = self.hooks.new_scribbles()
        self._came = self._came if newest is None else newest
        return "" if self._came is None else "again"
