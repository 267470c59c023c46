"""A training on a cohort that works elsewhere: files once, a command, results.

Who follows it may leave and come back: the training goes on meanwhile, and is found again.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cmfnet_napari.core.errors import UserError, list_names
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.privacy import printable_values
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.begun_training import BegunTraining
from cmfnet_napari.remote.errand import Errand
from cmfnet_napari.remote.hosts import Host
from cmfnet_napari.remote.line import Line
from cmfnet_napari.remote.pulling import NotTakenError, Pulling
from cmfnet_napari.remote.run_files import OF_A_MODEL, OF_A_TRAINING, TRAINING, CohortFiles
from cmfnet_napari.remote.told import Job
from cmfnet_napari.remote.travelling_case import Remembered

_NOTED_EVERY_S = 5.0


class CohortRelay(Errand):
    """Serves one training.

    Parameters
    ----------
    folder : Path
        What is remembered of it here; takes what comes back, in ``runs/0001-training``.
    host : Host
        Where the worker is.
    emit : callable
        Takes every event.
    rows : sequence of CohortRow
        The cohort, under codes.
    files : dict of str to Path
        Its files here, by their hash.
    record : BegunTraining
        What was begun there.
    models : sequence of str
        The folders that it makes one each in; empty for a training of one model.
    connect : callable, optional
        Makes a line for a client, in place of ssh.
    """

    def __init__(
        self,
        folder: Path,
        host: Host,
        emit: Callable[[events.Event], None],
        rows: Sequence[frames.CohortRow],
        files: Mapping[str, Path],
        record: BegunTraining,
        models: Sequence[str],
        connect: Callable[[str], Line] | None = None,
    ) -> None:
        remembered = Remembered(folder, host.name)
        # Always the same who calls: what works there is not taken for that of somebody else.
        super().__init__(host, emit, remembered.case, connect, remembered)
        self._rows, self._files = list(rows), files
        self._record, self._models = record, models
        self._made = folder / "runs" / TRAINING
        kind = CohortFiles({row.patient for row in rows})
        self._pulling = Pulling(folder, kind, self._check_quit)
        self._busy = False
        self._trained: events.Trained | None = None  # before anybody here asked
        self._noted = 0.0

    @property
    def _meanwhile(self) -> str:
        if self._host.via:
            return "The training ends with it, its state kept, and goes on when the line is back."
        return "The training goes on there, and is followed again when the line is back."

    @property
    def _goes_on(self) -> bool:
        """Whether it was begun there, and is not done: it goes on without this line."""
        job = self._told.job
        return self._busy or (job is not None and job.sent is not None)

    def _bring_up_to_date(self, line: Line) -> frames.Attached:
        attached = line.ask(
            frames.Cohort(
                case=self._remembered.case,
                rows=self._rows,
                files={sha: path.stat().st_size for sha, path in self._files.items()},
                days=self._host.days,
                minutes=self._host.minutes,
            ),
            frames.Attached,
            patience=120,
        )
        if self._record.known is not None and attached.life != self._remembered.life:
            self._record.forget()
            raise UserError(
                f"What was begun on {self._host.name} is not there any more: it was deleted, by "
                f"'cmfnet on {self._host.name} delete' or after {self._host.days} days without "
                "use. The same command sends the cohort again, and trains anew."
            )
        self._send_images(line, self._files, attached.missing)
        line.ask(frames.Ready(), frames.Done, patience=120)
        self._busy = attached.busy
        return attached

    def _begin(self, job: Job) -> None:
        """Begin the training, unless it was begun before, and goes on or is done."""
        if self._trained is not None:
            self._end(self._trained)
        elif self._busy:
            job.sent, job.id = job.asked, ""  # whatever it was called by who asked for it
        else:
            self._remembered.write()  # which record of the worker it will be in
            self._record.begin()
            self._told.say(job.asked)

    def _again(self, command: events.Work, job: Job, code: int) -> events.Work:
        job.id = job.id or uuid.uuid4().hex
        return command

    def _on_said(self, message: frames.Said, payload: bytes) -> None:
        event = events.decode_event(json.dumps(printable_values(message.line)))
        job = self._told.job
        mine = job is not None and job.id in ("", message.of)
        match event:
            case events.Trained():
                self._bring()
                self._record.settle(event.metrics)  # before it is passed over for ever
                if mine:
                    self._end(event)
                else:
                    self._trained, self._busy = event, False
            case events.Failed():
                self._busy = False
                self._record.forget()  # what it has of a plan there, that side knows
                if mine:
                    self._end(event)
            case None | events.LineChanged():
                pass
            case _ if mine:
                if isinstance(event, events.Progress) and job is not None:
                    done = int(event.share * 1e6)
                    job.step, job.deaths = max(job.step, done), job.deaths * (done <= job.step)
                self._emit(event)
            case _:
                pass
        self._remembered.position = message.position
        if isinstance(event, events.End) or time.monotonic() - self._noted > _NOTED_EVERY_S:
            self._noted = time.monotonic()
            self._remembered.write()

    def _bring(self) -> None:
        """Bring all that the training has made."""
        line, where = self._the_line, self._host.name
        offered = set()
        try:
            for part in dict.fromkeys(("", *self._models)):
                for file in self._pulling.files(line, TRAINING, part):
                    self._pulling.pull(line, TRAINING, file)
                    offered.add(file.name)
        except NotTakenError as error:
            raise UserError(
                f"{error} It is still on {where}. Try again; if that says the same, train anew "
                "into a new folder."
            ) from error
        needed = [*OF_A_TRAINING]
        needed += [f"{model}/{name}".lstrip("/") for model in self._models for name in OF_A_MODEL]
        lacking = [n for n in needed if n not in offered or not (self._made / n).is_file()]
        if lacking:
            raise UserError(
                f"The training on {where} is done, but {list_names(lacking)} did not come. Nothing "
                "was deleted there. Try again; if that says the same, train anew into a new folder."
            )

    def _end(self, event: events.Trained | events.Failed) -> None:
        self._told.settle()
        self._busy = False
        self._emit(event)

    def _let_go(self, line: Line) -> None:
        """What is done needs no worker any more; what is not goes on."""
        if not self._goes_on:
            self._dismiss(line)
