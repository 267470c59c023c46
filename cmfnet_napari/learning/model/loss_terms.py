"""The loss of CmFNet: a function and a row of `TERMS` a term (Eq. 4 to 9)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.learning.model.cmfnet import Outputs
from cmfnet_napari.learning.model.crf import Kernel, gated_crf
from cmfnet_napari.learning.model.losses import (
    Batch,
    Counts,
    class_variance,
    consistency,
    guide_entropy,
    partial_cross_entropy,
    soft_dice,
)
from cmfnet_napari.learning.model.network import Network


@dataclass(frozen=True)
class Answer:
    """What the network answered to a batch; all that a term may look at.

    Attributes
    ----------
    outputs : Outputs
        Scores of the three branches.
    batch : Batch
        What they were computed from.
    config : Config
        Weights and the CRF's window.
    counts : Counts
        Of the whole step, of which `batch` may be a part.
    """

    outputs: Outputs
    batch: Batch
    config: Config
    counts: Counts

    @cached_property
    def probabilities(self) -> Outputs:
        """Of the three branches."""
        return Outputs(*(scores.float().softmax(dim=1) for scores in self.outputs))

    @property
    def patches(self) -> float:
        """How many there are in the whole step."""
        return float(self.counts.voxels) / self.batch.ct[0].numel()


def scribble_term(answer: Answer) -> Tensor:
    """L_ssl, Eq. 4: partial cross entropy of all outputs; without MR data, y_mr learns nothing."""
    outputs, batch, counts = answer.outputs, answer.batch, answer.counts
    balance = answer.config.class_balance
    everywhere = (batch.targets, balance, counts.labelled)
    return answer.config.ce_weight * (
        partial_cross_entropy(outputs.ct, *everywhere)
        + partial_cross_entropy(outputs.mr, batch.mr_targets, balance, counts.labelled_mr)
        + partial_cross_entropy(outputs.mm, *everywhere)
    )


def crf_term(answer: Answer) -> Tensor:
    """L_imr, Eq. 7: the CRF on y_mm with the CT's and the MR's kernel."""
    batch, config, counts = answer.batch, answer.config, answer.counts
    sigmas = {"sigma_xy": config.crf_sigma_xy, "sigma_intensity": config.crf_sigma_intensity}
    images = [
        (batch.ct, config.lambda_ct, None, counts.voxels),
        (batch.mr, config.lambda_mr, batch.fov, counts.fov),
    ]
    if not config.crf_half:
        kernels = [Kernel(i, weight, mask, float(n), **sigmas) for i, weight, mask, n in images]
        return gated_crf(answer.probabilities.mm, kernels, config.crf_radius)
    kernels = [
        Kernel(_half(i), weight, None if mask is None else _all_of(mask), float(n) / 4, **sigmas)
        for i, weight, mask, n in images
    ]
    return gated_crf(_half(answer.outputs.mm.float()).softmax(1), kernels, config.crf_radius)


def variance_term(answer: Answer) -> Tensor | None:
    """Variance of CT and MR inside each class of y_mm (PA-Seg, TMI 2023)."""
    batch, config = answer.batch, answer.config
    if not config.variance > 0:
        return None
    y, patches = answer.probabilities.mm, answer.patches
    return config.variance * (
        class_variance(y, batch.ct, None, patches) + class_variance(y, batch.mr, batch.fov, patches)
    )


def consistency_term(answer: Answer) -> Tensor:
    """L_imc, Eq. 8: consistency of y_mm with y_ct and y_mr."""
    y, config, counts = answer.probabilities, answer.config, answer.counts
    times = y.mm.shape[1] if config.consistency == "sum" else 1
    return times * (
        config.alpha_ct * consistency(y.mm, y.ct, None, counts.voxels)
        + config.alpha_mr * consistency(y.mm, y.mr, answer.batch.fov, counts.fov)
    )


def dice_term(answer: Answer) -> Tensor | None:
    """`soft_dice`, mean of the three outputs."""
    if not answer.config.dice_weight > 0:
        return None
    parts = zip(answer.outputs, (None, answer.batch.fov, None), strict=True)
    targets, patches = answer.batch.targets, answer.patches
    each = [soft_dice(scores, targets, mask, patches) for scores, mask in parts]
    return answer.config.dice_weight * torch.stack(each).mean()


def guide_term(answer: Answer) -> Tensor | None:
    """Cross entropy with the guide, mean of the three outputs."""
    batch, counts = answer.batch, answer.counts
    if not batch.guide.shape[1]:
        return None
    masks = ((None, counts.sure), (batch.fov, counts.sure_mr), (None, counts.sure))
    ct, mr, mm = (
        guide_entropy(scores, batch.guide, mask, whole)
        for scores, (mask, whole) in zip(answer.outputs, masks, strict=True)
    )
    return answer.config.guide * (ct + mr + mm) / len(masks)


def _half(image: Tensor) -> Tensor:
    """Means of 2 × 2 voxels in plane; at an odd end, of what there is."""
    return avg_pool3d(image, (1, 2, 2), ceil_mode=True)


def _all_of(mask: Tensor) -> Tensor:
    """1 where all of the 2 × 2 voxels are in the mask."""
    return (_half((mask > 0).to(mask)) == 1).to(mask)


@dataclass(frozen=True)
class Term:
    """All there is to say of a term of the loss.

    Attributes
    ----------
    value : callable
        The term with its weight from the configuration; None where it has no part in the loss.
    grows : str
        ``ramp``: its weight rises at the beginning of a fit; ``crf``: as that of the CRF;
        ``guide``: it falls over the fit; empty: neither.
    """

    value: Callable[[Answer], Tensor | None]
    grows: Literal["", "ramp", "crf", "guide"] = ""


TERMS = {  # by the names of their curves
    "ssl": Term(scribble_term),
    "dice": Term(dice_term),
    "imr": Term(crf_term, "crf"),
    "imc": Term(consistency_term, "ramp"),
    "variance": Term(variance_term, "crf"),
    "guide": Term(guide_term, "guide"),
}


def loss_terms(
    outputs: Outputs, batch: Batch, config: Config, counts: Counts | None = None
) -> dict[str, Tensor]:
    """Those of `TERMS` that have a part in the loss, with their weights (0 as in Table VII).

    Parameters
    ----------
    outputs : Outputs
        Scores of the three branches.
    batch : Batch
        What they were computed from.
    config : Config
        Weights and the CRF's window.
    counts : Counts, optional
        Of the whole step, when `batch` is a part of it.
    """
    counts = counts or Counts.of(batch, outputs.mm.shape[1])
    answer = Answer(outputs, batch, config, counts)
    values = {name: term.value(answer) for name, term in TERMS.items()}
    return {name: value for name, value in values.items() if value is not None}


def total(
    terms: dict[str, Tensor], ramp: float = 1.0, guide: float = 1.0, crf: float | None = None
) -> Tensor:
    """Sum of all terms, Eq. 9.

    `ramp`, `guide` and `crf` (0 … 1) scale the unsupervised terms, the guide and the CRF's; the
    latter as the other unsupervised ones when not given.
    """
    shares = {"": 1.0, "ramp": ramp, "guide": guide, "crf": ramp if crf is None else crf}
    parts = [shares[TERMS[name].grows] * value for name, value in terms.items()]
    return torch.stack(parts).sum()


class Loss(Protocol):
    """What a network is taught; a trainer asks it in every step."""

    def counts(self, batch: Batch, classes: int) -> dict[str, Tensor]:
        """What its terms are divided by: sums that add up over the parts of a step."""

    def terms(
        self,
        outputs: Any,
        batch: Batch,
        counts: dict[str, Tensor],
        teacher: Network,
        progress: float,
    ) -> dict[str, Tensor]:
        """Its terms, by name.

        Parameters
        ----------
        outputs : tuple of tensors
            What the network answered to the batch.
        batch : Batch
            A part of a step.
        counts : dict of tensor
            Of the whole step.
        teacher : Network
            The moving average of the network's weights; the network itself where there is none.
        progress : float
            Share of the training that is done, 0 … 1.
        """

    def total(self, terms: dict[str, Tensor], progress: float) -> Tensor:
        """The sum that is minimised."""


@dataclass(frozen=True)
class CmFNetLoss:
    """`TERMS`, Eq. 9, as the configuration weighs them."""

    config: Config

    def counts(self, batch: Batch, classes: int) -> dict[str, Tensor]:
        """`Counts` by name."""
        return dict(vars(Counts.of(batch, classes)))

    def terms(
        self,
        outputs: Outputs,
        batch: Batch,
        counts: dict[str, Tensor],
        teacher: Network,
        progress: float,
    ) -> dict[str, Tensor]:
        """As `loss_terms`; nobody teaches, and how far the fit is changes their sum only."""
        return loss_terms(outputs, batch, self.config, Counts(**counts))

    def total(self, terms: dict[str, Tensor], progress: float) -> Tensor:
        """As `total`: unsupervised terms rise, the guide falls evenly to its last share."""
        config = self.config
        guide = 1 - (1 - config.guide_end) * min(progress, 1.0)
        crf = ramp_up(config.crf_ramp or config.ramp, progress)
        return total(terms, ramp_up(config.ramp, progress), guide, crf)


def ramp_up(over: float, progress: float) -> float:
    """Gaussian ramp-up over a share of the fit, from exp(−5) to 1 (Laine and Aila, 2017)."""
    if over <= 0:
        return 1.0
    return math.exp(-5 * (1 - min(progress / over, 1.0)) ** 2)
