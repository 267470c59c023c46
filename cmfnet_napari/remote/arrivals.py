"""What a worker elsewhere says of a case, and what it has made, brought into the case here."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import PurePosixPath

from cmfnet_napari.core.case.case_classes import RUN_CLASSES, note_classes
from cmfnet_napari.core.case.folder import Case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import append_line, private_folder, write_json
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.kept_previews import forget_previews
from cmfnet_napari.core.fit.model_card import MODEL_FILE
from cmfnet_napari.core.fit.runs import ELSEWHERE_FILE, EVENTS_FILE, PREVIEW_FILE, begun_elsewhere
from cmfnet_napari.core.privacy import inside, printable_values
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.hosts import Host
from cmfnet_napari.remote.line import Line
from cmfnet_napari.remote.previews import Previews
from cmfnet_napari.remote.pulling import NotTakenError, Pulling
from cmfnet_napari.remote.run_files import CaseFiles, is_kept_preview, note_maker, travels
from cmfnet_napari.remote.sending import run_named
from cmfnet_napari.remote.told import Told
from cmfnet_napari.remote.travelling_case import Remembered

_PATHS = "model", "labels", "probabilities", "disagreement"


class Arrivals:
    """Takes what comes over the line.

    Parameters
    ----------
    case : Case
        Open for reading.
    host : Host
        Where it comes from.
    remembered : Remembered
        How far it was heard.
    told : Told
        What was asked for.
    emit : callable
        Takes events, as they are said here.
    meanwhile : callable
        As in `Pulling`.

    Attributes
    ----------
    pulling, previews : Pulling, Previews
        Bring files; write previews.
    same : set of str
        Runs whose model is the same on both sides.
    later : deque
        Files that may come when there is nothing else to do, each with its run.
    replayed : str or None
        Run of events that nobody here has asked for.
    """

    def __init__(
        self,
        case: Case,
        host: Host,
        remembered: Remembered,
        told: Told,
        emit: Callable[[events.Event], None],
        meanwhile: Callable[[], None],
    ) -> None:
        self._case, self._host, self._remembered = case, host, remembered
        self._told, self._emit = told, emit
        self.pulling = Pulling(case.folder, CaseFiles(case.study), meanwhile)
        self.previews = Previews(case.folder, case.study.grid.shape)
        self.same: set[str] = set()
        self.later: deque[tuple[str, frames.FileOf]] = deque()
        self.replayed: str | None = None

    def take(self, line: Line, message: frames.Said, payload: bytes) -> None:
        """Take what the worker said.

        Raises
        ------
        NotTakenError
            It is not what it is called; it does not come again.
        """
        try:
            self._take(line, message, payload)
        except NotTakenError:  # told once: else it would come, and be refused, at every call
            self._remembered.position = message.position
            self._remembered.write()
            raise

    def bring_later(self, line: Line) -> None:
        """Bring one of the previews that can be gone back to."""
        if self.later:
            run, file = self.later.popleft()
            with suppress(UserError):
                self.pulling.pull(line, run, file)

    def _take(self, line: Line, message: frames.Said, payload: bytes) -> None:
        event = events.decode_event(json.dumps(printable_values(message.line)))
        if event is None or isinstance(event, events.LineChanged):
            self._remembered.position = message.position
            return
        job = self._told.job
        if job is not None and message.of and message.of != job.id:
            job = None  # late news of another command
        run = self._run_of(event, job is not None)
        if job is None and not self._is_awaited(event, run):
            if isinstance(event, events.Preview):
                self.previews.take(message, payload, "")  # the next may build on it
            self._remembered.position = message.position
            return
        match event:
            case events.Started():
                self._begin_run(run, "" if event.from_step else message.of)
                if job is not None:
                    job.run = run
            case events.Step() if job is not None and event.step > job.step:
                job.step, job.deaths = event.step, 0
            case events.Saved():
                event = event.model_copy(update={"model": f"runs/{run}/{MODEL_FILE}"})
            case events.Preview() if run:
                self.previews.take(message, payload, run)
                event = event.model_copy(update={"labels": f"runs/{run}/{PREVIEW_FILE}"})
            case events.Finished() if run:
                event = self._bring(line, event, run, None if job is None else job.asked)
            case _:
                pass
        asked = None if job is None else job.asked
        self._log(event, run, asked)
        self._remembered.position = message.position
        if isinstance(event, events.Finished | events.Failed):
            if job is not None:
                self._told.settle()
            self._settle(event, run, asked)
        if job is not None:
            self._emit(event)

    def _run_of(self, event: events.Event, is_asked: bool) -> str:
        """The run that an event is about; its name is checked."""
        match event:
            case events.Started():
                named: str | None = event.run
            case events.Preview() | events.Finished():
                named = str(PurePosixPath(event.labels).parent)
            case _:
                if is_asked and self._told.job is not None:
                    return self._told.job.run
                return self._open_run if self.replayed is None else self.replayed
        run = run_named(named or "")
        if run is None or not frames.is_run_name(run):
            raise NotTakenError(
                f"{self._host.name} names a run that is none. Nothing of it was taken."
            )
        return run

    @property
    def _open_run(self) -> str:
        """The run that went on when this window was not here."""
        runs = [run for run in self._case.runs() if begun_elsewhere(run) == self._host.name]
        return runs[-1].name if runs else ""

    def _is_awaited(self, event: events.Event, run: str) -> bool:
        """Whether what nobody here has asked for is of a run that goes on there.

        What was begun before this window was there, and of which nobody heard, may be called as a
        run that was made here since; what changed a contour there is older than a contour here.
        """
        folder = self._case.folder / "runs" / run
        of_there = begun_elsewhere(folder) == self._host.name
        if isinstance(event, events.Started):
            of_there = of_there or not folder.exists()
            self.replayed = run if of_there else ""
        return bool(run) and of_there

    def _begin_run(self, run: str, command: str) -> None:
        folder = inside(self._case.folder, f"runs/{run}")
        if folder.exists() and begun_elsewhere(folder) != self._host.name:
            raise NotTakenError(
                f"{self._host.name} began a run that is called {run}, as one here is that was made "
                "on another computer. Nothing of it was taken. Train again."
            )
        private_folder(folder)
        note_maker(folder, command)
        note_classes(folder, self._case.order)
        write_json(folder / ELSEWHERE_FILE, {"host": self._host.name})
        self.same.discard(run)
        self._remembered.write()

    def _bring(
        self, line: Line, event: events.Finished, run: str, asked: events.Work | None
    ) -> events.Finished:
        """Bring what a run has made into the case here; its event, as it is said here."""
        files = self.pulling.files(line, run)
        folder = self._case.folder / "runs" / run
        for file in files:
            own = file.name == RUN_CLASSES and (folder / file.name).exists()
            if not is_kept_preview(file.name) and not own:
                self.pulling.pull(line, run, file)
        self.later = deque((run, file) for file in files if is_kept_preview(file.name))
        self.same.add(run)
        paths = {name: self._here(getattr(event, name), run) for name in _PATHS}
        if isinstance(asked, events.Predict):
            paths["model"] = asked.model
        names = self._case.class_names
        volumes = {
            names[n] if n < len(names) else f"Class {n + 1}": volume
            for n, volume in enumerate(event.volumes_ml.values())
        }
        return event.model_copy(update={**paths, "volumes_ml": volumes})

    def _here(self, named: str, run: str) -> str:
        """Path of a file of a run as it is called here; what it was called there tells its name."""
        name = PurePosixPath(named).name
        return f"runs/{run}/{name}" if travels(name) else ""

    def _log(self, event: events.Event, run: str, asked: events.Work | None) -> None:
        """What a worker here writes into its run by itself."""
        folder = self._case.folder / "runs" / run
        silent = isinstance(event, events.Failed) or isinstance(asked, events.Predict)
        if run and folder.is_dir() and not silent:
            append_line(folder / EVENTS_FILE, events.encode(event))

    def _settle(self, event: events.Event, run: str, asked: events.Work | None) -> None:
        fit = asked is None or isinstance(asked, events.Fit)
        if isinstance(event, events.Finished) and run:
            (self._case.folder / "runs" / run / ELSEWHERE_FILE).unlink(missing_ok=True)
            for earlier in self._case.runs() if fit else ():
                if earlier.name != run:
                    forget_previews(earlier)
        self._remembered.write()
