"""What each input of a model that reads strokes brings: DSC of lessons, without it.

    python benchmarks/inputs.py MODEL MATERIAL [--lessons 60] [--seed 0]

First strokes of lessons from the material (`cmfnet material`) of patients whom the model does not
know are contoured with all inputs, and with each one covered: an image by the other, both by grey,
a map by what it says where nothing is drawn. The model is not taught again without it, so this says
what it relies on, not what could be learnt without. 95 % intervals of the mean change, bootstrapped
over lessons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from first_contour import interval
from rich.console import Console
from rich.table import Table

from cmfnet_napari.core.contours.metrics import dice
from cmfnet_napari.learning.material.material_file import Material
from cmfnet_napari.learning.model.checkpoint import load_model
from cmfnet_napari.learning.model.losses import Batch
from cmfnet_napari.learning.pretrain.lesson import Lesson

_HALF = 0.5
_COSTS, _LOOK, _CHANCE = (5, 6), 9, 10  # among the maps (nearness.py)
_SAYS_NOTHING = (1.0,) + 8 * (0.0,) + 2 * (_HALF,)  # each, far from all strokes


def _maps(*numbers: int) -> Callable[[Batch], Batch]:
    """Some maps say nothing."""

    def covered(batch: Batch) -> Batch:
        maps = batch.maps.clone()
        for number in numbers:
            maps[:, number] = _SAYS_NOTHING[number]
        return replace(batch, maps=maps)

    return covered


def _without_first(batch: Batch) -> Batch:
    return replace(batch, ct=torch.where(batch.fov > 0, batch.mr, batch.ct))


def _without_second(batch: Batch) -> Batch:
    maps = batch.maps.clone()
    maps[:, 0] = 1  # one image is both, and seen everywhere
    return replace(batch, mr=batch.ct, maps=maps)


def _without_images(batch: Batch) -> Batch:
    grey = torch.full_like(batch.ct, _HALF)
    return replace(batch, ct=grey, mr=grey)


COVERED: dict[str, Callable[[Batch], Batch]] = {
    "all": lambda batch: batch,
    "no first image": _without_first,
    "no second image": _without_second,
    "no image": _without_images,
    "no strokes": _maps(1, 2, 3, 4),
    "no cost along the images": _maps(*_COSTS),
    "no straight distance": _maps(7, 8),
    "no look": _maps(_LOOK),
    "no beginning": _maps(_CHANCE),
    "no look, no beginning": _maps(_LOOK, _CHANCE),
    "nor cost": _maps(*_COSTS, _LOOK, _CHANCE),
    "nor image": lambda batch: _without_images(_maps(*_COSTS, _LOOK, _CHANCE)(batch)),
}


def main(
    model: Path,
    material: Path,
    lessons: Annotated[int, typer.Option(min=2)] = 60,
    seed: int = 0,
) -> None:
    """Contour, show the means."""
    torch.set_num_threads(1)
    network = load_model(model, torch.device("cpu"))[0].eval()
    samples, scores = Material(material), []
    for number in range(lessons):
        lesson = Lesson(samples[number % len(samples)], np.random.default_rng([seed, number]), 0)
        batch, found = lesson.batch(), []
        for cover in COVERED.values():
            shown = cover(batch)
            with torch.inference_mode():
                inside = network.fused(shown.ct, shown.mr, shown.maps).argmax(dim=1)[0] > 0
            found.append(dice(inside.numpy() & lesson.there, lesson.object))
        scores.append(found)
    _show(np.array(scores))


def _show(scores: np.ndarray) -> None:
    shown = Table("inputs", "DSC", "change (95 %)")
    for name, column in zip(COVERED, scores.T, strict=True):
        shown.add_row(name, f"{column.mean():.3f}", interval(column - scores[:, 0]))
    Console(width=100).print(shown)


if __name__ == "__main__":
    typer.run(main)
