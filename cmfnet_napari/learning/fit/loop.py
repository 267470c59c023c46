"""The loop of one fit: steps, previews, new strokes, memory, state, and its end."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from datetime import date
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.fit.model_card import (
    Card,
    software_versions,
)
from cmfnet_napari.core.fit.runs import STATE_FILE
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.strokes.scribbles import UNLABELLED, check_trainable, to_targets
from cmfnet_napari.learning.data.prepare import Inputs
from cmfnet_napari.learning.data.sampling import Sampler
from cmfnet_napari.learning.engine.device import make_fabric, pick_device, pick_precision
from cmfnet_napari.learning.engine.out_of_memory import is_out_of_memory, lighter, release_memory
from cmfnet_napari.learning.engine.state import (
    State,
    pack_codes,
    save_state,
    state_bytes,
)
from cmfnet_napari.learning.engine.trainer import MAX_SKIPPED, DivergedError, Trainer
from cmfnet_napari.learning.fit.callbacks import Hooks, InterruptedFitError, Interrupter, Request
from cmfnet_napari.learning.fit.output import Report
from cmfnet_napari.learning.fit.rounds import GROUPS, Rounds
from cmfnet_napari.learning.fit.run_folder import RunFolder
from cmfnet_napari.learning.fit.schedule import Pace
from cmfnet_napari.learning.fit.training_data import Material
from cmfnet_napari.learning.model.cmfnet import CmFNet, build
from cmfnet_napari.learning.predict.prediction import Prediction
from cmfnet_napari.learning.predict.predictor import free_memory, predict

LEAST_BUDGET = 2**26  # bytes; a prediction that does not get along with less is given up
CLASS_ADDED = "A class was added after training began: train again to include it."
_SHORT_OF_TIME = (
    "Only {steps} of {planned} steps fitted into the time, in {precision} on {where}. So {so}. "
    "More minutes or a GPU let the network learn more; more strokes help either way."
)
_FROM_STROKES = "the contour is mostly what the strokes tell by themselves"
_FROM_BASE = "the contour is mostly what the model says that training began with"
_FROM_NOTHING = "the network has learnt little, and the contour may be wrong anywhere"
_IN_VAIN = (
    "After {steps} steps the network agreed no better with strokes that were held out than the "
    "contour that it began with, which is kept. More strokes help more than more time."
)
FRESH_STEPS = 5  # whose patches lie mostly around strokes that have just come


def agreement(labels: Codes, scribbles: Codes) -> float:
    """Share of stroke voxels labelled as drawn, mean over the codes (0 … 1); NaN: no strokes."""
    drawn = scribbles != UNLABELLED
    if not drawn.any():
        return float("nan")
    targets, found = to_targets(scribbles[drawn]), labels[drawn]
    codes = np.unique(targets)
    return float(np.mean([(found[targets == code] == code).mean() for code in codes]))


class FitLoop:
    """State of one fit; `go` names its stages.

    Parameters
    ----------
    study, scribbles, config, device
        As in `start.fit`.
    run : RunFolder
        Where it is written.
    hooks : Hooks
        Where events go and requests come from.
    began : float, optional
        As in `Pace`.
    groups : uint8 array (z, y, x), optional
        As in `Material`.
    """

    def __init__(
        self,
        study: Study,
        scribbles: Codes,
        run: RunFolder,
        config: Config,
        device: str,
        hooks: Hooks,
        began: float | None = None,
        groups: Codes | None = None,
    ) -> None:
        # First: what is prepared takes of its minutes.
        self.pace = Pace(config, began, prod(study.grid.shape))
        self.classes = check_trainable(scribbles)
        self.run, self.config, self.hooks = run, config, hooks
        self.names: Sequence[str] | None = None
        self.data: tuple[str, ...] = ()
        self.report = Report(run, hooks)
        self.interrupter = Interrupter(hooks.request)
        self.device = pick_device(device)
        self.trainer = self._make_trainer()
        self.rounds = Rounds(config)
        self.material = Material(study, scribbles, config, groups)
        self.material.hold_out(self.rounds.group)
        self.sampler = Sampler(self.material.volumes(self.classes), config)
        self.from_base = False
        self.budget: float | None = None  # of memory for predictions; None: what is free
        self._agreed = 0.0

    def go(self) -> events.Finished | None:
        """Train and predict; None when the request was to quit."""
        self.report.tell(self._started())
        try:
            request = self._train()
            if request != "quit" and not (self.trainer.steps or self._knows):
                raise self._nothing_learnt(request)
            if request == "stop":
                self.report.tell(events.Stopping(step=self.trainer.steps))
            if request == "quit":
                self._quit()
                return None
            with self.interrupter.listening("quit"):
                return self._finish(stopped=request == "stop")
        except DivergedError:
            raise self._diverged() from None
        except InterruptedFitError:
            self._quit()
            return None

    # --- stages

    def _train(self) -> Request:
        if not self.trainer.steps and self.pace.progress(0) < 1:
            self._save_state()  # who runs out of memory and is killed is so in the first step
        if self._knows and not self.trainer.steps:
            with contextlib.suppress(InterruptedFitError), self.interrupter.listening("quit"):
                self._preview()
            requests = self.interrupter.listening("stop", "quit")
            with contextlib.suppress(InterruptedFitError), requests:
                self._judge_beginning()
        while (progress := self.pace.progress(self.trainer.steps)) < 1:
            if request := self.hooks.request():
                return request
            self._take_new_strokes()
            try:
                with self.interrupter.listening("stop", "quit"):
                    if self.rounds.over(progress):
                        self._judge(progress)
                    if self.material.hold_out(self.rounds.group):
                        self.sampler.use(self.material.volumes(self.classes))
                    losses = self._step(progress)
                    self.report.tell_step(partial(self._step_event, losses))
                    if self.pace.preview_due():
                        self._preview()
            except InterruptedFitError:
                continue
            if self.pace.save_due():
                self._save_state()
        return ""

    def _step(self, progress: float) -> dict[str, float]:
        """One step; when memory runs out it is undone and tried again with less."""
        while True:
            try:
                return self.trainer.step(self.sampler.draw(self.trainer.steps), progress)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            self.need_less()  # here, where the error no longer holds the step's tensors

    def _finish(self, stopped: bool) -> events.Finished:
        seconds = self.pace.elapsed
        if self.rounds.over(progress := self.pace.progress(self.trainer.steps)):
            self._judge(progress)
        held_out, better = self.rounds.agreement, self.rounds.better
        if stopped and self.rounds.in_vain:
            better = None  # who stops likes what is on the screen
        if better is not None:
            held_out = better[0]
            self.trainer.averaged.load_state_dict(better[1])
        prediction = self._predict(keep=self.config.keep_marked, branches=True)
        self._agreed = agreement(prediction.labels, self.material.scribbles)
        self._save_model()
        written = self.report.write(
            lambda: self.run.save_prediction(
                prediction, self.material.scribbles, self.material.study, self.names
            )
        )
        finished = written.model_copy(
            update={
                "steps": self.trainer.steps,
                "seconds": round(seconds, 1),
                "agreement": self._agreed,
                "held_out": held_out,
                "stopped": stopped,
                "warning": self._left_out() or ("" if stopped else self._little_learnt()),
            }
        )
        self.report.tell(finished)
        (self.run.folder / STATE_FILE).unlink(missing_ok=True)
        self.hooks.keep(self.trainer.averaged, self._card, self.material, prediction)
        return finished

    def _quit(self) -> None:
        self._save_state()
        self._save_model()

    def _judge(self, progress: float) -> None:
        """Compare with the strokes that the round which is over did not learn from."""
        agreed = self._agreement_with(self.rounds.group)
        self.rounds.record(agreed, self.trainer.averaged.state_dict(), progress)

    def _judge_beginning(self) -> None:
        """Compare what the network says before it learns with each group while it is held out."""
        if not self.rounds.comparable or not self.pace.spares(GROUPS):
            return
        agreed = [self._agreement_with(group) for group in range(1, GROUPS + 1)]
        self.rounds.begin(agreed, self.trainer.averaged.state_dict())
        self.material.hold_out(self.rounds.group)

    def _agreement_with(self, group: int) -> float:
        """How far the network agrees with a group of strokes that it does not see."""
        self.material.hold_out(group)
        inputs = self.material.seen(self.classes, learnt=True)
        labels = self._predict(keep=False, inputs=inputs).labels
        return agreement(labels, self.material.held_out)

    def _preview(self) -> None:
        with self.pace.previewing():
            self._show_preview()

    def _show_preview(self) -> None:
        labels = self._predict(keep=False).labels
        self._agreed = agreement(labels, self.material.scribbles)
        self._save_model()
        path = self.report.write(lambda: self.run.save_preview(labels), labels.nbytes)
        self.run.keep_preview(self.trainer.steps, labels)
        self.report.tell(
            events.Preview(
                step=self.trainer.steps,
                labels=path,
                agreement=self._agreed,
                held_out=self.rounds.agreement,
            )
        )

    def _take_new_strokes(self) -> None:
        scribbles = self.hooks.new_scribbles()
        if scribbles is None:
            return
        try:
            check_trainable(scribbles)
        except UserError:
            return  # everything of a class was erased for a moment: go on with what there was
        self._learn_from(scribbles)

    def _learn_from(self, scribbles: Codes) -> None:
        """Go on with other strokes; what is new comes first."""
        fresh = (scribbles != self.material.scribbles) & (scribbles != UNLABELLED)
        self.material.draw(scribbles)
        self.rounds.forget()
        self.sampler.use(self.material.volumes(self.classes))
        self.sampler.prefer(self.material.inputs.touched(fresh), self.trainer.steps + FRESH_STEPS)
        self.pace.strokes_came()

    def _left_out(self) -> str:
        """That strokes of a class were not learnt; else empty."""
        added = check_trainable(self.material.scribbles) > self.classes
        return CLASS_ADDED if added else ""

    def _little_learnt(self) -> str:
        """What it means that nothing was learnt, or in less than half of the steps; else empty."""
        steps, planned = self.trainer.steps, self.config.steps
        if self.rounds.in_vain:
            return _IN_VAIN.format(steps=steps)
        if 2 * steps >= planned:
            return ""
        where = "the processor" if self.device.type == "cpu" else "the GPU"
        precision = str(self.precision).removeprefix("torch.")
        so = _FROM_STROKES if self.config.stroke_maps else _FROM_NOTHING
        return _SHORT_OF_TIME.format(
            steps=steps,
            planned=planned,
            precision=precision,
            where=where,
            so=_FROM_BASE if self.from_base else so,
        )

    def _nothing_learnt(self, request: Request) -> UserError:
        """What to say instead of the contour of a network that knows nothing."""
        (self.run.folder / STATE_FILE).unlink(missing_ok=True)  # nor is there what to go on with
        stopped = request == "stop"
        return UserError(
            f"{'Training was stopped' if stopped else 'The time for training was over'} before "
            "its first step was done: the network has learnt nothing, and there is no contour. "
            f"{'Train again' if stopped else 'Train again with more minutes'}."
        )

    # --- memory

    def need_less(self) -> None:
        """Go on from the same step with less memory, and say what that costs.

        Raises
        ------
        UserError
            There is nothing left to give up.
        """
        found = lighter(self.config, self.device)
        if found is None:
            self._save_state()
            raise UserError(
                "There is not enough memory for training, even with the smallest patches. Close "
                "other programs, then continue."
            )
        state = copy.deepcopy(_on_cpu(self.trainer.state()))
        self.config, words = found
        del self.trainer
        release_memory(self.device)
        self.trainer = self._make_trainer()
        self.trainer.restore(state)
        self.sampler = Sampler(self.material.volumes(self.classes), self.config)
        text = f"There was not enough memory: training goes on {words}."
        self.report.tell(events.Notice(step=self.trainer.steps, text=text))

    def _predict(
        self, keep: bool, inputs: Inputs | None = None, branches: bool = False
    ) -> Prediction:
        inputs = inputs or self.material.seen(self.classes)
        marked = self.material.scribbles if keep else None
        while True:
            try:
                return predict(
                    self.trainer.averaged,
                    inputs,
                    self.config,
                    self.precision,
                    marked,
                    self.budget,
                    branches=branches,
                )
            except Exception as error:
                if not is_out_of_memory(error) or (self.budget or LEAST_BUDGET) < LEAST_BUDGET:
                    raise
            release_memory(self.device)
            self.budget = (self.budget or free_memory(self.device)) / 2

    # --- state

    def restore(self, state: State, drawn: int) -> None:
        """Take up a state that `_save_state` wrote; so many classes are drawn by now."""
        if drawn < state["classes"]:
            raise UserError(
                f"The run has {state['classes'] - 1} classes, the strokes {drawn - 1}. "
                "Draw the missing ones again, or train anew."
            )
        if self.classes > state["classes"]:
            self.classes = state["classes"]
            self.trainer = self._make_trainer()
            self.sampler.use(self.material.volumes(self.classes))
        self.trainer.restore(state["trainer"])
        self.pace.go_on(state["seconds"])
        self.from_base = bool(state.get("from_base"))  # an earlier version did not say
        self.rounds.restore(state["rounds"])
        if "strokes" not in state:  # an earlier version's: the rounds may have judged others
            self.rounds.forget()
        self._agreed = state["agreed"]
        self.data = tuple(state["data"])

    def take_up(self, scribbles: Codes) -> None:
        """Learn from the strokes as they are after a break, as if the fit had gone on meanwhile."""
        if not np.array_equal(scribbles, self.material.scribbles):
            self._learn_from(scribbles)

    def _save_state(self) -> None:
        with self.pace.saving():
            state = self._state()
            self.report.write(lambda: save_state(self.run.folder, state), state_bytes(state))

    def _state(self) -> State:
        return {
            "config": self.config.model_dump(mode="json"),
            "classes": self.classes,
            "strokes": pack_codes(self.material.scribbles),
            "groups": pack_codes(self.material.groups),
            "trainer": self.trainer.state(),
            "seconds": self.pace.elapsed,
            "rounds": self.rounds.state(),
            "agreed": self._agreed,
            "data": list(self.data),
            "from_base": self.from_base,
        }

    def _save_model(self) -> None:
        self._card = Card(
            config=self.config,
            classes=self.classes,
            study=self.material.study.content_hash,
            region=[[s.start, s.stop] for s in self.material.inputs.frame.region],
            steps=self.trainer.steps,
            seconds=round(self.pace.elapsed, 1),
            agreement=self._agreed,
            modalities=self.material.study.kinds,
            data=self.data,
            software=software_versions(),
            created=date.today().isoformat(),
        )
        need = state_bytes(self.trainer.averaged.state_dict())
        path = self.report.write(
            lambda: self.run.save_model(self.trainer.averaged, self._card), need
        )
        self.report.tell(events.Saved(step=self.trainer.steps, model=path))

    def _diverged(self) -> UserError:
        self._save_model()
        return UserError(
            f"Training diverged at step {self.trainer.steps}: {MAX_SKIPPED} steps in a row gave "
            "no finite gradient. The last good model is kept with the run; train again with a "
            f"smaller learning rate than {self.config.learning_rate:g}."
        )

    # --- parts

    @property
    def _knows(self) -> bool:
        """Whether the network has something to say before it learns."""
        return self.from_base or self.config.stroke_maps

    @property
    def precision(self) -> torch.dtype:
        """Of the network's computations."""
        return pick_precision(self.config.precision, self.device)

    def _make_trainer(self) -> Trainer[CmFNet]:
        torch.manual_seed(self.config.seed)
        fabric = partial(make_fabric, self.device, self.precision)
        model = build(self.config, self.classes)
        trainer = Trainer(model, self.classes, self.config, self.device, fabric)
        for model in {trainer.model, trainer.averaged}:
            self.interrupter.watch(model)
        return trainer

    # --- events

    def _started(self) -> events.Started:
        return events.Started(
            run=self.run.path(),
            device=str(self.device),
            precision=str(self.precision).removeprefix("torch."),
            steps=self.config.steps,
            parameters=sum(p.numel() for p in self.trainer.model.parameters()),
            from_step=self.trainer.steps,
        )

    def _step_event(self, losses: dict[str, float]) -> events.Step:
        progress = min(self.pace.progress(self.trainer.steps), 1.0)
        return events.Step(
            step=self.trainer.steps,
            progress=progress,
            elapsed_s=self.pace.elapsed,
            remaining_s=self.pace.elapsed * (1 / progress - 1),
            losses=losses,
            skipped=self.trainer.skipped,
        )


def _on_cpu(state: Any) -> Any:
    if isinstance(state, torch.Tensor):
        return state.cpu()
    if isinstance(state, dict):
        return {key: _on_cpu(value) for key, value in state.items()}
    return [_on_cpu(value) for value in state] if isinstance(state, list) else state
