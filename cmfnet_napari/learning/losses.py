"""The loss of CmFNet, one function a term (Eq. 3 to 9)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cmfnet_napari.core.config import Config
from cmfnet_napari.core.scribbles import IGNORE
from cmfnet_napari.learning.cmfnet import Outputs
from cmfnet_napari.learning.crf import Kernel, gated_crf


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
    """

    ct: Tensor
    mr: Tensor
    fov: Tensor
    targets: Tensor
    guide: Tensor


def partial_cross_entropy(scores: Tensor, targets: Tensor, balance: float = 0.0) -> Tensor:
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

    Returns
    -------
    scalar tensor; 0 when nothing is labelled
    """
    labelled = targets != IGNORE
    if not labelled.any():
        return scores.sum() * 0.0
    chosen = targets[labelled]
    each = functional.cross_entropy(
        scores.movedim(1, -1)[labelled].float(), chosen, reduction="none"
    )
    counts = torch.bincount(chosen, minlength=scores.shape[1]).clamp(min=1)
    weights = counts.to(each.dtype).pow(-balance)[chosen]
    return (each * weights).sum() / weights.sum()


def consistency(y_mm: Tensor, y_branch: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared distance ‖y_mm − y_branch‖² a voxel, one part of Eq. 8.

    Parameters
    ----------
    y_mm, y_branch : tensor (B, C, z, y, x)
        Probabilities.
    mask : tensor (B, 1, z, y, x) or None
        Voxels that count.
    """
    apart = (y_mm - y_branch).square().sum(dim=1, keepdim=True)
    if mask is None:
        return apart.mean()
    return (apart * mask).sum() / mask.sum().clamp(min=1)


def guide_entropy(scores: Tensor, guide: Tensor, mask: Tensor | None = None) -> Tensor:
    """Cross entropy with soft targets, where they are sure.

    A voxel weighs the square of how far its likeliest class stands out (0: all alike, 1:
    certain), so that the images decide where the guide's contour lies between the strokes.

    Parameters
    ----------
    scores : tensor (B, C, z, y, x)
        Logits.
    guide : tensor (B, C, z, y, x)
        Probabilities.
    mask : tensor (B, 1, z, y, x) or None
        Voxels that count.
    """
    each = -(guide * scores.float().log_softmax(dim=1)).sum(dim=1, keepdim=True)
    classes = guide.shape[1]
    sure = (guide.amax(dim=1, keepdim=True) * classes - 1) / (classes - 1)
    weight = sure.square() if mask is None else sure.square() * mask
    return (each * weight).sum() / weight.sum().clamp(min=1e-6)


def loss_terms(outputs: Outputs, batch: Batch, config: Config) -> dict[str, Tensor]:
    """Every term of the loss with its paper weight.

    Returns
    -------
    dict
        ``ssl``: L_ssl (Eq. 4), the partial cross entropy summed over the three outputs;
        ``imr``: L_imr (Eq. 7), the CRF on y_mm with the CT's and the MR's kernel;
        ``imc``: L_imc (Eq. 8), consistency of y_mm with y_ct and y_mr;
        ``guide``, where there is one: cross entropy with it, mean of the three outputs.
    """
    mr_targets = torch.where(batch.fov[:, 0] > 0, batch.targets, IGNORE)
    pairs = ((outputs.ct, batch.targets), (outputs.mr, mr_targets), (outputs.mm, batch.targets))
    y_ct, y_mr, y_mm = (scores.float().softmax(dim=1) for scores in outputs)
    kernels = [
        Kernel(batch.ct, config.lambda_ct),
        Kernel(batch.mr, config.lambda_mr, batch.fov),
    ]
    terms = {
        "ssl": config.ce_weight
        * sum(partial_cross_entropy(s, t, config.class_balance) for s, t in pairs),
        "imr": gated_crf(
            y_mm, kernels, config.crf_radius, config.crf_sigma_xy, config.crf_sigma_intensity
        ),
        "imc": config.alpha_ct * consistency(y_mm, y_ct)
        + config.alpha_mr * consistency(y_mm, y_mr, batch.fov),
    }
    if batch.guide.shape[1]:
        masks = (None, batch.fov, None)
        parts = [guide_entropy(s, batch.guide, m) for s, m in zip(outputs, masks, strict=True)]
        terms["guide"] = config.guide * sum(parts) / len(parts)
    return terms


def total(terms: dict[str, Tensor], ramp: float = 1.0, guide: float = 1.0) -> Tensor:
    """Sum of all terms, Eq. 9; `ramp` and `guide` (0 … 1) scale the unsupervised and the guide."""
    loss = terms["ssl"] + ramp * (terms["imr"] + terms["imc"])
    return loss + guide * terms["guide"] if "guide" in terms else loss
