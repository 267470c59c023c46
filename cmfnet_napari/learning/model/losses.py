"""What the terms of the loss are made of (Eq. 3 and 8, Dice, the guide), and what they count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cmfnet_napari.core.strokes.scribbles import IGNORE


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
            labelled=label_counts(batch.targets, classes),
            labelled_mr=label_counts(batch.mr_targets, classes),
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
    if labelled is None:
        labelled = label_counts(targets, scores.shape[1])
    labelled = labelled.to(scores.device)
    weights = labelled.clamp(min=1).pow(-balance)
    each = functional.cross_entropy(
        scores.float(), targets, weights, ignore_index=IGNORE, reduction="sum"
    )
    return each / (weights * labelled).sum().clamp(min=1e-6)


def consistency(
    y_mm: Tensor, y_branch: Tensor, mask: Tensor | None = None, voxels: Tensor | None = None
) -> Tensor:
    """Mean squared error of y_mm and y_branch over voxels and classes, one part of Eq. 8.

    Parameters
    ----------
    y_mm, y_branch : tensor (B, C, z, y, x)
        Probabilities.
    mask : tensor (B, 1, z, y, x) or None
        Voxels that count.
    voxels : scalar tensor, optional
        How many count in the whole step; those of the mask when not given.
    """
    apart = (y_mm - y_branch).square().mean(dim=1, keepdim=True)
    if mask is None:
        return apart.mean() if voxels is None else apart.sum() / voxels
    return (apart * mask).sum() / (mask.sum() if voxels is None else voxels).clamp(min=1)


def class_variance(
    y: Tensor, image: Tensor, mask: Tensor | None = None, patches: float | None = None
) -> Tensor:
    """Variance of an image inside each class, summed over the classes, mean over the patches.

    Each voxel counts for a class with its probability. What is as dark as the darkest voxel of
    its patch, such as air in a window, does not count for the background (PA-Seg).

    Parameters
    ----------
    y : tensor (B, C, z, y, x)
        Probabilities.
    image : tensor (B, 1, z, y, x)
        In [0, 1].
    mask : tensor (B, 1, z, y, x) or None
        Voxels that count.
    patches : float, optional
        Patches of the whole step; those of `y` when not given.
    """
    inside = torch.ones_like(image) if mask is None else (mask > 0).to(image)
    darkest = torch.where(inside > 0, image, torch.inf).amin(dim=(2, 3, 4), keepdim=True)
    lit = inside * (image > darkest + 1e-5)
    weight = y * torch.cat([lit, inside.expand(-1, y.shape[1] - 1, -1, -1, -1)], dim=1)
    size = weight.sum(dim=(2, 3, 4), keepdim=True).clamp(min=1e-6)
    mean = (weight * image).sum(dim=(2, 3, 4), keepdim=True) / size
    apart = (weight * (image - mean).square()).sum(dim=(2, 3, 4), keepdim=True) / size
    return apart.sum() / (len(y) if patches is None else patches)


def soft_dice(
    scores: Tensor, targets: Tensor, mask: Tensor | None = None, patches: float | None = None
) -> Tensor:
    """One less the soft Dice coefficient, mean over the classes but background and the patches.

    Parameters
    ----------
    scores : tensor (B, C, z, y, x)
        Logits.
    targets : tensor (B, z, y, x), int64
        Classes; `IGNORE` does not count.
    mask : tensor (B, 1, z, y, x) or None
        Voxels that count.
    patches : float, optional
        Patches of the whole step; those of `scores` when not given.
    """
    counts = (targets != IGNORE).float()[:, None]
    if mask is not None:
        counts = counts * mask
    found = scores.float().softmax(dim=1)[:, 1:] * counts
    codes = torch.arange(1, scores.shape[1], device=targets.device).view(1, -1, 1, 1, 1)
    wanted = (targets[:, None] == codes).float() * counts
    both, each = (found * wanted).sum((2, 3, 4)), (found + wanted).sum((2, 3, 4))
    missed = (1 - (2 * both + 1) / (each + 1)).mean(dim=1)
    return missed.sum() / (len(scores) if patches is None else patches)


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


def label_counts(targets: Tensor, classes: int) -> Tensor:
    """Labelled voxels of every class, float32 (classes,)."""
    return torch.bincount(targets[targets != IGNORE], minlength=classes).float()
