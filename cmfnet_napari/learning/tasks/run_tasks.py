"""Tasks done in turn here, or at once by workers; what goes wrong with one stops no other."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.engine.device import one_core
from cmfnet_napari.learning.tasks.cluster import LOCAL, Workers, open_client

if TYPE_CHECKING:
    from distributed import Client, Future

    Futures = Sequence[Future[Any]]

_LOOKED_EVERY_S = 0.2
_SHOWN = 10  # problems


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Attributes
    ----------
    name : str
        What people call it.
    do : callable
        Takes `Hooks`; True: complete, False: stopped. It is sent to workers, and does what is
        left to do, wherever and however often it is begun. `InUseError` where another process
        is at it.
    """

    name: str
    do: Callable[[Hooks], bool]


def run_tasks(tasks: Sequence[Task], workers: Workers, hooks: Hooks) -> bool:
    """Do all tasks.

    Returns
    -------
    bool
        Whether all are complete; else it was stopped.

    Raises
    ------
    UserError
        What was wrong with which tasks, once all others are complete; as `open_client`.
    """
    if not tasks:
        return True
    if workers.scheduler == LOCAL and workers.here(len(tasks)) <= 1:
        complete, problems = _in_turn(tasks, hooks)
    else:
        with open_client(workers, len(tasks)) as client:
            complete, problems = _Run(client, tasks, hooks).wait()
    _raise(problems, len(tasks))
    return complete


_Problems = list[tuple[str, str]]  # names of tasks, and what is wrong with them


def _raise(problems: _Problems, of: int) -> None:
    if len(problems) == of == 1:
        raise UserError(problems[0][1])
    if problems:
        named = [f"{name}: {problem}" for name, problem in problems[:_SHOWN]]
        raise UserError(
            f"{len(problems)} of {of} jobs could not be done; the same command tries them again:"
            "\n  " + "\n  ".join(named)
        )


def _in_turn(tasks: Sequence[Task], hooks: Hooks) -> tuple[bool, _Problems]:
    problems: _Problems = []
    for number, task in enumerate(tasks):

        def show(share: float, note: str, done: int = number, name: str = task.name) -> None:
            hooks.show((done + share) / len(tasks), f"{name}: {note}")

        try:
            with one_core():
                if not task.do(replace(hooks, show=show)):
                    return False, problems
        except UserError as error:
            problems.append((task.name, str(error)))
    return not problems, problems


@dataclass
class _Run:
    """Tasks that workers are at."""

    client: Client
    tasks: Sequence[Task]
    hooks: Hooks
    name: str = field(default_factory=lambda: f"cmfnet-{uuid.uuid4().hex}")
    shares: dict[int, float] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)

    def wait(self) -> tuple[bool, _Problems]:
        """Until all are complete, or have stopped after the wish to."""
        from distributed import Event

        from cmfnet_napari.learning.tasks.in_worker import work

        stop = Event(self.name, client=self.client)
        self.client.subscribe_topic(self.name, self._hear)
        futures = [
            self.client.submit(work, task.do, number, self.name, key=f"{self.name}-{number}")
            for number, task in enumerate(self.tasks)
        ]
        stopping = False
        while not all(future.done() for future in futures):
            if not stopping and self.hooks.stop():
                stopping = True
                stop.set()  # those that run save their state
                waiting = [f for n, f in enumerate(futures) if n not in self.notes]
                self.client.cancel([future for future in waiting if not future.done()])
            self._show(futures)
            time.sleep(_LOOKED_EVERY_S)
        ended = [
            (task.name, *_outcome(future))
            for task, future in zip(self.tasks, futures, strict=True)
            if not future.cancelled()
        ]
        complete = len(ended) == len(futures) and all(done for _, done, _ in ended)
        return complete, [(name, problem) for name, _, problem in ended if problem]

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        _, message = event
        self.shares[message["number"]] = float(message["share"])
        self.notes[message["number"]] = str(message["note"])

    def _show(self, futures: Futures) -> None:
        going = {n: note for n, note in sorted(self.notes.items()) if not futures[n].done()}
        done = sum(future.done() for future in futures)
        share = done + sum(self.shares.get(number, 0.0) for number in going)
        notes = "; ".join(f"{self.tasks[number].name}: {note}" for number, note in going.items())
        self.hooks.show(share / len(self.tasks), notes or "waiting for workers")


def _outcome(future: Future[Any]) -> tuple[bool, str]:
    """Complete or not, and what is wrong in words."""
    from distributed.scheduler import KilledWorker

    if future.status == "finished":
        outcome = future.result()
        return outcome.complete, outcome.problem
    error = future.exception()
    if isinstance(error, KilledWorker):
        return False, "its process was lost several times, as when memory runs out."
    if isinstance(error, ImportError):
        return False, f"its worker has another version of cmfnet-napari, or none ({error})."
    return False, f"unexpected {type(error).__name__}: {error}."
