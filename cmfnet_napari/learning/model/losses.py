"""The loss of CmFNet, one function a term (Eq. 3 to 9)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.model.cmfnet import Outputs
from cmfnet_napari.learning.model.crf import Kernel, gated_crf


@dataclass(frozen=True)
class Batch:
    """Patches of one training step.

    Attributes
    ----------
    ct, mr : tensor (B, 1, z, y, x), float32
        In [0, 1].
    fov : tensor (B, 1, z, y, x), float32
        1 where the MR has data.
    targets : tensor (B, z, y, x), int64
        Segmentation codes at strokes, `IGNORE` elsewhere.
    guide : tensor (B, C, z, y, x)
        Probabilities of the geodesic guide; C = 0 when there is none.
    maps : tensor (B, M, z, y, x)
        Maps of the strokes (`guide.make_maps`) that the network sees; M = 0 when it sees none.
    """

    ct: Tensor
    mr: Tensor
    fov: Tensor
    targets: Tensor
    guide: Tensor
    maps: Tensor

    def __len__(self) -> int:
        return len(self.ct)

    def split(self, size: int) -> Iterator[Batch]:
        """Parts of at most `size` patches."""
        return (Batch(*parts) for parts in zip(*(t.split(size) for t in self), strict=True))

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(t.to(device, non_blocking=True) for t in self))

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.ct, self.mr, self.fov, self.targets, self.guide, self.maps))

    @property
    def mr_targets(self) -> Tensor:
        """Targets where the MR has data: all that y_mr can learn from."""
        return torch.where(self.fov[:, 0] > 0, self.targets, IGNORE)


@dataclass(frozen=True)
class Counts:
    """What the terms of one step are divided by: sums over all its patches, on all devices.

    A step goes through the network in parts; only with the counts of the whole is the sum of
    the parts' losses the loss of the whole, however few strokes a part holds.

    Attributes
    ----------
    labelled, labelled_mr : tensor (classes,)
        Stroke voxels of every class; those where the MR has data.
    voxels, fov : tensor ()
        All voxels; those where the MR has data.
    sure, sure_mr : tensor ()
        Sum of the guide's weights; those where the MR has data.
    """

    labelled: Tensor
    labelled_mr: Tensor
    voxels: Tensor
    fov: Tensor
    sure: Tensor
    sure_mr: Tensor

    @classmethod
    def of(cls, batch: Batch, classes: int) -> Counts:
        """Count one batch."""
        weights = sureness(batch.guide) if batch.guide.shape[1] else torch.zeros(1)
        return cls(
            labelled=_count(batch.targets, classes),
            labelled_mr=_count(batch.mr_targets, classes),
            voxels=torch.tensor(float(batch.ct.numel())),
            fov=batch.fov.sum(),
            sure=weights.sum(),
            sure_mr=(weights * batch.fov).sum() if weights.ndim > 1 else weights.sum(),
        )


def partial_cross_entropy(
    scores: Tensor, targets: Tensor, balance: float = 0.0, labelled: Tensor | None = None
) -> Tensor:
    """Cross entropy over scribbled voxels only, Eq. 3.

    Parameters
    ----------
    scores : tensor (B, C, z, y, x)
        Logits.
    targets : tensor (B, z, y, x), int64
        Classes, or `IGNORE`.
    balance : float
        0: mean over the voxels (the paper); 1: mean over the classes that occur; between:
        a class of n voxels weighs n ** (1 − balance).
    labelled : tensor (C,), optional
        Labelled voxels of every class in the whole step; those of `targets` when not given.

    Returns
    -------
    scalar tensor; 0 when nothing is labelled
    """
    chosen = targets != IGNORE
    if not chosen.any():
        return scores.sum() * 0.0
    if labelled is None:
        labelled = _count(targets, scores.shape[1])
    each = functional.cross_entropy(
        scores.movedim(1, -1)[chosen].float(), targets[chosen], reduction="none"
    )
    weights = labelled.to(each).clamp(min=1).pow(-balance)
    return (each * weights[targets[chosen]]).sum() / (weights * labelled.to(each)).sum()


def consistency(
    y_mm: Tensor, y_branch: Tensor, mask: Tensor | None = None, voxels: Tensor | None = None
) -> Tensor:
    """Mean squared distance ‖y_mm − y_branch‖² a voxel, one part of Eq. 8.

    Parameters
    ----------
    y_mm, y_branch : tensor (B, C, z, y, x)
        Probabilities.
    mask : tensor (B, 1, z, y, x) or None
        Voxels that count.
    voxels : scalar tensor, optional
        How many count in the whole step; those of the mask when not given.
    """
    apart = (y_mm - y_branch).square().sum(dim=1, keepdim=True)
    if mask is None:
        return apart.mean() if voxels is None else apart.sum() / voxels
    return (apart * mask).sum() / (mask.sum() if voxels is None else voxels).clamp(min=1)


def soft_dice(scores: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
    """One less the soft Dice coefficient of everything but background, mean over the patches.

    Parameters
    ----------
    scores : tensor (B, C, z, y, x)
        Logits.
    targets : tensor (B, z, y, x), int64
        Classes; `IGNORE` does not count.
    mask : tensor (B, 1, z, y, x) or None
        Voxels that count.
    """
    counts = (targets != IGNORE).float()
    if mask is not None:
        counts = counts * mask[:, 0]
    found = (1 - scores.float().softmax(dim=1)[:, 0]) * counts
    wanted = (targets > 0).float() * counts
    both, each = (found * wanted).sum((1, 2, 3)), (found + wanted).sum((1, 2, 3))
    return (1 - (2 * both + 1) / (each + 1)).mean()


def sureness(guide: Tensor) -> Tensor:
    """Weight of every voxel of the guide: the square of how far its likeliest class stands out.

    (B, C, z, y, x) → (B, 1, z, y, x); 0 where all classes are alike, 1 where one is certain, so
    that the images decide where the guide's contour lies between the strokes.
    """
    classes = guide.shape[1]
    return ((guide.amax(dim=1, keepdim=True) * classes - 1) / (classes - 1)).square()


def guide_entropy(
    scores: Tensor, guide: Tensor, mask: Tensor | None = None, total_weight: Tensor | None = None
) -> Tensor:
    """Cross entropy with soft targets, weighted by their `sureness`.

    Parameters
    ----------
    scores : tensor (B, C, z, y, x)
        Logits.
    guide : tensor (B, C, z, y, x)
        Probabilities.
    mask : tensor (B, 1, z, y, x) or None
        Voxels that count.
    total_weight : scalar tensor, optional
        Sum of the weights in the whole step; that of `guide` when not given.
    """
    each = -(guide * scores.float().log_softmax(dim=1)).sum(dim=1, keepdim=True)
    weight = sureness(guide) if mask is None else sureness(guide) * mask
    whole = weight.sum() if total_weight is None else total_weight
    return (each * weight).sum() / whole.clamp(min=1e-6)


def loss_terms(
    outputs: Outputs, batch: Batch, config: Config, counts: Counts | None = None
) -> dict[str, Tensor]:
    """Every term of the loss with its paper weight; a weight of 0 switches it off (Table VII).

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

    Returns
    -------
    dict
        ``ssl``: L_ssl (Eq. 4), the partial cross entropy summed over the three outputs;
        ``imr``: L_imr (Eq. 7), the CRF on y_mm with the CT's and the MR's kernel;
        ``imc``: L_imc (Eq. 8), consistency of y_mm with y_ct and y_mr;
        ``dice``, where it has a weight: `soft_dice`, mean of the three outputs;
        ``guide``, where there is one: cross entropy with it, mean of the three outputs.
    """
    if counts is None:
        counts = Counts.of(batch, outputs.mm.shape[1])
    y_ct, y_mr, y_mm = (scores.float().softmax(dim=1) for scores in outputs)
    terms = {
        "ssl": _scribble_term(outputs, batch, config, counts),
        "imr": gated_crf(y_mm, _kernels(batch, config, counts), config.crf_radius),
        "imc": config.alpha_ct * consistency(y_mm, y_ct, None, counts.voxels)
        + config.alpha_mr * consistency(y_mm, y_mr, batch.fov, counts.fov),
    }
    if config.dice_weight > 0:
        parts = zip(outputs, (None, batch.fov, None), strict=True)
        each = [soft_dice(scores, batch.targets, mask) for scores, mask in parts]
        terms["dice"] = config.dice_weight * torch.stack(each).mean()
    if batch.guide.shape[1]:
        masks = ((None, counts.sure), (batch.fov, counts.sure_mr), (None, counts.sure))
        ct, mr, mm = (
            guide_entropy(scores, batch.guide, mask, whole)
            for scores, (mask, whole) in zip(outputs, masks, strict=True)
        )
        terms["guide"] = config.guide * (ct + mr + mm) / len(masks)
    return terms


def _scribble_term(outputs: Outputs, batch: Batch, config: Config, counts: Counts) -> Tensor:
    """Return L_ssl, Eq. 4; voxels without MR data teach y_mr nothing."""
    everywhere = (batch.targets, config.class_balance, counts.labelled)
    return config.ce_weight * (
        partial_cross_entropy(outputs.ct, *everywhere)
        + partial_cross_entropy(
            outputs.mr, batch.mr_targets, config.class_balance, counts.labelled_mr
        )
        + partial_cross_entropy(outputs.mm, *everywhere)
    )


def _kernels(batch: Batch, config: Config, counts: Counts) -> list[Kernel]:
    """Return the CT's and the MR's kernel of Eq. 7."""
    sigmas = {"sigma_xy": config.crf_sigma_xy, "sigma_intensity": config.crf_sigma_intensity}
    return [
        Kernel(batch.ct, config.lambda_ct, None, float(counts.voxels), **sigmas),
        Kernel(batch.mr, config.lambda_mr, batch.fov, float(counts.fov), **sigmas),
    ]


def _count(targets: Tensor, classes: int) -> Tensor:
    """Labelled voxels of every class, float32 (classes,)."""
    return torch.bincount(targets[targets != IGNORE], minlength=classes).float()


def total(terms: dict[str, Tensor], ramp: float = 1.0, guide: float = 1.0) -> Tensor:
    """Sum of all terms, Eq. 9; `ramp` and `guide` (0 … 1) scale the unsupervised and the guide."""
    loss = terms["ssl"] + terms.get("dice", 0.0) + ramp * (terms["imr"] + terms["imc"])
    return loss + guide * terms["guide"] if "guide" in terms else loss
