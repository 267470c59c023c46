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

from cmfnet_napari.learning.material.material_file import Material
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
        features = _features(lesson)
        names = list(features)
        picked = rng.choice(lesson.object.size, _VOXELS, replace=False)
        seen.append(np.stack([values.ravel()[picked] for values in features.values()], axis=1))
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


def _features(lesson: Lesson) -> dict[str, np.ndarray]:
    shape = lesson.object.shape
    return {name: np.broadcast_to(v, shape) for name, v in lesson.strokes.features().items()}


def _show(held: Material, weights: dict[str, float], judged: int) -> None:
    rows = []
    for number in range(min(judged, len(held))):
        lesson = Lesson(held[number], np.random.default_rng([number]), 0)
        score = sum(weights[name] * v for name, v in _features(lesson).items())
        race = (lesson.strokes.other - lesson.strokes.own) / _SOFT_MM
        rows.append([_judge(s, lesson.object) for s in (race, score + weights["constant"])])
    for name, (dsc, entropy) in zip(("race", "first chance"), np.mean(rows, axis=0), strict=True):
        print(f"{name}: DSC {dsc:.3f}, cross entropy {entropy:.3f}")


def _judge(score: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    found = score > 0
    chance = np.where(truth, expit(score), expit(-score)).clip(min=1e-6)
    dsc = 2 * (found & truth).sum() / max(found.sum() + truth.sum(), 1)
    return dsc, -np.log(chance).mean()


if __name__ == "__main__":
    typer.run(main)
