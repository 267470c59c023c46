"""A patient small enough to train on in seconds: a bright ball in a grey box."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.case.folder import Case, create_case
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.config import Config, make_config
from cmfnet_napari.core.images.study import Study, study_from_images
from cmfnet_napari.core.strokes.entries import difference
from cmfnet_napari.learning.data import volumes
from tests.forked import Forked
from tests.learning import known_clues

COMMAND = "tests.learning.programs:cmfnet"


@dataclass
class Ball:
    study: Study
    truth: np.ndarray
    scribbles: np.ndarray
    config: Config


@pytest.fixture(scope="session", autouse=True)
def clues() -> Iterator[None]:
    """Clues of the same strokes are found once: many tests fit the same patient."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(volumes, "find_clues", known_clues.find)
        yield


@pytest.fixture
def ball() -> Ball:
    return make_ball()


def make_ball() -> Ball:
    """18×34×38 voxels of 3×1.5×1 mm; the ball is 40 HU above muscle and bright on MR."""
    shape = (18, 34, 38)
    z, y, x = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    distance = np.sqrt((3 * (z - 9)) ** 2 + (1.5 * (y - 17)) ** 2 + (x - 19.0) ** 2)
    truth = distance < 11
    rng = np.random.default_rng(0)
    images = []
    for inside, outside in ((90, 40), (700, 300)):
        array = np.where(truth, inside, outside) + rng.normal(0, 8, shape)
        image = sitk.GetImageFromArray(array.astype(np.float32))
        image.SetSpacing((1, 1.5, 3))
        images.append(image)
    scribbles = np.zeros(shape, dtype=np.uint8)
    scribbles[9, 15:19, 19] = 2
    scribbles[7, 17, 16:22] = 2
    scribbles[9, 8, 5:33] = scribbles[9, 26, 5:33] = scribbles[7, 5:30, 5] = 1
    scribbles[9, 8:27, 33] = scribbles[4, 17, 10:28] = scribbles[14, 17, 10:28] = 1
    config = make_config(
        "quick",
        width=4,
        patch=(16, 16, 16),
        spacing=None,
        region_margin=None,
        steps=60,
        minutes=None,
        crf_radius=2,
        stroke_maps=False,  # most tests are about what training does
        precision="float32",
        preview_seconds=0.5,
    )
    return Ball(study_from_images(*images), truth, scribbles, config)


def coarse_ball(**changes: object) -> Ball:
    """The ball trained on voxels of 3 mm, a fifth of them, without previews unless asked for.

    A prediction, which every fit ends with, takes most of the time of a short one.
    """
    ball = make_ball()
    coarse = {"spacing": 3.0, "preview_seconds": 3600.0, **changes}
    ball.config = ball.config.model_copy(update=coarse)
    return ball


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


class Worker:
    """The worker of a case as the window meets it, but forked, which spares the imports.

    Parameters
    ----------
    folder : Path
        The case.
    """

    def __init__(self, folder: Path) -> None:
        self.process = Forked("training", COMMAND, "worker", folder)

    def say(self, message: events.Command) -> None:
        self.process.stdin.write(events.encode(message) + "\n")
        self.process.stdin.flush()

    def until(self, kind: str) -> list[events.Event]:
        """Events up to the first of a kind; every line must be an event."""
        seen = []
        for line in self.process.stdout:
            event = events.decode_event(line)
            assert event is not None, line
            seen.append(event)
            if event.event == kind:
                return seen
        raise AssertionError(f"no {kind} among {seen}: {self.process.stderr.read()[-2000:]}")

    def processor_seconds(self) -> float:
        """What it has computed so far: other programs that keep the machine busy do not count."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def end(self) -> int:
        self.process.stdin.close()
        return self.process.wait(timeout=60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.close()

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()


def case_of(ball: Ball, folder: Path) -> Case:
    """A new case of the ball, with its strokes."""
    case = create_case(folder, ball.study)
    case.journal.append(difference(case.scribbles(), ball.scribbles))
    return case


@pytest.fixture
def case(ball: Ball, tmp_path: Path) -> Iterator[Case]:
    """A case folder of the ball, with its strokes."""
    case = case_of(ball, tmp_path / "case")
    yield case
    case.close()


@pytest.fixture
def worker(case: Case) -> Iterator[Worker]:
    """A worker process on it."""
    worker = Worker(case.folder)
    yield worker
    worker.kill()


def fit_command(config: Config, base: str | Path = "", **changes: object) -> events.Fit:
    config = config.model_copy(update=changes)
    return events.Fit(config=config.model_dump(mode="json"), base=str(base))
