"""One training step after another."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from cmfnet_napari.core.config import Config
from cmfnet_napari.learning.cmfnet import CmFNet
from cmfnet_napari.learning.losses import Batch, loss_terms, total

MAX_SKIPPED = 20  # steps in a row without a finite gradient: training has diverged


class DivergedError(Exception):
    """Too many steps in a row had no finite gradient; the weights are the last good ones."""


class Trainer:
    """Trains a network step by step; never lets a non-finite gradient touch the weights.

    Parameters
    ----------
    model : CmFNet
        On its device.
    config : Config
        Losses, optimiser, averaging.
    precision : torch.dtype
        float32, or bfloat16 for autocast.

    Attributes
    ----------
    steps : int
        Steps done, skipped ones included.
    skipped : int
        Steps that changed no weight because their gradient was not finite.
    averaged : CmFNet
        What to predict with: the moving average of the weights, or the network itself.
    """

    def __init__(self, model: CmFNet, config: Config, precision: torch.dtype) -> None:
        self.model = model
        self.steps = self.skipped = 0
        self._config = config
        self._precision = precision
        self._in_a_row = 0
        self._optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
        self.averaged = copy.deepcopy(model) if config.average > 0 else model

    def step(self, batch: Batch, progress: float) -> dict[str, float]:
        """Train on one batch.

        Parameters
        ----------
        batch : Batch
            On the model's device.
        progress : float
            Share of the fit that is done, 0 … 1: sets learning rate and ramp.

        Returns
        -------
        dict of float
            Every term and ``total``.

        Raises
        ------
        DivergedError
            After `MAX_SKIPPED` non-finite steps in a row.
        """
        self.model.train()
        for group in self._optimiser.param_groups:
            group["lr"] = self._config.learning_rate * self._rate(progress)
        with torch.autocast(
            batch.ct.device.type, self._precision, enabled=self._precision != torch.float32
        ):
            outputs = self.model(batch.ct, batch.mr)
        terms = loss_terms(outputs, batch, self._config)
        loss = total(terms, self._ramp(progress), self._guide(progress))
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.steps += 1
        if self._finite(loss):
            self._in_a_row = 0
            self._optimiser.step()
            self._average()
        else:
            self.skipped += 1
            self._in_a_row += 1
            if self._in_a_row >= MAX_SKIPPED:
                raise DivergedError
        return {name: float(term.detach()) for name, term in {**terms, "total": loss}.items()}

    def _rate(self, progress: float) -> float:
        if self._config.schedule == "constant":
            return 1.0
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

    def _ramp(self, progress: float) -> float:
        """Gaussian ramp-up, from exp(−5) to 1 (Laine and Aila, 2017)."""
        if self._config.ramp <= 0:
            return 1.0
        return math.exp(-5 * (1 - min(progress / self._config.ramp, 1.0)) ** 2)

    def _guide(self, progress: float) -> float:
        """Falls evenly from 1 to its last share."""
        return 1 - (1 - self._config.guide_end) * min(progress, 1.0)

    def _finite(self, loss: Tensor) -> bool:
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norms = [g.norm() for g in gradients]
        return bool(torch.isfinite(torch.stack([loss.detach(), *norms]).sum()))

    @torch.no_grad()
    def _average(self) -> None:
        if self.averaged is self.model:
            return
        # A young average follows the weights closely, else it would remember the first guess.
        decay = min(self._config.average, (1 + self.steps) / (10 + self.steps))
        means, weights = list(self.averaged.parameters()), list(self.model.parameters())
        torch._foreach_lerp_(means, weights, 1 - decay)
