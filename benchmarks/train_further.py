"""Whether a model that reads strokes gains by training on one patient's strokes, and who can tell.

    python benchmarks/train_further.py MODEL OUT.csv [--cases STS_004,STS_023,STS_039]
        [--users careful,hasty] [--strokes 0,5,10] [--steps 20] [--rate 1e-4]

The model contours a patient from simulated strokes and so many right ones more, each into one of
its largest errors. Then it is trained on them: every step sees about half of the strokes and is
taught all of them (partial cross entropy and consistency, turned and flipped). OUT.csv takes a row
a patient, user and number of strokes: DSC before and after; and, of two trainings that know one
half of the strokes each, how well the other half is said before and after (share of its voxels, the
mean of both sides). Development patients whom the model's card names are left out. Data:
CMFNET_TEST_DATA, or ../shared/data.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from first_contour import DATA, USERS, corrected, open_patient, write_rows
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from cmfnet_napari.core.contours.metrics import dice
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.fit.model_card import read_card
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, FIRST_CLASS, IGNORE
from cmfnet_napari.learning.engine.device import make_fabric, pick_precision
from cmfnet_napari.learning.engine.trainer import Trainer
from cmfnet_napari.learning.material.user_styles import draw
from cmfnet_napari.learning.model.checkpoint import load_model
from cmfnet_napari.learning.model.cmfnet import CmFNet
from cmfnet_napari.learning.model.losses import Batch
from cmfnet_napari.learning.predict.any_structure import Pair, drawn_on, read_strokes
from cmfnet_napari.learning.predict.last_contour import Contoured
from cmfnet_napari.learning.predict.scale import Scale

_SHOWN = 0.5  # of the strokes, a step
Stroke = tuple[np.ndarray, int]  # mask on the Study's Grid; 1 the class, 0 background


@dataclass(frozen=True)
class Row:
    """One contour, before and after."""

    case: str
    user: str
    strokes: int
    before: float
    after: float
    held_before: float
    held_after: float


def main(
    model: Path,
    out: Path,
    cases: Annotated[str, typer.Option(help="By commas")] = "STS_004,STS_023,STS_039",
    users: Annotated[str, typer.Option(help=", ".join(USERS))] = "careful,hasty",
    strokes: Annotated[str, typer.Option(help="Corrections before it is trained")] = "0,5,10",
    steps: Annotated[int, typer.Option(min=1)] = 20,
    rate: Annotated[float, typer.Option(min=0)] = 1e-4,
) -> None:
    """Contour, train, judge, show the means."""
    torch.set_num_threads(1)
    taught = read_card(model).data
    rows: list[Row] = []
    for case in cases.split(","):
        study, truth = open_patient(DATA / "sts" / "cases" / case)
        if study.content_hash in taught:
            raise SystemExit(f"{case}: the model was taught on it")
        for user in users.split(","):
            counts = sorted(map(int, strokes.split(",")))
            rows += _judge(model, case, user, study, truth, counts, steps, rate)
            write_rows(out, rows)
    _show(rows)


def _judge(
    path: Path,
    case: str,
    user: str,
    study: Study,
    truth: np.ndarray,
    counts: list[int],
    steps: int,
    rate: float,
) -> Iterator[Row]:
    model, card = load_model(path, torch.device("cpu"))
    config = card.config.model_copy(
        update={"dice_weight": 0.0, "average": 0.0, "learning_rate": rate, "steps": steps}
    )
    scribbles, rng, last = draw(truth, study, USERS[user]), np.random.default_rng(0), None
    for count in range(max(counts) + 1):
        found = read_strokes(model, config, study, scribbles, last)
        last = found.last
        if count in counts:
            patient = _Patient(study, Pair.of(study, config), found, config)
            every = _strokes_of(scribbles)
            trained = patient.train(model, every)
            again = read_strokes(trained, config, study, scribbles)
            said = np.mean([patient.held_out(model, *halves) for halves in _halves(every)], axis=0)
            scores = (dice(each.labels > 0, truth) for each in (found, again))
            yield Row(case, user, count, *scores, *map(float, said))
        scribbles = corrected(scribbles, found.labels > 0, truth, study, rng)


@dataclass(frozen=True)
class _Patient:
    """One structure of a study on the working voxels of its contour."""

    study: Study
    pair: Pair
    found: Contoured
    config: Config

    def train(self, model: CmFNet, strokes: list[Stroke]) -> CmFNet:
        """A copy that was taught these strokes, each step from some of them."""
        rng, device = np.random.default_rng(0), torch.device("cpu")
        torch.manual_seed(0)
        fabric = make_fabric(device, pick_precision(self.config.precision, device))
        fabric.launch()
        trainer = Trainer(copy.deepcopy(model).float(), 2, self.config, device, lambda: fabric)
        for step in range(self.config.steps):
            shown = [stroke for stroke in strokes if rng.random() < _SHOWN] or strokes
            batch = _turned(self.batch(shown, strokes), rng)
            trainer.step(batch, step / self.config.steps)
        return trainer.averaged.eval()

    def held_out(
        self, model: CmFNet, known: list[Stroke], held: list[Stroke]
    ) -> tuple[float, float]:
        """How well other strokes are said from those that are known, before and after training."""
        batch = self.batch(known, held)
        return self._said(model, batch), self._said(self.train(model, known), batch)

    def batch(self, shown: list[Stroke], taught: list[Stroke]) -> Batch:
        """Both images, the maps of some strokes, and what others say."""
        own, others = _sides(shown, self.study.grid.shape)
        drawn = drawn_on(self._scale, self.pair, own, others, np.zeros_like(own))
        targets = np.full(self._scale.size, IGNORE, dtype=np.int64)
        for code, side in zip((1, 0), _sides(taught, self.study.grid.shape), strict=True):
            targets[self._scale.touched(side)] = code
        first, second, seen = (
            torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32))[None, None]
            for part in (drawn.first, drawn.second, drawn.seen)
        )
        maps = torch.from_numpy(drawn.maps())[None]
        return Batch(first, second, seen, torch.from_numpy(targets)[None], first[:, :0], maps)

    @property
    def _scale(self) -> Scale:
        assert self.found.last is not None
        return self.found.last.classes[1].scale

    @torch.inference_mode()
    def _said(self, model: CmFNet, batch: Batch) -> float:
        """Share of stroke voxels that are labelled as drawn, the mean of both sides."""
        found = model.fused(batch.ct, batch.mr, batch.maps).argmax(dim=1)
        sides = [found[batch.targets == code] == code for code in (0, 1)]
        return float(np.mean([side.float().mean() for side in sides if len(side)]))


def _strokes_of(scribbles: np.ndarray) -> list[Stroke]:
    """Connected strokes of either side."""
    found: list[Stroke] = []
    for code, value in ((1, FIRST_CLASS), (0, BACKGROUND)):
        parts, count = ndimage.label(scribbles == value, np.ones((3, 3, 3)))
        found += [(parts == part, code) for part in range(1, count + 1)]
    return found


def _halves(strokes: list[Stroke]) -> list[tuple[list[Stroke], list[Stroke]]]:
    """Every other stroke of each side, and the rest; both ways."""
    sides = [[stroke for stroke in strokes if stroke[1] == code] for code in (0, 1)]
    one, other = ([stroke for side in sides for stroke in side[at::2]] for at in (0, 1))
    return [(one, other), (other, one)]


def _sides(strokes: list[Stroke], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    own, others = np.zeros(shape, bool), np.zeros(shape, bool)
    for mask, code in strokes:
        (own if code else others)[mask] = True
    return own, others


def _turned(batch: Batch, rng: np.random.Generator) -> Batch:
    turn = [int(axis) for axis in rng.permutation(3)]
    flips = [-1 - int(axis) for axis in np.flatnonzero(rng.integers(0, 2, 3))]

    def each(part: torch.Tensor) -> torch.Tensor:
        kept = part.ndim - 3
        return part.permute(*range(kept), *(kept + axis for axis in turn)).flip(flips).contiguous()

    return Batch(*map(each, batch))


def _show(rows: list[Row]) -> None:
    shown = Table("user", "strokes", "DSC", "trained", "worst change", "held out", "trained")
    for user, strokes in dict.fromkeys((row.user, row.strokes) for row in rows):
        here = [row for row in rows if (row.user, row.strokes) == (user, strokes)]
        names = ("before", "after", "held_before", "held_after")
        before, after, *held = (np.mean([getattr(row, name) for row in here]) for name in names)
        worst = min(row.after - row.before for row in here)
        figures = (f"{before:.3f}", f"{after:.3f}", f"{worst:+.3f}", *(f"{x:.3f}" for x in held))
        shown.add_row(user, str(strokes), *figures)
    Console(width=120).print(shown)


if __name__ == "__main__":
    typer.run(main)
