"""Worker protocol: commands in, events out, both one JSON object a line of UTF-8.

Arrays travel as files in the case folder, never through the pipe. So a line is short, and one that
is not, or not UTF-8, is no message of ours.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cmfnet_napari.core.files import JsonObject

LONGEST_LINE = 1 << 20  # bytes


def _within_one(share: float) -> float:
    return 0.0 if math.isnan(share) else min(max(share, 0.0), 1.0)


Share = Annotated[float, AfterValidator(_within_one)]
Count = Annotated[int, Field(ge=0, lt=1 << 31)]  # more cannot be drawn


class _Message(BaseModel):
    # A loss may be no number: that is said as it is, not as null, which would be no message.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Fit(_Message):
    """Train on the case; `config` is a whole configuration.

    `base` is the model to start from: one of the case's runs, or a model file. `resume` names a
    run of the case that was broken off: it goes on with its own configuration, `lighter` with a
    step less memory than it had. `corrections`: corrected voxels count as strokes.
    """

    command: Literal["fit"] = "fit"
    config: JsonObject
    device: str = "auto"
    base: str = ""
    resume: str = ""
    lighter: bool = False
    corrections: bool = True


class Train(_Message):
    """Train on the cohort that lies where the worker does; see `learning.cohort.train`.

    `config` is a whole configuration.
    """

    command: Literal["train"] = "train"
    config: JsonObject
    folds: Count = 0
    device: str = "auto"


class Stop(_Message):
    """End the fit or refine in progress, keeping the best so far."""

    command: Literal["stop"] = "stop"


class Predict(_Message):
    """Predict the case with the model of one of its runs, or with a model file."""

    command: Literal["predict"] = "predict"
    model: str
    device: str = "auto"
    corrections: bool = True


class Refine(_Message):
    """Learn from the strokes that are new since a run's last prediction: a few steps around them.

    `model` is the folder of the run, relative to the case; its model and prediction are replaced.
    `corrections` is as in `Fit`.
    """

    command: Literal["refine"] = "refine"
    model: str
    device: str = "auto"
    corrections: bool = True


class Choose(_Message):
    """Go back to a preview that a run has kept: its model becomes the run's, and predicts anew.

    `model` is the folder of the run, relative to the case; `step` is the preview's; `corrections`
    is as in `Fit`.
    """

    command: Literal["choose"] = "choose"
    model: str
    step: Count
    device: str = "auto"
    corrections: bool = True


class Quit(_Message):
    """Stop, write a checkpoint and leave; `left`: the patient is left, not only the worker."""

    command: Literal["quit"] = "quit"
    left: bool = False


class Started(_Message):
    """A fit begins, or goes on after `from_step`. `run` is its folder, relative to the case."""

    event: Literal["started"] = "started"
    run: str
    device: str
    precision: str
    steps: Count
    parameters: int
    from_step: Count = 0


class Step(_Message):
    """Progress, at most five a second. `losses` holds every term, unweighted, and `total`.

    `progress` is 0 … 1; what is left may be any number, as long as nobody knows.
    """

    event: Literal["step"] = "step"
    step: Count
    progress: Share
    elapsed_s: float
    remaining_s: float
    losses: dict[str, float]
    skipped: int = 0


class Preview(_Message):
    """A prediction while training goes on: labels (uint8, Study's Grid) in a file.

    `agreement` is that with all strokes, `held_out` that with strokes while they were held out
    (None before each had its turn); both 0 … 1.
    """

    event: Literal["preview"] = "preview"
    step: Count
    labels: str
    agreement: float
    held_out: float | None = None


class Notice(_Message):
    """One sentence for the user while training goes on."""

    event: Literal["notice"] = "notice"
    step: Count
    text: str


class Paused(_Message):
    """Training waits, as for room on a full disk; the next event says that it goes on."""

    event: Literal["paused"] = "paused"
    reason: str


class Stopping(_Message):
    """The stop was heard: the best so far becomes the prediction."""

    event: Literal["stopping"] = "stopping"
    step: Count


class Saved(_Message):
    """A checkpoint is on disk."""

    event: Literal["saved"] = "saved"
    step: Count
    model: str


class Finished(_Message):
    """A fit, a refine or a prediction is complete.

    `labels`, `probabilities` and `disagreement` are files on the CT's original grid; paths are
    relative to the case folder, or to the run when it stands alone. `disagreement` (percent, see
    `core.contours.doubt`) is empty when the branches were not compared.
    """

    event: Literal["finished"] = "finished"
    model: str
    labels: str
    probabilities: str
    volumes_ml: dict[str, float]
    disagreement: str = ""
    steps: Count = 0
    seconds: float = 0.0
    agreement: float = 0.0
    held_out: float | None = None
    stopped: bool = False
    warning: str = ""


class Progress(_Message):
    """How far a training on a cohort is: the share that is done, and a few words."""

    event: Literal["progress"] = "progress"
    share: Share
    note: str


class Trained(_Message):
    """A training on a cohort is complete; `metrics` are means over the patients held out."""

    event: Literal["trained"] = "trained"
    metrics: dict[str, float]


class Failed(_Message):
    """It did not work; `reason` is one sentence a clinician can act on."""

    event: Literal["failed"] = "failed"
    reason: str
    model: str = ""


LineState = Literal["connecting", "waiting", "sending", "here", "away", "refused"]


class LineChanged(_Message):
    """Of a worker on another computer: how the line to it is, in a sentence too.

    ``waiting`` is for a turn there, ``here`` all is well, ``away`` the line was lost and is tried
    again, ``refused`` it is not tried before the next command. `share` of the images was sent.
    """

    event: Literal["line"] = "line"
    state: LineState
    host: str
    text: str
    share: Share = 0.0


Work = Fit | Refine | Predict | Choose | Train
End = Finished | Trained | Failed  # how that ends
Command = Annotated[
    Fit | Stop | Predict | Refine | Choose | Train | Quit, Field(discriminator="command")
]
Event = Annotated[
    Started
    | Step
    | Preview
    | Notice
    | Paused
    | Stopping
    | Saved
    | Finished
    | Progress
    | Trained
    | Failed
    | LineChanged,
    Field(discriminator="event"),
]
_COMMAND: TypeAdapter[Command] = TypeAdapter(Command)
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)

T = TypeVar("T")


def encode(message: BaseModel) -> str:
    """One line of JSON, without the line's end."""
    return message.model_dump_json()


def decode_command(line: str | bytes) -> Command | None:
    """The command on a line, or None when the line is none."""
    return _decode(_COMMAND, line)


def decode_event(line: str | bytes) -> Event | None:
    """The event on a line, or None when the line is none (kept for the log)."""
    return _decode(_EVENT, line)


def _decode(adapter: TypeAdapter[T], line: str | bytes) -> T | None:
    try:
        return adapter.validate_json(line)
    except ValidationError:
        return None
