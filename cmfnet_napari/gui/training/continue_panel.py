"""A training that was broken off, or that gives no sign of life: what to do about it."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget

from cmfnet_napari.gui.shared.widgets import button, column, row, text_label
from cmfnet_napari.gui.training.training import Training


class ContinuePanel(QWidget):
    """Offers to go on with a fit, or to end one that hangs; empty when there is neither."""

    def __init__(self, training: Training) -> None:
        super().__init__()
        self._training = training
        self.label = text_label()
        self.continue_button = button(
            "Continue", self._training.resume, "Go on from the last state that was saved"
        )
        self.silence = text_label()
        self.end_button = button(
            "End it now", self._training.end_now, "End the training program; Continue goes on"
        )
        self.wait_button = button(
            "Go on waiting", self._training.watchdog.wait_on, "Ask again after a while"
        )
        ways = row(self.wait_button, self.end_button)
        layout = column(self.label, self.continue_button, self.silence, ways)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setLayout(layout)
        self._training.interruption_changed.connect(self._offer)
        self._training.state_changed.connect(self._offer)
        self._training.silent.connect(self._on_silence)
        self._offer()
        self._on_silence(0.0)

    def _offer(self) -> None:
        run = None if self._training.running else self._training.interrupted
        for widget in (self.label, self.continue_button):
            widget.setVisible(run is not None)
        if run is not None:
            of = f" of {run.steps}" if run.steps else ""
            self.label.setText(f"A training was broken off at step {run.step}{of}.")

    def _on_silence(self, seconds: float) -> None:
        for widget in (self.silence, self.wait_button, self.end_button):
            widget.setVisible(seconds > 0)
        minutes, rest = divmod(round(seconds), 60)
        self.silence.setText(
            f"No sign of life from the training program for {minutes}:{rest:02d}. It may be busy: "
            "go on waiting, or end it and continue from its last state."
        )
