"""Commands as processes of their own, without the start: `tests.forked.Forked` calls these."""

from __future__ import annotations

import sys
from importlib import import_module

import dask

from cmfnet_napari.cli.main import main
from tests.forked import CAN_FORK

METHOD = "distributed.worker.multiprocessing-method"


def cmfnet(*line: str) -> None:
    """A command line; workers of ours are forked from it, which have all imported then, too."""
    sys.argv = ["cmfnet", *line]
    with dask.config.set({METHOD: "fork" if CAN_FORK else "spawn"}):
        main()


def dask_command(kind: str, *line: str) -> None:
    """``dask scheduler`` or ``dask worker``."""
    import_module(f"distributed.cli.dask_{kind}").main(line)
