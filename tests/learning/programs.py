"""Commands as processes of their own, without the start: `tests.forked.Forked` calls these."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import dask

from cmfnet_napari.cli.main import main
from tests.forked import CAN_FORK
from tests.learning import known_clues

METHOD = "distributed.worker.multiprocessing-method"

known_clues.remember()
if CAN_FORK:
    known_clues.know_ball()


def cmfnet(*line: str) -> None:
    """A command line; workers of ours are forked from it, which have all imported then, too."""
    sys.argv = ["cmfnet", *line]
    with dask.config.set({METHOD: "fork" if CAN_FORK else "spawn"}):
        main()


def cmfnet_there(*line: str) -> None:
    """The same on another computer of tests/remote: what it starts is forked in its turn."""
    sys.executable = os.environ["CMFNET_TEST_PYTHON"]
    cmfnet(*line)


def dask_command(kind: str, *line: str) -> None:
    """``dask scheduler`` or ``dask worker``."""
    import_module(f"distributed.cli.dask_{kind}").main(line)
