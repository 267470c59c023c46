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

# Peak resident memory of a fit on a CPU, measured (docs/measurements.md): the program; weights,
# gradient, Adam's two moments and perhaps the average, 4 bytes each; what a step keeps a voxel and
# unit of width; images and what is predicted in the end a voxel of the study, when a part or all of
# it is worked on.
_PROGRAM = 600 * 2**20
_PARAMETERS = 137_800  # a squared unit of width
_BYTES_A_CHANNEL = {"bfloat16": 240, "float32": 350}
_CHECKPOINTED = {"bfloat16": 125, "float32": 182}
_IMAGES_OF_PART, _IMAGES_OF_ALL = 26, 52
_UNFOLDED_TIMES = 5.5  # forward and backward, of weights and images, on two threads
# PyTorch gives a single float32 image to oneDNN only if channels times z times y exceed this. Below
# it unfolds the image: 27 floats a voxel and channel.
_ONEDNN_FROM = 20480
PATIENT = Grid((64, 256, 256))  # what one is taken to be where none was read yet
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
    """Bytes that a fit needs on this computer's processor, the last prediction with it.

    Within 15 % of what was measured for the presets at several widths, patches and batches, in
    bfloat16 and in float32. ``auto`` is what this processor computes in.
    """
    half = config.precision == "bfloat16" or (config.precision == "auto" and has_bfloat16())
    precision = "bfloat16" if half else "float32"
    weights = _PARAMETERS * config.width**2 * (20 if config.average else 16)
    a_channel = (_CHECKPOINTED if config.checkpointing else _BYTES_A_CHANNEL)[precision]
    together = min(config.micro_batch, config.batch)
    a_voxel: float = a_channel * config.width
    if together == 1 and not half:
        a_voxel += _UNFOLDED_TIMES * unfolded_bytes(config.width, config.patch)
    images = _IMAGES_OF_ALL if config.region_margin is None else _IMAGES_OF_PART
    step = a_voxel * together * prod(config.patch)
    return _PROGRAM + weights + step + images * prod(grid.shape)


def idle_memory(config: Config, grid: Grid) -> float:
    """Bytes of a process that predicts, before anything goes through the network."""
    return _PROGRAM + 4 * _PARAMETERS * config.width**2 + _IMAGES_OF_ALL * prod(grid.shape)


def unfolded_bytes(width: int, size: tuple[int, int, int]) -> float:
    """Bytes a voxel that the largest image takes which PyTorch unfolds, a single one in float32.

    Resolution level l has 8^l times fewer voxels, and convolutions of 1, 2 and 4 times 2^l times
    the width as channels.

    Parameters
    ----------
    width : int
        Of the network.
    size : tuple of int
        Of the image that goes through it (z, y, x).
    """
    z, y, _ = size
    channels = (
        (times * width, level)
        for level in range(4)
        for times in (1, 2, 4)
        if times * width * z * y / 2**level <= _ONEDNN_FROM
    )
    return max((27 * 4 * count / 4**level for count, level in channels), default=0)


def has_bfloat16() -> bool:
    """Whether this computer's processor computes in bfloat16: emulated, it is slower than float32.

    False where the system does not list what the processor can do.
    """
    return bool({"avx512_bf16", "amx_bf16"} & _cpu_flags())


def _cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line for line in file if line.startswith("flags")]
    except OSError:
        return set()
    return set(lines[0].split()) if lines else set()


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
