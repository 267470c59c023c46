"""Commands as processes of their own, without the start: `tests.forked.Forked` calls these.

Workers of ours are forked from them, and have imported then all that these have, too.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from weakref import WeakSet

import dask
from distributed import nanny
from distributed.process import AsyncProcess

from cmfnet_napari.cli.main import main
from tests.forked import CAN_FORK
from tests.learning import known_clues

METHOD = "distributed.worker.multiprocessing-method"

known_clues.remember()
if CAN_FORK:
    known_clues.know_ball()


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


def _forking() -> AbstractContextManager[object]:
    return dask.config.set({METHOD: "fork" if CAN_FORK else "spawn"})


def cmfnet(*line: str) -> None:
    """A command line; what starts it again takes it for ``python -m cmfnet_napari``."""
    sys.argv = ["cmfnet", *line]
    sys.modules["__main__"].__spec__ = find_spec("cmfnet_napari.__main__")
    with _forking():
        main()


def cmfnet_there(*line: str) -> None:
    """The same on another computer of tests/remote: what it starts is forked in its turn."""
    sys.executable = os.environ["CMFNET_TEST_PYTHON"]
    cmfnet(*line)


def dask_command(kind: str, *line: str) -> None:
    """``dask scheduler`` or ``dask worker``, with settings of its own environment."""
    dask.config.refresh()
    with _forking():
        import_module(f"distributed.cli.dask_{kind}").main(line)


def scenario(module: str, function: str, folder: str, found: str) -> None:
    """A function of a test, called with a folder; what it returns is written as JSON."""
    with _forking():
        said = getattr(import_module(module), function)(Path(folder))
    Path(found).write_text(json.dumps(said | {"process": os.getpid()}))
