"""Lessons that other processes make beforehand, while the network learns from those before.

Strokes, their races and looks cost as much as a step of the network, corrections several times
that. So a lesson is kept for some rounds and shown again, turned another way each time: all that
it holds turns with it. Which lessons there are, and what each step sees, follows from the seed.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import torch

from cmfnet_napari.core.arrays import Mask
from cmfnet_napari.core.contours.metrics import dice
from cmfnet_napari.learning.material.material_file import Material
from cmfnet_napari.learning.model.checkpoint import load_model
from cmfnet_napari.learning.model.cmfnet import CmFNet
from cmfnet_napari.learning.model.losses import Batch
from cmfnet_napari.learning.model.nearness import MAPS
from cmfnet_napari.learning.pretrain.lesson import PATCH, Lesson, joined

LESSONS_FILE = "lessons.npy"
ROUND = 50  # steps between two looks at the network that lessons are corrected by
KEPT = 6  # rounds whose lessons are still shown
_CHANNELS = 2 + MAPS + 1  # images, maps, object
_CORRECTED = 4  # strokes after which lessons held out are judged again
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Maker:
    """Makes lessons in a process of its own.

    Attributes
    ----------
    material : Path
        What they are cut from.
    model : Path
        Whose contours are corrected.
    seed : int
        Same seed, material and model, same lessons.
    """

    material: Path
    model: Path
    seed: int = 0

    def write(self, book: Path, number: int, at: int) -> None:
        """Make a lesson with all its corrections, and write it to its place in a book."""
        rng = np.random.default_rng([self.seed, number])
        samples = Material(self.material)
        lesson = Lesson(samples[int(rng.integers(len(samples)))], rng)
        while lesson.left and lesson.correct(self._contour(lesson)):
            pass
        batch = lesson.batch()
        file = np.load(book, mmap_mode="r+", allow_pickle=False)
        file[at] = torch.cat([batch.ct, batch.mr, batch.maps, batch.targets[None]], dim=1)[0]
        file.flush()

    def judge(self, number: int, corrections: int = _CORRECTED) -> tuple[float, float]:
        """DSC of the first contour of a lesson, and after some corrections."""
        samples, rng = Material(self.material), np.random.default_rng(number)
        lesson = Lesson(samples[number % len(samples)], rng, corrections)
        found = self._contour(lesson)
        first = dice(found, lesson.object)
        while lesson.correct(found):
            found = self._contour(lesson)
        return first, dice(found, lesson.object)

    @torch.inference_mode()
    def _contour(self, lesson: Lesson) -> Mask:
        """The contour of one patch, bool (z, y, x), where there are images."""
        model, batch = _model(self.model, self.model.stat().st_mtime_ns), lesson.batch()
        scores = model.fused(batch.ct, batch.mr, batch.maps)
        found: Mask = (scores[0, 1] > scores[0, 0]).numpy()
        return found & lesson.there


class Book:
    """The lessons of the last rounds, on disk.

    Parameters
    ----------
    folder : Path
        Of the training; takes ``lessons.npy``, float16 (lessons, images + maps + object, z, y, x).
    batch : int
        Lessons a step: the half of them is new, the other is chosen among those that are kept.
    seed : int
        Same seed, same choice.

    Attributes
    ----------
    empty : bool
        Whether its file was made just now.
    """

    def __init__(self, folder: Path, batch: int, seed: int) -> None:
        self.path = folder / LESSONS_FILE
        self._batch, self._seed, self._fresh = batch, seed, -(-batch // 2)
        lessons = (KEPT + 1) * ROUND * self._fresh  # one round is being made
        self.empty = not self.path.exists()
        if self.empty:
            size = (lessons, _CHANNELS, PATCH, PATCH, PATCH)
            np.lib.format.open_memmap(self.path, "w+", np.float16, size).flush()
        self._file = np.load(self.path, mmap_mode="r", allow_pickle=False)

    def new(self, steps: range) -> range:
        """Numbers of the lessons that these steps are the first to show."""
        return range(steps.start * self._fresh, steps.stop * self._fresh)

    def place(self, number: int) -> int:
        """Where a lesson lies."""
        return number % len(self._file)

    def draw(self, step: int) -> Batch:
        """The lessons of a step, counted from 0, each turned and flipped by chance."""
        rng = np.random.default_rng([self._seed, step])
        fresh = self.new(range(step, step + 1))
        oldest = max(0, (step // ROUND + 1 - KEPT) * ROUND * self._fresh)
        others = rng.integers(oldest, fresh.stop, self._batch - len(fresh))
        return joined([self._turned(int(number), rng) for number in (*fresh, *others)])

    def _turned(self, number: int, rng: np.random.Generator) -> Batch:
        lesson = self._file[self.place(number)]
        axes = [0, *(1 + int(axis) for axis in rng.permutation(3))]
        flips = tuple(1 + int(axis) for axis in np.flatnonzero(rng.integers(0, 2, 3)))
        turned = np.flip(lesson.transpose(axes), flips).astype(np.float32, order="C")
        first, second, maps, inside = torch.from_numpy(turned)[None].split([1, 1, MAPS, 1], dim=1)
        return Batch(first, second, maps[:, :1], inside[:, 0].long(), first[:, :0], maps)


class _Here(Executor):
    """In place of processes: all is done here, at once."""

    def submit(self, do: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> Future[T]:
        """Do it."""
        future: Future[T] = Future()
        future.set_result(do(*arguments, **named))
        return future


@contextmanager
def makers(count: int) -> Iterator[Executor]:
    """So many processes for lessons; 0: this one, which learns in between."""
    if count == 0:
        yield _Here()
        return
    pool = ProcessPoolExecutor(count, get_context("spawn"), initializer=_begin_process)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_process() -> None:
    """One core; Ctrl-C reaches all processes of a terminal, and these wait to be told."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """What waits for work does not notice that who gave it was killed."""
    if parent := parent_process():
        parent.join()
        os._exit(1)


@lru_cache(maxsize=1)
def _model(path: Path, _written: int) -> CmFNet:
    return load_model(path, torch.device("cpu"))[0]
