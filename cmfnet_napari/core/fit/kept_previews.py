"""Previews that a run keeps, labels and model each, so that the user can go back to one."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.model_card import ENDING
from cmfnet_napari.core.fit.runs import read_run

MOST = 8  # previews a run keeps; a model may have 250 MB
_FOLDER = "previews"


@dataclass(frozen=True)
class Kept:
    """A preview that is still there.

    Attributes
    ----------
    event : Preview
        What was told of it.
    labels : Path
        NumPy archive of its labels.
    model : Path
        Its weights and card.
    """

    event: events.Preview
    labels: Path
    model: Path


def kept_path(run: Path, step: int, ending: str = ENDING) -> Path:
    """Where a run keeps the model, or with another ending the labels, of a preview."""
    return run / _FOLDER / f"{step:08d}{ending}"


def kept_previews(run: Path, told: Iterable[events.Preview] | None = None) -> list[Kept]:
    """Previews of a run that can be gone back to, oldest first.

    `told` is what was told of them, for who has heard it; without it the run's log is read, which
    after hours of training is long.
    """
    told = read_run(run).previews if told is None else told
    kept = (
        Kept(event, kept_path(run, event.step, ".npz"), kept_path(run, event.step))
        for event in told
    )
    return [one for one in kept if one.labels.is_file() and one.model.is_file()]


def read_kept(path: Path, shape: tuple[int, int, int]) -> Codes:
    """Labels of a kept preview, uint8 (z, y, x) on the Study's Grid of this shape.

    Raises
    ------
    UserError
        They are missing, damaged, or of another study.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            labels: Codes = file["labels"]
    except Exception as error:  # whatever a damaged archive makes NumPy and zipfile say
        raise UserError("This preview cannot be read any more. Choose another one.") from error
    if labels.shape != shape or labels.dtype != np.uint8:
        raise UserError("This preview is of other images. Choose another one.")
    return labels


def thin_out(run: Path) -> None:
    """When there are too many, remove every second preview; the first and the last stay."""
    models = sorted((run / _FOLDER).glob(f"*{ENDING}"))
    if len(models) > MOST:
        for model in models[1:-1:2]:
            model.unlink(missing_ok=True)
            model.with_suffix(".npz").unlink(missing_ok=True)


def forget_previews(run: Path) -> None:
    """Remove all previews of a run."""
    shutil.rmtree(run / _FOLDER, ignore_errors=True)
