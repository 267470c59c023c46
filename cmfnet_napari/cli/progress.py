"""Progress of a fit or a training on a terminal, and Ctrl-C as a wish to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cmfnet_napari.core.fit import events

if TYPE_CHECKING:
    from cmfnet_napari.learning.cohort.split import Hooks

Wish = Literal["", "stop", "quit"]


class FitProgress:
    """Shows events as a progress bar and remembers a wish to stop."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("Training", total=1.0, note="")
        self._request: Wish = ""
        self.steps: list[events.Step] = []

    def show(self, event: events.Event) -> None:
        """Take one event of the fit."""
        if isinstance(event, events.Step):
            self.steps.append(event)
            note = f"step {event.step}, loss {event.losses['total']:.3f}"
            self._bar.update(self._task, completed=event.progress, note=note)
        elif isinstance(event, events.Notice):
            self._say(event.text)
        elif isinstance(event, events.Paused):
            self._say(event.reason)
        elif isinstance(event, events.LineChanged):
            self._show_line(event)
        elif isinstance(event, events.Finished):
            self._bar.update(self._task, completed=1.0)

    def _show_line(self, event: events.LineChanged) -> None:
        if event.state == "sending":
            self._bar.update(self._task, note=event.text)
        elif event.state not in ("connecting", "refused"):
            self._say(event.text)

    def _say(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def request(self) -> Wish:
        """``stop`` after the first Ctrl-C, ``quit`` after SIGTERM."""
        return self._request

    def interrupted(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-C keeps the best so far, a second one ends at once; SIGTERM saves the state."""
        if self._request:
            raise KeyboardInterrupt
        self._request = "stop" if number == signal.SIGINT else "quit"


@contextmanager
def fit_progress() -> Iterator[FitProgress]:
    """Progress bar on stderr (only on a terminal) with Ctrl-C handled while it shows."""
    with _bar() as bar:
        progress = FitProgress(bar)
        with _handled(progress.interrupted, signal.SIGINT, signal.SIGTERM):
            yield progress


@contextmanager
def line_progress(on: str | None) -> Iterator[Callable[[events.Event], None] | None]:
    """What is said of the line to another computer; nothing where there is none."""
    if on is None:
        yield None
        return
    with _bar() as bar:
        yield FitProgress(bar).show


@contextmanager
def training_progress() -> Iterator[Hooks]:
    """Bar of a cohort training; Ctrl-C, and SLURM's SIGTERM, become the wish to stop."""
    from cmfnet_napari.learning.cohort.split import Hooks

    wishes: list[int] = []

    def interrupted(number: int, frame: FrameType | None) -> None:
        if wishes:
            raise KeyboardInterrupt
        wishes.append(number)

    with _bar() as bar, _handled(interrupted, signal.SIGINT, signal.SIGTERM):
        task = bar.add_task("Training", total=1.0, note="")
        yield Hooks(
            show=lambda share, note: bar.update(task, completed=share, note=note),
            stop=lambda: bool(wishes),
        )


@contextmanager
def step_progress() -> Iterator[Callable[[str, float], bool]]:
    """Bar of named steps, such as those of an import; Ctrl-C ends the command at once."""
    with _bar() as bar:
        task = bar.add_task("", total=1.0, note="")

        def show(what: str, share: float) -> bool:
            bar.update(task, description=what, completed=share)
            return True

        yield show


@contextmanager
def _bar() -> Iterator[Progress]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield bar


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], *signals: int) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
