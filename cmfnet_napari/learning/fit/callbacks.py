"""What a fit tells and asks the world around it, and how it is interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.fit import events

if TYPE_CHECKING:
    from cmfnet_napari.core.fit.model_card import Card
    from cmfnet_napari.learning.fit.training_data import Material
    from cmfnet_napari.learning.predict.prediction import Prediction

Emit = Callable[[events.Event], None]
Request = Literal["", "stop", "quit", "again"]


@dataclass
class Hooks:
    """What a fit tells and asks the world around it.

    Attributes
    ----------
    emit : callable
        Takes every event.
    request : callable
        ``"stop"``: end, predict, keep the best so far; ``"quit"``: save the state and leave.
        A refine also asks itself for ``"again"``: strokes came, so what it computes is outdated.
    new_scribbles : callable
        Scribbles (uint8, Study's Grid) when strokes were drawn since the last call, else None.
    keep : callable
        Takes model, card, material and prediction of a complete fit, for who goes on with them.
    keep_reading : callable
        Takes a `reading.Reading` that has contoured, for who goes on with it.
    """

    emit: Emit = lambda event: None
    request: Callable[[], Request] = lambda: ""
    new_scribbles: Callable[[], Codes | None] = lambda: None
    keep: Callable[[nn.Module, Card, Material, Prediction], None] = lambda *_what: None
    keep_reading: Callable[[Any], None] = lambda _reading: None


class InterruptedFitError(Exception):
    """A request came in the middle of a step or a prediction, which is thereby undone."""


class Interrupter:
    """Hears a request within a convolution's time, where a step may take half a minute.

    Parameters
    ----------
    request : callable
        As in `Hooks`.
    """

    def __init__(self, request: Callable[[], Request]) -> None:
        self._request = request
        self._heard: tuple[Request, ...] = ()

    def watch(self, model: nn.Module) -> None:
        """Ask after every convolution of a model, forward and backward."""
        for module in model.modules():
            if isinstance(module, nn.Conv3d):
                module.register_forward_hook(self._forward)

    @contextmanager
    def listening(self, *requests: Request) -> Iterator[None]:
        """Let these requests break off what the watched models do meanwhile.

        Raises
        ------
        InterruptedFitError
            One came.
        """
        before, self._heard = self._heard, requests
        try:
            yield
        finally:
            self._heard = before

    def _forward(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._check()
        if output.requires_grad:
            output.register_hook(self._backward)

    def _backward(self, gradient: Tensor) -> None:
        self._check()

    def _check(self) -> None:
        if self._heard and self._request() in self._heard:
            raise InterruptedFitError
