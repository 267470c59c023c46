"""The worker of a cohort that lies in a folder: ``python -m cmfnet_napari train-worker FOLDER``.

As `worker`, but for one command: `events.Train`. The folder holds ``cohort.csv``, and takes the
training in ``runs/0001-training``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TextIO

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import private_folder
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.config import parse_config
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.cohort.train import train
from cmfnet_napari.learning.worker import Inbox, claim_stdout, tell, work_on
from cmfnet_napari.remote.far_store import COHORT_FILE
from cmfnet_napari.remote.run_files import TRAINING

_TELL_S = 0.5


def serve_training(folder: Path) -> int:
    """Train on a cohort until told to quit; return the exit status."""
    out = claim_stdout()
    os.umask(0o077)
    inbox = Inbox(os.fdopen(os.dup(sys.stdin.fileno()), "rb"))
    signal.signal(signal.SIGTERM, lambda _number, _frame: inbox.quit())
    say = partial(tell, out, inbox)

    def work(command: events.Command) -> None:
        if not isinstance(command, events.Train):
            raise UserError("A cohort can be trained on, and nothing else.")
        ended = _train(folder, command, inbox, out)
        if ended is not None:
            say(ended)

    return work_on(inbox, work, say)


def _train(
    folder: Path, command: events.Train, inbox: Inbox, out: TextIO
) -> events.Trained | events.Failed | None:
    """How the training has ended; None: it is to be gone on with."""
    told = 0.0

    def show(share: float, note: str) -> None:
        nonlocal told
        if time.monotonic() - told > _TELL_S:
            told = time.monotonic()
            tell(out, inbox, events.Progress(share=share, note=note))

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
