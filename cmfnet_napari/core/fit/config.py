"""Every number of a fit, in one frozen, validated model.

A field carries its default, range, unit and help once; the form in the window, the saved run
and the model's card all come from here. Symbols are the paper's.
"""

from __future__ import annotations

from textwrap import shorten
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.presets import ROWS, Settings, published

Fusion = Literal["none", "cfe", "cff"]
Normalisation = Literal["none", "instance"]
DropoutAt = Literal["bottoms", "stages"]
Precision = Literal["auto", "float32", "bfloat16"]
AROUND_STROKES_MM = 60.0  # what a model that reads strokes looks at: further than tumours reach


def described(default: Any, help: str, unit: str = "", **limits: Any) -> Any:
    """A field with its default, help, unit and range."""
    return Field(default, description=help, json_schema_extra={"unit": unit}, **limits)


class Config(BaseModel):
    """What a fit does; frozen into every run. The defaults are the paper's recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    preset: str = "paper"
    seed: int = described(0, "Seed of weights, sampling and augmentation", ge=0)

    # Input
    ct_low: float = described(-160.0, "CT value shown and trained as 0", "HU", ge=-2000, le=3000)
    ct_high: float = described(240.0, "CT value shown and trained as 1", "HU", ge=-2000, le=3000)
    mr_percentiles: tuple[float, float] = described(
        (1.0, 99.0), "MR percentiles inside its field of view that become 0 and 1", "%"
    )
    spacing: float | None = described(
        None, "Train on voxels of about this size; none: the CT's own", "mm", gt=0, le=20
    )
    drawn_voxels: int | None = described(
        None,
        "Voxels follow the size of what is drawn, so that it spans about this many; none: "
        "they are of one size",
        "voxels",
        ge=16,
        le=64,
    )
    region_margin: float | None = described(
        None, "Work this far around the class strokes; none: the whole CT", "mm", ge=5, le=500
    )

    # Network
    ct_stages: int = described(3, "Stages of the CT branch, the digit in CT3 to CT6", ge=3, le=6)
    mr_stages: int = described(4, "Stages of the MR branch, the digit in MR3 to MR6", ge=3, le=6)
    fusion: Fusion = described(
        "cff",
        "none: the mean of both branches; cfe: a cross-modal branch on the mean of their features; "
        "cff: on features fused by convolutions",
    )
    width: int = described(16, "Channels of the first stage", ge=2, le=64)
    stroke_maps: bool = described(
        False, "The network also sees what the strokes tell of every voxel, and begins with that"
    )
    normalisation: Normalisation = described("none", "After every convolution")
    dropout: float = described(0.5, "Share of features dropped in training", ge=0, lt=1)
    dropout_at: DropoutAt = described(
        "bottoms",
        "Where features are dropped. bottoms: where the networks are narrowest; stages: after all "
        "stages but the first and the last. The paper does not say where",
    )

    # Losses
    class_balance: float = described(
        0.0, "0: every stroke voxel counts the same; 1: every class counts the same", ge=0, le=1
    )
    dice_weight: float = described(
        0.0, "Weight of a soft Dice loss, for labels that are known everywhere", ge=0, le=10
    )
    ce_weight: float = described(1.0, "Weight of the partial cross entropy, Eq. 3", ge=0, le=10)
    lambda_ct: float = described(0.2, "Weight of the CT's CRF, Eq. 7", ge=0, le=10)
    lambda_mr: float = described(0.2, "Weight of the MR's CRF, Eq. 7", ge=0, le=10)
    alpha_ct: float = described(0.8, "Weight of y_mm against y_ct, Eq. 8", ge=0, le=10)
    alpha_mr: float = described(0.8, "Weight of y_mm against y_mr, Eq. 8", ge=0, le=10)
    consistency: Literal["mean", "sum"] = described(
        "mean",
        "Over the classes, in Eq. 8. mean: the paper's mean squared error; sum: as many times "
        "stronger as there are classes with background",
    )
    crf_radius: int = described(5, "Half width of the CRF's window", "voxels", ge=1, le=15)
    crf_sigma_xy: float = described(6.0, "How far neighbours pull", "voxels", gt=0, le=100)
    crf_sigma_intensity: float = described(0.1, "How alike neighbours must be", gt=0, le=10)
    # What the multi-view CRF that the paper cites has besides: Zhai et al., PA-Seg, TMI 2023.
    crf_half: bool = described(
        False, "The CRF works at half the resolution in plane, as in PA-Seg; so does its window"
    )
    crf_ramp: float = described(
        0.0,
        "Share of the fit over which CRF and variance term rise; PA-Seg: 0.1, 30 of 300 epochs. "
        "0: with the other unsupervised terms",
        ge=0,
        le=1,
    )
    variance: float = described(
        0.0,
        "Weight of the variance of CT and MR inside each class; PA-Seg: 0.1. 0: off",
        ge=0,
        le=10,
    )
    seed_growth: float = described(
        0.0,
        "Class strokes grow to what is nearer along the images than this share of the farthest "
        "voxel in the box around them; PA-Seg: 0.2. 0: strokes stay as drawn",
        ge=0,
        lt=1,
    )
    ramp: float = described(
        0.0, "Share of the fit over which the unsupervised terms rise to their weight", ge=0, le=1
    )

    guide: float = described(
        0.0, "Weight of the guide, a soft first guess from the same strokes", ge=0, le=10
    )
    guide_end: float = described(
        1.0, "Share of the guide's weight that is left at the end of the fit", ge=0, le=1
    )

    # Training
    patch: tuple[int, int, int] = described((16, 96, 96), "Patch (z, y, x)", "voxels")
    batch: int = described(16, "Patches a step", ge=1, le=256)
    micro_batch: int = described(
        2, "Patches that go through the network at once; a step adds them up", ge=1, le=256
    )
    checkpointing: bool = described(False, "Compute features twice to need less memory")
    learning_rate: float = described(1e-5, "Adam's step", gt=0, le=1)
    schedule: Literal["constant", "cosine"] = described("constant", "Learning rate over the fit")
    clip: float = described(0.0, "Longest gradient; longer ones are shortened. 0: no limit", ge=0)
    augment: bool = described(False, "Random flips and changes of intensity")
    average: float = described(0.0, "Decay of the weights' moving average; 0: none", ge=0, lt=1)
    steps: int = described(2000, "Steps at most; 0: the base model as it is", ge=0, le=10_000_000)
    minutes: float | None = described(None, "Time for training at most", "min", gt=0, le=100_000)
    preview_seconds: float = described(10.0, "Between previews at least", "s", ge=0.1, le=3600)
    precision: Precision = described("auto", "auto: bfloat16 where the processor has it")

    hold_out: bool = described(
        False, "Hold strokes out in turn and keep the weights that agree best with those"
    )
    confidence: float = described(
        1.0, "Scores are multiplied by this on their way to probabilities: calibration", gt=0, le=10
    )
    keep_marked: bool = described(False, "Keep only parts of the prediction that hold a stroke")

    @property
    def ct_window(self) -> tuple[float, float]:
        """(low, high) in HU."""
        return self.ct_low, self.ct_high

    def model_post_init(self, _: Any) -> None:
        """Check what no single field can."""
        if self.preset not in ROWS:
            raise ValueError(f"there is no preset {self.preset}; choose {', '.join(ROWS)}")
        if self.ct_low >= self.ct_high:
            raise ValueError(
                f"CT window: low {self.ct_low:g} HU is not below high {self.ct_high:g} HU"
            )
        low, high = self.mr_percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"MR percentiles {low:g} and {high:g} must rise within 0 and 100")
        if any(n < 16 or n % 16 for n in self.patch):
            raise ValueError(f"Patch {self.patch}: each side must be a multiple of 16")


# What a fit for one patient that starts from a base model takes instead of its preset's values:
# small steps, little time. A model that reads strokes contours from them as it is: training it on
# one patient's strokes made its contours worse (docs/measurements.md).
FROM_BASE: Settings = {
    "learning_rate": 3e-4,
    "clip": 1.0,
    "steps": 90,
    "minutes": 0.75,
}
READS_STROKES: Settings = {"steps": 0, "region_margin": AROUND_STROKES_MM}
PRESETS = {name: Config(preset=name, **row.changes) for name, row in ROWS.items()}


def make_config(preset: str = "quick", **changes: Any) -> Config:
    """A preset with some fields changed.

    Raises
    ------
    UserError
        Unknown preset or field, or a value outside its range.
    """
    if preset not in PRESETS:
        raise UserError(f"There is no preset {preset!r}; choose {', '.join(PRESETS)}.")
    return parse_config({**PRESETS[preset].model_dump(), **changes})


_COHORT: Settings = {
    "normalisation": "none",
    "learning_rate": 1e-3,
    "clip": 1.0,
    "batch": 2,
    "augment": True,
}


def cohort_config(preset: str = "paper", **changes: Any) -> Config:
    """A preset for a cohort, with some fields changed: whole patients, no limit of time.

    Without instance normalisation, whose statistics of a patch do not carry over to other
    patients (docs/measurements.md), and at a learning rate that is stable without it while the
    longest gradients are shortened.

    Raises
    ------
    UserError
        As `make_config`.
    """
    cohort: Settings = {"region_margin": None, "hold_out": False, "keep_marked": False}
    cohort |= {"minutes": None, "steps": 2000, "stroke_maps": False}
    if not published(preset):
        cohort |= _COHORT
    return make_config(preset, **{**cohort, **changes})


# Settings that came later than configurations on disk, with what these did then where that is not
# the default.
_BEFORE: Settings = {"consistency": "sum"}


def stored(values: Settings) -> Settings:
    """A configuration from disk, with what it did where an older version had no setting yet."""
    return {**_BEFORE, **values}


def changed_settings(old: object, config: Config) -> list[str]:
    """What a configuration from disk (JSON) has otherwise: ``field old instead of new``.

    A setting that an older version did not know did what it did then.
    """
    known = old if isinstance(old, dict) else {}
    before = {**type(config)().model_dump(mode="json"), **stored(known)}
    return [
        f"{field} {before[field]} instead of {value}{_way_on(field, known)}"
        for field, value in config.model_dump(mode="json").items()
        if before[field] != value
    ]


def _way_on(field: str, known: Settings) -> str:
    """How a training from before a setting goes on: its own command means something else now."""
    old = field in _BEFORE and field not in known
    return f" (to go on with it, add --set {field}={_BEFORE[field]})" if old else ""


def parse_config(values: Settings) -> Config:
    """Validate a configuration from a file or a command; see `make_config`."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(f"Training setting {setting_problem(error)}") from error


def setting_problem(error: ValidationError) -> str:
    """The first thing that is wrong, with its place and value, as the end of a sentence."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    if not field:  # a check of several fields, which names them
        return f"{first['msg'].removeprefix('Value error, ')}."
    return f"{field}: {first['msg']} (got {shorten(repr(first['input']), 60)})."
