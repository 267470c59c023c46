"""The training of a network for any structure: lessons, steps, and going on after a break.

::

    OUT/pretraining.json   configuration
    OUT/losses.csv, scores.csv, tensorboard/
    OUT/state.pt           until it is complete: all that the next step needs
    OUT/model.safetensors  its averaged weights, written at every look at the material held out

A lesson that was under way when the training was broken off is begun anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch

from cmfnet_napari.core.arrays import Mask
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import read_json, write_json
from cmfnet_napari.core.fit.config import Config, changed_settings, parse_config
from cmfnet_napari.core.fit.model_card import MODEL_FILE, Card, software_versions
from cmfnet_napari.core.fit.runs import STATE_FILE
from cmfnet_napari.core.folder_lock import begun
from cmfnet_napari.learning.engine.device import make_fabric, pick_device, pick_precision
from cmfnet_napari.learning.engine.logs import Logs
from cmfnet_napari.learning.engine.state import load_state, save_seconds, save_state
from cmfnet_napari.learning.engine.trainer import Trainer
from cmfnet_napari.learning.material.material_file import Material
from cmfnet_napari.learning.material.sample import ACROSS
from cmfnet_napari.learning.model.checkpoint import save_model
from cmfnet_napari.learning.model.cmfnet import CmFNet, build
from cmfnet_napari.learning.model.losses import Batch
from cmfnet_napari.learning.pretrain.lesson import PATCH, Lesson, joined

_PLAN = "pretraining.json"
_SAVE_SECONDS = 120.0
_JUDGED_EVERY = 250  # steps
_JUDGED = 24  # lessons held out
_CORRECTED = 4  # strokes after which they are judged again


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

    Returns
    -------
    Path or None
        The model; None when stopped.

    Raises
    ------
    UserError
        No material; the folder holds something else, or a training that runs.
    """
    samples, others = Material(material), Material(held) if held else None
    with begun(out, _PLAN):
        _begin(out, config)
        return _Training(out, samples, others, config, device, compiled).run(watch or Watch())


def _begin(out: Path, config: Config) -> None:
    if not (out / _PLAN).exists():
        write_json(out / _PLAN, config.model_dump(mode="json"))
    if changed := changed_settings(read_json(out / _PLAN), config):
        raise UserError(
            f"{out.name} holds a training with {'; '.join(changed[:5])}. Choose a new folder."
        )


class _Training:
    def __init__(
        self,
        out: Path,
        material: Material,
        held: Material | None,
        config: Config,
        device: str,
        compiled: bool,
    ) -> None:
        self._out, self._material, self._held, self._config = out, material, held, config
        target = pick_device(device)
        fabric = make_fabric(target, pick_precision(config.precision, target))
        fabric.launch()
        torch.manual_seed(config.seed)
        model = build(config, 2)
        self._fabric = fabric
        self._trainer = Trainer(model, 2, config, fabric.device, lambda: fabric)
        if compiled:
            self._trainer.compile()
        self._begun = 0  # lessons
        if (out / STATE_FILE).exists():
            state = load_state(out, fabric.device)
            self._trainer.restore(state["trainer"])
            self._begun = state["begun"]

    def run(self, watch: Watch) -> Path | None:
        if (self._out / MODEL_FILE).exists() and not (self._out / STATE_FILE).exists():
            return self._out / MODEL_FILE
        logs, saved = Logs(self._out, self._trainer.steps), time.monotonic()
        lessons = [self._next() for _ in range(self._config.batch)]
        while self._trainer.steps < self._config.steps:
            if watch.stop() or time.monotonic() - saved > save_seconds(_SAVE_SECONDS):
                saved = time.monotonic()
                self._save()
                if watch.stop():
                    return None
            share = self._trainer.steps / self._config.steps
            losses = self._trainer.step(joined([lesson.batch() for lesson in lessons]), share)
            logs.losses(self._trainer.steps, losses)
            watch.show(share, f"step {self._trainer.steps}, loss {losses['total']:.3f}")
            lessons = [each if self._correct(each) else self._next() for each in lessons]
            if self._trainer.steps % _JUDGED_EVERY == 0:
                self._write_model()
                if self._held:
                    logs.scores(self._trainer.steps, self._judge(self._held))
        logs.close()
        path = self._write_model()
        (self._out / STATE_FILE).unlink(missing_ok=True)
        return path

    def _next(self) -> Lesson:
        rng = np.random.default_rng([self._config.seed, self._begun])
        self._begun += 1
        return Lesson(self._material[int(rng.integers(len(self._material)))], rng)

    def _correct(self, lesson: Lesson) -> bool:
        """Draw all corrections of a lesson; False: it has none."""
        before = lesson.left
        while lesson.left and lesson.correct(self._contour(self._trainer.model, lesson.batch())):
            pass
        return lesson.left < before

    @torch.inference_mode()
    def _contour(self, model: CmFNet, batch: Batch) -> Mask:
        """The contour of one patch, bool (z, y, x)."""
        model.eval()
        batch = joined([batch]).to(self._fabric.device)
        with self._fabric.autocast():
            scores = model.fused(batch.ct, batch.mr, batch.maps)
        found: Mask = (scores[0, 1] > scores[0, 0]).cpu().numpy()
        return found

    def _judge(self, held: Material) -> dict[str, float]:
        """Mean DSC of the first contours, and after some corrections."""
        first, later = [], []
        for number in range(min(_JUDGED, len(held))):
            lesson = Lesson(held[number], np.random.default_rng([number]), _CORRECTED)
            found = self._contour(self._trainer.averaged, lesson.batch())
            first.append(_dsc(found, lesson.object))
            while lesson.correct(found):
                found = self._contour(self._trainer.averaged, lesson.batch())
            later.append(_dsc(found, lesson.object))
        return {"dsc": float(np.mean(first)), "corrected": float(np.mean(later))}

    def _save(self) -> None:
        save_state(self._out, {"trainer": self._trainer.state(), "begun": self._begun})

    def _write_model(self) -> Path:
        card = Card(
            config=self._config,
            classes=2,
            steps=self._trainer.steps,
            software=software_versions(),
            created=date.today().isoformat(),
        )
        return save_model(self._trainer.averaged, card, self._out / MODEL_FILE, half=True)


def _dsc(found: Mask, truth: Mask) -> float:
    return float(2 * (found & truth).sum() / max((found.sum() + truth.sum()), 1))
