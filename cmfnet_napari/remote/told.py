"""What was told to the worker there, each command under a number and an id of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from cmfnet_napari.core.fit import events
from cmfnet_napari.remote import line_messages as frames


@dataclass
class Job:
    """A command that is being worked on.

    Attributes
    ----------
    asked : Fit, Refine, Predict, Choose or Train
        What was asked for here.
    id : str
        Names it, however often it is told: what is told again is not done again.
    sent : the same as `asked`, or None
        What was told there, with names as they are there; None: not yet.
    number : int
        Of the telling.
    run : str
        The run it works on, once that is known.
    step, deaths : int
        How far it came; how often the worker was lost since.
    stopped : bool
        It was told to stop.
    """

    asked: events.Work
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    sent: events.Work | None = None
    number: int = 0
    run: str = ""
    step: int = 0
    deaths: int = 0
    stopped: bool = False


class Told:
    """The command that is worked on, and what may not have arrived.

    Parameters
    ----------
    send : callable
        Sends a message, and before it the strokes that it is about.

    Attributes
    ----------
    job : Job or None
        What is worked on.
    """

    def __init__(self, send: Callable[[frames.Say], None]) -> None:
        self._send, self._number = send, 0
        self._unsaid: list[frames.Say] = []
        self.job: Job | None = None

    def say(self, command: events.Work) -> None:
        """Tell the job there, in words that are right there; the first time, or once more."""
        job = self.job
        assert job is not None
        self._number += 1
        job.sent, job.number = command, self._number
        self._unsaid = [self._said(command, job.id)]
        self._send(self._unsaid[-1])

    def say_more(self, command: events.Stop) -> None:
        """Say something besides the command that is worked on."""
        self._number += 1
        self._unsaid.append(self._said(command, uuid.uuid4().hex))
        self._send(self._unsaid[-1])

    def say_again(self, heard: int) -> None:
        """Tell what was not heard there: all after that number."""
        self._number = max(self._number, heard)
        for said in self._unsaid:
            if said.number > heard:
                self._send(said)

    def settle(self) -> None:
        """The job is done, or given up."""
        self.job, self._unsaid = None, []

    def _said(self, command: events.Work | events.Stop, name: str) -> frames.Say:
        values = command.model_dump(mode="json")
        return frames.Say(number=self._number, id=name, command=values)
