"""The background worker: ``python -m cmfnet_napari worker CASE``.

Commands come as JSON lines on stdin, events go as JSON lines to stdout (core/fit/events.py); all
else that is printed goes to stderr, for the log. The worker ends when its stdin closes, after
writing its state; no orphan stays, whatever it hangs in.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, TextIO

from torch import nn

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.case.case_classes import OTHER_CLASSES
from cmfnet_napari.core.case.folder import Case, open_case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.config import parse_config
from cmfnet_napari.core.fit.kept_previews import forget_previews, kept_path
from cmfnet_napari.core.fit.model_card import MODEL_FILE, Card, model_path, read_card
from cmfnet_napari.core.fit.runs import PREDICT_RUN
from cmfnet_napari.core.privacy import inside, redacted_traceback
from cmfnet_napari.learning.engine.device import pick_device
from cmfnet_napari.learning.engine.out_of_memory import is_out_of_memory, release_memory
from cmfnet_napari.learning.fit.callbacks import Hooks, Request
from cmfnet_napari.learning.fit.choose_preview import choose
from cmfnet_napari.learning.fit.model_in_memory import Learnt, keep_learnt, load_learnt
from cmfnet_napari.learning.fit.new_strokes import NewStrokes
from cmfnet_napari.learning.fit.reading import Reading
from cmfnet_napari.learning.fit.refine import refine
from cmfnet_napari.learning.fit.run_folder import RunFolder
from cmfnet_napari.learning.fit.start import fit, go_on
from cmfnet_napari.learning.fit.training_data import Material
from cmfnet_napari.learning.model.checkpoint import load_model
from cmfnet_napari.learning.predict.prediction import Prediction
from cmfnet_napari.learning.predict.predictor import predict_study

LAST_SECONDS = 15.0  # for the last checkpoint, when the window is gone
_TOO_LONG = f"a line of {events.LONGEST_LINE >> 20} MB or more"
_UNREADABLE = (
    "The training program was told something that it cannot read ({what}), so nothing was done. "
    "Try again; if it happens again, close napari and open it again."
)
# What takes seconds to import and a contour by a network that reads strokes does not need.
_FOR_TRAINING = ("lightning_fabric",)


class Inbox:
    """Commands from stdin, read in a thread of their own so that a fit never waits for them.

    A stop is meant for the work that was asked for before it, whether that has begun or not: the
    next work that is asked for ends it.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._commands: queue.Queue[events.Command | UserError] = queue.Queue()
        self._stopped = self._leaves = False
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    @property
    def empty(self) -> bool:
        """Whether nobody has asked for anything that is not done."""
        return self._commands.empty()

    def next(self) -> events.Command:
        """Wait for a fit, predict, refine or quit.

        Raises
        ------
        UserError
            What came is no command: whoever waits for an answer to it is told.
        """
        command = self._commands.get()
        if isinstance(command, UserError):
            raise command
        return command

    def request(self) -> Request:
        """What the work in progress is asked to do."""
        return "quit" if self._leaves else "stop" if self._stopped else ""

    def _read(self, stream: BinaryIO) -> None:
        while line := stream.readline(events.LONGEST_LINE):
            too_long = len(line) == events.LONGEST_LINE
            while too_long and line and not line.endswith(b"\n"):
                line = stream.readline(events.LONGEST_LINE)
            command = None if too_long else events.decode_command(line)
            if command is None:
                what = _TOO_LONG if too_long else "no command"
                self._commands.put(UserError(_UNREADABLE.format(what=what)))
            elif isinstance(command, events.Stop):
                self._stopped = True
            elif isinstance(command, events.Quit):
                break
            else:
                self._stopped = False  # first: who takes the command listens to stops of it
                self._commands.put(command)
        self.quit()

    def quit(self) -> None:
        """Save and leave; who has not left after a while is ended."""
        self._leaves = True
        self._commands.put(events.Quit())
        last = threading.Timer(LAST_SECONDS, os._exit, (1,))
        last.daemon = True
        last.start()


def serve(folder: Path) -> int:
    """Work on a case until told to quit; return the exit status.

    Who starts it has called `priority.step_back` before all that is imported here.
    """
    out = claim_stdout()
    os.umask(0o077)  # it writes into the case alone, which is the user's alone
    # Not `sys.stdin` itself: Python closes it at the end, and where another thread waits for a line
    # of it, calls that a fatal error; the window would say that the worker died.
    inbox = Inbox(os.fdopen(os.dup(sys.stdin.fileno()), "rb"))
    signal.signal(signal.SIGTERM, lambda _number, _frame: inbox.quit())
    try:
        case = open_case(folder, read_only=True)
    except UserError as error:
        say(out, events.Failed(reason=str(error)))
        return 1
    _prepare(inbox)
    desk = Desk(case, inbox, out)
    return work_on(inbox, desk.work, desk.tell)


def work_on(
    inbox: Inbox, work: Callable[[events.Command], object], tell: Callable[[events.Failed], object]
) -> int:
    """Work on one command after another until told to quit; return the exit status.

    What fails is told in words, and ends nothing else; the log keeps it.
    """
    while True:
        try:
            command = inbox.next()
            if isinstance(command, events.Quit):
                return 0
            work(command)
        except Exception as error:
            with suppress(OSError):
                print(redacted_traceback(error), file=sys.stderr)
            tell(events.Failed(reason=reason(error)))


def _prepare(inbox: Inbox) -> None:
    """Import what a training needs while there is nothing else to do."""
    for name in _FOR_TRAINING:
        if inbox.empty:
            import_module(name)


class Desk:
    """Works on one case, one command after another; keeps the last fit's model at hand.

    Parameters
    ----------
    case : Case
        Open for reading.
    inbox : Inbox
        Where commands and requests come from.
    out : text stream
        Where events go.
    """

    def __init__(self, case: Case, inbox: Inbox, out: TextIO) -> None:
        self._case, self._inbox, self._out = case, inbox, out
        self._learnt: Learnt | None = None
        self._reading: Reading | None = None

    def tell(self, event: events.Event) -> None:
        """As `tell`."""
        tell(self._out, self._inbox, event)

    def work(self, command: events.Command) -> None:
        """Do what a command says."""
        match command:
            case events.Fit():
                self._fit(command)
            case events.Predict():
                self._predict(command)
            case events.Refine():
                self._refine(command)
            case events.Choose():
                self._choose(command)
            case events.Train():
                raise UserError("A cohort is trained on with 'cmfnet train', not in a case.")

    def _fit(self, command: events.Fit) -> None:
        case, self._learnt, self._reading = self._case, None, None  # what was kept makes room
        base = case.folder / command.base if command.base and not command.resume else None
        reads = base is not None and read_card(base).reads_anywhere
        strokes, hooks = self._listen(command.corrections, lines=reads)
        names = case.class_names
        if command.resume:
            run = inside(case.folder, command.resume)
            if case.run_table(run) is not None:
                raise UserError(OTHER_CLASSES)
            hooks.keep = partial(self._keep, RunFolder(run, case.folder))
            finished = go_on(
                case.study,
                strokes,
                run,
                device=command.device,
                names=names,
                hooks=hooks,
                root=case.folder,
                less_memory=command.lighter,
            )
        else:
            config = parse_config(command.config)
            run = case.new_run(config.preset)
            hooks.keep = partial(self._keep, RunFolder(run, case.folder))
            hooks.keep_reading = self._keep_reading
            finished = fit(
                case.study,
                strokes,
                run,
                config,
                device=command.device,
                base=base,
                names=names,
                hooks=hooks,
                root=case.folder,
            )
        if self._learnt is not None:
            self._learnt.finished = finished
        for earlier in case.runs():  # only the newest run is gone back in
            if earlier != run:
                forget_previews(earlier)

    def _refine(self, command: events.Refine) -> None:
        case, folder = self._case, inside(self._case.folder, command.model)
        kept = self._learnt is not None and self._learnt.run.folder.resolve() == folder
        if not kept and (card := read_card(folder)).reads_anywhere:
            self._check_classes(folder, card)
            strokes, hooks = self._listen(command.corrections, lines=True)
            run = RunFolder(folder, case.folder, case.order)
            self._read(run, strokes, command.device, hooks)
            return
        strokes, hooks = self._listen(command.corrections)
        if self._learnt is None or not kept:
            self._learnt = load_learnt(folder, case.folder, case.study, strokes)
        self._check_classes(folder, self._learnt.card)
        names = case.class_names
        refine(self._learnt, strokes, device=command.device, names=names, hooks=hooks)
        release_memory(pick_device(command.device))

    def _read(self, run: RunFolder, strokes: Codes, device: str, hooks: Hooks) -> None:
        reading, names = self._reading, self._case.class_names
        if reading is None or reading.run.folder.resolve() != run.folder.resolve():
            reading = Reading(self._case.study, run, run.folder, device)
        self._reading, reading.names, reading.run = reading, names, run
        reading.read(strokes, hooks)

    def _choose(self, command: events.Choose) -> None:
        case, (strokes, hooks) = self._case, self._listen(command.corrections)
        folder = inside(case.folder, command.model)
        kept = kept_path(folder, command.step)
        if not kept.is_file():
            raise UserError("This preview is not kept any more. Choose another one.")
        chosen = load_learnt(folder, case.folder, case.study, strokes, weights=kept)
        self._check_classes(folder, chosen.card)
        self._learnt = None  # wherever this ends, the files may be others than what was at hand
        if choose(chosen, device=command.device, names=case.class_names, hooks=hooks) is not None:
            self._learnt = chosen
        release_memory(pick_device(command.device))

    def _predict(self, command: events.Predict) -> None:
        case = self._case
        path = model_path(case.folder / command.model)
        model, card = load_model(path, pick_device(command.device))
        lines = card.reads_anywhere
        scribbles = NewStrokes(case, command.corrections, lines=lines).scribbles
        own = path.name == MODEL_FILE
        if own:
            self._check_classes(path.parent, card)
        prediction = predict_study(model, card, case.study, scribbles=scribbles)
        folder = path.parent if own else case.new_run(PREDICT_RUN)
        run = RunFolder(folder, case.folder, case.order)
        finished = run.save_prediction(prediction, scribbles, case.study, case.class_names)
        self.tell(finished.model_copy(update={"model": command.model}))

    def _check_classes(self, run: Path, card: Card) -> None:
        """Refuse what a model would say of classes, or learn of them, that are others by now."""
        if not self._case.knows_classes(run, card.labels):
            raise UserError(OTHER_CLASSES)

    def _listen(self, corrections: bool, *, lines: bool = False) -> tuple[Codes, Hooks]:
        """The strokes as they are, and what follows them from here on; as `NewStrokes`."""
        strokes = NewStrokes(self._case, corrections, lines=lines)
        hooks = Hooks(self.tell, self._inbox.request, strokes.poll)
        return strokes.scribbles.copy(), hooks

    def _keep(
        self,
        run: RunFolder,
        model: nn.Module,
        card: Card,
        material: Material,
        prediction: Prediction,
    ) -> None:
        self._learnt = keep_learnt(run, model, card, material, prediction)

    def _keep_reading(self, reading: Reading) -> None:
        self._reading = reading


def reason(error: Exception) -> str:
    """What went wrong: one sentence a clinician can act on."""
    if isinstance(error, UserError):
        return str(error)
    if is_out_of_memory(error):
        return (
            "There is not enough memory for this training. Close other programs, or choose the "
            "quick preset."
        )
    return (
        f"Training ended with an unexpected error ({type(error).__name__}). Your strokes are "
        "safe; try again, and send the details to the developers if it happens again."
    )


def claim_stdout() -> TextIO:
    """Keep stdout for events alone: whatever a library prints goes to stderr."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr
    return out


def tell(out: TextIO, inbox: Inbox, event: events.Event) -> None:
    """Say something; when nobody listens any more, what is done is saved and the work ends."""
    try:
        say(out, event)
    except OSError:
        inbox.quit()


def say(out: TextIO, event: events.Event) -> None:
    """Say an event; OSError where nobody listens any more."""
    out.write(events.encode(event) + "\n")
    out.flush()
