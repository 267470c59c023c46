"""The training of one split: steps, logs, held-out scores, and going on after a break."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from cmfnet_napari.core.arrays import Codes, Floats, Reals
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import read_json, write_json, write_safely
from cmfnet_napari.core.fit.card_sections import begin_card
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.fit.model_card import MODEL_FILE, Card, software_versions
from cmfnet_napari.core.fit.runs import STATE_FILE
from cmfnet_napari.learning.cohort.patients import METRICS, Patient, judge
from cmfnet_napari.learning.cohort.results import (
    RESULTS_FILE,
    Result,
    curve_point,
    means,
    performance,
    tabulate,
    write_results,
)
from cmfnet_napari.learning.data.sampling import Sampler
from cmfnet_napari.learning.engine.device import device_name, pick_precision
from cmfnet_napari.learning.engine.logs import Logs
from cmfnet_napari.learning.engine.state import (
    damaged_state,
    load_state,
    save_seconds,
    save_state,
)
from cmfnet_napari.learning.engine.trainer import MAX_SKIPPED, DivergedError, Trainer
from cmfnet_napari.learning.model.checkpoint import save_model
from cmfnet_napari.learning.model.cmfnet import CmFNet
from cmfnet_napari.learning.predict.predictor import class_probabilities
from cmfnet_napari.learning.rivals.build_rival import make_loss, make_network
from cmfnet_napari.learning.rivals.own_labels import OwnLabels
from cmfnet_napari.learning.rivals.settings import MethodConfig

SAVE_SECONDS = 60.0  # between states on disk
_SPEED = "speed.json"
_CURVE_POINTS = 10  # of a base model: so often are the patients held out judged, the end included


class Speed(NamedTuple):
    """How many steps took how many seconds, judging left out, on what."""

    steps: int
    seconds: float
    device: str

    def write(self, folder: Path) -> None:
        """Write it into the folder of a split."""
        write_json(folder / _SPEED, self._asdict())


def read_speed(folder: Path) -> Speed | None:
    """What the training of a split took; None where it does not say."""
    try:
        return Speed(**read_json(folder / _SPEED))
    except (UserError, TypeError):
        return None


def prediction_path(folder: Path, line: int) -> Path:
    """Where the training of a method keeps its labels for a line of the cohort file."""
    return folder / "predictions" / f"line-{line}.npz"


def keep_labels(folder: Path, line: int, labels: Codes) -> None:
    """Write what a method found in a line of the cohort file, for the pictures of a comparison."""
    path = prediction_path(folder, line)
    path.parent.mkdir(exist_ok=True)
    write_safely(path, ".npz", lambda part: np.savez_compressed(part, labels=labels))


@dataclass
class Hooks:
    """What a training tells and asks the world around it.

    Attributes
    ----------
    show : callable
        Takes the share that is done (0 … 1) and a few words.
    stop : callable
        True: save the state and leave.
    """

    show: Callable[[float, str], None] = lambda share, note: None
    stop: Callable[[], bool] = lambda: False


class SplitTraining:
    """Trains one model; `run` goes on where the folder's state says.

    Parameters
    ----------
    folder : Path
        Takes model, state, logs and results.
    learnt, held : sequence of Patient
        Trained on; judged by, where they have a reference.
    config : Config
        Everything about the model; a `MethodConfig` for a rival's.
    classes : int
        Outputs, background included.
    fabric : Fabric
        Launched.
    hooks : Hooks
        Asked in the first process only.
    """

    def __init__(
        self,
        folder: Path,
        learnt: Sequence[Patient],
        held: Sequence[Patient],
        config: Config,
        classes: int,
        fabric: Fabric,
        hooks: Hooks,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._config, self._classes = folder, config, classes
        self._fabric, self._hooks = fabric, hooks
        self._learnt = learnt
        self._held = [patient for patient in held if patient.case.reference is not None]
        torch.manual_seed(config.seed)
        network, loss = make_network(config, classes), make_loss(config)
        self._trainer = Trainer(network, classes, config, fabric.device, lambda: fabric, loss)
        self._trainer.begin()
        # One volume a patient, unless the network reads strokes, which makes no labels.
        self._labels = OwnLabels([volume for p in learnt for volume in p.volumes], config, classes)
        self._sampler = Sampler(self._labels.volumes, config)
        self._began = self._saved = time.monotonic()
        self._save_seconds = save_seconds(SAVE_SECONDS)
        self._dsc = ""
        self._timed, self._stepping = 0, 0.0  # steps, and the seconds that they took
        self._judging = 0.0  # seconds that it took the last time, as it will in the end
        self._points = config.curve_points if isinstance(config, MethodConfig) else _CURVE_POINTS

    def run(self) -> list[Result] | None:
        """Train to the end and judge; None when stopped before."""
        self._restore()
        logs = Logs(self._folder, self._trainer.steps) if self._fabric.is_global_zero else None
        try:
            return self._finish(logs) if self._train(logs) else None
        finally:  # else its thread complains when the process ends
            if logs is not None:
                logs.close()

    def _train(self, logs: Logs | None) -> bool:
        """Steps until the budget is spent; False when stopped before."""
        while True:
            progress, stop = self._shared((self._progress, self._hooks.stop()))
            if stop or time.monotonic() - self._saved > self._save_seconds:
                self._save()
            if stop:
                return False
            if progress >= 1:
                return True
            self._step(progress, logs)

    def _step(self, progress: float, logs: Logs | None) -> None:
        began = time.monotonic()
        trainer, rank, world = self._trainer, self._fabric.global_rank, self._fabric.world_size
        if self._labels.renew(progress, self._ask):
            self._sampler.use(self._labels.volumes)
        batch = self._sampler.draw(trainer.steps, range(rank, self._config.batch, world))
        try:
            losses = trainer.step(batch, progress)
        except DivergedError:
            raise UserError(
                f"Training diverged at step {trainer.steps}: {MAX_SKIPPED} steps in a row gave no "
                "finite gradient. Train again with a smaller learning rate than "
                f"{self._config.learning_rate:g} (--set learning_rate=…)."
            ) from None
        self._timed, self._stepping = self._timed + 1, self._stepping + time.monotonic() - began
        scores = curve_point(self._judge()) if self._is_point and self._held else {}
        self._dsc = f", DSC {scores['dsc']:.3f}" if scores else self._dsc
        if logs is not None:
            logs.losses(trainer.steps, {**losses, "skipped": trainer.skipped})
            if scores:
                logs.scores(trainer.steps, scores)
        note = f"{self._folder.name}: step {trainer.steps}, loss {losses['total']:.3f}{self._dsc}"
        self._hooks.show(min(progress, 1.0), note)

    @property
    def _is_point(self) -> bool:
        """Whether the step that was just taken is one of the points of the curve but the last."""
        steps, of = self._trainer.steps, self._config.steps
        return steps * self._points // of > (steps - 1) * self._points // of and steps < of

    def _ask(self, number: int) -> Tensor:
        """What the network says of a volume that it learns from."""
        precision = pick_precision(self._config.precision, self._fabric.device)
        inputs = self._learnt[number].inputs
        return class_probabilities(self._trainer.averaged, inputs, self._config, precision)

    def _finish(self, logs: Logs | None) -> list[Result]:
        compared = isinstance(self._config, MethodConfig)
        table = (
            self._judge(keep=self._keep if compared else None)
            if self._held
            else np.empty((0, self._classes - 1, len(METRICS)))
        )
        names = [patient.case.row.case for patient in self._held]
        results = tabulate(table, names, self._folder.name)
        if logs is not None and self._held:
            logs.scores(self._trainer.steps, curve_point(table))
        if self._fabric.is_global_zero:
            if isinstance(self._trainer.averaged, CmFNet):
                model = self._folder / MODEL_FILE
                save_model(self._trainer.averaged, self._card(table), model)
                begin_card(model, performance(results))
            where = device_name(self._fabric.device)
            Speed(self._timed, round(self._stepping, 3), where).write(self._folder)
            write_results(self._folder / RESULTS_FILE, results)
            (self._folder / STATE_FILE).unlink(missing_ok=True)
        return results

    def _keep(self, patient: Patient, labels: Codes) -> None:
        keep_labels(self._folder, patient.case.row.line, labels)

    def _judge(self, keep: Callable[[Patient, Codes], None] | None = None) -> Reals:
        began = time.monotonic()
        table = judge(
            self._trainer.averaged,
            self._held,
            self._config,
            self._classes,
            self._fabric,
            keep or (lambda patient, labels: None),
        )
        self._judging = time.monotonic() - began
        return table

    def _card(self, table: Floats) -> Card:
        return Card(
            config=self._config,
            classes=self._classes,
            steps=self._trainer.steps,
            seconds=round(self._elapsed, 1),
            modalities=self._learnt[0].case.kinds,
            data=tuple(sorted({p.case.content_hash for p in self._learnt})),
            software=software_versions(),
            metrics=means(table),
            created=date.today().isoformat(),
        )

    # --- time, state

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    @property
    def _progress(self) -> float:
        """Share of the steps or of the time for them, whichever is further."""
        share = self._trainer.steps / self._config.steps
        if self._config.minutes is not None:
            whole = 60 * self._config.minutes
            share = max(share, self._elapsed / max(whole - self._judging, whole / 2))
        return share

    def _shared(self, mine: tuple[float, bool]) -> tuple[float, bool]:
        """What the first process says: clocks and signals differ, the steps must not."""
        return mine if self._fabric.world_size == 1 else self._fabric.broadcast(mine)

    def _save(self) -> None:
        """Write all that the next step depends on, in place of the last state."""
        self._saved = time.monotonic()
        if self._fabric.is_global_zero:
            state = {
                "trainer": self._trainer.state(),
                "labels": self._labels.state(),
                "seconds": self._elapsed,
                "timed": [self._timed, self._stepping],
            }
            save_state(self._folder, state)

    def _restore(self) -> None:
        if not (self._folder / STATE_FILE).exists():
            return
        state = load_state(self._folder, self._fabric.device)
        try:
            self._trainer.restore(state["trainer"])
            if "labels" in state:  # an earlier version made none
                self._labels.restore(state["labels"])
                self._sampler.use(self._labels.volumes)
            self._began -= state["seconds"]
            self._timed, self._stepping = state.get("timed", (0, 0.0))  # an earlier version: none
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise damaged_state(self._folder) from error
