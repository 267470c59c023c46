"""The losses of the rivals: a function and a row of `RIVAL_TERMS` a term, for the one trainer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.model.loss_terms import ramp_up
from cmfnet_napari.learning.model.losses import (
    Batch,
    label_counts,
    partial_cross_entropy,
    soft_dice,
)
from cmfnet_napari.learning.model.network import Network
from cmfnet_napari.learning.rivals.metric_cnn import similarity_error
from cmfnet_napari.learning.rivals.regularisers import (
    contour_length,
    entropy,
    joint_crf,
    mumford_shah,
    soft_cross_entropy,
    sure_consistency,
    uncertainty,
)
from cmfnet_napari.learning.rivals.settings import MethodConfig


@dataclass(frozen=True)
class Reply:
    """What a rival answered to a batch; all that a term may look at.

    Attributes
    ----------
    scores : tuple of tensor (B, C, z, y, x)
        Of its decoders, the main one's first.
    features : tuple of tensor (B, E, z, y, x)
        Of both images, where a method compares them; else none.
    batch : Batch
        What they were computed from; its guide holds averaged predictions where there are any.
    config : MethodConfig
        Weights.
    counts : dict of tensor
        Of the whole step, as `RivalLoss.counts`.
    teacher : Network
        The moving average of the weights.
    progress : float
        Share of the training that is done, 0 … 1.
    """

    scores: tuple[Tensor, ...]
    features: tuple[Tensor, ...]
    batch: Batch
    config: MethodConfig
    counts: dict[str, Tensor]
    teacher: Network
    progress: float

    @property
    def main(self) -> Tensor:
        """Scores of the main decoder, float32 or better."""
        return self.scores[0].float() if self.scores[0].dtype.itemsize < 4 else self.scores[0]

    @cached_property
    def y(self) -> Tensor:
        """Probabilities of the main decoder."""
        return self.main.softmax(dim=1)

    @property
    def voxels(self) -> float:
        """Of the whole step."""
        return float(self.counts["voxels"])

    @property
    def patches(self) -> float:
        """Of the whole step."""
        return self.voxels / self.batch.ct[0].numel()


def labelled_term(reply: Reply) -> Tensor:
    """Partial cross entropy, mean of all decoders."""
    config, counts = reply.config, reply.counts["labelled"]
    each = [
        partial_cross_entropy(scores, reply.batch.targets, config.class_balance, counts)
        for scores in reply.scores
    ]
    return config.ce_weight * torch.stack(each).mean()


def overlap_term(reply: Reply) -> Tensor:
    """Soft Dice of everything but background, for labels that are known everywhere."""
    targets, patches = reply.batch.targets, reply.patches
    each = [soft_dice(scores, targets, None, patches) for scores in reply.scores]
    return reply.config.dice_weight * torch.stack(each).mean()


def entropy_term(reply: Reply) -> Tensor:
    """`entropy` of the answer."""
    return reply.config.entropy * entropy(reply.main, reply.voxels)


def contour_term(reply: Reply) -> Tensor:
    """`contour_length` of the answer."""
    return reply.config.contour * contour_length(reply.y, reply.voxels)


def mumford_shah_term(reply: Reply) -> Tensor:
    """`mumford_shah` of the answer with both images."""
    batch = reply.batch
    images = [(batch.ct, None), (batch.mr, batch.fov)]
    return reply.config.mumford_shah * mumford_shah(reply.y, images, reply.voxels)


def joint_crf_term(reply: Reply) -> Tensor:
    """`joint_crf` of the answer with both images."""
    batch, config = reply.batch, reply.config
    images = torch.cat([batch.ct, batch.mr], dim=1)
    sigmas = {"sigma_xy": config.crf_sigma_xy, "sigma_intensity": config.crf_sigma_intensity}
    return config.joint_crf * joint_crf(reply.y, images, config.crf_radius, reply.voxels, **sigmas)


def teacher_term(reply: Reply) -> Tensor:
    """Agreement with the teacher, who sees the images turned and noisy (USTM).

    Where the teacher is sure is told by the entropy of its mean answer to several noisy images,
    its dropout at work. The mean is over what goes through the network at once.
    """
    batch, config, teacher = reply.batch, reply.config, reply.teacher
    quarters = int(torch.randint(4, ()))
    turned = [torch.rot90(image, quarters, (3, 4)) for image in (batch.ct, batch.mr)]
    teacher.train()
    with torch.no_grad():
        taught = _noisy(teacher, turned, config.teacher_noise)
        passes = (
            _noisy(teacher, turned, config.teacher_noise) for _ in range(config.teacher_passes)
        )
        doubt = uncertainty(sum(passes, torch.zeros_like(taught)) / config.teacher_passes)
    threshold = sure_below(taught.shape[1], reply.progress)
    y = torch.rot90(reply.y, quarters, (3, 4))
    share = len(y) / reply.patches
    return config.teacher * share * sure_consistency(y, taught, doubt, threshold)


def sure_below(classes: int, progress: float) -> float:
    """Entropy under which a teacher counts as sure, nats: 0.75 of the largest, rising to all."""
    return (0.75 + 0.25 * ramp_up(1.0, progress)) * math.log(classes)


def _noisy(teacher: Network, images: list[Tensor], noise: float) -> Tensor:
    """The teacher's probabilities for images with noise, cut off at twice its deviation."""
    seen = (
        image + (noise * torch.randn_like(image)).clamp(-2 * noise, 2 * noise) for image in images
    )
    answer: Tensor = teacher(*seen)[0]
    return answer.float().softmax(dim=1)


def pseudo_term(reply: Reply) -> Tensor:
    """Cross entropy with the labels that averaged predictions give (Scribble2Label).

    At the beginning of a training it has none of them.
    """
    if reply.progress < reply.config.pseudo_from:
        return reply.main.sum() * 0.0
    labels = pseudo_labels(reply.batch, reply.config.pseudo_sure)
    return reply.config.pseudo * partial_cross_entropy(
        reply.main, labels, 0.0, reply.counts["pseudo"]
    )


def pseudo_labels(batch: Batch, sure: float) -> Tensor:
    """Classes (B, z, y, x) of voxels without a stroke whose averaged probability is over `sure`."""
    probability, label = batch.guide.max(dim=1)
    chosen = (probability > sure) & (batch.targets == IGNORE)
    return torch.where(chosen, label, IGNORE)


def mixed_term(reply: Reply) -> Tensor:
    """Cross entropy of both decoders with a random mixture of their answers (DMSPS)."""
    main, auxiliary = (scores.to(reply.main.dtype) for scores in reply.scores)
    share = torch.rand(()).to(main)
    with torch.no_grad():
        mixture = share * main.softmax(dim=1) + (1 - share) * auxiliary.softmax(dim=1)
    each = [soft_cross_entropy(scores, mixture, reply.voxels) for scores in (main, auxiliary)]
    return reply.config.mixed * torch.stack(each).mean()


def similarity_term(reply: Reply) -> Tensor:
    """`similarity_error` of both images' features; the mean is over what goes through at once."""
    first, second = reply.features
    share = len(first) / reply.patches
    return reply.config.similarity * share * similarity_error(first, second, reply.batch.targets)


@dataclass(frozen=True)
class RivalTerm:
    """A term of a rival's loss.

    Attributes
    ----------
    value : callable
        The term with its weight from the configuration.
    weight : str
        The setting that is its weight; 0 leaves the term out.
    rises : bool
        Whether the weight rises over the share `ramp` of the training.
    """

    value: Callable[[Reply], Tensor]
    weight: str
    rises: bool = False


RIVAL_TERMS = {  # by the names of their curves
    "labelled": RivalTerm(labelled_term, "ce_weight"),
    "dice": RivalTerm(overlap_term, "dice_weight"),
    "entropy": RivalTerm(entropy_term, "entropy"),
    "contour": RivalTerm(contour_term, "contour"),
    "mumford_shah": RivalTerm(mumford_shah_term, "mumford_shah"),
    "crf": RivalTerm(joint_crf_term, "joint_crf"),
    "teacher": RivalTerm(teacher_term, "teacher", rises=True),
    "pseudo": RivalTerm(pseudo_term, "pseudo"),
    "mixed": RivalTerm(mixed_term, "mixed"),
    "similarity": RivalTerm(similarity_term, "similarity"),
}


@dataclass(frozen=True)
class RivalLoss:
    """Those of `RIVAL_TERMS` that a method has a weight for."""

    config: MethodConfig

    def counts(self, batch: Batch, classes: int) -> dict[str, Tensor]:
        """Labelled voxels and pseudo-labelled ones of every class, and all voxels."""
        counts = {
            "labelled": label_counts(batch.targets, classes),
            "voxels": torch.tensor(float(batch.ct.numel())),
        }
        if self.config.pseudo > 0:
            labels = pseudo_labels(batch, self.config.pseudo_sure)
            counts["pseudo"] = label_counts(labels, classes)
        return counts

    def terms(
        self,
        outputs: tuple[Tensor, ...],
        batch: Batch,
        counts: dict[str, Tensor],
        teacher: Network,
        progress: float,
    ) -> dict[str, Tensor]:
        """See `Loss.terms`."""
        answers = 2 if self.config.architecture == "m-cnn" else len(outputs)
        scores, features = outputs[:answers], outputs[answers:]
        reply = Reply(scores, features, batch, self.config, counts, teacher, progress)
        return {
            name: term.value(reply)
            for name, term in RIVAL_TERMS.items()
            if getattr(self.config, term.weight) > 0
        }

    def total(self, terms: dict[str, Tensor], progress: float) -> Tensor:
        """See `Loss.total`."""
        risen = ramp_up(self.config.ramp, progress)
        parts = [
            (risen if RIVAL_TERMS[name].rises else 1.0) * value for name, value in terms.items()
        ]
        return torch.stack(parts).sum()
