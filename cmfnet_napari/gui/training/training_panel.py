"""Step 3: train."""

from __future__ import annotations

import math
from functools import partial

from qtpy.QtWidgets import QCheckBox, QPlainTextEdit, QPushButton, QWidget

from cmfnet_napari.core.fit.events import Finished, Preview, Started, Step
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.widgets import (
    ProgressBar,
    agreement_words,
    button,
    column,
    large_button,
    said,
    text_label,
)
from cmfnet_napari.gui.training.base_models import BaseModel, BaseModels
from cmfnet_napari.gui.training.card_check import CardCheck, card_text
from cmfnet_napari.gui.training.continue_panel import ContinuePanel
from cmfnet_napari.gui.training.loss_plot import AgreementPlot, LossPlot
from cmfnet_napari.gui.training.model_card_dialog import ModelCardDialog
from cmfnet_napari.gui.training.preflight import Preflight
from cmfnet_napari.gui.training.preflight_panel import PreflightPanel
from cmfnet_napari.gui.training.preview_choice import PreviewChoice
from cmfnet_napari.gui.training.preview_choice_panel import PreviewChoicePanel
from cmfnet_napari.gui.training.refinement import Refinement
from cmfnet_napari.gui.training.start_panel import StartPanel
from cmfnet_napari.gui.training.training import Training
from cmfnet_napari.gui.training.where_panel import WherePanel
from cmfnet_napari.gui.views.navigation import Navigation
from cmfnet_napari.gui.views.planes import Planes

_TRAIN_TIP = "Contour this patient from your strokes; you can go on drawing meanwhile"
_ENOUGH = 0.5  # of the steps; with less, the network has not learnt what it was meant to
_LONGEST = 60  # minutes
_FORESEEN = 100 * 3600  # seconds; what is said to take longer is a guess of the first step
_UPDATE_TIP = (
    "Once there is a contour, every stroke is learnt for a few seconds and the contour changes "
    "where you drew. Only the contour changes, never your strokes. Switch this off to keep the "
    "contour as it is while you draw."
)


class TrainingPanel(QWidget):
    """Choose how to begin, press Train, watch, stop."""

    def __init__(
        self,
        session: Session,
        training: Training,
        refinement: Refinement,
        preview_choice: PreviewChoice,
        base_models: BaseModels,
        planes: Planes,
        navigation: Navigation,
    ) -> None:
        super().__init__()
        self._session, self._training = session, training
        self._card_check = CardCheck(session)
        self._paused = False
        self._planned, self._minutes = 0, 0
        self._elapsed = ""
        self.where = WherePanel(training.where)
        self.begin = StartPanel(session, training, base_models)
        preflight = Preflight(session, training, planes, navigation, lambda: self.begin.config)
        preflight.setParent(self)
        self.begin.changed.connect(preflight.refresh)
        self.begin.changed.connect(self._name_button)
        self.findings = PreflightPanel(preflight)
        self.train_button = large_button("Train", self._start)
        self.stop_button = button(
            "Stop (keeps the best so far)",
            training.stop,
            "Its contour is the result",
        )
        self.update_box = QCheckBox("Update the contour while I draw")
        self.update_box.setToolTip(_UPDATE_TIP)
        self.update_box.setChecked(refinement.enabled)
        self.update_box.toggled.connect(refinement.enable)
        self.goes_on = ContinuePanel(training)
        self.progress = ProgressBar()
        self.progress.setRange(0, 1000)
        self.time = text_label()
        self.plot, self.agreement = LossPlot(session.viewer), AgreementPlot(session.viewer)
        self.preview_choice = PreviewChoicePanel(preview_choice)
        self.message = text_label()
        self.more_time = button("", self._train_longer, "Train again, as long as all steps take")
        self.more_time.hide()
        self.details_button = QPushButton("Details")
        self.details_button.setToolTip("What the training program wrote, for who helps you")
        self.details_button.setCheckable(True)
        self.details = QPlainTextEdit(readOnly=True)
        self.details.setMinimumHeight(120)
        self.details_button.toggled.connect(self.details.setVisible)
        layout = column(
            self.where,
            self.begin,
            self.train_button,
            self.update_box,
            self.goes_on,
            self.findings,
            self.progress,
            self.time,
            self.stop_button,
            self.message,
            self.more_time,
            self.preview_choice,
            self.agreement,
            self.plot,
            self.details_button,
            self.details,
        )
        layout.addStretch()
        self.setLayout(layout)
        self._connect()
        self._show_failure_details("")
        self._on_state(training.state)

    def close_plots(self) -> None:
        """Let go of the viewer."""
        self.plot.close_plot()
        self.agreement.close_plot()

    def _connect(self) -> None:
        training = self._training
        training.state_changed.connect(self._on_state)
        training.started.connect(self._on_started)
        training.stepped.connect(self._on_step)
        training.noticed.connect(self.message.setText)
        training.paused.connect(self._on_paused)
        training.previewed.connect(self._on_preview)
        training.finished.connect(self._on_finished)
        training.failed.connect(self._on_failed)
        self._session.opened.connect(self._reset)
        self._session.opened.connect(lambda: self._on_state(training.state))

    def _start(self) -> None:
        """Start, once the card of the model was read."""
        model = self.begin.model
        if model is None or self._session.patient is None:
            self.start_at_once()
        elif self._card_check.unread(model):
            dialog = ModelCardDialog(self, card_text(model), said(partial(self._use, model)))
            dialog.open()
        else:
            self.start_at_once()

    def _use(self, model: BaseModel) -> None:
        self._card_check.note_read(model)
        if self.begin.model == model and self._session.patient is not None:
            self.start_at_once()

    def start_at_once(self) -> None:
        """Start, whether the card of the model was read or not."""
        begin = self.begin
        self._training.start(
            begin.preset.currentData(), base=begin.base_path, **begin.settings.changes
        )
        if begin.model is not None:
            self._card_check.warn(begin.model)
        self._reset()
        self.message.setText("The training program starts …")

    def _train_longer(self) -> None:
        """Train again with the time that all steps take."""
        self.begin.settings.fields["minutes"].value = self._minutes
        self._start()

    def _name_button(self) -> None:
        trains = self.begin.config.steps > 0
        self.train_button.setText("Train" if trains else "Make the contour")

    def _reset(self) -> None:
        self.plot.clear()
        self.agreement.clear()
        self.progress.setValue(0)
        self._elapsed = ""
        self.time.clear()
        self.message.clear()
        self.more_time.hide()
        self._show_failure_details("")

    def _on_state(self, state: str) -> None:
        case = None if self._session.patient is None else self._session.case
        looking = case is not None and case.read_only
        self.train_button.setEnabled(state == "idle" and not looking)
        self.train_button.setToolTip(plain(case.notice) if looking else _TRAIN_TIP)
        self.begin.setEnabled(state == "idle")
        self.where.box.setEnabled(state == "idle")
        self.stop_button.setEnabled(state in ("starting", "training"))
        if state != "training":
            self.time.setText(self._elapsed)  # what was left is not known, or nothing is left
        if state == "stopping":
            self.message.setText("Stopping; the best so far becomes the prediction …")

    def _on_paused(self, reason: str) -> None:
        self._paused = True
        self.message.setText(f"Waiting. {reason}")

    def _on_started(self, event: Started) -> None:
        self._planned = event.steps
        again = f"It goes on after step {event.from_step}. " if event.from_step else ""
        self.message.setText(
            f"{again}CmFNet with {event.parameters / 1e6:.1f} M parameters trains on "
            f"{event.device}. You can go on drawing: new strokes count at once."
        )

    def _on_step(self, event: Step) -> None:
        if self._paused:
            self._paused = False
            self.message.setText("There is room again: training goes on.")
        self.progress.setValue(round(1000 * event.progress))
        self._elapsed = f"Step {event.step}: {clock(event.elapsed_s)} elapsed"
        goes_on = self._training.state == "training"
        left = f", about {clock(event.remaining_s)} left" if goes_on else ""
        self.time.setText(self._elapsed + left)
        self.plot.add(event)

    def _on_preview(self, event: Preview) -> None:
        self.agreement.add(event)
        self.message.setText(f"Preview after {event.step} steps: {agreement_words(event)}.")

    def _on_finished(self, event: Finished) -> None:
        self.progress.setValue(1000)
        done = "Stopped" if event.stopped else "Done"
        self.message.setText(
            f"{done} after {event.steps} steps, {clock(event.seconds)}: "
            f"{agreement_words(event)}. {event.warning}"
        )
        too_few = not event.stopped and event.steps < _ENOUGH * self._planned
        if too_few:
            minutes = minutes_needed(self._planned, event.steps, event.seconds)
            self.more_time.setText(f"Train again, up to {minutes} min")
            self._minutes = minutes
        self.more_time.setVisible(too_few)

    def _on_failed(self, reason: str, details: str) -> None:
        self.message.setText(f"Training failed. {reason}")
        self._show_failure_details(details)

    def _show_failure_details(self, details: str) -> None:
        self.details.setPlainText(details)
        self.details_button.setChecked(False)
        self.details_button.setVisible(bool(details))
        self.details.setVisible(False)


def minutes_needed(planned: int, done: int, seconds: float) -> int:
    """Whole minutes that all steps take at the pace of those that were done, at most an hour."""
    needed = planned / max(done, 1) * seconds / 60
    return max(1, math.ceil(needed)) if needed < _LONGEST else _LONGEST


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss; in words what is no time or cannot be foreseen."""
    if math.isnan(seconds):
        return "an unknown time"
    if seconds > _FORESEEN:
        return f"more than {_FORESEEN // 3600} hours"
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
