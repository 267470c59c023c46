"""The worker of a case here that works elsewhere: commands in, events out, as `learning.worker`.

It owns the line: sends images once and strokes as they are drawn, brings results into the case
here, comes back when the line was lost, and goes on with a worker that was lost, too.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from cmfnet_napari.core.case.case_classes import RUN_CLASSES, note_classes
from cmfnet_napari.core.case.folder import open_case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import append_line, private_folder, write_json
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.kept_previews import forget_previews
from cmfnet_napari.core.fit.model_card import MODEL_FILE
from cmfnet_napari.core.fit.runs import (
    ELSEWHERE_FILE,
    EVENTS_FILE,
    PREVIEW_FILE,
    STATE_FILE,
    begun_elsewhere,
    read_run,
)
from cmfnet_napari.core.privacy import inside, printable, printable_values
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.hosts import Host
from cmfnet_napari.remote.line import Line, UnreachableError, refusal
from cmfnet_napari.remote.line_messages import BadFrameError, HeldError, LineLostError
from cmfnet_napari.remote.pulling import NotTakenError, Pulling
from cmfnet_napari.remote.run_files import is_kept_preview, travels
from cmfnet_napari.remote.sending import (
    SentJournal,
    run_named,
    send_file,
    send_model,
    send_run,
    send_runs,
)
from cmfnet_napari.remote.travelling_case import Remembered, TravellingCase

_LOOK_S = 0.02
_AGAIN_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
_MOST_DEATHS = 3
_DISMISS_S = 30.0
_LAST_PREVIEWS_S = 5.0  # the window waits so long for more than that
_HELD_S = 75.0  # a window that was closed is let go there by then
_KILLED = -9
_Refusal = UserError | OSError | BadFrameError | ValidationError
_PATHS = "model", "labels", "probabilities", "disagreement"


@dataclass
class Job:
    """A command that is being worked on.

    Attributes
    ----------
    asked : Fit, Refine, Predict or Choose
        What was asked for here.
    sent : the same, or None
        What was told there, with names as they are there; None: not yet.
    number : int
        Of the command there.
    run : str
        The run it works on, once that is known.
    step, deaths : int
        How far it came; how often the worker was lost since.
    stopped : bool
        It was told to stop.
    """

    asked: events.Work
    sent: events.Work | None = None
    number: int = 0
    run: str = ""
    step: int = 0
    deaths: int = 0
    stopped: bool = False


class Relay:
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

    def __init__(
        self,
        folder: Path,
        host: Host,
        emit: Callable[[events.Event], None],
        connect: Callable[[str], Line] | None = None,
    ) -> None:
        self._case = open_case(folder, read_only=True)
        self._host, self._emit = host, emit
        self._client = uuid.uuid4().hex
        self._connect = connect or self._call
        self._remembered = Remembered(folder, host.name)
        self._inbox: deque[events.Work | events.Stop] = deque()
        self._quitting = threading.Event()
        self._unsaid: list[frames.Say] = []
        self._number = 0
        self._job: Job | None = None
        self._line: Line | None = None
        self._journal = SentJournal(self._case.journal, folder)
        self._pulling = Pulling(folder, self._case.study, self._send_strokes)
        self._same: set[str] = set()  # runs whose model is the same on both sides
        self._sent_card: tuple[object, object] | None = None
        self._later: deque[tuple[str, frames.FileOf]] = deque()
        self._was_here = False
        self._is_left = False
        self._leave_by: float | None = None  # nothing more is brought then
        self._held_since: float | None = None
        self._replayed: str | None = None  # run of events that nobody here has asked for

    # --- what the window says

    def take(self, command: events.Command) -> None:
        """Take a command; from any thread."""
        if isinstance(command, events.Quit):
            self._is_left = self._is_left or command.left
            self._quitting.set()
        else:
            self._inbox.append(command)

    # --- the line

    def run(self) -> int:
        """Work until told to quit; return the exit status."""
        tries = 0
        try:
            while not self._quitting.is_set():
                try:
                    with suppress(_QuitError):
                        self._attach()
                        tries = 0
                        self._work()
                    return self._leave()
                except _AnewError:
                    self._hang_up()
                except LineLostError as error:
                    self._hang_up()
                    if self._quitting.is_set():
                        break
                    self._say_away(str(error))
                    self._wait(_AGAIN_S[min(tries, len(_AGAIN_S) - 1)])
                    tries += 1
                except (UserError, OSError, BadFrameError, ValidationError) as error:
                    self._hang_up()
                    if not self._stay_refused(error, tries):
                        return 1
                    tries += 1
            return 0
        finally:
            self._hang_up()
            self._note_forget()
            self._case.close()

    def _call(self, client: str) -> Line:
        return Line(
            self._host,
            client,
            waiting=lambda said: self._state("waiting", said),
            check=self._check_quit,
        )

    def _check_quit(self) -> None:
        leaving = self._leave_by is not None and time.monotonic() < self._leave_by
        if self._quitting.is_set() and not leaving:
            raise _QuitError

    def _attach(self) -> None:
        """Call, and bring the case there up to date."""
        if not self._was_here:
            self._state("connecting", f"Calling {self._host.name} …")
        line = self._line = self._connect(self._client)
        if self._remembered.forget:
            with suppress(UserError):  # where another line has it, when that is left
                self._delete(line)
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
        if attached.life != self._remembered.life or attached.length < self._remembered.position:
            self._remembered.life, self._remembered.position = attached.life, 0
            self._same.clear()
        self._send_images(line, copy, attached.missing)
        self._sent_card = card, place
        self._journal.compare(line, attached.last, attached.digest)
        self._send_strokes()
        send_runs(line, self._case)
        line.ask(frames.Ready(), frames.Done, patience=120)
        self._pulling.preview = None
        line.ask(frames.Follow(position=self._remembered.position), frames.Done)
        self._catch_up(attached)
        self._held_since = None
        again = self._was_here
        self._was_here = True
        words = f"Back on {self._host.name}." if again else f"{self._host.name} is ready."
        self._state("here", words + (f" {line.skew}" if line.skew and not again else ""))

    def _send_images(self, line: Line, copy: TravellingCase, missing: dict[str, int]) -> None:
        sizes = {sha: copy.images[sha].stat().st_size for sha in missing if sha in copy.images}
        total, sent = max(1, sum(sizes.values())), 0
        for sha in sizes:

            def show(have: int, before: int = sent) -> None:
                share = (before + have) / total
                words = f"Sending images to {self._host.name} … {100 * share:.0f} %"
                self._state("sending", words, share)

            send_file(line, copy.images[sha], sha, missing[sha], show, self._check_quit)
            sent += sizes[sha]

    def _catch_up(self, attached: frames.Attached) -> None:
        """Hear what was said meanwhile; say again what was not heard; go on with what was lost."""
        while self._the_line.waiting:
            self._hear(0.0)
        for said in self._unsaid:
            if said.number > attached.said:
                self._tell(said)
        job = self._job
        heard = job is not None and job.sent is not None and job.number <= attached.said
        if job is not None and heard and not attached.busy:
            self._recover(job, 0)

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def _say_away(self, why: str) -> None:
        text = (
            f"The line to {self._host.name} was lost. Go on drawing: your strokes are kept here "
            "and are sent when it is back, by itself."
        )
        print(f"the line was lost: {why}", file=sys.stderr)
        self._state("away", text)

    def _words(self, error: _Refusal) -> str:
        if isinstance(error, UserError):
            return str(error)
        if not isinstance(error, OSError):
            print(f"not understood: {type(error).__name__}", file=sys.stderr)
            return (
                f"{self._host.name} and this computer do not understand each other. Nothing was "
                "taken, and nothing is lost. See whether both have the same version of "
                "cmfnet-napari, then try again."
            )
        return (
            f"What came from {self._host.name} could not be written here ({error.strerror}). Free "
            "some disk space, then try again: nothing is lost there."
        )

    def _stay_refused(self, error: _Refusal, tries: int) -> bool:
        """Whether to try again after a refusal: a lost line is tried for ever, a refusal is told.

        A window learns of it when it asks for something; then it is tried once more.
        """
        why = self._words(error)
        if self._is_held(error):
            self._state("connecting", f"{self._host.name} lets an earlier line of this case go …")
            self._wait(_AGAIN_S[min(tries, 2)])
            return True
        if self._was_here and isinstance(error, UnreachableError):
            self._say_away(why)
            self._wait(_AGAIN_S[min(tries, len(_AGAIN_S) - 1)])
            return True
        if self._job is not None or self._inbox:
            self._job, self._unsaid = None, []
            self._inbox.clear()
            self._emit(events.Failed(reason=why))
        self._state("refused", why)
        while not self._inbox:
            if self._quitting.wait(0.1):
                return False
        return True

    def _is_held(self, error: _Refusal) -> bool:
        """Whether it may be an earlier line of this window that is not let go there yet."""
        if not isinstance(error, HeldError):
            self._held_since = None
            return False
        self._held_since = self._held_since or time.monotonic()
        return time.monotonic() - self._held_since < _HELD_S

    def _wait(self, seconds: float) -> None:
        """Wait, unless told to quit."""
        self._quitting.wait(seconds)

    def _state(self, state: events.LineState, text: str, share: float = 0.0) -> None:
        self._emit(events.LineChanged(state=state, host=self._host.name, text=text, share=share))

    # --- while it holds

    def _work(self) -> None:
        while True:
            self._send_strokes()
            while self._inbox:
                self._begin(self._inbox.popleft())
            if not self._hear(_LOOK_S) and self._later and self._job is None:
                self._bring_later()

    def _send_strokes(self) -> None:
        self._check_quit()
        if self._line is not None:
            self._journal.send(self._line)

    def _begin(self, command: events.Work | events.Stop) -> None:
        """Tell the worker there, in words that are right there."""
        if isinstance(command, events.Stop):
            if self._job is not None:
                self._job.stopped = True
            self._say_more(command)
            return
        job = self._job = Job(command)
        try:
            self._prepare(job)
        except UserError as error:
            self._job = None
            self._emit(events.Failed(reason=str(error)))
        except (LineLostError, _AnewError):
            if job.sent is None:
                self._job = None
                self._inbox.appendleft(command)
            raise

    def _prepare(self, job: Job) -> None:
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
                    self._pulling.models = [here]
                    sent = command.model_copy(update={"base": there})
            case events.Predict() if run_named(command.model) is None:
                send_runs(line, self._case)
                there, here = send_model(line, folder, command.model)
                self._pulling.models = [here]
                sent = command.model_copy(update={"model": there})
            case _:
                job.run = run_named(command.model) or ""
                step = command.step if isinstance(command, events.Choose) else None
                if job.run not in self._same or step is not None:
                    send_run(line, folder, job.run, step)
                    self._same.add(job.run)
                sent = command
        self._say(job, sent)

    def _is_over(self, job: Job) -> bool:
        """Whether a fit that is to be gone on with was ended meanwhile, and came back."""
        finished = read_run(self._case.folder / "runs" / job.run).finished
        if finished is None:
            return False
        self._job = None
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

    def _refresh_card(self, line: Line) -> None:
        """An image that was moved, or a class that came, is told before the next command."""
        copy = TravellingCase(self._case)
        card, place = copy.card(), copy.registration()
        if (card, place) == self._sent_card:
            return
        line.ask(frames.Dismiss(), frames.Done, patience=60)
        raise _AnewError

    def _say(self, job: Job, command: events.Work) -> None:
        self._number += 1
        job.sent, job.number, self._replayed = command, self._number, None
        said = self._said(command)
        self._unsaid = [said]
        self._tell(said)

    def _say_more(self, command: events.Command) -> None:
        """Say something besides the command that is worked on."""
        self._number += 1
        said = self._said(command)
        self._unsaid.append(said)
        self._tell(said)

    def _said(self, command: events.Command) -> frames.Say:
        return frames.Say(number=self._number, command=command.model_dump(mode="json"))

    def _tell(self, said: frames.Say) -> None:
        self._send_strokes()  # first: the command is about them, too
        self._the_line.send(said)

    @property
    def _the_line(self) -> Line:
        if self._line is None:
            raise LineLostError("there is no line")
        return self._line

    # --- what the worker says

    def _hear(self, timeout: float) -> bool:
        """Whether something was said."""
        found = self._the_line.heard(timeout)
        if found is None:
            return False
        message, payload = found
        match message:
            case frames.Said():
                self._on_said(message, payload)
            case frames.Lost():
                if message.log:
                    print(printable(message.log), file=sys.stderr)
                if self._job is not None:
                    self._recover(self._job, message.code)
            case frames.Refused():
                raise refusal(self._host, message)
            case _:
                pass
        return True

    def _on_said(self, message: frames.Said, payload: bytes) -> None:
        try:
            self._take_said(message, payload)
        except NotTakenError:  # told once: else it would come, and be refused, at every call
            self._remembered.position = message.position
            self._remembered.write()
            raise

    def _take_said(self, message: frames.Said, payload: bytes) -> None:
        event = events.decode_event(json.dumps(printable_values(message.line)))
        if event is None or isinstance(event, events.LineChanged):
            self._remembered.position = message.position
            return
        job = self._job
        run = self._run_of(event, job)
        if job is None and not self._is_awaited(event, run):
            if isinstance(event, events.Preview):
                self._pulling.take_preview(message, payload, "")  # the next may build on it
            self._remembered.position = message.position
            return
        match event:
            case events.Started():
                self._begin_run(run)
                if job is not None:
                    job.run = run
            case events.Step() if job is not None and event.step > job.step:
                job.step, job.deaths = event.step, 0
            case events.Saved():
                event = event.model_copy(update={"model": f"runs/{run}/{MODEL_FILE}"})
            case events.Preview() if run:
                self._pulling.take_preview(message, payload, run)
                event = event.model_copy(update={"labels": f"runs/{run}/{PREVIEW_FILE}"})
            case events.Finished() if run:
                event = self._bring(event, run, job)
            case _:
                pass
        self._log(event, run)
        self._remembered.position = message.position
        if isinstance(event, events.Finished | events.Failed):
            self._settle(event, run)
        if job is not None:
            self._emit(event)

    def _run_of(self, event: events.Event, job: Job | None) -> str:
        """The run that an event is about; its name is checked."""
        match event:
            case events.Started():
                named: str | None = event.run
            case events.Preview() | events.Finished():
                named = str(PurePosixPath(event.labels).parent)
            case _:
                if job is not None:
                    return job.run
                return self._open_run if self._replayed is None else self._replayed
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
            self._replayed = run if of_there else ""
        return bool(run) and of_there

    def _begin_run(self, run: str) -> None:
        folder = inside(self._case.folder, f"runs/{run}")
        if folder.exists() and begun_elsewhere(folder) != self._host.name:
            raise NotTakenError(
                f"{self._host.name} began a run that is called {run}, as one here is that was made "
                "on another computer. Nothing of it was taken. Train again."
            )
        private_folder(folder)
        note_classes(folder, self._case.order)
        write_json(folder / ELSEWHERE_FILE, {"host": self._host.name})
        self._same.discard(run)
        self._remembered.write()

    def _bring(self, event: events.Finished, run: str, job: Job | None) -> events.Finished:
        """Bring what a run has made into the case here; its event, as it is said here."""
        line = self._the_line
        files = self._pulling.files(line, run)
        for file in files:
            own = (
                file.name == RUN_CLASSES and (self._case.folder / "runs" / run / file.name).exists()
            )
            if not is_kept_preview(file.name) and not own:
                self._pulling.pull(line, run, file)
        self._later = deque((run, file) for file in files if is_kept_preview(file.name))
        self._same.add(run)
        asked = None if job is None else job.asked
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

    def _bring_later(self) -> None:
        """Previews that can be gone back to come when there is nothing else to do."""
        run, file = self._later.popleft()
        with suppress(UserError):
            self._pulling.pull(self._the_line, run, file)

    def _log(self, event: events.Event, run: str) -> None:
        """What a worker here writes into its run by itself."""
        folder = self._case.folder / "runs" / run
        silent = isinstance(event, events.Failed) or (
            self._job is not None and isinstance(self._job.asked, events.Predict)
        )
        if run and folder.is_dir() and not silent:
            append_line(folder / EVENTS_FILE, events.encode(event))

    def _settle(self, event: events.Event, run: str) -> None:
        fit = self._job is None or isinstance(self._job.asked, events.Fit)
        self._job, self._unsaid = None, []
        if isinstance(event, events.Finished) and run:
            (self._case.folder / "runs" / run / ELSEWHERE_FILE).unlink(missing_ok=True)
            for earlier in self._case.runs() if fit else ():
                if earlier.name != run:
                    forget_previews(earlier)
        self._remembered.write()

    def _recover(self, job: Job, code: int) -> None:
        """The worker was lost in the middle of a command: go on from its state, or do it again."""
        job.deaths += 1
        if job.sent is None:
            return
        if job.deaths > _MOST_DEATHS:
            self._settle(events.Failed(reason=""), "")
            self._emit(
                events.Failed(
                    reason=f"The training program on {self._host.name} ended {job.deaths} times "
                    "before it was done. Your strokes are saved. 'cmfnet doctor --on "
                    f"{self._host.name}' tells what that computer lacks."
                )
            )
            return
        text = f"The training program on {self._host.name} was lost, and goes on."
        self._emit(events.Notice(step=job.step, text=text))
        command = job.sent
        if isinstance(command, events.Fit) and job.run and self._has_state(job.run):
            lighter = code == _KILLED and job.deaths > 1
            again = {"resume": f"runs/{job.run}", "base": "", "lighter": lighter}
            command = command.model_copy(update=again)
        self._say(job, command)
        if job.stopped:
            self._say_more(events.Stop())

    def _has_state(self, run: str) -> bool:
        """Whether a run there can be gone on with; else nothing is left of it there."""
        return self._the_line.ask(frames.Recover(run=run, drop=True), frames.Done).yes

    def _leave(self) -> int:
        """The window lets go: the worker saves its state and ends; what lies there may go."""
        line = self._line
        if line is None:
            return 0
        self._note_forget()  # first: who waits for us may lose patience
        self._leave_by = time.monotonic() + _LAST_PREVIEWS_S
        with suppress(LineLostError, UserError, OSError, BadFrameError, _QuitError):
            while self._later and self._job is None:
                self._check_quit()
                self._bring_later()
        with suppress(LineLostError, UserError):
            line.send(frames.Dismiss())
            line.answer(frames.Done, _DISMISS_S)
            if self._is_left and self._host.forget:
                self._delete(line)
                self._is_left = False
        with suppress(UserError):
            self._remembered.write()
        return 0

    def _delete(self, line: Line) -> None:
        """Delete the case there; only then a training there cannot be gone on with any more."""
        line.ask(frames.Delete(case=self._remembered.case), frames.Done, patience=_DISMISS_S)
        self._remembered.forget = False
        for run in self._case.runs():
            if begun_elsewhere(run) == self._host.name:
                (run / ELSEWHERE_FILE).unlink(missing_ok=True)
        self._remembered.write()

    def _note_forget(self) -> None:
        """What was to be deleted there, and could not be, is deleted at the next call."""
        if self._is_left and self._host.forget:
            self._remembered.forget = True
            with suppress(UserError):
                self._remembered.write()


class _QuitError(Exception):
    """The window is gone, or the patient is left."""


class _AnewError(Exception):
    """The case has changed in what only a new worker sees."""
