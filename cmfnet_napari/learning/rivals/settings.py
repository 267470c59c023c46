"""The numbers of a rival method, and the methods: a row each, with its source.

Defaults are what was published, or what the public code does where the text leaves it open.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.config import Config, cohort_config, described, setting_problem
from cmfnet_napari.core.fit.presets import Settings

Architecture = Literal[
    "cmfnet",
    "vnet",
    "dual-vnet",
    "resunet",
    "unet++",
    "unetr",
    "densenet",
    "mm-unet",
    "da-vnet",
    "m-cnn",
    "nnunet",
]
# Kim and Ye's code adds up over a batch of 12 slices of 256 × 256; here it is a mean of voxels.
MUMFORD_SHAH = 1e-6 * 12 * 256 * 256


class MethodConfig(Config):
    """A configuration of a method in a comparison: CmFNet's numbers and the rivals' own."""

    architecture: Architecture = described(
        "cmfnet", "The network; all but CmFNet see CT and MR as two channels of one image"
    )
    labels: Literal["scribbles", "masks"] = described(
        "scribbles", "What is learnt from; masks: the fully supervised bound"
    )
    entropy: float = described(0.0, "Weight of the entropy of the answer", ge=0, le=10)
    contour: float = described(
        0.0, "Weight of the total variation: the length of soft contours", ge=0, le=10
    )
    mumford_shah: float = described(0.0, "Weight of the Mumford–Shah functional", ge=0, le=10)
    joint_crf: float = described(
        0.0, "Weight of the gated CRF on axial planes, whose neighbours look alike in both images",
        ge=0, le=10,
    )  # fmt: skip
    teacher: float = described(
        0.0, "Weight of agreeing with the moving average of the weights where that is sure",
        ge=0, le=10,
    )  # fmt: skip
    teacher_passes: int = described(
        8, "Answers of the teacher that its uncertainty is of", ge=1, le=64
    )
    teacher_noise: float = described(
        0.1, "Standard deviation of noise on the teacher's images, cut off at twice that",
        ge=0, le=1,
    )  # fmt: skip
    pseudo: float = described(0.0, "Weight of labels that the network made itself", ge=0, le=10)
    pseudo_from: float = described(
        0.1, "Share of the training before which there are none", ge=0, lt=1
    )
    pseudo_every: float = described(
        1 / 600, "Share of the training between two predictions of all patients", gt=0, le=1
    )
    pseudo_share: float = described(
        0.2, "What the newest prediction counts in their moving average", gt=0, le=1
    )
    pseudo_sure: float = described(
        0.8, "Least averaged probability of a voxel that gets a label", ge=0, lt=1
    )
    mixed: float = described(
        0.0, "Weight of agreeing with a random mixture of both decoders' answers", ge=0, le=10
    )
    relabel_at: float = described(
        1.0, "Share of the training at which strokes grow to what the network is sure of", gt=0,
        le=1,
    )  # fmt: skip
    relabel_sure: float = described(
        0.1, "Largest entropy (0 … 1) of a voxel that gets a label then", gt=0, le=1
    )

    curve_points: int = described(
        10, "Points of the learning curve: so often are the patients held out judged", ge=1, le=1000
    )
    similarity: float = described(
        0.0, "Weight of the similarity error of both images' features, of m-cnn", ge=0, le=10
    )

    def model_post_init(self, context: Any) -> None:
        """Check what no single field can."""
        super().model_post_init(context)
        if self.teacher > 0 and not self.average > 0:
            raise ValueError("a teacher needs average: it is the moving average of the weights")
        if (self.mixed > 0 or self.relabel_at < 1) and self.architecture != "dual-vnet":
            raise ValueError("mixing and relabelling need the two decoders of dual-vnet")
        if self.similarity > 0 and self.architecture != "m-cnn":
            raise ValueError("similarity needs the features of m-cnn")
        if self.architecture in _IN_WINDOWS and self.normalisation != "instance":
            raise ValueError(
                f"{self.architecture} needs normalisation instance, with which it predicts through "
                f"windows of the training patch, not {self.normalisation}"
            )
        if self.architecture != "cmfnet":
            for field in ("stroke_maps", "guide", "checkpointing"):
                if getattr(self, field):
                    raise ValueError(f"{field} is for CmFNet alone, not for {self.architecture}")
        elif changed := [field for field in _RIVALS_ONLY if getattr(self, field) > 0]:
            raise ValueError(f"{changed[0]} is for the rivals, not for cmfnet")
        own = _CMFNETS_ONLY if self.architecture == "cmfnet" else (*_RIVALS_ONLY, "similarity")
        weights = ("ce_weight", "dice_weight", *own)
        if not any(getattr(self, field) > 0 for field in weights):
            raise ValueError(
                f"nothing is learnt, as all weights are 0; set one of {', '.join(weights)}"
            )


# Their own normalisation, or attention, is right on windows of the training patch only.
_IN_WINDOWS = ("resunet", "unet++", "unetr", "densenet", "mm-unet", "da-vnet")
_RIVALS_ONLY = ("entropy", "contour", "mumford_shah", "joint_crf", "teacher", "pseudo", "mixed")
_CMFNETS_ONLY = ("lambda_ct", "lambda_mr", "alpha_ct", "alpha_mr", "variance", "guide")


class Method(NamedTuple):
    """What a rival is, where its numbers come from, and how it departs from the defaults."""

    words: str
    source: str
    changes: Settings


_VNET: Settings = {"architecture": "vnet"}
_CONTOURS: Settings = {"labels": "masks", "dice_weight": 1.0}
_WINDOWS: Settings = _CONTOURS | {"normalisation": "instance"}
# MONAI drops features after every layer; CmFNet's share is for where it is narrowest.
_MONAI: Settings = _WINDOWS | {"dropout": 0.0}
METHODS = {
    "cmfnet": Method("CmFNet", "Meng et al., arXiv 2506.18042", {}),
    "pce": Method("partial cross entropy alone", "Lin et al., CVPR 2016", _VNET),
    "entropy": Method(
        "+ entropy minimisation",
        "Grandvalet and Bengio, NIPS 2004; weight as in WSL4MIS",
        _VNET | {"entropy": 0.1},
    ),
    "tv": Method(
        "+ total variation",
        "Javanmardi et al., 2016; form and weight as in WSL4MIS, of classes, not of the batch",
        _VNET | {"contour": 0.01},
    ),
    "mumford-shah": Method(
        "+ Mumford–Shah functional",
        "Kim and Ye, IEEE TIP 2019; weight as in WSL4MIS, of the mean instead of the sum",
        _VNET | {"mumford_shah": MUMFORD_SHAH},
    ),
    "gated-crf": Method(
        "+ gated CRF",
        "Obukhov et al., 2019; weight as in WSL4MIS",
        _VNET | {"joint_crf": 0.1},
    ),
    "ustm": Method(
        "uncertainty-aware mean teacher",
        "Liu et al., Pattern Recognition 2022; numbers as in WSL4MIS, threshold of all classes",
        _VNET | {"teacher": 1.0, "average": 0.99, "ramp": 1.0},
    ),
    "scribble2label": Method(
        "labels made by itself",
        "Lee and Jeong, MICCAI 2020; begins as in WSL4MIS",
        _VNET | {"pseudo": 0.5},
    ),
    "dmsps-1": Method(
        "dynamically mixed soft pseudo-labels, first stage",
        "Han et al., Medical Image Analysis 2024",
        {"architecture": "dual-vnet", "mixed": 8.0},
    ),
    "dmsps": Method(
        "the same, both stages within one budget",
        "Han et al., Medical Image Analysis 2024",
        {"architecture": "dual-vnet", "mixed": 8.0, "relabel_at": 0.5},
    ),
    "masks": Method(
        "fully supervised bound",
        "cross entropy and Dice on whole contours",
        _VNET | _CONTOURS,
    ),
    "nnunet": Method(
        "nnU-Net with the loss on labelled voxels only, by its own code",
        "Isensee et al., Nature Methods 2021; nnunetv2",
        {"architecture": "nnunet"},
    ),
    "resunet": Method(
        "residual U-Net, fully supervised", "MONAI", {"architecture": "resunet"} | _MONAI
    ),
    "unet++": Method(
        "U-Net++, fully supervised",
        "Zhou et al., 2018; MONAI",
        {"architecture": "unet++"} | _MONAI,
    ),
    "unetr": Method(
        "UNETR, fully supervised",
        "Hatamizadeh et al., WACV 2022; MONAI",
        {"architecture": "unetr"} | _MONAI,
    ),
    "densenet": Method(
        "volumetric DenseNet, fully supervised",
        "Yu et al., MICCAI 2017",
        {"architecture": "densenet", "dropout": 0.2} | _WINDOWS,
    ),
    "mm-unet": Method(
        "3D U-Net of both images, fully supervised",
        "Çiçek et al., MICCAI 2016",
        {"architecture": "mm-unet"} | _WINDOWS,
    ),
    "da-vnet": Method(
        "V-Net with dual attention, fully supervised",
        "attention of Fu et al., CVPR 2019",
        {"architecture": "da-vnet"} | _WINDOWS,
    ),
    "m-cnn": Method(
        "a network an image, whose features are to be alike, fully supervised",
        "Ma et al., Physics in Medicine and Biology 2019",
        {"architecture": "m-cnn", "similarity": 1.0} | _CONTOURS,
    ),
}


def method_config(method: str, /, **changes: Any) -> MethodConfig:
    """A method's numbers with some changed: the published recipe's budget unless told otherwise.

    Raises
    ------
    UserError
        Unknown method or setting, or a value outside its range.
    """
    if method not in METHODS:
        raise UserError(f"There is no method {method!r}; choose {', '.join(METHODS)}.")
    base = cohort_config("paper").model_dump()
    try:
        return MethodConfig.model_validate({**base, **METHODS[method].changes, **changes})
    except ValidationError as error:
        raise UserError(f"Method {method}, {setting_problem(error)}") from error
