"""What a fit will take: memory from measured figures, time from its limit and from earlier runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import read_json
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.fit.events import Step, decode_event
from cmfnet_napari.core.images.grid import Grid

# Peak resident memory of training on a CPU, measured (docs/measurements.md): the program; weights,
# gradient, Adam's two moments and perhaps the average, 4 bytes each; what a step keeps a voxel and
# unit of width in bfloat16; images a voxel of the study, when a part or all of it is worked on.
_PROGRAM = 600 * 2**20
_PARAMETERS = 137_800  # a squared unit of width
_BYTES_A_CHANNEL, _CHECKPOINTED = 240, 125
_IMAGES_OF_PART, _IMAGES_OF_ALL = 16, 42
_TAIL = 2**16  # bytes of events that are read: hours of training write megabytes
_SAME_SPEED = (
    "patch", "batch", "micro_batch", "width", "checkpointing", "precision", "fusion",
    "ct_stages", "mr_stages",
)  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """What a fit will take.

    Attributes
    ----------
    memory : float
        Bytes on a CPU, see `training_memory`.
    seconds : float or None
        Of training; None when nothing tells.
    step_seconds : float or None
        Of a step in an earlier run with the same network and patches; None when there is none.
    """

    memory: float
    seconds: float | None
    step_seconds: float | None


def expect(config: Config, grid: Grid, runs: Iterable[Path] = ()) -> Expected:
    """Estimate a fit.

    Parameters
    ----------
    config : Config
        Of the fit.
    grid : Grid
        The Study's.
    runs : iterable of Path
        Folders of earlier runs on this machine, oldest first.
    """
    if not config.steps:  # a base model as it is: nothing is trained
        return Expected(training_memory(config, grid), None, None)
    step = next(filter(None, (_step_seconds(run, config) for run in reversed(list(runs)))), None)
    limits = [60 * config.minutes] if config.minutes is not None else []
    if step is not None:
        limits.append(config.steps * step)
    return Expected(training_memory(config, grid), min(limits, default=None), step)


def training_memory(config: Config, grid: Grid) -> float:
    """Bytes that training needs on a CPU that computes in bfloat16; elsewhere it needs more.

    Within 15 % of what was measured for the presets at several widths, patches and batches.
    """
    weights = _PARAMETERS * config.width**2 * (20 if config.average else 16)
    a_channel = _CHECKPOINTED if config.checkpointing else _BYTES_A_CHANNEL
    voxels = min(config.micro_batch, config.batch) * prod(config.patch)
    images = _IMAGES_OF_ALL if config.region_margin is None else _IMAGES_OF_PART
    return _PROGRAM + weights + a_channel * config.width * voxels + images * prod(grid.shape)


def _step_seconds(run: Path, config: Config) -> float | None:
    """Seconds a step of a run that was as heavy; None when it tells nothing."""
    try:
        earlier = read_json(run / "config.json").get("config", {})
        lines = _last_lines(run / "events.jsonl")
    except (UserError, OSError, ValueError):
        return None
    same = config.model_dump(mode="json", include=set(_SAME_SPEED))
    if not isinstance(earlier, dict) or any(earlier.get(key) != same[key] for key in same):
        return None
    events = (decode_event(line) for line in reversed(lines))
    last = next((event for event in events if isinstance(event, Step)), None)
    return None if last is None or last.step < 1 else last.elapsed_s / last.step


def _last_lines(path: Path) -> list[str]:
    """The end of a text file; its first and last line may be cut off."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        return file.read().decode("utf-8", errors="replace").splitlines()
