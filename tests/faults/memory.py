"""Memory that runs out at random steps of a fit: ``python -m tests.faults.memory``."""

from __future__ import annotations

import json
import random
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.learning.engine.trainer import Trainer
from cmfnet_napari.learning.fit.callbacks import Hooks
from cmfnet_napari.learning.fit.start import fit
from tests.faults.disk import new_case

STEPS = 6
HEAVY = {
    "width": 4,
    "steps": STEPS,
    "batch": 2,
    "micro_batch": 2,
    "patch": (16, 32, 32),
    "spacing": None,
    "preview_seconds": 3600,
}


@dataclass
class Outcome:
    """What fits did that ran out of memory.

    Attributes
    ----------
    fits, failures : int
        Fits begun; times that memory ran out in them.
    finished, given_up : int
        Fits that made all their steps all the same; fits that ended with a sentence, because
        nothing was left to give up.
    """

    fits: int = 0
    failures: int = 0
    finished: int = 0
    given_up: int = 0


def run(fits: int, folder: Path, seed: int = 0) -> Outcome:
    """Fit so many times; every step runs out of memory with two chances in five."""
    chance, outcome = random.Random(seed), Outcome()
    case = new_case(folder)
    study, scribbles = case.study, case.scribbles()
    case.close()
    gradient = Trainer._gradient

    def fails(self: Trainer, *arguments: object) -> dict[str, torch.Tensor]:
        if chance.random() < 0.4:
            outcome.failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory (made up)")
        return gradient(self, *arguments)

    Trainer._gradient = fails
    try:
        for number in range(fits):
            place = folder / f"fit-{number}"
            place.mkdir()
            outcome.fits += 1
            try:
                finished = fit(
                    study, scribbles, place, make_config("quick", **HEAVY), hooks=Hooks()
                )
                outcome.finished += finished.steps == STEPS
            except UserError:
                outcome.given_up += 1
    finally:
        Trainer._gradient = gradient
    return outcome


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asdict(run(10, Path(folder)))))
