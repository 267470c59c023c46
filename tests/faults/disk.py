"""A disk that is full: strokes and a fit on a small file system of their own (tmpfs, needs root).

``python -m tests.faults.disk``
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cmfnet_napari.core.case.folder import Case, create_case, open_case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.images.study import open_study
from cmfnet_napari.core.strokes.entries import Stroke
from tests.faults.kills import write_patient

FILLER = "filler"
TINY = {"width": 4, "steps": 60, "preview_seconds": 0.5, "precision": "float32"}


class NoDiskError(Exception):
    """This account may not mount a file system."""


@contextlib.contextmanager
def small_disk(mebibytes: int) -> Iterator[Path]:
    """A folder on a tmpfs of so many MiB.

    Raises
    ------
    NoDiskError
        It cannot be mounted here.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "none", folder]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise NoDiskError("mounting a tmpfs is not allowed here") from error
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path, leave: int = 0) -> None:
    """Use up a disk but for so many bytes."""
    with open(folder / FILLER, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    with open(folder / FILLER, "rb+") as file:
        file.truncate(max(0, (folder / FILLER).stat().st_size - leave))


def free(folder: Path) -> None:
    """Make room again."""
    (folder / FILLER).unlink()


def new_case(folder: Path) -> Case:
    """The small patient's case, with strokes enough to train."""
    write_patient(folder)
    case = create_case(folder / "case", open_study(folder / "ct.nii.gz", folder / "mr.nii.gz"))
    scribbles = np.zeros(case.study.grid.shape, np.uint8)
    scribbles[5, 10, 7:10], scribbles[5, 3, 6:10] = 2, 1
    voxels = np.flatnonzero(scribbles)
    new = scribbles.reshape(-1)[voxels]
    case.journal.append(Stroke(voxels, np.zeros_like(new), new, "import"))
    return case


def strokes_on_a_full_disk(count: int = 300) -> dict[str, int]:
    """Draw while the disk fills up; what was refused is drawn again when there is room.

    Returns
    -------
    dict
        ``drawn``, ``refused`` (at first), ``lost``.
    """
    rng = np.random.default_rng(0)
    with small_disk(8) as disk:
        case = new_case(disk)
        painting, refused = case.scribbles(), 0
        for number in range(count):
            if number == count // 3:
                fill(disk)
            stroke = _stroke(painting, rng)
            try:
                case.journal.append(stroke)
            except UserError:
                refused += 1
                free(disk)
                case.journal.append(stroke)
            painting.reshape(-1)[stroke.voxels] = stroke.new
        case.close()
        again = open_case(disk / "case")
        lost = int((again.scribbles() != painting).sum())
        again.close()
    return {"drawn": count, "refused": refused, "lost": lost}


def fit_on_a_full_disk() -> dict[str, int]:
    """Train while the disk is full for a time.

    Returns
    -------
    dict
        ``paused`` (times said), ``finished`` (1 when it went on to the end), ``left`` (half-written
        files that stayed).
    """
    with small_disk(200) as disk:
        case = new_case(disk)
        case.close()
        worker = subprocess.Popen(
            [sys.executable, "-m", "cmfnet_napari", "worker", str(disk / "case")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        config = make_config("quick", **TINY).model_dump(mode="json")
        worker.stdin.write(events.encode(events.Fit(config=config, device="cpu")) + "\n")
        worker.stdin.flush()
        paused = finished = 0
        for line in worker.stdout:
            event = events.decode_event(line)
            if isinstance(event, events.Started):
                fill(disk)
            elif isinstance(event, events.Paused):
                paused += 1
                time.sleep(2)
                (disk / FILLER).unlink(missing_ok=True)
            elif isinstance(event, events.Finished | events.Failed):
                finished = int(isinstance(event, events.Finished))
                break
        worker.stdin.close()
        worker.wait(60)
        left = len([p for p in (disk / "case").rglob(".*") if p.is_file()])
    return {"paused": paused, "finished": finished, "left": left}


def _stroke(painting: np.ndarray, rng: np.random.Generator) -> Stroke:
    voxels = np.unique(rng.integers(0, painting.size, 400))
    old = painting.reshape(-1)[voxels]
    return Stroke(voxels, old, (old + rng.integers(1, 3, old.size)).astype(np.uint8) % 3)


if __name__ == "__main__":
    print(json.dumps({"strokes": strokes_on_a_full_disk(), "fit": fit_on_a_full_disk()}))
