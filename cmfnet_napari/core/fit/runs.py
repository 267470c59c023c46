"""What became of the runs of a case, read from what they left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import read_json
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.config import PRESETS
from cmfnet_napari.core.fit.model_card import (
    ANOTHER_MODEL,
    MODEL_FILE,
    known_name,
    model_path,
    read_card,
)

PREDICT_RUN = "predict"  # name of a run in which a model from elsewhere predicted
UNKNOWN = "unknown"  # what made a run's contour
CONFIG_FILE, EVENTS_FILE, STATE_FILE = "config.json", "events.jsonl", "state.pt"
PREVIEW_FILE = "preview.npy"
ELSEWHERE_FILE = "elsewhere.json"  # the run's state is on another computer, which this names


@dataclass(frozen=True)
class RunRecord:
    """One run of a case.

    Attributes
    ----------
    folder : Path
        The run's folder.
    step, steps : int
        The last step that was told of, and how many there were to be; 0 when not known.
    finished : Finished or None
        How it ended, when it did.
    previews : tuple of Preview
        What was told of the fit's previews, oldest first.
    elapsed_s : float
        What it had taken by the last step that was told of, s.
    """

    folder: Path
    step: int = 0
    steps: int = 0
    finished: events.Finished | None = None
    previews: tuple[events.Preview, ...] = ()
    elapsed_s: float = 0.0

    @property
    def interrupted(self) -> bool:
        """Whether it was broken off and can be gone on with."""
        states = self.folder / STATE_FILE, self.folder / ELSEWHERE_FILE
        return self.finished is None and any(path.exists() for path in states)


def read_run(folder: Path) -> RunRecord:
    """Read a run's events; lines that are cut or foreign are passed over."""
    step, steps, elapsed = 0, 0, 0.0
    finished = None
    previews: dict[int, events.Preview] = {}
    try:
        lines = (folder / EVENTS_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return RunRecord(folder)
    for line in lines:
        match events.decode_event(line):
            case events.Started() as event:
                step, steps, finished = event.from_step, event.steps, None
            case events.Step() as event:
                step, elapsed = event.step, event.elapsed_s
            case events.Preview() as event:
                previews.setdefault(event.step, event)  # a refine may tell of the same step again
            case events.Finished() as event:
                finished = event
    return RunRecord(folder, step, steps, finished, tuple(previews.values()), elapsed)


def run_maker(folder: Path) -> str:
    """What made a run's contour, in words: the model it began with, or the preset alone."""
    base, preset = _made_from(folder)
    return base or (f"strokes alone, {preset}" if preset else UNKNOWN)


def maker_name(folder: Path) -> str:
    """The same as a model's name, for files that leave the case; CmFNet where nobody knows."""
    base, preset = _made_from(folder)
    return base or f"CmFNet {preset}".strip()


def _made_from(folder: Path) -> tuple[str, str]:
    """The model that a run began with, or that predicted, and else the preset; empty: unknown."""
    if not (folder / CONFIG_FILE).is_file():
        finished = read_run(folder).finished
        if finished is None or Path(finished.model).name == MODEL_FILE:  # of a fit, and damaged
            return "", ""
        try:
            return known_name(folder.resolve().parents[1] / finished.model), ""
        except UserError:  # it is not there any more
            return ANOTHER_MODEL, ""
    try:
        made_from = read_json(folder / CONFIG_FILE)
    except UserError:
        return "", ""
    base, config = made_from.get("base"), made_from.get("config")
    preset = config.get("preset") if isinstance(config, dict) else None
    return base if isinstance(base, str) else "", preset if preset in PRESETS else ""


def begun_elsewhere(folder: Path) -> str:
    """The computer that a run was begun on; empty: this one."""
    try:
        host = read_json(folder / ELSEWHERE_FILE).get("host")
    except UserError:
        return ""
    return host if isinstance(host, str) else ""


def interrupted_run(runs: Sequence[Path]) -> RunRecord | None:
    """The newest run, if it was broken off and can be gone on with; oldest run first.

    What left neither an end nor a state never began to learn: it stands before no other.
    """
    records = (read_run(folder) for folder in reversed(runs))
    record = next((one for one in records if one.finished or one.interrupted), None)
    return record if record is not None and record.interrupted else None


def newest_prediction(runs: Sequence[Path]) -> events.Finished | None:
    """How the newest run that ended did; oldest run first."""
    records = (read_run(folder) for folder in reversed(runs))
    return next((record.finished for record in records if record.finished is not None), None)


def saw_strokes(case: Path, event: events.Finished) -> bool:
    """Whether a contour rests on strokes: all but those of a model from elsewhere that reads none.

    Parameters
    ----------
    case : Path
        The case folder.
    event : Finished
        How the run ended.
    """
    if PurePosixPath(event.labels).parent.name.partition("-")[2] != PREDICT_RUN:
        return True
    try:
        return read_card(model_path(case / event.model)).config.stroke_maps
    except UserError:
        return True
