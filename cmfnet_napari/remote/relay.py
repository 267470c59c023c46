"""The worker of a case here that works elsewhere: commands in, events out, as `learning.worker`.

It sends images once and strokes as they are drawn, brings results into the case here, and goes on
with a line or a worker that was lost.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cmfnet_napari.core.case.folder import open_case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.runs import ELSEWHERE_FILE, STATE_FILE, begun_elsewhere, read_run
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.arrivals import Arrivals
from cmfnet_napari.remote.errand import Errand
from cmfnet_napari.remote.hosts import Host
from cmfnet_napari.remote.kept_line import AnewError, QuitError
from cmfnet_napari.remote.line import Line
from cmfnet_napari.remote.line_messages import BadFrameError, LineLostError
from cmfnet_napari.remote.sending import (
    SentJournal,
    run_named,
    send_model,
    send_run,
    send_runs,
)
from cmfnet_napari.remote.told import Job
from cmfnet_napari.remote.travelling_case import Remembered, TravellingCase

_LAST_PREVIEWS_S = 5.0  # the window waits so long for more than that
_KILLED = -9


class Relay(Errand):
    """Serves one case.

    Parameters
    ----------
    folder : Path
        The case, which somebody else writes the strokes of.
    host : Host
        Where the worker is.
    emit : callable
        Takes every event.
    connect : callable, optional
        Makes a line for a client, in place of ssh.
    """

    _meanwhile = (
        "Go on drawing: your strokes are kept here and are sent when it is back, by itself."
    )

    def __init__(
        self,
        folder: Path,
        host: Host,
        emit: Callable[[events.Event], None],
        connect: Callable[[str], Line] | None = None,
    ) -> None:
        self._case = open_case(folder, read_only=True)
        super().__init__(host, emit, uuid.uuid4().hex, connect, Remembered(folder, host.name))
        self._journal = SentJournal(self._case.journal, folder)
        self._arrivals = Arrivals(
            self._case, host, self._remembered, self._told, emit, self._send_new
        )
        self._sent_card: tuple[object, object] | None = None

    # --- what goes there

    def _bring_up_to_date(self, line: Line) -> frames.Attached:
        copy = TravellingCase(self._case)
        card, place = copy.card(), copy.registration()
        attached = line.ask(
            frames.Attach(
                case=self._remembered.case,
                card=card,
                registration=place,
                days=self._host.days,
                minutes=self._host.minutes,
            ),
            frames.Attached,
            patience=120,
        )
        self._send_images(line, copy.images, attached.missing)
        self._sent_card = card, place
        self._journal.compare(line, attached.last, attached.digest)
        self._send_new()
        send_runs(line, self._case)
        line.ask(frames.Ready(), frames.Done, patience=120)
        self._arrivals.previews.begin_anew()
        return attached

    def _is_new_there(self) -> None:
        self._arrivals.same.clear()

    def _send_new(self) -> None:
        self._check_quit()
        if self._line is not None:
            self._journal.send(self._line)

    def _refresh_card(self, line: Line) -> None:
        """An image that was moved, or a class that came, is told before the next command."""
        copy = TravellingCase(self._case)
        card, place = copy.card(), copy.registration()
        if (card, place) == self._sent_card:
            return
        line.ask(frames.Dismiss(), frames.Done, patience=60)
        raise AnewError

    # --- what is due

    def _begin(self, job: Job) -> None:
        line, folder = self._the_line, self._case.folder
        self._refresh_card(line)
        command = job.asked
        match command:
            case events.Fit() if command.resume:
                job.run = run_named(command.resume) or ""
                if self._is_over(job):
                    return
                self._check_goes_on(line, job.run)
                send_runs(line, self._case)
                sent: events.Work = command
            case events.Fit():
                send_runs(line, self._case)
                sent = command
                if command.base:
                    there, here = send_model(line, folder, command.base)
                    self._arrivals.pulling.models = [here]
                    sent = command.model_copy(update={"base": there})
            case events.Predict() if run_named(command.model) is None:
                send_runs(line, self._case)
                there, here = send_model(line, folder, command.model)
                self._arrivals.pulling.models = [here]
                sent = command.model_copy(update={"model": there})
            case events.Train():
                raise UserError("A cohort is trained on with 'cmfnet train', not in a case.")
            case _:
                job.run = run_named(command.model) or ""
                step = command.step if isinstance(command, events.Choose) else None
                if job.run not in self._arrivals.same or step is not None:
                    send_run(line, folder, job.run, step)
                    self._arrivals.same.add(job.run)
                sent = command
        self._arrivals.replayed = None
        self._told.say(sent)

    def _is_over(self, job: Job) -> bool:
        """Whether a fit that is to be gone on with was ended meanwhile, and came back."""
        finished = read_run(self._case.folder / "runs" / job.run).finished
        if finished is None:
            return False
        self._told.settle()
        self._emit(finished)
        return True

    def _check_goes_on(self, line: Line, run: str) -> None:
        here = begun_elsewhere(self._case.folder / "runs" / run) == self._host.name
        if here and line.ask(frames.Recover(run=run, drop=False), frames.Done).yes:
            return
        own = (self._case.folder / "runs" / run / STATE_FILE).exists()
        raise UserError(
            f"This training was begun on this computer: choose it under Where to go on with it, "
            f"or train anew on {self._host.name}."
            if own
            else f"{self._host.name} has no state of this training any more. Train anew."
        )

    def _again(self, command: events.Work, job: Job, code: int) -> events.Work:
        """A fit goes on from its state; what has none is done anew."""
        self._arrivals.replayed = None
        if not isinstance(command, events.Fit) or not job.run or not self._has_state(job.run):
            return command
        lighter = code == _KILLED and job.deaths > 1
        again = {"resume": f"runs/{job.run}", "base": "", "lighter": lighter}
        return command.model_copy(update=again)

    def _has_state(self, run: str) -> bool:
        """Whether a run there can be gone on with; else nothing is left of it there."""
        return self._the_line.ask(frames.Recover(run=run, drop=True), frames.Done).yes

    # --- what comes back

    def _on_said(self, message: frames.Said, payload: bytes) -> None:
        self._arrivals.take(self._the_line, message, payload)

    def _idle(self) -> None:
        self._arrivals.bring_later(self._the_line)

    # --- when it is left

    def _let_go(self, line: Line) -> None:
        """The previews that are still to come; then the worker saves its state and ends."""
        self._leave_by = time.monotonic() + _LAST_PREVIEWS_S
        with suppress(LineLostError, UserError, OSError, BadFrameError, QuitError):
            while self._arrivals.later and self._told.job is None:
                self._check_quit()
                self._arrivals.bring_later(line)
        self._dismiss(line)

    def _deleted(self) -> None:
        """Only now a training there cannot be gone on with any more."""
        for run in self._case.runs():
            if begun_elsewhere(run) == self._host.name:
                (run / ELSEWHERE_FILE).unlink(missing_ok=True)

    def _close(self) -> None:
        super()._close()
        self._case.close()
