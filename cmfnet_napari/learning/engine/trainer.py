"""One training step after another, on one device or on many."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.learning.engine.device import summed
from cmfnet_napari.learning.engine.state import State
from cmfnet_napari.learning.model.loss_terms import CmFNetLoss, Loss
from cmfnet_napari.learning.model.losses import Batch
from cmfnet_napari.learning.model.network import Network

if TYPE_CHECKING:
    from lightning_fabric import Fabric

N = TypeVar("N", bound=Network)

MAX_SKIPPED = 20  # steps in a row without a finite gradient: training has diverged


class DivergedError(Exception):
    """Too many steps in a row had no finite gradient; the weights are the last good ones."""


class Trainer(Generic[N]):
    """Trains a network step by step; never lets a non-finite gradient touch the weights.

    Parameters
    ----------
    model : Network
        The network; goes to the device of `fabric`.
    classes : int
        Its outputs, background included.
    config : Config
        Losses, optimiser, averaging.
    device : torch.device
        Where it is trained.
    fabric : callable
        Gives the `Fabric` of precision and the processes that share the work; asked for when the
        first step is, since it takes seconds to import and a contour needs none.
    loss : Loss, optional
        What is taught; that of CmFNet when not given.

    Attributes
    ----------
    model : Network
        The network, on its device.
    steps : int
        Steps done, skipped ones included.
    skipped : int
        Steps that changed no weight because their gradient was not finite.
    averaged : Network
        What to predict with: the moving average of the weights, or the network itself.
    """

    def __init__(
        self,
        model: N,
        classes: int,
        config: Config,
        device: torch.device,
        fabric: Callable[[], Fabric],
        loss: Loss | None = None,
    ) -> None:
        self.model: N = model.to(device)
        self.averaged: N = copy.deepcopy(self.model) if config.average > 0 else self.model
        self._loss = loss or CmFNetLoss(config)
        self.steps = self.skipped = 0
        self._classes, self._config, self._make_fabric = classes, config, fabric
        self._in_a_row, self._compiled = 0, False

    def begin(self) -> None:
        """Get ready for the first step; processes that share the work do so at the same time."""
        _ = self._learner

    def step(self, batch: Batch, progress: float) -> dict[str, float]:
        """Train on one batch, or on this process's share of one.

        Parameters
        ----------
        batch : Batch
            On the CPU.
        progress : float
            Share of the fit that is done, 0 … 1: sets learning rate and ramp.

        Returns
        -------
        dict of float
            Every term and ``total``, of the whole batch.

        Raises
        ------
        DivergedError
            After `MAX_SKIPPED` non-finite steps in a row.
        """
        self._network.train()
        self._seed()
        for group in self._optimiser.param_groups:
            group["lr"] = self._config.learning_rate * self._rate(progress)
        self._optimiser.zero_grad(set_to_none=True)
        losses = self._gradient(batch, progress)
        self.steps += 1
        if self._finite():
            self._in_a_row = 0
            if self._config.clip > 0:
                clip_grad_norm_(self.model.parameters(), self._config.clip)
            self._optimiser.step()
            self._average()
        else:
            self.skipped += 1
            self._in_a_row += 1
            if self._in_a_row >= MAX_SKIPPED:
                raise DivergedError
        return {name: float(value) for name, value in losses.items()}

    def compile(self) -> None:
        """Run steps by code that torch writes for this network; the first takes minutes.

        On two cores without it, a step of a network with instance normalisation takes 1.5 times
        as long (docs/measurements.md): its many small operations go through memory one by one.
        """
        self._compiled = True

    def load(self, weights: dict[str, Tensor]) -> None:
        """Begin from the weights of another model."""
        self.model.load_state_dict(weights)
        self.averaged.load_state_dict(weights)

    def state(self) -> State:
        """All that the next step depends on: weights, optimiser, average, step counts."""
        return {
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "steps": self.steps,
            "skipped": self.skipped,
            "in_a_row": self._in_a_row,
        }

    def restore(self, state: State) -> None:
        """Go on from a `state`, to the bit."""
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.steps, self.skipped = state["steps"], state["skipped"]
        self._in_a_row = state["in_a_row"]

    @cached_property
    def _fabric(self) -> Fabric:
        return self._make_fabric()

    @cached_property
    def _learner(self) -> tuple[Any, Any]:
        """Network and optimiser as Fabric wraps them."""
        rate = self._config.learning_rate
        optimiser = torch.optim.Adam(self.model.parameters(), lr=rate, fused=True)
        network, optimiser = self._fabric.setup(self.model, optimiser)
        return torch.compile(network) if self._compiled else network, optimiser

    @property
    def _network(self) -> Any:
        return self._learner[0]

    @property
    def _optimiser(self) -> Any:
        return self._learner[1]

    def _gradient(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Add up the gradient over parts of the batch; return the losses of the whole."""
        counts = self._counts(batch)
        parts = math.ceil(len(batch) / self._config.micro_batch)
        losses: dict[str, Tensor] = {}
        for number, part in enumerate(batch.split(self._config.micro_batch), start=1):
            part = part.to(self._fabric.device)
            with self._fabric.no_backward_sync(self._network, enabled=number < parts):
                outputs = self._network(part.ct, part.mr, part.maps)
                terms = self._loss.terms(outputs, part, counts, self.averaged, progress)
                loss = self._loss.total(terms, progress)
                # processes average their gradients; the terms are shares of one sum
                self._fabric.backward(loss * self._fabric.world_size)
            for name, value in {**terms, "total": loss}.items():
                losses[name] = losses.get(name, 0) + value.detach()
        return summed(self._fabric, losses)

    def _counts(self, batch: Batch) -> dict[str, Tensor]:
        """Counts of the whole step, over all processes, on the CPU."""
        mine = self._loss.counts(batch, self._classes)
        if self._fabric.world_size == 1:
            return mine
        mine = {name: count.to(self._fabric.device) for name, count in mine.items()}
        whole = summed(self._fabric, mine)
        return {name: count.cpu() for name, count in whole.items()}

    def _seed(self) -> None:
        """Dropout's chance belongs to the step, so that a fit can go on from any step."""
        seeds = [self._config.seed, self.steps, self._fabric.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))

    def _rate(self, progress: float) -> float:
        if self._config.schedule == "constant":
            return 1.0
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

    def _finite(self) -> bool:
        norms = [p.grad.norm() for p in self.model.parameters() if p.grad is not None]
        return bool(torch.isfinite(torch.stack(norms).sum()))

    @torch.no_grad()
    def _average(self) -> None:
        if self.averaged is self.model:
            return
        # A young average follows the weights closely, else it would remember the first guess.
        decay = min(self._config.average, (1 + self.steps) / (10 + self.steps))
        means: list[Tensor] = list(self.averaged.parameters())
        weights: list[Tensor] = list(self.model.parameters())
        torch._foreach_lerp_(means, weights, 1 - decay)
