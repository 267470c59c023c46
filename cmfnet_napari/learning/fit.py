"""One fit: from a study and its strokes to a model and a prediction in a run folder."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from cmfnet_napari.core import events
from cmfnet_napari.core.body import body_mask
from cmfnet_napari.core.config import Config
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.model_card import (
    Card,
    check_base,
    model_name,
    read_card,
    software_versions,
    with_base,
)
from cmfnet_napari.core.scribbles import UNLABELLED, check_trainable, to_targets
from cmfnet_napari.core.study import Study
from cmfnet_napari.learning.checkpoint import load_model
from cmfnet_napari.learning.cmfnet import CmFNet, build
from cmfnet_napari.learning.device import make_fabric, pick_device, pick_precision
from cmfnet_napari.learning.guide import make_guide
from cmfnet_napari.learning.losses import Batch
from cmfnet_napari.learning.predictor import Prediction, predict
from cmfnet_napari.learning.prepare import Inputs, make_frame, make_inputs
from cmfnet_napari.learning.run import RunFolder
from cmfnet_napari.learning.sampling import Sampler
from cmfnet_napari.learning.trainer import MAX_SKIPPED, DivergedError, Trainer

Emit = Callable[[events.Event], None]
Request = Literal["", "stop", "quit"]

STEP_EVENTS_A_SECOND = 5
PREVIEW_SHARE = 0.1  # of the time that previews may take
WORSE = 0.01  # agreement lost before older weights are preferred to the latest


@dataclass
class Hooks:
    """What a fit tells and asks the world around it.

    Attributes
    ----------
    emit : callable
        Takes every event.
    request : callable
        ``"stop"``: end, predict, keep the best so far; ``"quit"``: save the model and leave.
    new_scribbles : callable
        Scribbles (uint8, Study's Grid) when strokes were drawn since the last call, else None.
    """

    emit: Emit = lambda event: None
    request: Callable[[], Request] = lambda: ""
    new_scribbles: Callable[[], np.ndarray | None] = lambda: None


def fit(
    study: Study,
    scribbles: np.ndarray,
    run: Path,
    config: Config,
    *,
    device: str = "auto",
    base: str | Path | None = None,
    names: Sequence[str] | None = None,
    hooks: Hooks | None = None,
    root: Path | None = None,
) -> events.Finished | None:
    """Train on a study's strokes and predict it.

    Parameters
    ----------
    study : Study
        CT, or CT and MR.
    scribbles : uint8 array (z, y, x) on the Study's Grid
        Scribble codes.
    run : Path
        Existing folder that takes config.json, events.jsonl, model.safetensors,
        preview.npy, prediction.nii.gz and probabilities.nii.gz (on the CT's original grid).
    config : Config
        Everything else.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
    base : path, optional
        Model to start from: its weights, and the input and network it was trained with.
    names : sequence of str, optional
        Names of the classes 1, 2, … for the volumes.
    hooks : Hooks, optional
        Where events go and requests come from.
    root : Path, optional
        Folder the paths in events are relative to; the run itself when not given.

    Returns
    -------
    Finished, or None when the request was to quit

    Raises
    ------
    UserError
        The strokes do not do, the device is not there, the disk is full, or training diverged.
    """
    return _Fit(study, scribbles, run, config, device, base, names, hooks, root).go()


def agreement(labels: np.ndarray, scribbles: np.ndarray) -> float:
    """Share of stroke voxels labelled as drawn, mean over the codes (0 … 1)."""
    drawn = scribbles != UNLABELLED
    targets, found = to_targets(scribbles[drawn]), labels[drawn]
    codes = np.unique(targets)
    return float(np.mean([(found[targets == code] == code).mean() for code in codes]))


class _Fit:
    """State of one fit; `go` names its stages."""

    def __init__(
        self,
        study: Study,
        scribbles: np.ndarray,
        run: Path,
        config: Config,
        device: str,
        base: str | Path | None,
        names: Sequence[str] | None,
        hooks: Hooks | None,
        root: Path | None,
    ) -> None:
        self.study, self.scribbles = study, scribbles
        self.classes = check_trainable(scribbles)
        self.data = (study.content_hash,)
        if base is not None:
            card = read_card(base)
            check_base(card, self.classes, model_name(base))
            config = with_base(config, card)
            self.data = tuple(dict.fromkeys(card.data + self.data))
        self.config = config
        self.run = RunFolder(run, root or run)
        self.names, self.hooks = names, hooks or Hooks()
        self.device = pick_device(device)
        self.precision = pick_precision(config.precision, self.device)
        torch.manual_seed(config.seed)
        fabric = make_fabric(self.device, self.precision)
        self.trainer = Trainer(self._network(base), self.classes, config, fabric)
        self.inputs = self._inputs()
        self.sampler = Sampler([self._volume()], config)
        self.best: tuple[float, dict[str, Tensor]] | None = None
        self.warning = ""
        self._last_step_event = self._last_preview = self._preview_cost = 0.0

    def go(self) -> events.Finished | None:
        self.run.freeze(self.config, self.study, self.scribbles)
        self._emit(self._started())
        self.began = self._last_preview = time.monotonic()
        try:
            request = self._train()
        except DivergedError:
            raise self._diverged() from None
        if request == "quit":
            self._save(self._agreement_now())
            return None
        return self._finish(stopped=request == "stop")

    # --- stages

    def _train(self) -> Request:
        while (progress := self.progress) < 1:
            if request := self.hooks.request():
                return request
            self._take_new_strokes()
            losses = self.trainer.step(self.sampler.draw(self.trainer.steps), progress)
            self._report(losses)
            if self._preview_due():
                self._preview()
        return ""

    def _finish(self, stopped: bool) -> events.Finished:
        seconds = self.elapsed
        prediction = self._predict(keep=self.config.keep_marked)
        agreed = agreement(prediction.labels, self.scribbles)
        if self.best is not None and agreed < self.best[0] - WORSE:
            self.trainer.averaged.load_state_dict(self.best[1])
            prediction = self._predict(keep=self.config.keep_marked)
            agreed = agreement(prediction.labels, self.scribbles)
        self._save(agreed)
        finished = self.run.save_prediction(prediction, self.study, self.names).model_copy(
            update={
                "steps": self.trainer.steps,
                "seconds": round(seconds, 1),
                "agreement": agreed,
                "stopped": stopped,
                "warning": self.warning,
            }
        )
        self._emit(finished)
        return finished

    def _preview(self) -> None:
        began = time.monotonic()
        labels = self._predict(keep=False).labels
        agreed = agreement(labels, self.scribbles)
        if self.best is None or agreed >= self.best[0]:
            self.best = (agreed, copy.deepcopy(self.trainer.averaged.state_dict()))
            self._save(agreed)
        path = self.run.save_preview(labels)
        self._emit(events.Preview(step=self.trainer.steps, labels=path, agreement=agreed))
        self._last_preview = time.monotonic()
        self._preview_cost = self._last_preview - began

    def _take_new_strokes(self) -> None:
        scribbles = self.hooks.new_scribbles()
        if scribbles is None:
            return
        try:
            if check_trainable(scribbles) > self.classes:
                self.warning = "A class was added after training began: train again to include it."
        except UserError:
            return  # everything of a class was erased for a moment: go on with what there was
        self.scribbles = scribbles
        self.inputs = self._inputs()
        self.sampler.use([self._volume()])

    # --- parts

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    @property
    def progress(self) -> float:
        """Share of the steps or of the time, whichever is further."""
        share = self.trainer.steps / self.config.steps
        if self.config.minutes is not None:
            share = max(share, self.elapsed / (60 * self.config.minutes))
        return share

    def _network(self, base: str | Path | None) -> CmFNet:
        model = build(self.config, self.classes)
        if base is not None:
            model.load_state_dict(load_model(base, torch.device("cpu"))[0].state_dict())
        return model.to(self.device)

    def _inputs(self) -> Inputs:
        frame = make_frame(self.study.grid, self.scribbles, self.config)
        current = getattr(self, "inputs", None)
        if current is not None and current.frame == frame:
            return current
        return make_inputs(self.study, frame, self.config)

    def _volume(self) -> Batch:
        """Images, targets at strokes and the guide between them, on the working grid."""
        known = np.where(self.scribbles > self.classes, UNLABELLED, self.scribbles)
        inputs = self.inputs
        targets = inputs.targets(known)
        if self.config.guide <= 0:
            return Batch(inputs.ct, inputs.mr, inputs.fov, targets, inputs.ct[:, :0])
        frame, softness = inputs.frame, self.config.guide_softness
        body, spacing = frame.coarsen(self.body), frame.spacing(self.study.grid)
        guide = make_guide(inputs, targets, body, self.classes, spacing, softness)
        return Batch(inputs.ct, inputs.mr, inputs.fov, targets, guide)

    @cached_property
    def body(self) -> np.ndarray:
        """The patient without the air around, bool (z, y, x)."""
        return body_mask(self.study.ct)

    def _predict(self, keep: bool) -> Prediction:
        marked = self.scribbles if keep else None
        return predict(self.trainer.averaged, self.inputs, self.config, self.precision, marked)

    def _agreement_now(self) -> float:
        return agreement(self._predict(keep=False).labels, self.scribbles)

    def _save(self, agreed: float) -> None:
        card = Card(
            config=self.config,
            classes=self.classes,
            study=self.study.content_hash,
            region=[[s.start, s.stop] for s in self.inputs.frame.region],
            steps=self.trainer.steps,
            seconds=round(self.elapsed, 1),
            agreement=agreed,
            data=self.data,
            software=software_versions(),
            created=date.today().isoformat(),
        )
        path = self.run.save_model(self.trainer.averaged, card)
        self._emit(events.Saved(step=self.trainer.steps, model=path))

    def _diverged(self) -> UserError:
        self._save(self._agreement_now())
        return UserError(
            f"Training diverged at step {self.trainer.steps}: {MAX_SKIPPED} steps in a row gave "
            "no finite gradient. The last good model is kept with the run; train again with a "
            f"smaller learning rate than {self.config.learning_rate:g}."
        )

    # --- events

    def _started(self) -> events.Started:
        return events.Started(
            run=self.run.path(),
            device=str(self.device),
            precision=str(self.precision).removeprefix("torch."),
            steps=self.config.steps,
            parameters=sum(p.numel() for p in self.trainer.model.parameters()),
        )

    def _report(self, losses: dict[str, float]) -> None:
        now = time.monotonic()
        if now - self._last_step_event < 1 / STEP_EVENTS_A_SECOND:
            return
        self._last_step_event = now
        progress = min(self.progress, 1.0)
        self._emit(
            events.Step(
                step=self.trainer.steps,
                progress=progress,
                elapsed_s=self.elapsed,
                remaining_s=self.elapsed * (1 / progress - 1),
                losses=losses,
                skipped=self.trainer.skipped,
            )
        )

    def _preview_due(self) -> bool:
        pause = max(self.config.preview_seconds, self._preview_cost / PREVIEW_SHARE)
        return time.monotonic() - self._last_preview >= pause

    def _emit(self, event: events.Event) -> None:
        self.run.log(event)
        self.hooks.emit(event)
