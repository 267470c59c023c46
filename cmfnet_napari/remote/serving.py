"""Our end there and the relay here, as commands start them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.privacy import redacted_traceback
from cmfnet_napari.remote.agent import Agent
from cmfnet_napari.remote.far_store import remote_folder
from cmfnet_napari.remote.hosts import Host
from cmfnet_napari.remote.relay import Relay


def serve_there() -> int:
    """Answer a window on another computer over stdin and stdout; return the exit status."""
    os.umask(0o077)
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no message
    return Agent(remote_folder(), os.fdopen(os.dup(sys.stdin.fileno()), "rb"), out).serve()


def relay(case: Path, host: Host) -> int:
    """Be the worker of a case here whose work is done elsewhere; return the exit status."""
    os.umask(0o077)
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(event: events.Event) -> None:
        with suppress(OSError):  # who listened is gone; stdin says so, too
            out.write(events.encode(event) + "\n")
            out.flush()

    try:
        work = Relay(case, host, say)
    except UserError as error:
        say(events.Failed(reason=str(error)))
        return 1
    signal.signal(signal.SIGTERM, lambda _number, _frame: work.take(events.Quit()))
    source = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    threading.Thread(target=_listen, args=(source, work), daemon=True).start()
    try:
        return work.run()
    except Exception as error:
        with suppress(OSError):
            print(redacted_traceback(error), file=sys.stderr)
        say(
            events.Failed(
                reason=f"The line to {host.name} ended with an unexpected error "
                f"({type(error).__name__}). Your strokes are safe; try again."
            )
        )
        return 1


def _listen(source: BinaryIO, work: Relay) -> None:
    while line := source.readline(events.LONGEST_LINE):
        command = events.decode_command(line)
        if command is not None:
            work.take(command)
    work.take(events.Quit())
