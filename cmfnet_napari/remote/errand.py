"""What is told over a kept line arrives, once; what was lost there is begun again."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.privacy import printable
from cmfnet_napari.remote import forgotten
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.hosts import Host
from cmfnet_napari.remote.kept_line import AnewError, KeptLine
from cmfnet_napari.remote.line import Line, refusal
from cmfnet_napari.remote.line_messages import LineLostError
from cmfnet_napari.remote.sending import send_file
from cmfnet_napari.remote.told import Job, Told
from cmfnet_napari.remote.travelling_case import Remembered

_LOOK_S = 0.02
_MOST_DEATHS = 3
_DISMISS_S, _DELETE_S = 30.0, 300.0


class Errand(KeptLine):
    """Has commands of one case or cohort worked on elsewhere.

    Parameters
    ----------
    host, emit, client, connect
        As in `KeptLine`.
    remembered : Remembered
        What is known of what lies there.
    """

    def __init__(
        self,
        host: Host,
        emit: Callable[[events.Event], None],
        client: str,
        connect: Callable[[str], Line] | None,
        remembered: Remembered,
    ) -> None:
        super().__init__(host, emit, client, connect)
        self._remembered = remembered
        self._told = Told(self._tell)

    # --- what a case and a cohort do in their own ways

    @abstractmethod
    def _bring_up_to_date(self, line: Line) -> frames.Attached:
        """See to it that the other side has all that it needs, and is ready."""

    @abstractmethod
    def _begin(self, job: Job) -> None:
        """Tell a command that was asked for, in words that are right there."""

    @abstractmethod
    def _on_said(self, message: frames.Said, payload: bytes) -> None:
        """Take what the worker said."""

    @abstractmethod
    def _let_go(self, line: Line) -> None:
        """Do what is to be done there before the line is left."""

    def _is_new_there(self) -> None:
        """Note that nothing of what was sent is there any more."""

    def _again(self, command: events.Work, job: Job, code: int) -> events.Work:
        """What to tell after the worker was lost; `code` is how it ended."""
        del job, code
        return command

    def _send_new(self) -> None:
        """Send what came up here since."""

    def _idle(self) -> None:
        """Do what can wait until nothing is said."""

    def _deleted(self) -> None:
        """Note that nothing lies there any more."""

    # --- the line

    def _attach(self) -> None:
        """Call, and bring what lies there up to date."""
        if not self._was_here:
            self._state("connecting", f"Calling {self._host.name} …")
        line = self._line = self._connect(self._client)
        for case in forgotten.noted(self._host.name):
            with suppress(UserError):  # where another line has it, when that is left
                self._delete(line, case)
        attached = self._bring_up_to_date(line)
        is_another = self._is_another(attached)
        line.ask(frames.Follow(position=self._remembered.position), frames.Done)
        self._catch_up(attached, is_another)
        self._held_since = None
        again = self._was_here
        self._was_here = True
        words = f"Back on {self._host.name}." if again else f"{self._host.name} is ready."
        self._state("here", words + (f" {line.skew}" if line.skew and not again else ""))

    def _is_another(self, attached: frames.Attached) -> bool:
        """Whether what lies there is not what lay there before: it was deleted, and made anew."""
        known = self._remembered
        if attached.life == known.life and attached.length >= known.position:
            return False
        known.life, known.position = attached.life, 0
        self._is_new_there()
        return True

    def _send_images(
        self, line: Line, files: Mapping[str, Path], missing: Mapping[str, int]
    ) -> None:
        """Send files by their hash; `missing` tells how much of each is there."""
        sizes = {sha: files[sha].stat().st_size for sha in missing if sha in files}
        total, sent = max(1, sum(sizes.values())), 0
        for sha in sizes:

            def show(have: int, before: int = sent) -> None:
                share = (before + have) / total
                words = f"Sending images to {self._host.name} … {100 * share:.0f} %"
                self._state("sending", words, share)

            send_file(line, files[sha], sha, missing[sha], show, self._check_quit)
            sent += sizes[sha]

    def _catch_up(self, attached: frames.Attached, is_another: bool) -> None:
        """Hear what was said meanwhile; say again what was not heard; go on with what was lost."""
        while self._the_line.waiting:
            self._hear(0.0)
        job = self._told.job
        if is_another and job is not None and job.sent is not None:  # it was about what is gone
            self._told.settle()
            self._inbox.appendleft(job.asked)
            if job.stopped:
                self._inbox.append(events.Stop())
            return
        self._told.say_again(attached.said)
        heard = job is not None and job.sent is not None and job.number <= attached.said
        if heard and not attached.busy:
            self._recover(0)

    # --- while it holds

    def _work(self) -> None:
        while True:
            self._check_quit()
            self._send_new()
            while self._inbox:
                self._take_up(self._inbox.popleft())
            if not self._hear(_LOOK_S) and self._told.job is None:
                self._idle()

    def _take_up(self, command: events.Work | events.Stop) -> None:
        """Begin what was asked for; what could not be told comes first when the line is back."""
        told = self._told
        if isinstance(command, events.Stop):
            if told.job is not None:
                told.job.stopped = True
            told.say_more(command)
            return
        job = told.job = Job(command)
        try:
            self._begin(job)
        except UserError as error:
            told.settle()
            self._emit(events.Failed(reason=str(error)))
        except (LineLostError, AnewError):
            if job.sent is None:
                told.settle()
                self._inbox.appendleft(command)
            raise

    def _tell(self, said: frames.Say) -> None:
        self._check_quit()
        self._send_new()  # first: the command is about it, too
        self._the_line.send(said)

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
                self._recover(message.code)
            case frames.Refused():
                raise refusal(self._host, message)
            case _:
                pass
        return True

    def _recover(self, code: int) -> None:
        """The worker was lost in the middle of a command: go on from its state, or do it again."""
        job = self._told.job
        if job is None:
            return
        job.deaths += 1
        if job.sent is None:
            return
        if job.deaths > _MOST_DEATHS:
            self._told.settle()
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
        self._told.say(self._again(job.sent, job, code))
        if job.stopped:
            self._told.say_more(events.Stop())

    # --- when it is left

    def _leave(self) -> None:
        """Whoever asked lets go: what is left to do there; what lies there may go."""
        self._note_forget()  # first: who waits for us may lose patience
        with suppress(LineLostError, UserError):
            self._let_go(self._the_line)
            if self._is_left and self._host.forget:
                self._delete(self._the_line, self._remembered.case)
                self._is_left = False
        with suppress(UserError):
            self._remembered.write()

    def _close(self) -> None:
        self._note_forget()

    def _give_up(self) -> bool:
        was = self._told.job is not None
        self._told.settle()
        return was

    def _dismiss(self, line: Line) -> None:
        """End the worker, its state saved."""
        line.send(frames.Dismiss())
        line.answer(frames.Done, _DISMISS_S)

    def _delete(self, line: Line, case: str) -> None:
        """Delete a case there."""
        line.ask(frames.Delete(case=case), frames.Done, patience=_DELETE_S)
        forgotten.settle(case)
        if case == self._remembered.case:
            self._deleted()

    def _note_forget(self) -> None:
        """What was to be deleted there, and could not be, is deleted at the next call."""
        if self._is_left and self._host.forget:
            with suppress(UserError):
                forgotten.note(self._host.name, self._remembered.case)
