"""Tasks done in turn here, or at once by workers; what goes wrong with one stops no other."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.folder_lock import InUseError
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.engine.device import one_core
from cmfnet_napari.learning.tasks.cluster import LOCAL, Workers, open_client

if TYPE_CHECKING:
    from distributed import Client, Future

    Futures = Sequence[Future[Any]]

_LOOKED_EVERY_S = 0.2
_ASKED_EVERY_S = 1.0  # whether another process has ended
_SHOWN = 10  # problems
_TRIES = 4  # of a task whose worker is lost each time before it gets any further
_LOST = "its process was lost several times, as when memory runs out."
T = TypeVar("T")


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
            complete, problems = _Run(client, tasks, hooks, workers.waiting).wait()
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
    """One after another; those that another process is at come last, and are waited for.

    A single one is not waited for: that it is in use is its problem.
    """
    problems: _Problems = []
    left, in_use = deque(enumerate(tasks)), 0
    while left:
        number, task = left.popleft()
        done = len(tasks) - 1 - len(left)

        def show(share: float, note: str, done: int = done, name: str = task.name) -> None:
            hooks.show((done + share) / len(tasks), f"{name}: {note}")

        try:
            with one_core():
                if not task.do(replace(hooks, show=show)):
                    return False, problems
            in_use = 0
        except UserError as error:
            if isinstance(error, InUseError) and len(tasks) > 1:
                left.append((number, task))
                in_use += 1
                if in_use >= len(left) and not _waited(show, hooks):
                    return False, problems
            else:
                problems.append((task.name, str(error)))
        except Exception as error:
            if len(tasks) == 1:
                raise
            problems.append((task.name, _unexpected(error)))
    return not problems, problems


def _waited(show: Callable[[float, str], None], hooks: Hooks) -> bool:
    """For another process, a while; False: it is to stop."""
    show(0.0, "another process is at it")
    time.sleep(_ASKED_EVERY_S)
    return not hooks.stop()


@dataclass
class _Run:
    """Tasks that workers are at."""

    client: Client
    tasks: Sequence[Task]
    hooks: Hooks
    waiting: str = ""  # what is said while no worker is at a task
    name: str = field(default_factory=lambda: f"cmfnet-{uuid.uuid4().hex}")
    shares: dict[int, float] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)
    tries: dict[int, int] = field(default_factory=dict)  # since a task got further than before
    furthest: dict[int, float] = field(default_factory=dict)
    lost: dict[int, int] = field(default_factory=dict)  # by dask's count, since a task last began
    submitted: Iterator[int] = field(default_factory=count)

    def wait(self) -> tuple[bool, _Problems]:
        """Until all are complete, or have stopped after the wish to."""
        from distributed import Event

        stop = Event(self.name, client=self.client)
        self.client.subscribe_topic(self.name, self._hear)
        futures = [self._submit(number) for number in range(len(self.tasks))]
        stopping, given_up = False, set[int]()
        while self._any_left(futures, stopping):
            if not stopping and self.hooks.stop():
                stopping = True
                _ask(stop.set)  # those that run save their state
            lost = {n for n, tries in list(self.tries.items()) if tries > _TRIES}
            given_up |= {n for n in lost if not futures[n].done()}
            unwanted = [futures[n] for n in given_up] + (self._idle(futures) if stopping else [])
            if unwanted:
                _ask(self.client.cancel, [future for future in unwanted if not future.done()])
            self._show(futures)
            time.sleep(_LOOKED_EVERY_S)
        if not stopping and any(f.cancelled() for n, f in enumerate(futures) if n not in given_up):
            raise _unreachable()
        ended = {n: _outcome(f) for n, f in enumerate(futures) if not f.cancelled()}
        ended |= dict.fromkeys(given_up, (False, _LOST))
        complete = len(ended) == len(futures) and all(done for done, _ in ended.values())
        problems = [(self.tasks[n].name, said) for n, (_, said) in sorted(ended.items()) if said]
        return complete, problems

    def _submit(self, number: int) -> Future[Any]:
        from distributed.protocol.pickle import dumps

        from cmfnet_napari.learning.tasks.in_worker import work

        do, key = dumps(self.tasks[number].do), f"{self.name}-{next(self.submitted)}"
        return self.client.submit(work, do, number, self.name, key=key)

    def _any_left(self, futures: list[Future[Any]], stopping: bool) -> bool:
        """Whether any is not done; those that only dask has given up are submitted once more."""
        done = [future.done() for future in futures]
        for number, future in enumerate(futures):
            if done[number] and not stopping and self._goes_on(number, future):
                futures[number], done[number] = self._submit(number), False
        return not all(done)

    def _goes_on(self, number: int, future: Future[Any]) -> bool:
        """Whether a task was given up by dask's count alone, which is not of its tries.

        A scheduler that is not ours counts lost workers however far the task got, and those that it
        only waited on while another task ended them. Those are not more than the others have tries.
        """
        if not _is_killed(future):
            return False
        self.lost[number] = self.lost.get(number, 0) + 1
        most = _TRIES * len(self.tasks)
        return self.tries.get(number, 0) <= _TRIES and self.lost[number] <= most

    def _idle(self, futures: Futures) -> list[Future[Any]]:
        """Those that no worker has, those that were begun and lost their worker too."""
        had = {key for keys in _ask(self.client.processing).values() for key in keys}
        return [future for future in futures if future.key not in had]

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        _, message = event
        number, share = message["number"], float(message["share"])
        if message["begins"]:
            self.tries[number], self.lost[number] = self.tries.get(number, 0) + 1, 0
        elif share > self.furthest.get(number, 0.0):
            self.tries[number], self.furthest[number] = 1, share
        self.shares[number], self.notes[number] = share, str(message["note"])

    def _show(self, futures: Futures) -> None:
        going = {n: note for n, note in sorted(self.notes.items()) if not futures[n].done()}
        done = sum(future.done() for future in futures)
        share = done + sum(self.shares.get(number, 0.0) for number in going)
        notes = "; ".join(f"{self.tasks[number].name}: {note}" for number, note in going.items())
        self.hooks.show(share / len(self.tasks), notes or self.waiting)


def _ask(do: Callable[..., T], *arguments: Any) -> T:
    """Ask the scheduler something."""
    try:
        return do(*arguments)
    except OSError as error:  # dask's own are
        raise _unreachable() from error


def _unreachable() -> UserError:
    return UserError(
        "The connection to the scheduler was lost; what its workers have begun may go on there. "
        "Once it can be reached, the same command goes on."
    )


def _is_killed(future: Future[Any]) -> bool:
    """Whether dask has given it up, by its own count of lost workers."""
    from distributed.scheduler import KilledWorker

    return future.status == "error" and isinstance(future.exception(), KilledWorker)


def _outcome(future: Future[Any]) -> tuple[bool, str]:
    """Complete or not, and what is wrong in words."""
    if future.status == "finished":
        outcome = future.result()
        return outcome.complete, outcome.problem
    if _is_killed(future):
        return False, _LOST
    error = future.exception()
    if isinstance(error, ImportError):
        return False, f"its worker has another version of cmfnet-napari, or none ({error})."
    return False, _unexpected(error)


def _unexpected(error: BaseException | None) -> str:
    """What is said of an error that nobody foresaw."""
    return f"unexpected {type(error).__name__}: {error}."
