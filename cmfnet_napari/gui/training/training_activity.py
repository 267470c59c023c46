"""A training in napari's activity dock, for who works in another panel."""

from __future__ import annotations

from napari.utils import progress
from qtpy.QtCore import QObject, QTimer

from cmfnet_napari.core.fit.events import Step
from cmfnet_napari.gui.training.training import Training

_WHOLE = 100  # per cent


class TrainingActivity(QObject):
    """One bar while a fit runs. It holds no widget of its own.

    Attributes
    ----------
    share : int
        Per cent that are done.
    """

    def __init__(self, training: Training) -> None:
        super().__init__(training)
        self._bar: progress | None = None
        self.share = 0
        # napari's bar lets waiting events in when it moves: never while one is being handled.
        self._moves = QTimer(self, singleShot=True, interval=0)
        self._moves.timeout.connect(self._move)
        training.state_changed.connect(self._on_state)
        training.stepped.connect(self._on_step)

    @property
    def shown(self) -> bool:
        """Whether there is a bar."""
        return self._bar is not None

    def _on_state(self, state: str) -> None:
        if state == "idle" and self._bar is not None:
            bar, self._bar = self._bar, None
            bar.close()
        elif state != "idle" and self._bar is None:
            self.share = 0
            self._bar = progress(total=_WHOLE, desc="CmFNet trains")

    def _on_step(self, event: Step) -> None:
        self.share = round(_WHOLE * event.progress)
        self._moves.start()

    def _move(self) -> None:
        if self._bar is not None:
            self._bar.update(self.share - self._bar.n)
