"""A base model trained on another computer, on a cohort that lies here.

::

    OUT/remote-case/     until all is here: the cohort's voxels, what was begun, what came back

The same command goes on with it: the training goes on there meanwhile. What was made there is
fetched whole and proved, noted as done, moved into OUT, and only then deleted there.
"""

from __future__ import annotations

import queue
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.fit.model_card import MODEL_FILE
from cmfnet_napari.core.folder_lock import begun
from cmfnet_napari.core.report.curves import save_training
from cmfnet_napari.learning.cohort.cohort_file import read_cohort
from cmfnet_napari.learning.cohort.plan import PLAN_FILE, Split, changes_since, make_splits
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.cohort.train import check_steps
from cmfnet_napari.learning.cohort.travelling_cohort import TravellingCohort
from cmfnet_napari.learning.engine.logs import LOSSES_FILE, SCORES_FILE, draw_board, read_curve
from cmfnet_napari.remote.begun_training import BegunTraining
from cmfnet_napari.remote.cohort_relay import CohortRelay
from cmfnet_napari.remote.elsewhere import follow
from cmfnet_napari.remote.hosts import Host
from cmfnet_napari.remote.run_files import TRAINING, WORKING
from cmfnet_napari.remote.travelling_case import note_forget

_MOST_ROWS = 2000  # that one message can tell
_GONE = ".remote-case"  # what is left of it once it is done with, until it is deleted


def train_elsewhere(
    cohort: Path,
    out: Path,
    config: Config,
    host: Host,
    *,
    folds: int = 0,
    device: str = "auto",
    hooks: Hooks | None = None,
) -> JsonObject | None:
    """As `train.train`, on a host.

    Returns
    -------
    dict, or None when stopped before the training was begun there

    Raises
    ------
    UserError
        As `train.train`; the host cannot be reached; `out` holds another training; it was left,
        and goes on there.
    """
    check_steps(config)
    rows = read_cohort(cohort)
    splits = make_splits(rows, folds, config.seed)
    if len(rows) > _MOST_ROWS:
        raise UserError(
            f"{cohort.name} has {len(rows)} rows, and {_MOST_ROWS} can be trained on elsewhere. "
            "Copy the cohort to that computer and train there."
        )
    if (out / PLAN_FILE).exists() and not (out / WORKING).exists():
        raise UserError(
            f"{out.name} holds a training of this computer, or one that is done. Leave --on out "
            "to go on with it, or choose a new folder."
        )
    with begun(out, WORKING):
        shutil.rmtree(out / _GONE, ignore_errors=True)
        travelling = TravellingCohort(rows, out / WORKING)
        training = _Training(out, host, config, folds, splits, travelling, hooks or Hooks())
        return training.run(cohort.name, device)


class _Training:
    """A training elsewhere, while its folder here is this process's alone."""

    def __init__(
        self,
        out: Path,
        host: Host,
        config: Config,
        folds: int,
        splits: Sequence[Split],
        travelling: TravellingCohort,
        hooks: Hooks,
    ) -> None:
        self._out, self._folder, self._host = out, out / WORKING, host
        self._config, self._folds, self._splits = config, folds, splits
        self._travelling, self._hooks = travelling, hooks
        self._record = BegunTraining(self._folder)
        self._is_home = False

    def run(self, cohort: str, device: str) -> JsonObject | None:
        """As `train_elsewhere`; `cohort` is the name of the file."""
        travelling, record = self._travelling, self._record
        known = record.known
        if record.metrics is not None:  # it was done, and broken off while it came into its folder
            self._check(known, [row[:3] for row in (known or {}).get("data", [])], travelling.said)
            return self._settle()
        self._check(known, [], [])  # what is not about the data, before those are read
        ready = travelling.prepare(self._config, self._hooks.show, self._hooks.stop)
        if ready:
            self._check(known, (known or {}).get("data", []), travelling.data)
            record.asked = {"host": self._host.name, **self._plan(travelling.data)}
            self._follow(cohort, device)
        if record.metrics is not None:
            return self._settle()
        if record.known is not None:
            raise UserError(_left(self._host))
        return None

    def _plan(self, data: list[list[str]]) -> JsonObject:
        return {"config": self._config.model_dump(mode="json"), "folds": self._folds, "data": data}

    def _check(
        self, known: JsonObject | None, before: list[list[str]], data: list[list[str]]
    ) -> None:
        """Refuse another training than the one that was begun there."""
        if known is None:
            return
        where = str(known.get("host"))
        if where != self._host.name:
            raise UserError(
                f"{self._out.name} holds a training that was begun on {where}. Give --on {where} "
                f"to go on with it, or choose a new folder; 'cmfnet on {where} stop' ends it there."
            )
        if changes := changes_since({**known, "data": before}, self._plan(data), self._config):
            raise UserError(
                f"{self._out.name} holds a training that was begun on {where} with "
                f"{'; '.join(changes[:5])}. Give the same again to go on with it, or choose a new "
                "folder."
            )

    def _follow(self, cohort: str, device: str) -> None:
        """Have it trained there, and follow it until it is done or left."""
        heard: queue.Queue[events.Event] = queue.Queue()
        travelling, models = self._travelling, [split.name for split in self._splits]
        relay = CohortRelay(
            self._folder,
            self._host,
            heard.put,
            travelling.rows,
            travelling.files,
            self._record,
            models,
        )
        config = self._config.model_dump(mode="json")
        command = events.Train(config=config, folds=self._folds, device=device)

        def show(event: events.Event) -> None:
            match event:
                case events.Progress():
                    note = event.note.removeprefix(f"{TRAINING}: ")
                    self._hooks.show(event.share, travelling.named(note, cohort))
                case events.Notice():
                    self._hooks.show(0.0, event.text)
                case events.Paused():
                    self._hooks.show(0.0, event.reason)
                case events.LineChanged() if event.state != "refused":
                    self._hooks.show(0.0, event.text)
                case events.Trained():  # before the line is left, and anything deleted there
                    self._bring_home()
                case _:
                    pass

        def request() -> Literal["", "quit"]:
            return "quit" if self._hooks.stop() else ""

        try:
            follow(relay, self._host, command, heard, show, request)
        except UserError as error:
            raise UserError(travelling.named(str(error), cohort)) from error

    def _bring_home(self) -> None:
        """Move what came into the training's folder; broken off, it is done again."""
        try:
            self._move_home()
            shutil.rmtree(self._folder / "runs")
        except OSError as error:
            raise UserError(
                f"What was trained could not be moved into {self._out.name} ({error.strerror}). "
                "See whether the disk is full, then give the same command: nothing is lost."
            ) from error
        self._is_home = True

    def _move_home(self) -> None:
        self._travelling.bring_home(self._folder / "runs" / TRAINING, self._out)
        folders = {split.name: self._out / split.name for split in self._splits}
        curves = {}
        for name, folder in folders.items():
            shutil.rmtree(folder / "tensorboard", ignore_errors=True)
            draw_board(folder)
            curves[name] = read_curve(folder / LOSSES_FILE), read_curve(folder / SCORES_FILE)
        save_training(curves, self._out / "curves.png")

    def _settle(self) -> JsonObject:
        """See that all is in its place, and let go of the rest."""
        record = self._record
        metrics = record.metrics
        if not self._is_home:  # nobody told that side that it can go
            if self._host.forget:
                note_forget(self._folder, self._host.name)
            if (self._folder / "runs").exists():
                self._bring_home()
        record.clear()
        self._folder.rename(self._out / _GONE)
        shutil.rmtree(self._out / _GONE, ignore_errors=True)
        models = [self._out / split.name / MODEL_FILE for split in self._splits]
        return {"models": [str(model) for model in models], "metrics": metrics}


def _left(host: Host) -> str:
    """What becomes of a training that was left, in words."""
    kept = f"What it has is kept there for {host.days} days without use."
    if host.via:
        return (
            f"The training on {host.name} ended with the line, its state kept. The same command "
            f"goes on with it. {kept}"
        )
    return (
        f"The training was begun on {host.name}, and goes on there without this computer. The same "
        f"command follows it again; 'cmfnet on {host.name} stop' ends it there, and keeps its "
        f"state. {kept}"
    )
