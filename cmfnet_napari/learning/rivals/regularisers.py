"""What rivals ask of an answer beside the strokes: each term a function, with its source."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import max_pool3d

from cmfnet_napari.learning.model.crf import AXIAL, Kernel, gated_crf


def entropy(scores: Tensor, voxels: Tensor | float) -> Tensor:
    """Entropy of the answer, 0 … 1, mean over the voxels (Grandvalet and Bengio, 2004).

    Parameters
    ----------
    scores : tensor (B, C, z, y, x)
        Logits.
    voxels : scalar
        Of the whole step.
    """
    logs = scores.log_softmax(dim=1)
    return -(logs.exp() * logs).sum() / math.log(scores.shape[1]) / voxels


def contour_length(y: Tensor, voxels: Tensor | float) -> Tensor:
    """Length of the soft contours of all classes but the background, mean over their voxels.

    How far the opening of a map lies above its erosion, in windows of 3 × 3 × 3 voxels: the form
    that public code calls total variation.

    Parameters
    ----------
    y : tensor (B, C, z, y, x)
        Probabilities.
    voxels : scalar
        Of the whole step.
    """
    classes = y[:, 1:]
    eroded = -max_pool3d(-classes, 3, stride=1, padding=1)
    opened = max_pool3d(eroded, 3, stride=1, padding=1)
    return (opened - eroded).sum() / (voxels * classes.shape[1])


def mumford_shah(
    y: Tensor, images: Sequence[tuple[Tensor, Tensor | None]], voxels: Tensor | float
) -> Tensor:
    """Mumford–Shah functional a voxel (Kim and Ye, IEEE TIP 2019).

    Squared distance of every image from its mean inside each class of a patch, weighed by the
    probability, and the absolute differences of the probabilities along all axes.

    Parameters
    ----------
    y : tensor (B, C, z, y, x)
        Probabilities.
    images : sequence of (tensor (B, 1, z, y, x), tensor (B, 1, z, y, x) or None)
        In [0, 1], each with where it has data.
    voxels : scalar
        Of the whole step.
    """
    total = y.new_zeros(())
    for image, mask in images:
        weight = y if mask is None else y * mask
        size = weight.sum(dim=(2, 3, 4), keepdim=True).clamp(min=1e-6)
        mean = (weight * image).sum(dim=(2, 3, 4), keepdim=True) / size
        total = total + (weight * (image - mean).square()).sum()
    for axis in (2, 3, 4):
        total = total + y.diff(dim=axis).abs().sum()
    return total / voxels


def joint_crf(y: Tensor, images: Tensor, radius: int, voxels: float, **sigmas: float) -> Tensor:
    """Gated CRF on axial planes (Obukhov et al., 2019).

    Parameters
    ----------
    y : tensor (B, C, z, y, x)
        Probabilities.
    images : tensor (B, M, z, y, x)
        In [0, 1]; neighbours look alike where they do in all of them.
    radius : int
        Half width of the window, voxels.
    voxels : float
        Of the whole step.
    **sigmas : float
        As in `Kernel`.
    """
    return gated_crf(y, [Kernel(images, 1.0, None, voxels, **sigmas)], radius, AXIAL)


def uncertainty(y: Tensor) -> Tensor:
    """Entropy of every voxel (B, 1, z, y, x) in nats; probabilities (B, C, z, y, x)."""
    each: Tensor = torch.special.xlogy(y, y)
    return -each.sum(dim=1, keepdim=True)


def sure_consistency(y: Tensor, taught: Tensor, doubt: Tensor, threshold: float) -> Tensor:
    """Mean squared error between an answer and the teacher's, where the teacher is sure.

    Parameters
    ----------
    y, taught : tensor (B, C, z, y, x)
        Probabilities.
    doubt : tensor (B, 1, z, y, x)
        As `uncertainty` says.
    threshold : float
        Voxels of less count, nats. It grows with the number of classes: 0.75 of ln C at first.

    Returns
    -------
    scalar tensor; 0 where the teacher is sure of nothing
    """
    sure = (doubt < threshold).to(y)
    return (sure * (y - taught).square()).sum() / (sure.sum() * y.shape[1]).clamp(min=1)


def soft_cross_entropy(scores: Tensor, wanted: Tensor, voxels: Tensor | float) -> Tensor:
    """Cross entropy of logits with soft labels (B, C, z, y, x), mean over the voxels."""
    return -(wanted * scores.log_softmax(dim=1)).sum() / voxels
