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
        self._training = training
        self._bar: progress | None = None
        self._letting_in = False
        self.share = 0
        # napari's bar lets all waiting events in, painting too, when it is made, moves or goes.
        # So that happens on its own, never while a signal of ours or a click is being handled.
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self._follow)
        training.state_changed.connect(self._on_state)
        training.stepped.connect(self._on_step)

    @property
    def shown(self) -> bool:
        """Whether there is a bar."""
        return self._bar is not None

    def _on_state(self, state: str) -> None:
        if state == "starting":
            self.share = 0
        self._soon.start()

    def _on_step(self, event: Step) -> None:
        self.share = round(_WHOLE * event.progress)
        self._soon.start()

    def _follow(self) -> None:
        if self._letting_in:
            self._soon.start()
            return
        self._letting_in = True
        self._move()
        self._letting_in = False

    def _move(self) -> None:
        if not self._training.running:
            bar, self._bar = self._bar, None
            if bar is not None:
                bar.close()
        elif self._bar is None:
            self._bar = progress(total=_WHOLE, desc="CmFNet trains")
        elif self._bar.n != self.share:
            self._bar.update(self.share - self._bar.n)
