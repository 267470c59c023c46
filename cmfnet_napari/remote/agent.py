"""Our end on the other computer: answers one window over stdin and stdout, and ends with it.

It listens at no port. What it is told is checked before anything is done: names, sizes, hashes,
voxels; it writes into its own folder alone. The worker is kept by another process, `keeper`.
"""

from __future__ import annotations

import json
import os
import platform
import queue
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import psutil

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.isolation import python_command
from cmfnet_napari.core.privacy import redact
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.case_desk import CaseDesk
from cmfnet_napari.remote.cohort_desk import CohortDesk
from cmfnet_napari.remote.desk import Desk
from cmfnet_napari.remote.far_store import FarCase, FarStore, free_bytes
from cmfnet_napari.remote.far_worker import FarWorker
from cmfnet_napari.remote.holder import SILENCE_S, Holder
from cmfnet_napari.remote.line_messages import (
    BadFrameError,
    HeldError,
    LineLostError,
    Message,
    Sender,
)

_LOOK_S = 0.02
_DOCTOR_S = 180.0


class Agent:
    """One conversation.

    Parameters
    ----------
    root : Path
        Where everything lies; see `far_store`.
    source, sink : binary streams
        What is heard, and said.
    """

    def __init__(self, root: Path, source: BinaryIO, sink: BinaryIO) -> None:
        self._store, self._source, self._sender = FarStore(root), source, Sender(sink)
        self._inbox: queue.Queue[tuple[Message, bytes] | Exception] = queue.Queue(64)
        self._client, self._holder = "", Holder()
        self._desk: Desk | None = None
        self._heard = time.monotonic()
        self._ended = threading.Event()

    def serve(self) -> int:
        """Answer until nobody is there any more; return the exit status."""
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            while True:
                self._go_on()
        except (LineLostError, SystemExit):
            return 0
        except BadFrameError as error:
            with suppress(LineLostError):
                self._sender.send(frames.Refused(text=f"It was told {error}, and ends."))
            return 1
        finally:
            self._ended.set()
            self._let_go()

    def _listen(self) -> None:
        try:
            while True:
                self._inbox.put(frames.receive(self._source, frames.TO_THERE))
                self._heard = time.monotonic()
        except (LineLostError, BadFrameError, ValueError, OSError) as error:
            lost = error if isinstance(error, BadFrameError) else LineLostError(str(error))
            self._inbox.put(lost)

    def _watch(self) -> None:
        """End when nothing was heard for long, even where a write hangs in a line that is dead."""
        while not self._ended.wait(1):
            if time.monotonic() - self._heard > SILENCE_S:
                os._exit(3)

    def _go_on(self) -> None:
        try:
            found = self._inbox.get(timeout=_LOOK_S)
        except queue.Empty:
            found = None
        if isinstance(found, Exception):
            raise found
        if found is not None:
            self._try(self._take, *found)
        if self._desk is not None and not self._try(self._desk.look):
            raise SystemExit  # it would not the next time

    def _try(self, work: Callable[..., None], *given: object) -> bool:
        """Whether something could be done; else it is told why not."""
        try:
            work(*given)
        except UserError as error:
            held = isinstance(error, HeldError)
            self._sender.send(frames.Refused(text=str(error)[:4000], held=held))
        except (OSError, sqlite3.Error) as error:
            what = getattr(error, "strerror", None) or str(error)[:80]
            text = f"It cannot be done there ({what}). See whether the disk there is full."
            self._sender.send(frames.Refused(text=text))
        else:
            return True
        return False

    def _take(self, message: Message, payload: bytes) -> None:
        match message:
            case frames.Hello():
                self._hello(message)
            case frames.Ping():
                self._sender.send(frames.Pong())
            case frames.Bye():
                raise SystemExit
            case frames.Doctor():
                self._sender.send(frames.Facts(facts=_facts()))
            case _ if not self._client:
                raise BadFrameError("nothing before a hello")
            case frames.Attach() | frames.Cohort():
                self._attach(message)
            case frames.Delete():
                self._delete(message)
            case frames.Rest():
                self._rest()
            case _ if self._desk is None:
                raise BadFrameError("something of a case before there was one")
            case _:
                self._desk.take(message, payload)

    def _hello(self, message: frames.Hello) -> None:
        self._client = message.client
        self._store.sweep(message.client)
        self._sender.send(
            frames.Welcome(
                version=version("cmfnet-napari"),
                protocol=frames.PROTOCOL,
                time=time.time(),
                python=platform.python_version(),
                memory=int(psutil.virtual_memory().available),
                disk=free_bytes(self._store.root),
                cases=len(self._store.cases()),
            )
        )

    def _attach(self, message: frames.Attach | frames.Cohort) -> None:
        with_whom = self._store, self._holder, self._sender, self._client
        desk: Desk
        if isinstance(message, frames.Attach):
            desk = CaseDesk(*with_whom, message)
        else:
            desk = CohortDesk(*with_whom, message)
        self._let_go()
        try:
            attached = desk.open()
        except (UserError, OSError):  # as when there is no room: others may have the case
            desk.close()
            raise
        self._desk = desk
        self._sender.send(attached)

    def _let_go(self) -> None:
        """The case is left; its worker stays."""
        desk, self._desk = self._desk, None
        if desk is not None:
            desk.close()

    def _delete(self, message: frames.Delete) -> None:
        cases = self._store.cases()
        if message.case is not None:
            cases = [self._store.case(message.case)]
        count = 0
        for case in cases:
            if case.folder.exists():
                if self._holder.is_held(case):
                    raise UserError("A window uses a case there. Close the patient first.")
                self._end_worker(case)
                if self._desk is not None and case.folder == self._desk.case.folder:
                    self._let_go()
                case.delete()
                count += 1
        if message.case is None:
            self._store.drop_all()
        self._store.sweep()
        self._sender.send(frames.Done(count=count))

    def _rest(self) -> None:
        """End the workers that nobody is on the line of."""
        cases = [
            case
            for case in self._store.cases()
            if not self._holder.is_held(case) and FarWorker(case).runs
        ]
        with ThreadPoolExecutor(max(1, len(cases))) as pool:  # each takes a while to save its state
            list(pool.map(self._end_worker, cases))
        self._sender.send(frames.Done(count=len(cases)))

    def _end_worker(self, case: FarCase) -> None:
        mine = self._desk is not None and case.folder == self._desk.case.folder
        worker = self._desk.worker if self._desk is not None and mine else FarWorker(case)
        worker.dismiss()


def _facts() -> JsonObject:
    """What ``cmfnet doctor`` says here."""
    command = python_command("-m", "cmfnet_napari", "doctor", "--json")
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=_DOCTOR_S)
    except subprocess.TimeoutExpired:
        text = f"cmfnet doctor did not end there within {_DOCTOR_S:.0f} s. Try again."
        raise UserError(text) from None
    try:
        facts = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise UserError(f"cmfnet doctor failed there ({redact(done.stderr)[-300:]}).") from None
    return facts if isinstance(facts, dict) else {}
