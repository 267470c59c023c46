"""What a network has in common with any other that is trained and predicts here."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Network(nn.Module):
    """Takes CT and MR of any size.

    Attributes
    ----------
    classes : int
        Outputs, background included.
    """

    classes: int

    @abstractmethod
    def forward(self, ct: Tensor, mr: Tensor, maps: Tensor | None = None) -> tuple[Tensor, ...]:
        """Scores (B, classes, z, y, x) of all that is taught.

        Parameters
        ----------
        ct, mr : tensor (B, 1, z, y, x)
            Both in [0, 1]; any size.
        maps : tensor (B, M, z, y, x), optional
            Maps of the strokes, for a network that sees them.
        """

    @abstractmethod
    def fused(self, ct: Tensor, mr: Tensor, maps: Tensor | None = None) -> Tensor:
        """Scores (B, classes, z, y, x) to predict with."""


def pad_to(x: Tensor, multiple: int, least_x: int) -> Tensor:
    """Repeat the far side of every axis up to a multiple, and of x to so many voxels at least."""
    missing = [(-n) % multiple for n in x.shape[2:]]
    missing[2] = max(missing[2], least_x - x.shape[4])
    if not any(missing):
        return x
    z, y, x_ = missing
    return functional.pad(x, (0, x_, 0, y, 0, z), mode="replicate")


def mean_scores(answers: Sequence[Tensor]) -> Tensor:
    """Scores whose probabilities are the mean of those of several answers (B, classes, z, y, x)."""
    return torch.stack([scores.float().log_softmax(dim=1) for scores in answers]).logsumexp(dim=0)


def crop_to(x: Tensor, size: torch.Size) -> Tensor:
    """The first voxels of every axis, as many as there were."""
    z, y, x_ = size
    return x[:, :, :z, :y, :x_]
