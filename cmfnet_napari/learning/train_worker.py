"""The worker of a cohort that lies in a folder: ``python -m cmfnet_napari train-worker FOLDER``.

As `worker`, but for one command: `events.Train`. The folder holds ``cohort.csv``, and takes the
training in ``runs/0001-training``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import private_folder
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.config import parse_config
from cmfnet_napari.core.privacy import redacted_traceback
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.cohort.train import train
from cmfnet_napari.learning.worker import Inbox, claim_stdout, reason, say
from cmfnet_napari.remote.far_store import COHORT_FILE
from cmfnet_napari.remote.run_files import TRAINING

_TELL_S = 0.5


def serve_training(folder: Path) -> int:
    """Train on a cohort until told to quit; return the exit status."""
    out = claim_stdout()
    os.umask(0o077)
    inbox = Inbox(os.fdopen(os.dup(sys.stdin.fileno()), "rb"))
    signal.signal(signal.SIGTERM, lambda _number, _frame: inbox.quit())
    while True:
        try:
            command = inbox.next()
            if isinstance(command, events.Quit):
                return 0
            inbox.begin()
            if not isinstance(command, events.Train):
                raise UserError("A cohort can be trained on, and nothing else.")
            ended = _train(folder, command, inbox, out)
        except Exception as error:
            with suppress(OSError):
                print(redacted_traceback(error), file=sys.stderr)
            ended = events.Failed(reason=reason(error))
        if ended is not None:
            _tell(out, inbox, ended)


def _train(
    folder: Path, command: events.Train, inbox: Inbox, out: TextIO
) -> events.Trained | events.Failed | None:
    """How the training has ended; None: it is to be gone on with."""
    told = 0.0

    def show(share: float, note: str) -> None:
        nonlocal told
        if time.monotonic() - told > _TELL_S:
            told = time.monotonic()
            _tell(out, inbox, events.Progress(share=share, note=note))

    result = train(
        folder / COHORT_FILE,
        private_folder(folder / "runs") / TRAINING,
        parse_config(command.config),
        folds=command.folds,
        device=command.device,
        hooks=Hooks(show, lambda: bool(inbox.request())),
    )
    if result is not None:
        return events.Trained(metrics=result["metrics"])
    return events.Failed(reason="It was stopped.") if inbox.request() == "stop" else None


def _tell(out: TextIO, inbox: Inbox, event: events.Event) -> None:
    """Say something; when nobody listens any more, what is done is saved and the work ends."""
    try:
        say(out, event)
    except OSError:
        inbox.quit()
