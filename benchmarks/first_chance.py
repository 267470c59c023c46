"""Teach the first chance of a network for any structure, on lessons (`cmfnet material`).

    python benchmarks/first_chance.py MATERIAL OUT.json [--held OTHER] [--lessons 240] [--seed 0]

A logistic regression of the object on `first_chance.stroke_features`, voxel by voxel; half of the
lessons have up to three corrections, into the errors of the race. OUT.json goes into the package
as cmfnet_napari/learning/model/first_chance.json. With --held its DSC and cross entropy on the
first strokes of other patients' lessons are shown, and those of the race.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cmfnet_napari.core.contours.metrics import dice
from cmfnet_napari.learning.material.material_file import Material
from cmfnet_napari.learning.model.first_chance import first_chance
from cmfnet_napari.learning.pretrain.lesson import Lesson

_VOXELS = 1500  # of a lesson
_MOST_CORRECTIONS = 3
_SOFT_MM = 15.0  # of the race that is shown


def main(
    material: Path,
    out: Path,
    held: Annotated[Path | None, typer.Option(help="Material of other patients")] = None,
    lessons: Annotated[int, typer.Option(min=20)] = 240,
    judged: Annotated[int, typer.Option(min=1)] = 60,
    seed: int = 0,
) -> None:
    """Teach, write, show."""
    rng, samples = np.random.default_rng(seed), Material(material)
    seen, inside, names = [], [], []
    for at, number in enumerate(rng.integers(0, len(samples), lessons)):
        some = int(rng.integers(1, _MOST_CORRECTIONS + 1)) if rng.random() < 0.5 else 0
        lesson = Lesson(samples[int(number)], np.random.default_rng([seed, at]), some)
        while lesson.correct(lesson.strokes.own < lesson.strokes.other):
            pass
        features = lesson.strokes.features()
        names, shape = list(features), lesson.object.shape
        picked = rng.choice(lesson.object.size, _VOXELS, replace=False)
        everywhere = [np.broadcast_to(values, shape) for values in features.values()]
        seen.append(np.stack([values.ravel()[picked] for values in everywhere], axis=1))
        inside.append(lesson.object.ravel()[picked])
    scaler = StandardScaler().fit(np.concatenate(seen))
    found = LogisticRegression(max_iter=1000).fit(
        scaler.transform(np.concatenate(seen)), np.concatenate(inside)
    )
    slopes = found.coef_[0] / scaler.scale_
    constant = float(found.intercept_[0] - slopes @ scaler.mean_)
    weights = {"constant": constant, **dict(zip(names, map(float, slopes), strict=True))}
    rounded = {name: round(value, 4) for name, value in weights.items()}
    out.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    if held:
        _show(Material(held), rounded, judged)


def _show(held: Material, weights: dict[str, float], judged: int) -> None:
    rows = []
    for number in range(min(judged, len(held))):
        lesson = Lesson(held[number], np.random.default_rng([number]), 0)
        race = expit((lesson.strokes.other - lesson.strokes.own) / _SOFT_MM)
        chance = first_chance(lesson.strokes.features(), weights)
        rows.append([_judge(found, lesson.object) for found in (race, chance)])
    for name, (dsc, entropy) in zip(("race", "first chance"), np.mean(rows, axis=0), strict=True):
        print(f"{name}: DSC {dsc:.3f}, cross entropy {entropy:.3f}")


def _judge(chance: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    found, right = chance > 0.5, np.where(truth, chance, 1 - chance)
    return dice(found, truth), -np.log(right.clip(min=1e-6)).mean()


if __name__ == "__main__":
    typer.run(main)
