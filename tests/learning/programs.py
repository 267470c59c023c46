"""Commands as processes of their own, without the start: `tests.forked.Forked` calls these.

Workers of ours are forked from them, and have imported then all that these have, too.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.connection import Connection
from multiprocessing.util import register_after_fork
from pathlib import Path
from unittest.mock import patch

import dask
from distributed import nanny
from distributed.process import AsyncProcess

from cmfnet_napari.cli.main import main
from tests.forked import CAN_FORK

METHOD = "distributed.worker.multiprocessing-method"
FOUND = "found.json"


class _Worker(AsyncProcess):
    """Ends when who forked it ends, by a pipe of which no other worker keeps the other end.

    What is forked has all that is open. Two workers that had each other's end would never end.
    """

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        register_after_fork(self._keep_child_alive, Connection.close)


@contextmanager
def _forking() -> Iterator[None]:
    way = {METHOD: "fork" if CAN_FORK else "spawn"}
    with dask.config.set(way), patch.object(nanny, "AsyncProcess", _Worker):
        yield


def cmfnet(*line: str) -> None:
    """A command line; what starts it again takes it for ``python -m cmfnet_napari``."""
    sys.argv = ["cmfnet", *line]
    sys.modules["__main__"].__spec__ = find_spec("cmfnet_napari.__main__")
    with _forking():
        main()


def dask_command(kind: str, *line: str) -> None:
    """``dask scheduler`` or ``dask worker``, with settings of its own environment."""
    dask.config.refresh()
    with _forking():
        import_module(f"distributed.cli.dask_{kind}").main(line)


def scenario(module: str, function: str, folder: str) -> None:
    """A function of a test, called with its folder, where it leaves what it found as JSON."""
    with _forking():
        found = getattr(import_module(module), function)(Path(folder))
    (Path(folder) / FOUND).write_text(json.dumps(found | {"process": os.getpid()}))
