"""The training of a network for any structure: lessons, steps, and going on after a break.

::

    OUT/pretraining.json   configuration
    OUT/losses.csv, scores.csv, tensorboard/
    OUT/state.pt           until it is complete: all that the next step needs
    OUT/lessons.npy        until then: the lessons of the last rounds
    OUT/model.safetensors  its averaged weights, written at the begin of every round of lessons

Lessons of the next round are made while the network learns from this one's; those that were being
made when the training was broken off are made anew.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import read_json, write_json
from cmfnet_napari.core.fit.config import Config, changed_settings, parse_config
from cmfnet_napari.core.fit.model_card import MODEL_FILE, Card, software_versions
from cmfnet_napari.core.fit.runs import STATE_FILE
from cmfnet_napari.core.folder_lock import begun
from cmfnet_napari.learning.engine.device import make_fabric, pick_device, pick_precision
from cmfnet_napari.learning.engine.logs import Logs
from cmfnet_napari.learning.engine.state import load_state, save_state
from cmfnet_napari.learning.engine.trainer import Trainer
from cmfnet_napari.learning.material.material_file import Material
from cmfnet_napari.learning.material.sample import ACROSS
from cmfnet_napari.learning.model.checkpoint import save_model
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.learning.pretrain.lesson import PATCH
from cmfnet_napari.learning.pretrain.lesson_book import KEPT, ROUND, Book, Maker, makers

_PLAN = "pretraining.json"
_JUDGED_EVERY = 5 * ROUND  # steps
_JUDGED = 24  # lessons held out


@dataclass(frozen=True)
class Watch:
    """What a training tells and asks.

    Attributes
    ----------
    show : callable
        Takes the share that is done and a few words.
    stop : callable
        True: save the state and leave.
    """

    show: Callable[[float, str], None] = lambda share, note: None
    stop: Callable[[], bool] = lambda: False


def pretrain_config(steps: int, seed: int = 0, **changes: object) -> Config:
    """CmFNet at a width that a laptop bears, on voxels that follow what is drawn."""
    settings = {
        "preset": "paper",
        "seed": seed,
        "steps": steps,
        "drawn_voxels": round(ACROSS),
        "stroke_maps": True,
        "width": 7,
        "normalisation": "instance",
        "mr_stages": 3,
        "dropout": 0.0,
        "lambda_ct": 0.0,
        "lambda_mr": 0.0,
        "consistency": "sum",
        "dice_weight": 1.0,
        "patch": (PATCH,) * 3,
        "batch": 2,
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "clip": 1.0,
        "average": 0.995,
        "keep_marked": True,
    }
    return parse_config({**settings, **changes})


def pretrain(
    material: Path,
    out: Path,
    config: Config,
    held: Path | None = None,
    watch: Watch | None = None,
    device: str = "auto",
    compiled: bool = False,
    processes: int = 1,
) -> Path | None:
    """Train on material, or go on with a training.

    Parameters
    ----------
    material : Path
        Folder of `make_material`; what is added to it meanwhile is used too.
    out : Path
        New folder, or one of the same training that was broken off.
    config : Config
        `pretrain_config`.
    held : Path, optional
        Material of other patients, to judge by.
    watch : Watch, optional
        Progress, and the wish to stop.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
    compiled : bool
        Let torch write code for this network first; needs a C++ compiler, and some minutes.
    processes : int
        That make lessons meanwhile; 0: none, the network waits for them.

    Returns
    -------
    Path or None
        The model; None when stopped.

    Raises
    ------
    UserError
        No material; the folder holds something else, or a training that runs; a process was lost.
    """
    patients = Material(material).patients
    judged = range(min(_JUDGED, len(Material(held)))) if held else range(0)
    with begun(out, _PLAN):
        _begin(out, config)
        if (out / MODEL_FILE).exists() and not (out / STATE_FILE).exists():
            return out / MODEL_FILE
        book = Book(out, config.batch, config.seed)
        with makers(processes) as pool:
            examiner = Maker(held, out / MODEL_FILE) if held else None
            school = _School(
                pool, book, Maker(material, out / MODEL_FILE, config.seed), examiner, judged
            )
            training = _Training(out, config, device, compiled, patients)
            try:
                return training.run(school, book, watch or Watch())
            except BrokenProcessPool as error:
                raise UserError(
                    "A process that makes lessons was lost, as when memory runs out. The same "
                    "command goes on; fewer --processes need less."
                ) from error


def _begin(out: Path, config: Config) -> None:
    if not (out / _PLAN).exists():
        write_json(out / _PLAN, config.model_dump(mode="json"))
    if changed := changed_settings(read_json(out / _PLAN), config):
        raise UserError(
            f"{out.name} holds a training with {'; '.join(changed[:5])}. Choose a new folder."
        )


class _School:
    """What the processes that make lessons are asked for."""

    def __init__(
        self, pool: Executor, book: Book, teacher: Maker, examiner: Maker | None, judged: range
    ) -> None:
        self._pool, self._book, self._teacher = pool, book, teacher
        self._examiner, self._judged = examiner, judged
        self._lessons: list[Future[None]] = []
        self._scores: dict[int, list[Future[tuple[float, float]]]] = {}
        self._taught: dict[int, list[Future[tuple[float, float]]]] = {}  # of what it learns from

    def prepare(self, steps: range) -> None:
        """Have the lessons of these steps made."""
        self._lessons = [
            self._pool.submit(self._teacher.write, self._book.path, n, self._book.place(n))
            for n in self._book.new(steps)
        ]

    def judge(self, step: int) -> None:
        """Have the model judged that was written at a step."""
        if self._examiner:
            held, taught, ask = self._examiner.judge, self._teacher.judge, self._pool.submit
            self._scores[step] = [ask(held, n) for n in self._judged]
            self._taught[step] = [ask(taught, n, 0) for n in self._judged]

    def wait(self, logs: Logs) -> None:
        """Until all that was asked for is there."""
        for lesson in self._lessons:
            lesson.result()
        for step, asked in self._scores.items():
            first, later = np.mean([judged.result() for judged in asked], axis=0)
            taught = np.mean([judged.result()[0] for judged in self._taught[step]])
            said = {"dsc": float(first), "corrected": float(later), "taught": float(taught)}
            logs.scores(step, said)
        self._scores.clear()
        self._taught.clear()


class _Training:
    def __init__(
        self, out: Path, config: Config, device: str, compiled: bool, patients: tuple[str, ...]
    ) -> None:
        self._out, self._config, self._patients = out, config, patients
        target = pick_device(device)
        fabric = make_fabric(target, pick_precision(config.precision, target))
        fabric.launch()
        torch.manual_seed(config.seed)
        network = build(config, 2)
        network.wake()
        self._trainer = Trainer(network, 2, config, fabric.device, lambda: fabric)
        if compiled:
            self._trainer.compile()
        self._made = 0  # steps whose lessons are there
        if (out / STATE_FILE).exists():
            state = load_state(out, fabric.device)
            self._trainer.restore(state["trainer"])
            self._made = state.get("made", 0)

    def run(self, school: _School, book: Book, watch: Watch) -> Path | None:
        logs, steps = Logs(self._out, self._trainer.steps), self._config.steps
        self._catch_up(school, book, logs)
        while self._trainer.steps < steps:
            if self._trainer.steps % ROUND == 0:
                school.wait(logs)
                self._made = self._round(self._trainer.steps).stop
                self._save()
                self._write_model()
                self._ask(school, self._trainer.steps)
            if watch.stop():
                self._save()
                return None
            share = self._trainer.steps / steps
            losses = self._trainer.step(book.draw(self._trainer.steps), share)
            logs.losses(self._trainer.steps, losses)
            watch.show(share, f"step {self._trainer.steps}, loss {losses['total']:.3f}")
        school.wait(logs)
        path = self._write_model()
        school.judge(steps)
        school.wait(logs)
        logs.close()
        book.path.unlink()
        (self._out / STATE_FILE).unlink(missing_ok=True)
        return path

    def _catch_up(self, school: _School, book: Book, logs: Logs) -> None:
        """Have what was made of this round when it was broken off, or make it."""
        begin = self._trainer.steps - self._trainer.steps % ROUND
        there = 0 if book.empty else self._made
        missing = range(max(there, begin + ROUND * (1 - KEPT)), self._round(begin).stop)
        if missing:
            self._save()  # before the model, which alone would be taken for a complete one
            self._write_model()
            school.prepare(missing)
            school.wait(logs)
        if begin < self._trainer.steps:
            self._ask(school, begin)

    def _ask(self, school: _School, begin: int) -> None:
        """For what is made during the round that begins with a step."""
        if begin % _JUDGED_EVERY == 0 and begin:
            school.judge(begin)
        school.prepare(self._round(begin + ROUND))

    def _round(self, begin: int) -> range:
        """Steps."""
        return range(begin, min(begin + ROUND, self._config.steps))

    def _save(self) -> None:
        save_state(self._out, {"trainer": self._trainer.state(), "made": self._made})

    def _write_model(self) -> Path:
        card = Card(
            config=self._config,
            classes=2,
            steps=self._trainer.steps,
            data=tuple(sorted(set(self._patients))),
            software=software_versions(),
            created=date.today().isoformat(),
        )
        return save_model(self._trainer.averaged, card, self._out / MODEL_FILE, half=True)
