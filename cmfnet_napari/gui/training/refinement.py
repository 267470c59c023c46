"""Learning while drawing: every stroke brings the contour up to date. It holds no widget."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from cmfnet_napari.core.case.case_classes import OTHER_CLASSES
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.events import Choose, Event, Failed, Finished, Paused, Preview, Refine
from cmfnet_napari.core.fit.model_card import MODEL_FILE, read_card
from cmfnet_napari.core.fit.runs import newest_prediction
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.training.load_preview import load_preview
from cmfnet_napari.gui.training.training import Training
from cmfnet_napari.gui.training.worker_client import WorkerClient

QUIET_MS = 400  # after a stroke: who draws several in a row is not interrupted by each
IDLE_SECONDS = 600  # without a stroke: the worker is let go, and its memory with it
_LOST = (
    "The program that updates the contour ended unexpectedly. Your strokes are saved; it is "
    "started again at your next stroke."
)
RefinementState = Literal["off", "ready", "updating"]


class Refinement(QObject):
    """Keeps the contour of the open case up to date, with a worker that stays after a fit.

    The worker may end at any time while it is idle: the next stroke starts another.

    Attributes
    ----------
    enabled : bool
        Whether the user wants it.
    state : str
        ``off``: there is no contour to update; ``ready``: the next stroke updates it;
        ``updating``.
    idle : QTimer
        Lets the worker go.
    """

    state_changed = Signal(str)
    finished = Signal(object)  # Finished
    paused = Signal(str)  # why it waits
    failed = Signal(str)  # one sentence

    def __init__(self, session: Session, result: Result, training: Training) -> None:
        super().__init__(session)
        self._session = session
        self._result, self._training = result, training
        self._client: WorkerClient | None = None
        self._run, self._device = "", "auto"
        self._last: Finished | None = None  # what is shown
        self._late = False  # a stroke came that may not have been taken up
        self._since_step = False  # and that since a fit told of its last step
        self._drawn = False  # and that before classes went or came back
        self.enabled = True
        self.state: RefinementState = "off"
        self._quiet, self.idle = QTimer(self, singleShot=True), QTimer(self, singleShot=True)
        self._quiet.setInterval(QUIET_MS)
        self._quiet.timeout.connect(self._begin)
        self.idle.setInterval(1000 * IDLE_SECONDS)
        self.idle.timeout.connect(self.rest)
        session.opened.connect(self._look_for_contour)
        session.strokes_changed.connect(self._on_strokes)
        session.recoding.connect(self._on_recoding)
        session.recoded.connect(self._on_recoded)
        training.launching.connect(self.rest)
        training.stepped.connect(self._on_fit_goes_on)
        training.completed.connect(self.take_over)
        training.where.changed.connect(self.rest)  # the next stroke starts one there

    @property
    def run(self) -> Path | None:
        """Folder of the run whose contour is shown; None: there is none, or without its model."""
        return self._session.case.folder / self._run if self._run else None

    @property
    def process_id(self) -> int:
        """Number of the worker's process; 0 when there is none."""
        return 0 if self._client is None else self._client.process_id

    def take_over(self, client: WorkerClient, event: Finished, device: str) -> None:
        """Keep the worker of a fit that is complete, for the strokes to come.

        Who stopped the fit wants the machine back: the next stroke starts another.
        """
        self._offer(event)
        self._device = device
        self._hold(client)
        late = self._late
        if event.stopped or not self.enabled:
            self.rest()
        if late and self.enabled:
            self._quiet.start()

    def enable(self, on: bool) -> None:
        """Update the contour at every stroke from now on, or no more."""
        self.enabled = on
        if not on:
            self.rest()

    def choose(self, step: int) -> None:
        """Go back to a preview that the run has kept: it becomes the contour.

        Raises
        ------
        UserError
            The contour is being computed, or the case is open for looking only.
        """
        if not self._session.writable:
            raise UserError(self._session.case.notice)
        if self.state != "ready" or self._training.running:
            raise UserError("The contour is being computed. Choose when it is there.")
        self._session.record()
        self._send(Choose(model=self._run, step=step, device=self._device, corrections=self._teach))

    def rest(self) -> None:
        """Let the worker go; a contour that was being updated stays as it was."""
        self._quiet.stop()
        self._let_go()
        self._late = self._since_step = False
        if self.state == "updating":
            self._set_state("ready")

    def close(self) -> None:
        """The patient is left."""
        self._let_go(left=True)
        self.rest()
        self._run, self._last = "", None
        self._set_state("off")

    def _look_for_contour(self) -> None:
        """A contour of an earlier session can be updated too, if its model is there."""
        case = self._session.case
        event = None if case.read_only else newest_prediction(case.runs())
        if event is not None:
            run = case.folder / PurePosixPath(event.labels).parent
            if self._knows(run / MODEL_FILE):
                self._offer(event)

    def _knows(self, model: Path) -> bool:
        """Whether a model is there, of this study and these classes.

        An MR that was moved makes another study.
        """
        case = self._session.case
        try:
            card = read_card(model)
            same = card.study == case.study.content_hash
            return same and case.knows_classes(model.parent, card.labels)
        except UserError:
            return False

    def _on_recoding(self) -> None:
        self._drawn = self._late or self.state == "updating"

    def _on_recoded(self, _labels: object) -> None:
        """Classes went or came back: a model that learnt others is not brought up to date.

        A stroke that nobody has taken up yet is when a model that knows the classes is there.
        """
        self.rest()
        self._late = self._drawn  # what came since is the change of classes itself
        if self._last is None or self.run is None:
            self._look_for_contour()
        elif self._knows(self.run / MODEL_FILE):
            self._set_state("ready")
        elif self.state != "off":
            self._set_state("off")
            self.failed.emit(OTHER_CLASSES)
        if self._late and self.enabled and self.state == "ready":
            self._quiet.start()

    def _offer(self, event: Finished) -> None:
        self._run, self._last = str(PurePosixPath(event.labels).parent), event
        self._set_state("ready")

    def _on_strokes(self) -> None:
        self._late = self._since_step = True
        self.idle.start()
        if self.enabled and self.state != "off" and not self._training.running:
            self._quiet.start()

    def _on_fit_goes_on(self) -> None:
        """A step is over: it has taken up the strokes that were there when it began.

        Those drawn in its course wait for the next one, whose end takes them off here.
        """
        self._late, self._since_step = self._since_step, False

    def _begin(self) -> None:
        """Bring the contour up to date; a refine that goes on takes the strokes up by itself."""
        if not self._session.writable or self._training.running:
            return
        if self.state == "updating":
            return
        self._send(Refine(model=self._run, device=self._device, corrections=self._teach))

    @property
    def _teach(self) -> bool:
        return self._session.corrections.teach

    def _send(self, command: Refine | Choose) -> None:
        if self._client is None:
            self._hold(self._training.spare.take())
        self._late = False
        self._set_state("updating")
        self._client.send(command)

    def _hold(self, client: WorkerClient) -> None:
        self._client = client
        client.received.connect(self._on_event)
        client.ended_badly.connect(self._on_bad_end)
        client.ended.connect(self._on_end)
        self.idle.start()

    def _let_go(self, left: bool = False) -> None:
        self.idle.stop()
        client, self._client = self._client, None
        if client is not None:
            client.received.disconnect(self._on_event)
            client.ended_badly.disconnect(self._on_bad_end)
            client.ended.disconnect(self._on_end)
            client.close(left)

    def _set_state(self, state: RefinementState) -> None:
        if state != self.state:
            self.state = state
            self.state_changed.emit(state)

    def _on_event(self, event: Event) -> None:
        match event:
            case Preview():
                load_preview(self._session, event, self._show)
            case Paused():
                self.paused.emit(event.reason)
            case Finished():
                self._set_state("ready")
                if event != self._last:
                    self._last = event
                    self._result.read(event)
                self.finished.emit(event)
                # Maybe they came after the worker looked for strokes for the last time.
                if self._late and self.enabled:
                    self._quiet.start()
            case Failed():
                self._set_state("ready")
                self.failed.emit(event.reason)

    def _show(self, labels: np.ndarray) -> None:
        if self.state == "updating":
            self._result.follow(labels)

    def _on_bad_end(self, _reason: str, _killed: bool) -> None:
        self.rest()
        self.failed.emit(_LOST)

    def _on_end(self) -> None:
        """It is gone while nobody waits for it: nothing to tell."""
        self._let_go()
