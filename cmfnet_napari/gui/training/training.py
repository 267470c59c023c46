"""One fit: started, followed and stopped from the window. It holds no widget."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.events import (
    Event,
    Failed,
    Finished,
    Fit,
    LineChanged,
    Notice,
    Paused,
    Preview,
    Started,
    Step,
    Stop,
    Stopping,
)
from cmfnet_napari.core.fit.model_card import check_base, model_name, read_card, start_config
from cmfnet_napari.core.fit.runs import RunRecord, begun_elsewhere, interrupted_run
from cmfnet_napari.core.strokes.scribbles import check_trainable
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.messages import show_warning
from cmfnet_napari.gui.training.load_preview import load_preview
from cmfnet_napari.gui.training.spare_worker import SpareWorker
from cmfnet_napari.gui.training.watchdog import Watchdog
from cmfnet_napari.gui.training.where import Where
from cmfnet_napari.gui.training.worker_client import WorkerClient, worker_command

_LIGHTER = " Continue goes on from its last state, with less memory."
_ANEW = " It had not begun to learn: close other programs, then train again."
TrainingState = Literal["idle", "starting", "training", "stopping"]


class Training(QObject):
    """The fit of the open case.

    Attributes
    ----------
    preset : str
        Of the next fit.
    state : str
        ``idle``, ``starting``, ``training`` or ``stopping``.
    follow : bool
        Whether new previews are shown; not while the user looks at an earlier one.
    """

    state_changed = Signal(str)
    launching = Signal()  # a worker will need the memory that others hold
    started = Signal(object)  # Started
    stepped = Signal(object)  # Step
    previewed = Signal(object)  # Preview
    noticed = Signal(str)  # one sentence while it goes on
    paused = Signal(str)  # why it waits
    silent = Signal(float)  # seconds without a sign of life; 0: there was one again
    interruption_changed = Signal()
    completed = Signal(object, object, str)  # its WorkerClient, to be kept; Finished; device
    finished = Signal(object)  # Finished
    failed = Signal(str, str)  # one sentence; the end of the worker's log

    def __init__(self, session: Session, result: Result) -> None:
        super().__init__(session)
        self._session = session
        self._result = result
        self._client: WorkerClient | None = None
        self._run, self._killed = "", False  # of the last fit; whether it was
        self._device = "auto"
        self.command = worker_command
        self.where = Where(self)
        self.spare = SpareWorker(session, self._command)
        self.spare.line_changed.connect(self.where.hear)
        self.where.changed.connect(self.spare.start_anew)
        self.where.line_changed.connect(self._on_line)
        self.preset = "quick"
        self.state: TrainingState = "idle"
        self.follow = True
        self.interrupted: RunRecord | None = None
        self.watchdog = Watchdog(self.silent.emit)
        session.holds.append(self._hold)
        session.class_holds.append(self._hold_classes)
        session.recoded.connect(lambda _labels: self._look_for_interrupted())
        session.opened.connect(self._look_for_interrupted)
        session.closed.connect(self._look_for_interrupted)

    @property
    def running(self) -> bool:
        """Whether a fit goes on."""
        return self.state != "idle"

    @property
    def process_id(self) -> int:
        """Number of the worker's process; 0 when there is none."""
        return 0 if self._client is None else self._client.process_id

    def start(
        self, preset: str, device: str = "auto", base: Path | None = None, **changes: Any
    ) -> None:
        """Start a fit with a preset, some of its fields changed, from a base model if one is given.

        Raises
        ------
        UserError
            No patient, a fit in progress, strokes missing, strokes that cannot be saved, or a
            base model that cannot be used for them.
        """
        classes = self._check_ready()
        card = None if base is None else read_card(base)
        if card is not None:
            check_base(card, classes, model_name(base))
        config = start_config(preset, card, **changes)
        path = "" if base is None else str(base.absolute())
        teach = self._session.corrections.teach
        values = config.model_dump(mode="json")
        self._launch(Fit(config=values, device=device, base=path, corrections=teach))

    def resume(self, device: str = "auto") -> None:
        """Go on with the fit that was broken off; with less memory when the system ended it.

        Raises
        ------
        UserError
            There is none, or as `start`.
        """
        if self.interrupted is None:
            raise UserError("There is no training to go on with. Train first.")
        self._check_ready()
        begun = begun_elsewhere(self.interrupted.folder)
        if begun != self.where.name:
            raise UserError(
                f"This training was begun on {begun or 'this computer'}. Choose that under Where "
                "to go on with it, or train anew."
            )
        run = f"{self.interrupted.folder.parent.name}/{self.interrupted.folder.name}"
        teach, lighter = self._session.corrections.teach, self._killed
        fit = Fit(config={}, device=device, resume=run, lighter=lighter, corrections=teach)
        self._launch(fit)

    def stop(self) -> None:
        """End the fit; the best so far becomes the prediction."""
        if self._client is not None and self.state in ("starting", "training"):
            self._client.send(Stop())
            self.watchdog.ask()
            self._set_state("stopping")

    def end_now(self) -> None:
        """End a worker that does not answer; its run can be gone on with."""
        if self._client is not None:
            self._client.kill()

    def close(self) -> None:
        """The patient is left: end the worker without waiting; remove the preview."""
        if self._session.patient is not None:
            self.where.leave(self._session.case.folder)
        self._let_go(left=True)
        self.spare.close()
        self.watchdog.stop()
        self._result.remove_preview()
        self._set_state("idle")

    def _command(self) -> list[str]:
        """Program and arguments of the open case's worker, where it is to work."""
        return [*self.command(self._session.case.folder), *self.where.options]

    def _on_line(self, event: LineChanged) -> None:
        if self.running:  # who is away, sends or waits gives no other sign of life
            self.watchdog.heard(waits=event.state != "here")

    def _hold(self) -> str:
        """Why the patient cannot be left now, or empty."""
        running = "Training is running. Stop it before you open another patient."
        return running if self.running else ""

    def _hold_classes(self) -> str:
        """Why the classes have to stay as they are now, or empty."""
        learns = "Training is running, and learns these classes. Stop it first."
        return learns if self.running else ""

    def _check_ready(self) -> int:
        """Classes that the strokes tell of, background included."""
        case = self._session.case
        if self.running:
            raise UserError("Training is running already. Stop it before you start again.")
        if case.read_only:
            raise UserError(case.notice)
        self._session.record()
        corrected = self._session.corrections.taught_codes
        return check_trainable(np.union1d(self._session.recorder.present, corrected))

    def _launch(self, command: Fit) -> None:
        self.launching.emit()
        self._set_state("starting")
        client = self.spare.take()
        client.received.connect(self._on_event)
        client.ended_badly.connect(self._fail)
        self._client, self._device = client, command.device
        self._run, self._killed = command.resume, False
        self.watchdog.start()
        client.send(command)

    def _look_for_interrupted(self) -> None:
        """Find out whether there is a fit to go on with; not while one runs."""
        patient = self._session.patient
        usable = patient is not None and self._session.writable and not self.running
        record = interrupted_run(patient.case.runs()) if usable else None
        try:
            if record is not None and patient.case.run_table(record.folder) is not None:
                record = None  # it learnt classes that are no more
        except UserError as error:
            record = None
            show_warning(plain(f"A training that was broken off cannot be gone on with. {error}"))
        self.interrupted = record
        self.interruption_changed.emit()

    def _release(self) -> WorkerClient | None:
        """Listen no more to the worker, which goes on."""
        client, self._client = self._client, None
        if client is not None:
            client.received.disconnect(self._on_event)
            client.ended_badly.disconnect(self._fail)
        return client

    def _let_go(self, left: bool = False) -> None:
        client = self._release()
        if client is not None:
            client.close(left)

    def _set_state(self, state: TrainingState) -> None:
        if state != self.state:
            self.state = state
            self.state_changed.emit(state)

    def _on_event(self, event: Event) -> None:
        self.watchdog.heard(waits=isinstance(event, Paused))
        match event:
            case Notice():
                self.noticed.emit(event.text)
            case Stopping():
                self.noticed.emit(f"Stopped at step {event.step}. The prediction is being made …")
            case Paused():
                self.paused.emit(event.reason)
            case Started():
                self._run = event.run
                if self.state == "starting":
                    self._set_state("training")
                self.started.emit(event)
            case Step():
                self.stepped.emit(event)
            case Preview():
                self._read_preview(event)
            case Finished():
                client = self._release()
                self._end()
                self.completed.emit(client, event, self._device)
                self._result.read(event)
                self.finished.emit(event)
            case Failed():
                self._fail(event.reason)

    def _fail(self, reason: str, killed: bool = False) -> None:
        details = self._client.details if self._client is not None else ""
        self._end()
        if killed:
            reason += self._after_kill()
        self._result.remove_preview()
        self.failed.emit(reason, details)

    def _end(self) -> None:
        self._let_go()
        self.watchdog.stop()
        self._set_state("idle")
        self._look_for_interrupted()

    def _after_kill(self) -> str:
        """What there is to go on with; an earlier training did not die of a lack of memory."""
        left = self.interrupted
        self._killed = left is not None and left.folder.name == PurePosixPath(self._run).name
        return _LIGHTER if self._killed else _ANEW

    def _read_preview(self, event: Preview) -> None:
        def show(labels: np.ndarray) -> None:
            if not self.running:
                return
            if self.follow:
                self._result.show_preview(labels)
            self.previewed.emit(event)

        load_preview(self._session, event, show)
