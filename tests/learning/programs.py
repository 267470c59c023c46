"""Commands as processes of their own, without the start: `tests.forked.Forked` calls these."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import ClassVar
from weakref import WeakSet

import dask
from distributed import nanny
from distributed.process import AsyncProcess

from cmfnet_napari.cli.main import main
from tests.forked import CAN_FORK

METHOD = "distributed.worker.multiprocessing-method"


class _Workers(AsyncProcess):
    """Worker processes of dask; what is forked closes what tells others that their parent lives.

    Two that are forked at the same moment would else keep each other alive for good without it.
    """

    others: ClassVar[WeakSet[AsyncProcess]] = WeakSet()

    def __init__(self, *arguments: object, **settings: object) -> None:
        super().__init__(*arguments, **settings)
        self.others.add(self)

    @classmethod
    def let_go(cls) -> None:
        for process in list(cls.others):
            process._keep_child_alive.close()


if CAN_FORK:
    nanny.AsyncProcess = _Workers
    os.register_at_fork(after_in_child=_Workers.let_go)


def cmfnet(*line: str) -> None:
    """A command line; workers of ours are forked from it, which have all imported then, too."""
    sys.argv = ["cmfnet", *line]
    with dask.config.set({METHOD: "fork" if CAN_FORK else "spawn"}):
        main()


def dask_command(kind: str, *line: str) -> None:
    """``dask scheduler`` or ``dask worker``."""
    import_module(f"distributed.cli.dask_{kind}").main(line)
